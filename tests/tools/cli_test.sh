#!/usr/bin/env bash
# The command line's contract, from outside: exit codes, JSON, bytes, groups with handlers, dead letters, redrive.
set -uo pipefail

: "${PENSTOCK_BIN:?names the folder of penstock and penstockd}"
scratch=$(mktemp -d)
export PENSTOCK_BUS=$scratch/bus NO_COLOR=1
daemon=
failed=0
cleanup() {
  [ -n "$daemon" ] && kill -9 "$daemon" 2>/dev/null
  "$PENSTOCK_BIN/penstock" bus delete --yes >/dev/null 2>&1  # its shared-memory side too
  rm -rf "$scratch"
}
trap cleanup EXIT

p() { timeout 30 "$PENSTOCK_BIN/penstock" "$@"; }
say() { printf 'FAILED line %s: %s\n' "${BASH_LINENO[1]}" "$1"; failed=1; }
# code N COMMAND...: it ends with N; stdout and stderr are kept, and an error is one line that says who speaks.
code() {
  local want=$1 got
  shift
  "$@" >"$scratch/out" 2>"$scratch/err"
  got=$?
  [ "$got" = "$want" ] || say "exit $got, not $want: $* -- $(cat "$scratch/err")"
  if [ "$want" != 0 ] && [ "$want" != 130 ] && [ "$want" != 4 ]; then
    [ "$(wc -l <"$scratch/err")" = 1 ] && grep -q '^penstockd\?: ' "$scratch/err" || say "not one line: $(cat "$scratch/err")"
  fi
}
equal() { [ "$1" = "$2" ] || say "'$1' is not '$2'"; }
out() { cat "$scratch/out"; }
# until SECONDS COMMAND...: tries until it succeeds.
until_true() {
  local end=$((SECONDS + $1))
  shift
  while ! "$@"; do
    [ $SECONDS -lt $end ] || { say "never became true: $*"; return 1; }
    sleep 0.02
  done
}
start_daemon() {
  "$PENSTOCK_BIN/penstockd" --bus "$PENSTOCK_BUS" 2>"$scratch/daemon.log" &
  daemon=$!
  until_true 10 grep -q 'ready, bus' "$scratch/daemon.log"
}

# A missing bus, and words that are wrong.
code 3 p topic list
code 3 p sub t
code 3 p dump t
code 3 p group list
code 3 p verify
code 3 p bus describe
code 3 p bus delete --yes
code 2 p
code 2 p frob
code 2 p pub
code 2 p topic create x --ring 1K
code 2 p topic create 'a..b'
code 2 p sub t --group g --lease 3
code 2 p sub t --group ''
code 2 p pub t --await tape
for program in penstock penstockd; do
  for option in --help --version; do
    timeout 30 "$PENSTOCK_BIN/$program" $option >/dev/full 2>"$scratch/err"
    equal "$? $(wc -l <"$scratch/err")" '1 1'
  done
done
code 0 p --help
code 0 p --version
grep -qx 'penstock [0-9]*\.[0-9]*\.[0-9]*' "$scratch/out" || say "no version: $(out)"
[ -e "$PENSTOCK_BUS" ] && say "a command that must not make the bus made it"

# Topics.
code 0 p topic create memory.events --durability memory --ring 1MiB
code 1 p topic create memory.events --durability memory --ring 1MiB
code 0 p topic describe memory.events --json
equal "$(out | jq -c '[.name,.durability,.first_offset,.next_offset,.ring_bytes,.producers]')" \
      '["memory.events","memory",0,0,1048576,0]'
code 2 p topic create desk.dlq --durability memory
code 3 p topic describe nothing
code 2 p topic delete memory.events
code 0 p topic delete memory.events --dry-run
code 0 p topic describe memory.events

# Publishing: lines, empty events, a last line without its newline, bytes of any value, keys, ids, headers.
printf 'one\n\nthree' | p --json pub memory.events >"$scratch/out" || say "pub"
equal "$(jq -c '[.topic,.offset,.duplicate]' "$scratch/out" | tr '\n' ' ')" \
      '["memory.events",0,false] ["memory.events",1,false] ["memory.events",2,false] '
