#!/usr/bin/env bash
# A bus on a small tmpfs that fills up under its producers: who awaits the disk is told, everybody else publishes until
# the ring is full, what was called durable stays so over kills of the daemon and the loss of the shared-memory side,
# and with space again everything goes on by itself. SEED: when the daemon is killed; COUNT: how often (8).
set -euo pipefail
. "$(dirname "$0")/faults.sh"
in_own_mounts "$0" "$@"
. "$(dirname "$0")/common.sh"
: >"$work/log" >"$work/durable"
small_disk 12m 1MiB
start_monitored() {
  penstockd --metrics 127.0.0.1:0 2>>"$work/log" &
  daemon=$!
  wait_for running
}
running() { [ "$(penstock bus describe --json 2>/dev/null | jq -r '.daemon_pid // empty')" = "$daemon" ]; }
metric() {
  local port
  port=$(sed -n 's|.*metrics at http://127.0.0.1:\([0-9]*\)/metrics$|\1|p' "$work/log" | tail -1)
  exec 3<>"/dev/tcp/127.0.0.1/$port"
  printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3
  sed -n "s/^$1 //p" <&3 | tr -d '\r'
}

# --- It fills up while somebody publishes without waiting for the disk.
start_monitored
penstock topic create full --ring 1MiB >/dev/null
penstock topic create other --ring 1MiB >/dev/null
(while payloads 50 2000 | penstock pub other --wait 1s --quiet 2>/dev/null; do :; done) &
while publish_durably full 50 2000; do
  [ "$line" -lt 20000 ] || fail "the disk is never full"
done
grep -q 'No space left on device' "$work/pub" || fail "the awaiter was told: $(cat "$work/pub")"
[ "$(wc -l <"$work/durable")" -gt 500 ] || fail "only $(wc -l <"$work/durable") events became durable"
wait_for errs_with full 28
penstock doctor --json | jq -se 'any(.[]; .check == "topic full" and (.ok | not) and (.value | test("No space left")))' \
  >/dev/null || fail "doctor: $(penstock doctor)"
[ "$(metric 'penstock_topic_durable_error{topic="full"}')" = 28 ] || fail "the metric is another"
grep -q "topic full: events are not written to disk ($PENSTOCK_BUS/topics/full: no space left: .* are free in $PENSTOCK_BUS" "$work/log" || fail "the log does not say it"
durable_is_there full "when the disk was full"

# --- In memory it goes on until the ring is full, and then it is said.
end() { penstock topic describe "$1" --json | jq .next_offset; }
before=$(end full)
code=0
payloads 2000 2000 | penstock pub full --wait 1s 2>"$work/pub" || code=$?
[ "$code" = 1 ] || fail "publishing into a full ring ended with $code"
[ "$(end full)" -gt "$before" ] || fail "nothing was published in memory"
grep -qi 'full\|no space' "$work/pub" || fail "who finds the ring full is told: $(cat "$work/pub")"
penstock dump full --format '%o\n' >"$work/dumped"
[ "$(tail -1 "$work/dumped")" = $(($(end full) - 1)) ] || fail "the ring's events cannot be read"

# --- The daemon is killed there, again and again, sometimes with the shared-memory side.
for ((i = 0; i < ${COUNT:-8}; ++i)); do
  sleep "0.$((RANDOM % 900 + 100))"  # a moment like any other
  kill_daemon
  if [ $((RANDOM % 3)) = 0 ]; then
    wipe_live_side
    durable_is_there full "after kill $i and a wipe"
  fi
  start_monitored
  publish_durably full 1 2000 || true
  durable_is_there full "after kill $i"
done

# --- With space again it goes on, by itself.
mount -o remount,size=200m "$PENSTOCK_BUS"
wait_for errs_with full 0
wait_for errs_with other 0
publish_durably full 100 2000 || fail "with space again: $(cat "$work/pub")"
publish_durably full 100 2000 || fail "with space again: $(cat "$work/pub")"
[ "$(metric 'penstock_topic_durable_error{topic="full"}')" = 0 ] || fail "the metric stays"
kill_daemon
wipe_live_side
durable_is_there full "after all"
start_monitored
durable_is_there full "after the restart"
kill -TERM "$daemon"
wait "$daemon" || fail "penstockd ended with $?"
daemon=
durable_is_there full "at rest"
echo "$(wc -l <"$work/durable") durable events"
