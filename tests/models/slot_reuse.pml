/* A slot begins another life (transport/shm/handles.cpp, explained() in transport/api/topic.cpp). Lives that take one of
   two slots, claim one line each and die anywhere, with a claim open or a hole left; a ring that wraps over stale bytes;
   a persister that gives lines back once it passed them, and a reader that nobody waits for. Every claim is one line
   and one offset. A reader that was overtaken is told what the persister wrote.

   Checked: both come to the same verdict on every offset, and it is right; nobody waits for the dead for ever (a reader
   that has to wait is blocked until the state lets it through, so being stuck is an invalid end).

   Switches that must make it fail:
     RAISE=0     a new owner does not raise the slot's incarnation
     FIRST=0     it raises it after its claim, which names it already
     LOCKED=0    who wants a slot raises its incarnation before it has the lock
     NEEDED=0    a slot is taken again while its intents are needed
     INRING=0    ... while they are needed by a reader that is still to pass lines which the persister gave back
     CACHE=0     "that slot is dead" is remembered without the incarnation
   ORDER=0 reads the incarnation before it looks at the lock. It holds: either answer alone is proof, because who asks
   about a life has seen something that it wrote. */
#ifndef LIVES
#define LIVES 3
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef RAISE
#define RAISE 1
#endif
#ifndef FIRST
#define FIRST 1
#endif
#ifndef LOCKED
#define LOCKED 1
#endif
#ifndef NEEDED
#define NEEDED 1
#endif
#ifndef INRING
#define INRING 1
#endif
#ifndef CACHE
#define CACHE 1
#endif
#ifndef ORDER
#define ORDER 1
#endif

#ifndef L
#define L 2
#endif
#define CLAIMED 1
#define COMMITTED 3
#define NOBODY 3

typedef Line { byte state; byte slot; byte life; byte lap; byte link; byte tag };
typedef Intent { byte end; byte owner; byte life }; /* life 0: being written, or of nobody */
typedef Slot { bool locked; bool producer; byte life; Intent intent };

Line ring[L];
Slot slot[2];
byte tail_end, tail_slot;
byte kills = KILLS, finished;
byte passed; /* by the persister */

/* Ghosts */
byte truth[LIVES + 1]; /* 1 claimed, 2 committed */
byte told[LIVES + 1];  /* 1 skipped, 2 delivered */

#define AT(p) ring[(p) % L]
#define TAGGED(p) (AT(p).tag == (p) + 1)
#define OF_LAP(p) (AT(p).lap == (p) / L)
#define DEAD(s, era) (!slot[s].locked || slot[s].life != (era))
#define OVERTAKEN(p) (tail_end > (p) + L)

/* What proves that slot `s` made the claim at p: the tail, the next header's link, or an intent that read that tail. */
#define READ_IT(s, p, by) (slot[by].intent.life != 0 && slot[by].intent.end == (p) + 1 && slot[by].intent.owner == (s))
#define NAMED(s, p) ((tail_end == (p) + 1 && tail_slot == (s)) \
  || (tail_end > (p) + 1 && TAGGED((p) + 1) && AT((p) + 1).link == (s)) \
  || (tail_end > (p) + 1 && !TAGGED((p) + 1) && (READ_IT(s, p, 0) || READ_IT(s, p, 1))))
#define EXPLAINS(s, p) (slot[s].intent.life != 0 && slot[s].intent.end == (p) && NAMED(s, p))
#define LEFT_BY(s, p) (EXPLAINS(s, p) && DEAD(s, slot[s].intent.life))
#define PASSABLE(p) (OVERTAKEN(p) \
  || (TAGGED(p) && (AT(p).state == COMMITTED || DEAD(AT(p).slot, AT(p).life))) \
  || (!TAGGED(p) && (LEFT_BY(0, p) || LEFT_BY(1, p))))

#define DIE if :: true :: kills > 0 -> kills--; slot[s].locked = false; goto dead fi

/* Would forgetting the intent lose the only account of a claim? The owner is dead: it stays as it is. */
#if INRING
#define GIVEN_BACK(p) OVERTAKEN(p)
#else
#define GIVEN_BACK(p) (passed > (p))
#endif
#define STILL_NEEDED(s) (slot[s].intent.life != 0 && !GIVEN_BACK(slot[s].intent.end) \
  && tail_end > slot[s].intent.end && !TAGGED(slot[s].intent.end))