equal "$(jq -r .id "$scratch/out" | sort -u | grep -c '^[0-9a-f]\{32\}$')" 3
head -c 100000 /dev/urandom >"$scratch/bytes"
p pub memory.events --whole <"$scratch/bytes" || say "pub --whole"
printf 'a\nb\0c\0' | p pub memory.events --null || say "pub --null"
code 0 p pub memory.events 'with: delim' --key-delim : --id order-1 -H trace=abc -H 'note=a=b'
code 0 p pub memory.events ''
p pub memory.events </dev/null || say "pub of nothing"
code 0 p dump memory.events --json
equal "$(out | jq -c .offset | tr '\n' ' ')" '0 1 2 3 4 5 6 7 '
equal "$(out | jq -r 'select(.offset==1).payload')" ''
equal "$(out | jq -r 'select(.offset==2).payload')" three
out | jq -r 'select(.offset==3).payload_base64' | base64 -d | cmp - "$scratch/bytes" || say "bytes came back different"
equal "$(out | jq -c 'select(.offset==4).payload')" '"a\nb"'
equal "$(out | jq -c 'select(.offset==6)|[.key,.payload,.id_text,.headers]')" \
      '["with"," delim","order-1",{"trace":"abc","note":"a=b"}]'
equal "$(out | jq -r 'select(.offset==0)|keys_unsorted|join(" ")')" 'topic offset time id id_text key headers size payload'
# The id that pub tells is the one that the event has.
equal "$(out | jq -r 'select(.offset<3).id' | tr '\n' ' ')" "$(jq -r .id "$scratch/out" | sed -n 1,3p | tr '\n' ' ')"
equal "$(p dump memory.events --id order-1 --json | jq .offset)" 6
equal "$(p dump memory.events --key with --format '%o %k %i%v\n')" '6 with order-1 delim'
equal "$(p dump memory.events --from 2 --to 3 --format '%v')" three
equal "$(p dump memory.events --reverse -n 2 --format '%o ')" '7 6 '

# A topic that refuses ids answers with the first event's offset, in one process and in the next.
code 0 p topic create once.only --publish-dedupe 100
printf 'a\nb\na\n' | p --json pub once.only --id-from payload >"$scratch/out" || say "pub of duplicates"
equal "$(jq -c '[.offset,.duplicate]' "$scratch/out" | tr '\n' ' ')" '[0,false] [1,false] [0,true] '
equal "$(printf 'b\nc\n' | p --json pub once.only --id-from payload | jq -c '[.offset,.duplicate]' | tr '\n' ' ')" \
      '[1,true] [2,false] '
equal "$(p topic describe once.only --json | jq .next_offset)" 3
# Nothing is a payload like any other.
equal "$(printf '\n\nd\n' | p --json pub once.only --id-from payload | jq -c '[.offset,.duplicate]' | tr '\n' ' ')" \
      '[3,false] [3,true] [4,false] '

# What retention leaves to groups is chosen when a topic is made, and changed.
kept() { p topic describe "$1" --json | jq -c '[.retain_unacked,.retention_bytes,.retention_waits_for]'; }
code 0 p topic create kept --retain-unacked --retention-bytes 1MiB
equal "$(kept kept)" '[true,1048576,null]'
code 2 p topic set kept --retain-unacked --no-retain-unacked
code 0 p topic set kept --no-retain-unacked
equal "$(kept kept)" '[false,1048576,null]'
code 0 p topic set once.only --retain-unacked
equal "$(kept once.only)" '[true,null,null]'
code 0 p topic delete kept --yes
code 0 p topic delete once.only --yes

# A closed stdout is no file of the bus: what cannot be written is not acked.
p sub memory.events --group closed -n 1 >&- 2>"$scratch/err"
equal "$? $(wc -l <"$scratch/err")" '1 1'
p sub memory.events --from 0 -n 1 >&- 2>"$scratch/err"
equal $? 1
equal "$(p group describe closed --json | jq -c '[.acked,.redelivered]')" '[0,0]'
code 0 p group delete closed --yes
# Nor is a closed stderr, and a limit on files is an error, not a death.
(ulimit -f 8; p topic create too.large 2>"$scratch/err"; [ $? = 1 ]) || say "ulimit -f: $(cat "$scratch/err")"
equal "$(wc -l <"$scratch/err")" 1

# Too large: refused with the limit, and what was before it is told.
{ echo small; head -c 300000 /dev/zero | tr '\0' x; echo; echo after; } >"$scratch/large"
code 1 p pub memory.events <"$scratch/large"
grep -q 262144 "$scratch/err" || say "the limit is not named: $(cat "$scratch/err")"
equal "$(p topic describe memory.events --json | jq .next_offset)" 9

