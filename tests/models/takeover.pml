/* A topic of one producer, which needs no compare-and-swap. publish(): at the tail the header (word CLAIMED, tag), the
   body, the word COMMITTED, and only then the tail, in one store. claim(): the header, the tail, the commit later; up to
   two are open at once. A PAD before either, where the ring's end is too near, is settled before the claim's header is
   written and has no store of the tail of its own. A header always precedes its tail, so there are no holes, and there
   are no intents.

   Owners follow one another: the next begins, under the bus lock, when the one before is proved dead. It walks from the
   tail over the headers that match, whatever their state (who finds one CLAIMED comes to the same verdict: its owner is
   dead), stores the tail once, and goes on. It may die anywhere too. Two readers judge by headers alone and may be
   ahead of the tail; they hold the owner up, so that the ring wraps over stale bytes; a body is anything, also what
   looks like a committed record.

   Checked: both readers come to the same verdict on every offset, and it is right; no claim is written over another's
   header that counts; the tail and the readers agree where claims begin; nobody waits for the dead.

   Switches that must make it fail:
     WHOLE=0      the tail is stored in two halves
     PASS=0       the new owner writes its claim over a CLAIMED header of the dead
     WALK=0       it goes on at the tail without a walk
     TAG=0        the walk looks at the word and its generation alone
     HEADER=0     the tail is stored before the header
   LAP=0 makes the walk and the readers trust the tag alone, without the generation. It holds as long as no two offsets
   share a tag, which the layout promises: there the generation is a second lock on the same door. */
#ifndef L
#define L 3
#endif
#ifndef OWNERS
#define OWNERS 2
#endif
#ifndef CLAIMS
#define CLAIMS 3 /* of all owners together */
#endif
#ifndef WHOLE
#define WHOLE 1
#endif
#ifndef PASS
#define PASS 1
#endif
#ifndef WALK
#define WALK 1
#endif
#ifndef TAG
#define TAG 1
#endif
#ifndef HEADER
#define HEADER 1
#endif
#ifndef LAP
#define LAP 1
#endif

#define CLAIMED 1
#define COMMITTED 3
#define PAD 7
#define MAXP (CLAIMS * 3 + 3)

typedef Line { byte state; byte owner; byte lines; byte count; byte lap; byte tag };
Line ring[L];
byte tail_end, tail_offset;
byte dead;     /* owners below this are dead */
byte owners;   /* that have begun */
bool idle;     /* the last owner ended with all claims made */
byte claims;   /* made by all */
byte cursor[2];

/* Ghosts */
byte truth[CLAIMS + 1]; /* 1 claimed, 2 committed */
byte told[CLAIMS + 1];
byte begins[CLAIMS + 1]; /* where the claim stands that a header was written for */
bool begun[CLAIMS + 1];

#define AT(p) ring[(p) % L]
#define TAGGED(p, o) (AT(p).tag == (o) + 1)
#if LAP
#define OF_LAP(p) (AT(p).lap == (p) / L)
#else
#define OF_LAP(p) true
#endif
/* Two lines before the last line's end need a PAD of one line. */
#define NEEDED(at, want) ((want) + ((want) == 2 && (at) % L == L - 1))
#define ROOM(at, want) ((at) + NEEDED(at, want) <= cursor[0] + L && (at) + NEEDED(at, want) <= cursor[1] + L)
#define DIE if :: true :: owners < OWNERS -> dead = me + 1; goto over fi

inline store_tail() {
#if WHOLE
  atomic { DIE; tail_end = end; tail_offset = offset }
#else
  atomic { DIE; tail_end = end }
  atomic { DIE; tail_offset = offset }
#endif
}

inline write_header(what, count_) {
  atomic { DIE; AT(at).state = CLAIMED; AT(at).owner = me; AT(at).lines = what; AT(at).count = count_; AT(at).lap = at / L }
  atomic { DIE; AT(at).tag = offset + 1;
    if
    :: count_ == 1 -> assert(!begun[offset]); begun[offset] = true; begins[offset] = at; truth[offset] = 1; claims++
    :: else
    fi }
}

/* Makes header and body of a claim of `want` lines, after a PAD if need be; at is where it begins, end behind it. */
inline make_claim() {
  if
  :: want == 2 && at % L == L - 1 ->
    write_header(1, 0);
    atomic { DIE; AT(at).state = PAD; at++ }
  :: else
  fi;
  write_header(want, 1);
  if
  :: want == 2 -> atomic { DIE; AT(at + 1).state = COMMITTED; AT(at + 1).lines = 1; AT(at + 1).count = 1; AT(at + 1).lap = (at + 1) / L; AT(at + 1).tag = 0 }
  :: else
  fi;
  end = at + want
}

