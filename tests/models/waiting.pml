/* Waiting as built (transport/shm/wake.cpp, transport/api/waiter.cpp, Producer::Impl::commit): two producers, two
   sleepers, a topic's mask of doorbells. Producers die between any two steps.

   Time-outs are there for the dead, and here they run out only because of them: the short one of a sleeper that saw an
   open claim, when the claim's owner died; that one and the bound of a long sleep, where the tail ends at the sleeper's
   place, when a waker died between taking a mask and ringing its last doorbell.

   Checked: when nothing moves any more, nobody sleeps in front of a committed event.

   UNFENCED: who publishes leaves its fence out. What it stores becomes visible in its order but at any time, until it
   runs a locked instruction, a system call, dies, or a sleeper that has listened has the kernel fence it
   (shm/fence.hpp). 1: one producer alone, whose stores are the tail and then the commit. 2: two producers, who claim by
   a locked instruction; the commit is what is seen late.

   Switches that must make it fail:
     TOGETHER=0   the claim is committed first, the last doorbell's sleepers are woken after it
     WAKERS=0     the sleeper clears its bit when it wakes, wakers leave the mask as it is
     LISTEN=0     the sleeper looks, listens, and does not look again
     FIRST=0      the sleeper reads its doorbell after it listened, not before
     AGAIN=0      a producer that found no sleeper commits and does not look again
     BOUND=0      a long sleep has no bound
     FENCE=0      with UNFENCED: the sleeper has nobody fenced
     FENCE=2      with UNFENCED=2: it has one of the two fenced */
#ifndef EVENTS
#define EVENTS 1 /* of each producer */
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef BELLS
#define BELLS 2 /* 1: both sleepers share a doorbell */
#endif
#ifndef SINGLE
#define SINGLE 0 /* 1: one producer alone, which publishes header, commit, tail */
#endif
#ifndef UNFENCED
#define UNFENCED 0
#endif
#ifndef FENCE
#define FENCE 1
#endif
#ifndef TOGETHER
#define TOGETHER 1
#endif
#ifndef WAKERS
#define WAKERS 1
#endif
#ifndef LISTEN
#define LISTEN 1
#endif
#ifndef FIRST
#define FIRST 1
#endif
#ifndef AGAIN
#define AGAIN 1
#endif
#ifndef BOUND
#define BOUND 1
#endif

#if SINGLE || UNFENCED == 1
#define PRODUCERS 1
#else
#define PRODUCERS 2
#endif
#define MOST (EVENTS * PRODUCERS)
#define UNWRITTEN 0
#define CLAIMED 1
#define COMMITTED 3
#define AWAKE 0
#define SHORT 1
#define LONG 2
#define BIT(bell) (1 << (bell))

byte state[MOST + 1], owner[MOST + 1];
byte tail;
bool alive[2] = true;
byte kills = KILLS;
bool lost; /* a waker died who had taken a mask and not rung all of it */

byte mask;
bool rung[2];   /* was the sleeper's doorbell raised since it read it? */
byte asleep[2]; /* in the kernel's queue */
byte place[2];  /* the event each sleeper wants */

#define DIE if :: true :: kills > 0 -> FLUSH; kills--; alive[id] = false; goto dead fi
#define DIE_RINGING if :: true :: kills > 0 -> FLUSH; kills--; alive[id] = false; lost = true; goto dead fi

#if UNFENCED == 1
/* Stores in program order: for each event the tail, then the commit. The first `seen` of them are visible. */
byte stored, seen;
inline let_one_be_seen() {
  if
  :: seen % 2 == 0 -> tail = seen / 2 + 1
  :: seen % 2 == 1 -> state[seen / 2] = COMMITTED
  fi;
  seen++
}
inline flush() { do :: seen < stored -> let_one_be_seen() :: seen == stored -> break od }
#define FLUSH flush()
#define FENCED FLUSH
#define SETTLED stored++; seen++ /* by a locked instruction or the kernel: visible at once */
#elif UNFENCED == 2
byte unseen[2]; /* the commit that each has stored and nobody sees: its place + 1, or 0 */
inline reveal(whose) { if :: unseen[whose] != 0 -> state[unseen[whose] - 1] = COMMITTED; unseen[whose] = 0 :: else fi }
#define FLUSH reveal(id)
#if FENCE == 2
#define FENCED reveal(0)
#else
#define FENCED reveal(0); reveal(1)
#endif
#define SETTLED skip
#else
#define FLUSH skip
#define SETTLED skip
#endif

#define FIRST_OF(bits) b = ((bits) & BIT(0) -> 0 : 1)

inline raise(bell) {
  if :: bell % BELLS == 0 -> rung[0] = true :: else fi;
  if :: bell % BELLS == 1 % BELLS -> rung[1] = true :: else fi
}

inline wake(bell) {
  if :: bell % BELLS == 0 -> asleep[0] = AWAKE :: else fi;
  if :: bell % BELLS == 1 % BELLS -> asleep[1] = AWAKE :: else fi
}

inline take_mask(into) {
  into = mask;
#if WAKERS
  mask = 0
#endif
}

/* ring_all(): every doorbell of the mask, raised and then woken. */
inline ring_all() {
  atomic { DIE; FLUSH; take_mask(taken) }
  do
  :: taken == 0 -> break
  :: taken != 0 ->
    atomic { DIE_RINGING; FIRST_OF(taken); raise(b) }
    atomic { DIE_RINGING; wake(b); taken = taken & ~BIT(b); b = 0 }
  od
}