# Looking without a group.
code 0 p sub memory.events --from 2 -n 1
equal "$(out)" three
code 0 p sub 'memory.*' --from -1 --exit-at-end --json
equal "$(out | jq -c '[.offset,.payload,has("group")]')" '[8,"small",false]'
code 0 p sub memory.events --exit-at-end
equal "$(out)" ''
code 3 p sub nothing --exit-at-end
code 3 p sub 'nothing.*' --exit-at-end
seq 5000 | p pub numbers.memory >/dev/null 2>&1 || say "pub makes its topic"
equal "$(p sub numbers.memory --from beginning --exit-at-end | md5sum)" "$(seq 5000 | md5sum)"
p sub numbers.memory --from beginning --exit-at-end | head -1 >/dev/null
equal "${PIPESTATUS[0]}" 0

# A group acks what it wrote, and goes on where it was.
code 0 p sub numbers.memory --group readers -n 3
equal "$(out | tr '\n' ' ')" '1 2 3 '
equal "$(p sub numbers.memory --group readers --exit-at-end | sed -n '1p;$p' | tr '\n' ' ')" '4 5000 '
code 0 p group describe readers --json
equal "$(out | jq -c '[.group,.topic,.committed,.next_offset,.lag,.in_flight,.acked]')" \
      '["readers","numbers.memory",5000,5000,0,0,5000]'
code 1 p sub numbers.memory --group readers --max-attempts 9 --exit-at-end
code 3 p group describe nobody
code 2 p group delete readers
code 0 p group delete readers --yes
code 3 p group describe readers

# A group ordered by key: an event that waits for its retry holds its key back and no other, and can be asked for.
printf 'a:1\na:2\na:4\nb:3\n' | p pub keyed.memory --key-delim : >/dev/null 2>&1 || say "pub with keys"
code 0 p sub keyed.memory --group lanes --ordering key --backoff 1h --exec 'read -r line; [ "$line" != 1 ]' -n 2
code 0 p group pending lanes --keys --json
equal "$(out | jq -c '[.group,.topic,.key,.offset,.state,.attempt,.behind,(.since|type)]')" \
      '["lanes","keyed.memory","a",0,"retrying",2,2,"string"]'
code 0 p group pending lanes --keys
equal "$(out | awk 'NR==2 {print $2, $3, $4, $5, $6}')" 'a 0 retrying 2 2'
equal "$(p group pending lanes --json | jq -r '.state' | sort | tr '\n' ' ')" 'queued queued waiting '
equal "$(p group describe lanes --json | jq -c '[.lag,.in_flight,.retrying,.queued,.acked,.full]')" '[3,0,1,2,1,0]'
code 0 p group delete lanes --yes

# Handlers: retries with their attempt, rejection, reasons, the DLQ, redrive.
start_daemon
code 1 "$PENSTOCK_BIN/penstockd" --bus "$PENSTOCK_BUS"
grep -q "$daemon" "$scratch/err" || say "the second daemon does not name the first: $(cat "$scratch/err")"
printf 'good\npoison\nrefused\n' | p pub jobs --id-from payload --await disk || say "pub --await disk"
cat >"$scratch/handler" <<'HANDLER'
read -r line
echo "$PENSTOCK_TOPIC $PENSTOCK_OFFSET [$PENSTOCK_KEY] $PENSTOCK_ID $PENSTOCK_ATTEMPT $line"
case $line in
  poison) [ -e "$FIXED" ] || { echo noise >&2; echo 'no answer' >&2; exit 7; } ;;
  refused) echo 'not mine' >&2; exit 100 ;;
esac
HANDLER
export FIXED=$scratch/fixed
code 0 p sub jobs --group workers --exec "sh $scratch/handler" --jobs 2 --max-attempts 3 --backoff 10ms --exit-at-end
equal "$(out | sort | tr '\n' '|')" \
      'jobs 0 [] good 1 good|jobs 1 [] poison 1 poison|jobs 1 [] poison 2 poison|jobs 1 [] poison 3 poison|jobs 2 [] refused 1 refused|'
