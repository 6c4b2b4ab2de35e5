#!/usr/bin/env bash
# Two hundred thousand events over a hundred keys: compaction leaves the newest of each key and little else, gives the
# disk back, and stays so over a restart and the loss of the shared-memory side.
set -euo pipefail
. "$(dirname "$0")/common.sh"
events=${1:-200000}
mkdir -p "$PENSTOCK_BUS"
printf '[daemon]\nsegment_bytes = "512KiB"\n' >"$PENSTOCK_BUS/bus.toml"

penstock topic create ticks --durability memory --compact 2>"$work/refused" && fail "a memory topic is compacted"
grep -q 'only topics on disk are compacted' "$work/refused" || fail "the refusal says: $(cat "$work/refused")"
start_daemon
penstock topic create state --ring 1MiB
awk -v n="$events" 'BEGIN { for (i = 0; i < n; ++i) printf "k%d:value %d of its key and some more text\n", i % 100, i }' |
  penstock pub state --key-delim : --await disk
before=$(penstock topic describe state --json | jq .disk_bytes)
[ "$before" -gt $((events * 100)) ] || fail "only $before bytes on disk before compaction"

newest() {
  penstock dump state --json >"$work/dump" || fail "dump ended with $?"
  jq -r 'select(.key != null) | "\(.key) \(.payload)"' "$work/dump" |
    awk '{ key = $1; sub(/^[^ ]* /, ""); newest[key] = $0 } END { for (key in newest) print key, newest[key] }' |
    sort >"$work/newest"
}
newest
cp "$work/newest" "$work/expected"
[ "$(wc -l <"$work/expected")" = 100 ] || fail "not a hundred keys"

penstock topic set state --compact
[ "$(penstock topic describe state --json | jq .compact)" = true ] || fail "compaction is not on"
compacted() { [ "$(penstock topic describe state --json | jq .disk_bytes)" -lt $((before / 8)) ]; }
for ((i = 0; i < 1200; ++i)); do
  compacted && break
  sleep 0.05
done
compacted || fail "$(penstock topic describe state --json | jq .disk_bytes) bytes on disk of $before"

check() {
  newest
  cmp -s "$work/newest" "$work/expected" || fail "$1: dump shows other newest events"
  left=$(jq -s 'map(select(.key != null)) | length' "$work/dump")
  [ "$left" -lt $((events / 8)) ] || fail "$1: $left events are left"
  # Every offset is an event or was removed, once.
  jq -s --argjson n "$events" 'map(.compacted // 1) | add == $n' "$work/dump" | grep -q true || fail "$1: offsets"
  penstock verify --json >"$work/verified" || fail "$1: verify"
}
check "after compaction"
penstock dump state --json --reverse >"$work/reverse" || fail "dump --reverse"
[ "$(jq -s 'map(.compacted // 1) | add' "$work/reverse")" = "$events" ] || fail "backwards there are other offsets"
[ "$(penstock dump state --json --from 1000 -n 1 | jq -s '.[-1].offset >= 1000')" = true ] || fail "seek by offset"
sub=$(penstock sub state --group view --exit-at-end --format '%k\n' | sort -u | wc -l)
[ "$sub" = 100 ] || fail "a new group is given $sub keys"

kill -TERM "$daemon"
wait "$daemon" || fail "penstockd ended with $?"
daemon=
check "at rest"
wipe_live_side
start_daemon
check "after the loss of the shared-memory side"
echo after | penstock pub state --json | jq -e ".offset == $events" >/dev/null || fail "the next offset is not $events"
penstock topic set state --no-compact
[ "$(penstock topic describe state --json | jq .compact)" = false ] || fail "compaction is not off"