proctype Life() {
  byte s, mine, end, owner, link;
  if :: s = 0 :: s = 1 fi;
#if !LOCKED
  atomic { slot[s].life++ }
#endif
  if
  :: atomic { !slot[s].locked -> slot[s].locked = true }
  :: atomic { slot[s].locked -> goto dead }
  fi;
#if NEEDED
  atomic {
    DIE;
    if :: slot[s].producer && STILL_NEEDED(s) -> slot[s].locked = false; goto dead :: else fi
  }
#endif
#if RAISE && FIRST && LOCKED
  atomic { DIE; slot[s].life++; mine = slot[s].life }
#elif RAISE && !FIRST
  mine = slot[s].life + 1;
#else
  mine = (slot[s].life -> slot[s].life : 1);
  slot[s].life = mine;
#endif
  atomic { DIE; slot[s].intent.life = 0 }
  atomic { DIE; slot[s].producer = true }
again:
  atomic { DIE; end = tail_end; owner = tail_slot }
  atomic {
    (end + 1 <= passed + L || tail_end != end);
    if :: end + 1 > passed + L -> goto again :: else fi
  }
  /* The link, from the intents of who made the last claim; none when that is this slot in an earlier life. */
  atomic {
    DIE;
    if
    :: owner != NOBODY && owner != s && slot[owner].intent.life != 0 && slot[owner].intent.end + 1 == end -> link = owner
    :: else -> link = NOBODY
    fi
  }
  atomic { DIE; slot[s].intent.end = end; slot[s].intent.owner = owner }
  atomic { DIE; slot[s].intent.life = mine }
  atomic {
    DIE;
    if
    :: tail_end == end && tail_slot == owner -> tail_end++; tail_slot = s; truth[end] = 1
    :: else -> slot[s].intent.life = 0; goto again
    fi
  }
  atomic { DIE; AT(end).state = CLAIMED; AT(end).slot = s; AT(end).life = mine; AT(end).lap = end / L; AT(end).link = link }
  atomic { DIE; AT(end).tag = end + 1 }
  atomic { DIE; AT(end).state = COMMITTED; truth[end] = 2 }
#if RAISE && !FIRST
  atomic { DIE; slot[s].life++ }
#endif
  atomic { DIE; slot[s].producer = false }
  atomic { slot[s].locked = false }
dead:
  atomic { finished++; s = 0; mine = 0; end = 0; owner = 0; link = 0 }
}

inline verdict(what) {
  assert(what == 2 -> truth[p] == 2 : truth[p] == 1);
  assert(told[p] == 0 || told[p] == what);
  told[p] = what
}

proctype Reader(bool persister) {
  byte p, s, era, whose, state;
  bool found, gone, cached[2];
look:
  atomic { found = false; gone = false; s = 0; era = 0; whose = 0; state = 0 }
  if
  :: atomic { finished == LIVES && tail_end == p -> goto done }
  :: atomic { tail_end > p -> skip }
  fi;
header:
  if
  :: atomic { TAGGED(p) -> skip }
  :: atomic { !TAGGED(p) -> goto hole }
  fi;
  atomic { state = (OF_LAP(p) -> AT(p).state : 0); whose = AT(p).slot; era = AT(p).life }
  if
  :: state == COMMITTED -> goto judged
  :: state == 0 -> goto wait
  :: state == CLAIMED -> goto judge
  fi;
hole:
  do
  :: s == 2 || found -> break
  :: s < 2 && !found ->
    atomic { era = slot[s].intent.life }
    atomic {
      found = (era != 0 && slot[s].intent.end == p && NAMED(s, p));
      whose = s;
      s++
    }
  od;
  if
  :: atomic { TAGGED(p) -> goto header }
  :: atomic { !TAGGED(p) -> state = 0 }
  fi;
  if :: !found -> goto wait :: found fi;
judge:
  /* Is life `era` of slot `whose` over? */
  if
  :: !CACHE && cached[whose] -> gone = true
  :: else ->
#if ORDER
    atomic { gone = !slot[whose].locked }
    atomic { gone = (gone || slot[whose].life != era) }
#else
    atomic { gone = (slot[whose].life != era) }
    atomic { gone = (gone || !slot[whose].locked) }
#endif
  fi;
  if :: !gone -> goto wait :: gone -> cached[whose] = !CACHE fi;
  /* The header again, after the proof. */
  if
  :: atomic { state == 0 && TAGGED(p) -> goto header }
  :: atomic { state == 0 && !TAGGED(p) -> skip }
  :: atomic { state != 0 -> state = (AT(p).state == COMMITTED && OF_LAP(p) -> COMMITTED : 0) }
  fi;
judged:
  atomic {
    if
    :: OVERTAKEN(p) -> assert(!persister && told[p] != 0)
    :: else ->
      if :: state == COMMITTED -> verdict(2) :: else -> verdict(1) fi
    fi;
    p++;
    if :: persister -> passed = p :: else fi
  }
  goto look;
wait:
  atomic { PASSABLE(p) -> goto look }
done:
  skip
}

init {
  atomic {
    byte i = 0;
    tail_slot = NOBODY;
    slot[0].intent.end = 9; slot[1].intent.end = 9;
    do :: i == LIVES -> break :: i < LIVES -> run Life(); i++ od;
    run Reader(true); run Reader(false)
  }
}