code 0 p dlq show workers --json
equal "$(out | jq -c '.dead_letter|[.topic,.offset,.group,.attempts,.disposition,.error_class,.reason,.redrives]' | sort | tr '\n' ' ')" \
      '["jobs",1,"workers",3,"attempts","exit-7","no answer",0] ["jobs",2,"workers",1,"rejected","exit-100","not mine",0] '
equal "$(p dlq list --json | jq -c '[.group,.letters]')" '["workers",2]'
code 0 p dlq redrive workers --error-class exit-7 --dry-run --json
equal "$(out | jq -c 'select(has("dry_run"))|[.redriven,.dry_run]')" '[1,true]'
equal "$(p dlq list --json | jq .letters)" 2
touch "$FIXED"
code 0 p dlq redrive workers --error-class exit-7 --json
equal "$(out | jq -c 'select(has("dry_run")).redriven')" 1
code 0 p sub --group workers --exec "sh $scratch/handler" --exit-at-end
equal "$(out)" 'jobs 1 [] poison 1 poison'
equal "$(p dlq list --json | jq .letters)" 1
equal "$(p dlq list --json | jq .redriven)" 1
code 3 p dlq redrive workers --offset 99
code 2 p dlq purge workers
code 0 p dlq purge workers --yes
equal "$(p dlq list --json | jq .letters)" 0
equal "$(p dump workers.dlq --json | jq -c .dead_letter.offset | sort | tr '\n' ' ')" '1 2 '

# A handler that dies by a signal is named; one that does not read its stdin is no error.
head -c 200000 /dev/zero | p pub deaf --whole || say "pub deaf"
code 0 p sub deaf --group deaf --exec 'exit 0' --exit-at-end
echo x | p pub shot || say "pub shot"
code 0 p sub shot --group shot --exec 'kill -9 $$' --max-attempts 1 --exit-at-end
equal "$(p dlq show shot --json | jq -r .dead_letter.error_class)" signal-9

# A signal lets the running handler finish.
echo slow | p pub slowly || say "pub slowly"
"$PENSTOCK_BIN/penstock" sub slowly --group slow --exec \
  "touch $scratch/begun; while [ ! -e $scratch/go ]; do sleep 0.02; done; touch $scratch/finished" &
subscriber=$!
until_true 10 [ -e "$scratch/begun" ]
kill -TERM "$subscriber"
touch "$scratch/go"
wait "$subscriber"
equal "$?" 130
[ -e "$scratch/finished" ] || say "the handler did not finish"
equal "$(p group describe slow --json | jq -c '[.acked,.lag]')" '[1,0]'

# A clean stop keeps everything; verify and dump read a bus that is not running.
code 0 p stats --json
code 0 p doctor --json
equal "$(out | jq -r 'select(.ok or .advice != null).check' | tr '\n' ' ')" \
      'shm memlock nofile max_map_count io_uring clock processors logout disk direct daemon dlq shot '
equal "$(ulimit -Sn 512; p doctor --json | jq -r 'select(.check == "nofile").value')" \
      "$(prlimit --pid "$daemon" --nofile --raw --noheadings --output SOFT)"
kill -TERM "$daemon"
wait "$daemon"
equal "$?" 0
daemon=
code 0 p verify --json
equal "$(out | jq -s 'map(.ok)|all')" true
equal "$(p topic describe jobs --json | jq -c '[.next_offset,.durable_offset]')" '[3,3]'
code 0 p bus unload
code 0 p dump jobs --format '%v\n'
equal "$(out | tr '\n' ' ')" 'good poison refused '

# A flipped byte is found, and the rest still comes.
segment=$(find "$PENSTOCK_BUS/topics/jobs" -name '*.seg' | sort | head -1)
cp "$segment" "$scratch/damaged.seg"
at=$(grep -obUa poison "$scratch/damaged.seg" | head -1 | cut -d: -f1)
printf 'P' | dd of="$scratch/damaged.seg" bs=1 seek="$at" conv=notrunc status=none
code 4 p verify "$scratch/damaged.seg" --json
equal "$(out | jq -c '[.ok,(.problems|length>0)]')" '[false,true]'
code 4 p dump "$scratch/damaged.seg" --format '%v '
grep -qi poison "$scratch/out" && say "a damaged payload was shown"
code 0 p verify "$segment"

code 2 p bus delete
code 0 p bus delete --yes
[ -e "$PENSTOCK_BUS/topics" ] && say "the bus is still there"
exit $failed
