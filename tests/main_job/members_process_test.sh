#!/usr/bin/env bash
# Two producers and three members of one group at once: nothing lost, nothing acked twice; then the same with members and
# the daemon killed in the middle, where nothing may be lost.
set -euo pipefail
. "$(dirname "$0")/common.sh"
each=${1:-150000}
members=()
member() {
  penstock sub "$1" --group g --format '%v\n' >>"$work/$1.$2" 2>>"$work/log" &
  members+=($!)
}
settled() {
  for ((i = 0; i < 600; ++i)); do
    [ "$(penstock group describe g --json | jq -s --arg t "$1" 'map(select(.topic == $t)) | .[0].committed')" = "$2" ] && return
    sleep 0.05
  done
  fail "$1 is not settled"
}

start_daemon
seq 1 "$each" | sed 's/^/a/' >"$work/a"
seq 1 "$each" | sed 's/^/b/' >"$work/b"
sort "$work/a" "$work/b" >"$work/all"

# --- Undisturbed.
penstock topic create calm
for m in 1 2 3; do member calm "$m"; done
penstock pub calm <"$work/a" & pa=$!
penstock pub calm <"$work/b" & pb=$!
wait "$pa" "$pb"
settled calm $((2 * each))
kill -TERM "${members[@]}"
wait "${members[@]}" || true
sort "$work"/calm.* | cmp -s - "$work/all" || fail "the members did not receive every event once"
[ "$(penstock group describe g --json | jq -s 'map(.acked) | add')" = $((2 * each)) ] || fail "acked counts"
for letter in a b; do
  penstock dump calm --format '%v\n' | grep "^$letter" | cmp -s - "$work/$letter" || fail "producer $letter is out of order"
done

# --- Members and the daemon die.
penstock group delete g --yes >/dev/null
penstock topic create storm
members=()
for m in 1 2 3; do member storm "$m"; done
penstock pub storm <"$work/a" & pa=$!
penstock pub storm <"$work/b" & pb=$!
sleep 0.2
kill -KILL "${members[0]}"
member storm 4
kill -KILL "$daemon"
start_daemon
kill -KILL "${members[1]}"
member storm 5
wait "$pa" "$pb"
settled storm $((2 * each))
# What a killed member wrote last may be cut short; an event it had not acked came again.
sort -u "$work"/storm.* | comm -13 - "$work/all" >"$work/lost"
[ ! -s "$work/lost" ] || fail "$(wc -l <"$work/lost") events were lost"
penstock verify >/dev/null || fail "verify"