#define STANDS(p, o) ((!TAG || TAGGED(p, o)) && OF_LAP(p) && AT(p).lines != 0)

proctype Owner(byte me) {
  byte end, offset, at, want, pad, open[2], o;
  end = tail_end; offset = tail_offset;
#if WALK
  /* Over what stands behind the tail. */
  do
  :: atomic { STANDS(end, offset) && (PASS || AT(end).state != CLAIMED) ->
      DIE; pad = AT(end).count; end = end + AT(end).lines; offset = offset + pad; pad = 0 }
  :: atomic { !(STANDS(end, offset) && (PASS || AT(end).state != CLAIMED)) -> break }
  od;
  store_tail();
#endif
  do
  :: claims >= CLAIMS || offset >= CLAIMS -> break
  :: claims < CLAIMS && offset < CLAIMS && ROOM(end, 1) -> want = 1; goto claim
  :: claims < CLAIMS && offset < CLAIMS && ROOM(end, 2) -> want = 2;
claim:
    at = end;
#if !HEADER
    atomic { DIE; tail_end = end + NEEDED(end, want); tail_offset = offset + 1 }
#endif
    make_claim();
    if
    :: /* publish() */
      atomic { DIE; AT(at).state = COMMITTED; truth[offset] = 2; offset++; at = 0; want = 0 }
      store_tail()
    :: o < 2 -> /* claim(): open + 1 is where its header stands */
      open[o] = at + 1; o++; offset++; at = 0; want = 0;
      store_tail()
    fi
  :: o > 0 && open[0] != 0 -> /* commits, in any order */
    atomic { DIE; AT(open[0] - 1).state = COMMITTED; truth[AT(open[0] - 1).tag - 1] = 2; open[0] = 0 }
  :: o > 1 && open[1] != 0 ->
    atomic { DIE; AT(open[1] - 1).state = COMMITTED; truth[AT(open[1] - 1).tag - 1] = 2; open[1] = 0 }
  od;
  /* What is still open is settled before it ends. */
  if :: open[0] != 0 -> atomic { DIE; AT(open[0] - 1).state = COMMITTED; truth[AT(open[0] - 1).tag - 1] = 2 } :: else fi;
  if :: open[1] != 0 -> atomic { DIE; AT(open[1] - 1).state = COMMITTED; truth[AT(open[1] - 1).tag - 1] = 2 } :: else fi;
  idle = true;
over:
  atomic { end = 0; offset = 0; at = 0; want = 0; pad = 0; open[0] = 0; open[1] = 0; o = 0 }
}

proctype Reader(byte me) {
  byte p, o, state, lines, count;
look:
  atomic { state = 0; lines = 0; count = 0 }
  if
  :: atomic { TAGGED(p, o) -> skip }
  :: atomic { !TAGGED(p, o) && idle && tail_end <= p -> goto done }
  fi;
  atomic { state = (OF_LAP(p) -> AT(p).state : 0); lines = AT(p).lines; count = AT(p).count }
  if
  :: state == 0 -> goto look
  :: state == COMMITTED || state == PAD -> skip
  :: state == CLAIMED ->
    /* Its owner's to finish, until that is proved dead; then the word once more. */
    if
    :: atomic { AT(p).owner < dead -> skip }
    :: atomic { AT(p).state != CLAIMED -> goto look }
    fi;
    atomic { state = AT(p).state }
  fi;
  atomic {
    if
    :: count == 1 ->
      assert(begins[o] == p && truth[o] == (state == COMMITTED -> 2 : 1));
      assert(told[o] == 0 || told[o] == state);
      told[o] = state; o++
    :: else
    fi;
    p = p + lines; cursor[me] = p
  }
  goto look;
done:
  assert(tail_end == p && tail_offset == o)
}

/* The next owner begins when the last is dead: under the bus lock, so one at a time. */
proctype Openers() {
  atomic { owners = 1; run Owner(0) }
  do
  :: atomic { dead == owners && owners < OWNERS -> owners++; run Owner(owners - 1) }
  :: idle -> break
  od
}

init { atomic { run Openers(); run Reader(0); run Reader(1) } }
