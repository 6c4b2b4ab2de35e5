/* Room in the ring of a memory topic whose readers hold producers up (make_room() in transport/api/space.cpp, add() and
   poll_with() in transport/api/reader.cpp). A producer that publishes lines of one event, and makes room when it is at
   the limit; somebody else who makes room at any time; readers that join at the beginning or at the end, read in place,
   and die or leave.

   Checked: what a reader reads in place stays what it is until it moved its pin.

   Switches that must make it fail:
     SECOND=0    the pins are looked at once, before `reclaim` is raised
     ANNOUNCE=0  the limit is raised without raising `reclaim` before
     LOOK=0      a reader that joins stores its pin and does not look at `reclaim`
     LAST=0      a reader moves its pin before it has read */
#ifndef EVENTS
#define EVENTS 4
#endif
#ifndef READERS
#define READERS 1
#endif
#ifndef SECOND
#define SECOND 1
#endif
#ifndef ANNOUNCE
#define ANNOUNCE 1
#endif
#ifndef LOOK
#define LOOK 1
#endif
#ifndef LAST
#define LAST 1
#endif
#define L 2
#define NONE 99

byte line[L];  /* the position whose event stands there */
byte tail, limit = L, reclaim;
byte pin[READERS] = NONE;
bool alive[READERS] = true;

/* The lowest of target and the living readers' pins. */
inline lower_to_pins() {
  r = 0;
  do
  :: r == READERS -> break
  :: r < READERS ->
    atomic { seen = pin[r] }
    atomic { if :: seen < target && alive[r] -> target = seen :: else fi; seen = 0; r++ }
  od;
  r = 0
}

inline make_room(wanted) {
  atomic {
    /* Settled is everything up to the tail; no more is given back at once than a line beyond what is wanted. */
    target = (tail < (wanted) - L + 1 -> tail : (wanted) - L + 1)
  }
  lower_to_pins();
#if ANNOUNCE
  atomic { reclaim = (reclaim < target -> target : reclaim) }
#endif
#if SECOND
  lower_to_pins();
#endif
  atomic { limit = (limit < target + L -> target + L : limit); target = 0 }
}

proctype Producer() {
  byte target, seen, r;
  do
  :: tail == EVENTS -> break
  :: tail < EVENTS && tail + 1 <= limit ->
    atomic { line[tail % L] = tail }
    atomic { tail++ }
  :: tail < EVENTS && tail + 1 > limit -> make_room(tail + 1)
  od
}

proctype Mover() {
  byte target, seen, r;
end:
  do
  :: atomic { tail < EVENTS && tail + 1 > limit -> skip } make_room(tail + 1)
  od
}

proctype Reader(byte me) {
  byte place, low;
  /* The code pins the beginning of the ring first, which would be enough here; the look has to do without it. */
  if
  :: atomic { place = tail }  /* from the end */
  :: /* from the oldest */
    atomic { low = reclaim }
    atomic { place = (low < tail -> low : tail); low = 0 }
  fi;
  do
  :: pin[me] = place;
#if LOOK
    atomic { low = reclaim }
    if
    :: place >= low -> low = 0; break
    :: place < low -> atomic { place = (low < tail -> low : tail); low = 0 }
    fi
#else
    break
#endif
  od;
  do
  :: atomic { tail > place -> skip }
#if !LAST
    pin[me] = place + 1;
#endif
    atomic { assert(line[place % L] == place) }
    atomic { assert(line[place % L] == place) } /* ... until it has read the last byte */
    atomic { place++ }
#if LAST
    pin[me] = place
#endif
  :: place < EVENTS -> alive[me] = false; break /* dies */
  :: pin[me] = NONE; break                      /* leaves */
  :: place == EVENTS -> pin[me] = NONE; break
  od;
  place = 0
}

init { atomic { run Producer(); run Mover(); run Reader(0);
#if READERS == 2
  run Reader(1)
#endif
} }
