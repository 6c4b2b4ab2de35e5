#!/usr/bin/env bash
# penstock bench measures each of its parts, leaves nothing behind, also when it is interrupted, and takes only its own
# topics off a bus that was named.
set -euo pipefail
. "$(dirname "$0")/../main_job/common.sh"
export TMPDIR=$work/tmp
mkdir "$TMPDIR"
nothing_left() {
  [ -z "$(ls -A "$TMPDIR")" ] || fail "$1 left $(ls "$TMPDIR")"
}
measured() {
  jq -r .measured | tr '\n' ' '
}

[ "$(penstock bench --json --duration 30ms 2>"$work/log" | measured)" = "line round_trip readers group " ] || fail "memory"
nothing_left "memory"
[ "$(penstock bench --json --duration 40ms --durability disk --payload 1KiB 2>"$work/log" | measured)" = \
  "line round_trip readers group durable durable_rate " ] || fail "disk"
nothing_left "disk"
penstock bench --duration 30ms 2>"$work/log" | grep -q '^round trip (' || fail "the table has no round trip"

# On a bus that was named.
penstock topic create mine --durability memory
penstock bench --bus "$PENSTOCK_BUS" --duration 30ms --producers 2 --consumers 2 --quiet >/dev/null 2>"$work/log" || fail "--bus"
[ "$(penstock topic list --json | jq -r .name)" = mine ] || fail "--bus left topics: $(penstock topic list)"
[ -z "$(penstock group list --json)" ] || fail "--bus left groups: $(penstock group list)"
code=0
penstock bench --bus "$PENSTOCK_BUS" --durability disk 2>"$work/log" || code=$?
[ "$code" = 3 ] || fail "disk on a bus without a daemon ended with $code"

# Interrupted once it is at work: once its scratch directory is there.
penstock bench --duration 1h >/dev/null 2>"$work/log" &
bench=$!
for ((i = 0; i < 400; ++i)); do
  [ -d "$(echo "$TMPDIR"/penstock-bench-*)/bus/topics" ] && break
  sleep 0.05
done
kill -TERM "$bench"
code=0
wait "$bench" || code=$?
[ "$code" = 130 ] || fail "an interrupted run ended with $code"
nothing_left "an interrupted run"
