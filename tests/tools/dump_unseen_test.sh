#!/usr/bin/env bash
# dump says what it cannot see: events in shared memory, when it is given a file, or when that memory is not there.
set -euo pipefail
. "$(dirname "$0")/../main_job/common.sh"
: >"$work/log"

# shows EVENTS TEXT ARGUMENT...: dump ends with 0, prints these and says that on stderr, or nothing.
shows() {
  local events=$1 text=$2
  shift 2
  penstock dump "$@" --format '%v ' >"$work/out" 2>"$work/err" || fail "dump $* ended with $?"
  [ "$(cat "$work/out")" = "$events" ] || fail "dump $*: $(cat "$work/out")"
  if [ -z "$text" ]; then
    [ ! -s "$work/err" ] || fail "dump $*: $(cat "$work/err")"
  else
    [ "$(wc -l <"$work/err")" = 1 ] && grep -qF -- "$text" "$work/err" ||
      fail "dump $*: $(cat "$work/err"), and not: $text"
  fi
}
start_daemon
seq 3 | penstock pub orders --await disk --quiet
file=$PENSTOCK_BUS/topics/orders/00000000000000000000.seg
shows '1 2 3 ' '' "$file"
kill -KILL "$daemon" # nothing comes to disk any more
wait "$daemon" || true
seq 4 5 | penstock pub orders --quiet
shows '1 2 3 ' "what begins at offset 3 and ends before 5 is in shared memory and not on disk yet; see it with 'penstock --bus $PENSTOCK_BUS dump orders'" "$file"
shows '1 2 3 4 5 ' '' orders
shows '1 2 ' '' "$file" -n 2
shows '1 2 3 ' '' "$file" --quiet
live=$(readlink "$PENSTOCK_BUS/live")
mv "$live" "$live.away"
shows '1 2 3 ' "only what is on disk is shown: $live is not there. After a reboot that is all; if the bus runs, in another" orders
mv "$live.away" "$live"
start_daemon
kill "$daemon"
wait "$daemon" || fail "penstockd ended with $?"
penstock bus unload
shows '1 2 3 4 5 ' '' orders
