/* The publish protocol as built (transport/DESIGN.md): two producers, a small ring that wraps over stale bytes, two
   readers that derive the verdict on dead claims each alone. Sequential consistency is assumed; orders are the code's.

   Checked: both readers give every offset the same verdict, in order; what was committed is delivered and what was not is
   skipped; a reader waits for no one who is dead (no invalid end state); a claim's link names the claim before it.

   Switches that must make it fail:
     RECHECK=0   an intent is believed without looking at the header again
     TAGFIRST=0  the word is read before the tag
     ALTERNATE=0 one intent entry instead of two
     PROOF=0     an intent that lost the race for the tail counts as a claim  */
#ifndef L
#define L 3 /* lines of the ring */
#endif
#ifndef CLAIMS
#define CLAIMS 2 /* of each producer, PADs not counted */
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef RECHECK
#define RECHECK 1
#endif
#ifndef TAGFIRST
#define TAGFIRST 1
#endif
#ifndef ALTERNATE
#define ALTERNATE 1
#endif
#ifndef PROOF
#define PROOF 1
#endif

#define CLAIMED 1
#define COMMITTED 3
#define PAD 7
#define NOBODY 3
#define MAXP 16 /* lines and offsets a run can reach */

typedef Line { byte state; byte owner; byte lines; byte lap; byte link_owner; byte link_lines; byte link_count; byte count; byte tag };
typedef Tail { byte end; byte offset; byte owner };
typedef Intent { byte end; byte offset; byte owner; byte lines; byte count };

Line ring[L];
Tail tail;
Intent intents[4]; /* two a producer */
bool alive[2] = true;
byte kills = KILLS;
byte finished = 0;
byte cursor[2]; /* the readers hold producers up */

/* Ghosts: what is true of the offset. */
byte truth[MAXP]; /* 0 never claimed, 1 claimed, 2 committed */
byte told[MAXP];  /* 0 nothing yet, 1 skipped, 2 delivered */
byte made_by[MAXP], made_lines[MAXP], made_count[MAXP]; /* by the line after the claim */

#define LAP(p) (((p) / L) % 16)
#define AT(p) ring[(p) % L]
#define LIMIT ((cursor[0] < cursor[1] -> cursor[0] : cursor[1]) + L)
#define DIE if :: true :: kills > 0 -> kills--; alive[id] = false; goto dead fi

proctype Producer(byte id) {
  byte n = 0, entry = 0, want, lines, count;
  byte last_lines = 0, last_count = 0;
  byte link_owner, link_lines, link_count, k;
  Tail t;
  Intent seen;
  do
  :: n == CLAIMS -> break
  :: n < CLAIMS ->
    if :: want = 1 :: want = 2 fi;
again:
    atomic {
      DIE;
      t.end = tail.end; t.offset = tail.offset; t.owner = tail.owner;
      if
      :: (t.end % L) + want > L -> lines = L - (t.end % L); count = 0
      :: else -> lines = want; count = 1
      fi
    }
    atomic {
      (t.end + lines <= LIMIT || tail.end != t.end);
      if :: t.end + lines > LIMIT -> goto again :: else fi
    }
    /* The link: my own last claim, or the intents of who made it. */
    link_owner = t.owner; link_lines = 0; link_count = 0;
    if
    :: t.owner == NOBODY -> skip
    :: t.owner == id -> link_lines = last_lines; link_count = last_count
    :: else ->
      k = 0;
      do
      :: k == 2 -> break
      :: k < 2 ->
        atomic { DIE; seen.lines = intents[t.owner * 2 + k].lines; seen.count = intents[t.owner * 2 + k].count }
        atomic { DIE; seen.end = intents[t.owner * 2 + k].end }
        atomic { DIE; seen.offset = intents[t.owner * 2 + k].offset;
          if
          :: seen.lines != 0 && seen.end + seen.lines == t.end && seen.offset + seen.count == t.offset ->
            link_lines = seen.lines; link_count = seen.count; break
          :: else
          fi
        }
        k++
      od
    fi;
    /* The intent. */
    atomic { DIE; intents[id * 2 + entry].lines = 0; intents[id * 2 + entry].count = 0 }
    atomic { DIE; intents[id * 2 + entry].end = t.end; intents[id * 2 + entry].owner = t.owner }
    atomic { DIE; intents[id * 2 + entry].offset = t.offset }
    atomic { DIE; intents[id * 2 + entry].lines = lines; intents[id * 2 + entry].count = count }
    /* The claim. */
    atomic {
      DIE;
      if
      :: tail.end == t.end && tail.offset == t.offset && tail.owner == t.owner ->
        tail.end = t.end + lines; tail.offset = t.offset + count; tail.owner = id;
        assert(t.end + lines < MAXP);
        made_by[t.end + lines] = id; made_lines[t.end + lines] = lines; made_count[t.end + lines] = count;
        if :: count == 1 -> truth[t.offset] = 1 :: else fi;
        /* The link was read before: right if the tail stood still, which it did. */
        assert(t.owner == NOBODY || (made_by[t.end] == link_owner && made_lines[t.end] == link_lines && made_count[t.end] == link_count))
      :: else -> goto again
      fi
    }
#if ALTERNATE
    entry = 1 - entry;
#endif
    last_lines = lines; last_count = count;
    /* The header: the word first, the tag last. */
    atomic { DIE; AT(t.end).state = CLAIMED; AT(t.end).owner = id; AT(t.end).lines = lines; AT(t.end).lap = LAP(t.end) }
    atomic { DIE; AT(t.end).link_owner = link_owner; AT(t.end).link_lines = link_lines; AT(t.end).link_count = link_count }
    atomic { DIE; AT(t.end).count = count }
    atomic { DIE; AT(t.end).tag = t.offset + 1 }
    if
    :: count == 0 -> atomic { DIE; AT(t.end).state = PAD } goto again
    :: else
    fi;
    /* The body: a second line is overwritten with anything, here with what looks like a committed record. */
    if
    :: lines == 2 -> atomic { DIE; AT(t.end + 1).state = COMMITTED; AT(t.end + 1).lines = 1; AT(t.end + 1).lap = LAP(t.end + 1); AT(t.end + 1).tag = 0 }
    :: else
    fi;
    atomic { DIE; AT(t.end).state = COMMITTED; truth[t.offset] = 2 }
    n++
  od;
dead:
  finished++
}