proctype Producer(byte id) {
  byte n = 0, at, taken, b;
  do
  :: n == EVENTS -> break
  :: n < EVENTS ->
#if UNFENCED == 1
    atomic { DIE; at = n; stored++ }
#elif SINGLE
    atomic { DIE; at = tail; owner[at] = id; state[at] = CLAIMED }
#else
    atomic { DIE; FLUSH; at = tail; owner[at] = id; tail++ }
    atomic { DIE; state[at] = CLAIMED }
#endif
    if
    :: atomic { mask == 0 -> DIE }
#if UNFENCED == 1
      atomic { DIE; stored++ }
#elif UNFENCED == 2
      atomic { DIE; unseen[id] = at + 1 }
#else
      atomic { DIE; state[at] = COMMITTED }
#endif
#if AGAIN
      if
      :: atomic { mask == 0 -> skip }
      :: atomic { mask != 0 -> skip } ring_all()
      fi
#endif
    :: atomic { mask != 0 -> DIE }
      /* settle_and_ring(): all doorbells but one, then the last with the commit. */
#if UNFENCED == 1
      atomic { DIE; FLUSH; state[at] = CLAIMED }
#endif
      atomic { DIE; FLUSH; take_mask(taken) }
      if
      :: taken == BIT(0) + BIT(1) ->
        atomic { DIE_RINGING; raise(0) }
        atomic { DIE_RINGING; wake(0); taken = BIT(1) }
      :: taken != BIT(0) + BIT(1)
      fi;
      if
      :: taken == 0 -> atomic { DIE; state[at] = COMMITTED; SETTLED }
      :: taken != 0 ->
        atomic { DIE_RINGING; FIRST_OF(taken); raise(b) }
#if TOGETHER
        atomic { DIE_RINGING; state[at] = COMMITTED; SETTLED; wake(b); taken = 0; b = 0 }
#else
        atomic { DIE_RINGING; state[at] = COMMITTED; SETTLED }
        atomic { DIE; wake(b); taken = 0; b = 0 }
#endif
      fi;
      ring_all()
    fi;
#if SINGLE
    atomic { DIE; tail++ }
#endif
    atomic { n++; at = 0 }
  od;
dead:
  atomic { n = 0; at = 0; taken = 0; b = 0 }
}

/* One look at the place: READY, or how long to sleep. */
inline look(result) {
  if
  :: atomic { state[place[me]] == COMMITTED -> result = AWAKE }
  :: atomic { state[place[me]] == CLAIMED -> result = SHORT }
  :: atomic { state[place[me]] == UNWRITTEN -> skip }
    atomic { result = (tail <= place[me] -> LONG : SHORT) }
  fi;
  if
  :: atomic { result == SHORT && !alive[owner[place[me]]] ->
      /* Proved dead, and the word is read once more: aborted, the reader goes on behind it. */
      if :: state[place[me]] != COMMITTED -> place[me]++ :: else fi;
      result = AWAKE }
  :: atomic { result != SHORT || alive[owner[place[me]]] -> if :: result == AWAKE -> place[me]++ :: else fi }
  fi
}

proctype Sleeper(byte me) {
  byte how = AWAKE;
  do
  :: place[me] == MOST -> break
  :: place[me] < MOST ->
#if !LISTEN
    look(how);
#endif
    /* The doorbell, listen(), and a look after both. */
#if FIRST
    atomic { rung[me] = false }
#endif
    if
    :: (mask & BIT(me % BELLS)) != 0
    :: (mask & BIT(me % BELLS)) == 0 -> mask = mask | BIT(me % BELLS)
    fi;
#if !FIRST
    atomic { rung[me] = false }
#endif
#if UNFENCED && FENCE
    atomic { FENCED }
#endif
#if LISTEN
    look(how);
#endif
    if
    :: how == AWAKE -> skip
    :: how != AWAKE ->
      atomic { if :: !rung[me] -> asleep[me] = how :: else fi; how = AWAKE; rung[me] = false }
end_asleep:
      if
      :: atomic { asleep[me] == AWAKE -> skip }
      :: atomic { asleep[me] == SHORT && (!alive[owner[place[me]]] || lost) -> asleep[me] = AWAKE }
#if BOUND
      :: atomic { asleep[me] == LONG && lost -> asleep[me] = AWAKE }
#endif
      fi;
#if !WAKERS
      atomic { mask = mask & ~BIT(me % BELLS) }
#endif
    fi
  od
}

#if UNFENCED
proctype StoreBuffer() {
end_flushed:
  do
#if UNFENCED == 1
  :: atomic { seen < stored -> let_one_be_seen() }
#else
  :: atomic { unseen[0] != 0 -> reveal(0) }
  :: atomic { unseen[1] != 0 -> reveal(1) }
#endif
  od
}
#endif

/* When nobody can take a step: is there a committed event at or behind a sleeper's place? */
proctype Watcher() {
  byte s = 0, p;
end_watching:
  timeout ->
    atomic {
      do
      :: s == 2 -> break
      :: s < 2 ->
        p = place[s];
        do
        :: p >= MOST -> break
        :: p < MOST -> assert(state[p] != COMMITTED); p++
        od;
        s++
      od
    }
}

init {
  atomic {
    run Producer(0);
#if UNFENCED
    run StoreBuffer();
#endif
#if PRODUCERS == 2
    run Producer(1);
#endif
    run Sleeper(0); run Sleeper(1); run Watcher()
  }
}
