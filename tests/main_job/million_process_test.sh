#!/usr/bin/env bash
# A million lines through shared memory and disk: two groups and a reader without one receive every byte once and in
# order, and so they do again after the shared-memory side is gone.
set -euo pipefail
. "$(dirname "$0")/common.sh"
lines=${1:-1000000}
same() { cmp -s "$1" "$work/lines" || fail "$2 differs from what was published"; }

seq 1 "$lines" | awk '{ printf "%d line of some length %s\n", $1, substr("abcdefghijklmnopqrstuvwxyz0123456789", 1, $1 % 36) }' \
  >"$work/lines"
start_daemon
penstock sub lines --group one -n "$lines" >"$work/one" 2>/dev/null &
one=$!
penstock sub lines --group two -n "$lines" >"$work/two" 2>/dev/null &
two=$!
penstock sub lines --from beginning -n "$lines" >"$work/reader" 2>/dev/null &
reader=$!
penstock pub lines <"$work/lines" || fail "pub ended with $?"
wait "$one" "$two" "$reader"
same "$work/one" "group one"
same "$work/two" "group two"
same "$work/reader" "the reader"
penstock dump lines --format '%v\n' >"$work/dumped"
same "$work/dumped" "dump"

kill -TERM "$daemon"
wait "$daemon" || fail "penstockd ended with $?"
daemon=
wipe_live_side
penstock dump lines --format '%v\n' >"$work/dumped"
same "$work/dumped" "dump of a bus that does not run"
start_daemon
penstock dump lines --format '%v\n' >"$work/dumped"
same "$work/dumped" "dump after the restart"
penstock verify --json >"$work/verified" || fail "verify"
[ "$(jq -s 'map(.events) | add' "$work/verified")" = "$lines" ] || fail "verify counts other events"
for group in one two; do
  place=$(penstock group describe "$group" --json | jq -c '[.committed, .lag]')
  [ "$place" = "[$lines,0]" ] || fail "group $group stands at $place"
done
echo after | penstock pub lines --json | jq -e ".offset == $lines" >/dev/null || fail "the next offset is not $lines"
[ "$(penstock sub lines --group one --exit-at-end)" = after ] || fail "group one does not go on where it was"