proctype Reader(byte me) {
  byte p = 0, o = 0, state, lines, count, owner, s, k, hole_lines, hole_count, hole_owner, w;
  bool found, proved;
  Intent seen;
  Tail t;
look:
  /* Nothing more can come: everybody ended and the tail is here. */
  do
  :: atomic { finished == 2 && tail.end == p -> break }
  :: atomic { tail.end > p -> skip }
header:
#if TAGFIRST
    if
    :: atomic { AT(p).tag == o + 1 -> skip }
    :: atomic { AT(p).tag != o + 1 -> goto hole }
    fi;
    atomic { state = AT(p).state; owner = AT(p).owner; lines = AT(p).lines; w = AT(p).lap }
#else
    atomic { state = AT(p).state; owner = AT(p).owner; lines = AT(p).lines; w = AT(p).lap }
    if
    :: atomic { AT(p).tag == o + 1 -> skip }
    :: atomic { AT(p).tag != o + 1 -> goto hole }
    fi;
#endif
    count = AT(p).count;
    if
    :: (state == COMMITTED || state == PAD) && w == LAP(p) -> goto settled
    :: else
    fi;
    /* CLAIMED: its owner's to finish, until that is proved dead; then the word is read once more. */
    if
    :: alive[owner] -> atomic { (!alive[owner] || AT(p).state != CLAIMED) -> goto look }
    :: else ->
      atomic { state = AT(p).state }
      if
      :: state == COMMITTED || state == PAD -> goto settled
      :: else -> goto skipped
      fi
    fi;
hole:
    /* Unwritten: whose intent starts here, and what proves that it became a claim? */
    found = false; s = 0;
    do
    :: s == 4 || found -> break
    :: s < 4 && !found ->
      atomic { seen.lines = intents[s].lines; seen.count = intents[s].count }
      atomic { seen.end = intents[s].end }
      atomic { seen.offset = intents[s].offset }
      if
      :: seen.lines != 0 && seen.end == p && seen.offset == o ->
        hole_lines = seen.lines; hole_count = seen.count; hole_owner = s / 2;
        proved = (PROOF == 0);
        atomic { t.end = tail.end; t.offset = tail.offset; t.owner = tail.owner }
        if
        :: t.end == p + hole_lines -> proved = proved || (t.owner == hole_owner && t.offset == o + hole_count)
        :: t.end > p + hole_lines ->
          if
          :: atomic { AT(p + hole_lines).tag == o + hole_count + 1 ->
              proved = proved || (AT(p + hole_lines).link_owner == hole_owner && AT(p + hole_lines).link_lines == hole_lines && AT(p + hole_lines).link_count == hole_count) }
          :: atomic { AT(p + hole_lines).tag != o + hole_count + 1 -> skip }
            k = 0;
            do
            :: k == 4 -> break
            :: k < 4 ->
              atomic {
                if
                :: intents[k].lines != 0 && intents[k].end == p + hole_lines && intents[k].offset == o + hole_count && intents[k].owner == hole_owner -> proved = true
                :: else
                fi
              }
              k++
            od
          fi
        :: else
        fi;
        found = proved
      :: else
      fi;
      s++
    od;
#if RECHECK
    if
    :: atomic { AT(p).tag == o + 1 -> goto header }
    :: atomic { AT(p).tag != o + 1 -> skip }
    fi;
#endif
    if
    :: !found -> goto look
    :: found && alive[hole_owner] -> atomic { (!alive[hole_owner] || AT(p).tag == o + 1) -> goto look }
    :: else
    fi;
#if RECHECK
    if
    :: atomic { AT(p).tag == o + 1 -> goto header }
    :: atomic { AT(p).tag != o + 1 -> skip }
    fi;
#endif
    lines = hole_lines; count = hole_count;
skipped:
    atomic {
      assert(made_lines[p + lines] == lines && made_count[p + lines] == count);
      if
      :: count == 1 -> assert(truth[o] == 1); assert(told[o] != 2); told[o] = 1
      :: else
      fi;
      p = p + lines; o = o + count; cursor[me] = p
    }
    goto look;
settled:
    atomic {
      assert(made_lines[p + lines] == lines);
      if
      :: state == COMMITTED -> assert(truth[o] == 2); assert(told[o] != 1); told[o] = 2; o++
      :: else
      fi;
      p = p + lines; cursor[me] = p
    }
  od
}

init {
  atomic {
    tail.owner = NOBODY;
    intents[0].end = 255; intents[1].end = 255; intents[2].end = 255; intents[3].end = 255;
    run Producer(0); run Producer(1); run Reader(0); run Reader(1)
  }
}
