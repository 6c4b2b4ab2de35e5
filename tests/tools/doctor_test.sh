#!/usr/bin/env bash
# What penstock doctor says at night of groups that do not get on: each finding names the cause and the command.
set -euo pipefail
. "$(dirname "$0")/../main_job/common.sh"
: >"$work/log"

# finds CHECK VALUE ADVICE: a finding that has both.
finds() {
  penstock doctor --json >"$work/doctor"
  jq -se --arg check "$1" --arg value "$2" --arg advice "$3" \
    'any(.[]; .check == $check and (.ok | not) and (.value | contains($value)) and (.advice | contains($advice)))' \
    "$work/doctor" >/dev/null || fail "not found: $*: $(cat "$work/doctor")"
}
quiet() { ! penstock doctor --json | jq -e 'select(.check | test("^(group|groups|dlq|topic|topics) ?"))' >/dev/null; }

start_daemon
seq 3 | penstock pub orders --await disk --quiet
quiet || fail "a bus where all is well: $(penstock doctor)"

penstock sub orders --group desk --max-attempts 2 --backoff 1h -n 1 --exec 'echo no carrier >&2; exit 3' 2>/dev/null
finds 'group desk' 'no member; 3 events wait, the oldest for ' 'start the service'
finds 'group desk' '1 events fail again and again, one of them with exit-3: no carrier' 'penstock group pending desk'
penstock group pause desk
finds 'group desk' 'paused; 3 events wait' 'penstock group resume desk'
penstock group delete desk --yes

penstock sub orders --group poison --max-attempts 1 --exit-at-end --exec 'echo bad format >&2; exit 3' 2>/dev/null
finds 'dlq poison' '3 dead letters, one of ' 'mend the cause, then penstock dlq redrive poison'
finds 'dlq poison' 'with exit-3: bad format' 'penstock dlq show poison'
penstock dlq purge poison --yes >/dev/null
quiet || fail "once all is done: $(penstock doctor)"

penstock topic create ticks --durability memory --ring 64KiB --full fail
penstock sub ticks --group plot --exit-at-end
seq 2000 | penstock pub ticks --quiet 2>/dev/null && fail "the ring was not full"
finds 'topic ticks' 'producers wait for group plot' 'penstock group seek'

kill "$daemon"
wait "$daemon" || fail "penstockd ended with $?"
finds daemon none 'start penstockd'
