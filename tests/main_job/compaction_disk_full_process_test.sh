#!/usr/bin/env bash
# Compaction on a disk that is full, in a daemon that is killed in the middle of it, again and again: nothing that should
# stay is lost, nothing is left behind, and with space it is done. SEED: when the daemon is killed; COUNT: how often (10).
set -euo pipefail
. "$(dirname "$0")/faults.sh"
in_own_mounts "$0" "$@"
. "$(dirname "$0")/common.sh"
: >"$work/log"
small_disk 32m 512KiB

# Of every second five hundred events the keys are their own, so half of each segment stays and needs room when it is
# written anew.
events=100000
start_daemon
penstock topic create state --ring 1MiB >/dev/null
awk -v n="$events" 'BEGIN {
  for (i = 0; i < n; ++i) printf "%s%d:value %d of its key and some more text\n", int(i / 500) % 2 ? "shared" : "own", int(i / 500) % 2 ? i % 20 : i, i
}' |
  penstock pub state --key-delim : --await disk --quiet
newest() {
  penstock dump state --format '%o %k %v\n' >"$work/dump" || fail "$1: dump ended with $?"
  tac "$work/dump" | awk '!seen[$2]++' | sort >"$work/newest"
  penstock verify >"$work/verified" || fail "$1: verify: $(cat "$work/verified")"
}
nothing_is_lost() {
  newest "$1"
  cmp -s "$work/newest" "$work/expected" || fail "$1: other newest events: $(diff "$work/newest" "$work/expected" | head -3)"
}
newest "before compaction"
cp "$work/newest" "$work/expected"
[ "$(wc -l <"$work/expected")" = $((events / 2 + 20)) ] || fail "not all keys"
bytes() { penstock topic describe state --json | jq .disk_bytes; }
before=$(bytes)

# --- No space at all for what is written anew.
fill() { dd if=/dev/zero of="$PENSTOCK_BUS/ballast" bs=4k 2>/dev/null || true; }
fill
penstock topic set state --compact >/dev/null || { rm "$PENSTOCK_BUS/ballast" && penstock topic set state --compact >/dev/null && fill; }
wait_for grep -q 'state is not compacted: no space left' "$work/log"
nothing_is_lost "on a full disk"
[ "$(bytes)" -ge $((before * 9 / 10)) ] || fail "it was compacted all the same"
kill_daemon
start_daemon
nothing_is_lost "on a full disk, killed"

# --- Space for some segments and not for others; killed at any moment, with the shared-memory side at times.
for ((round = 0; round < ${COUNT:-10}; ++round)); do
  kill_daemon
  truncate -s -$((RANDOM % 40 * 4096)) "$PENSTOCK_BUS/ballast"
  [ $((RANDOM % 3)) != 0 ] || wipe_live_side
  start_daemon
  sleep "0.0$((RANDOM % 90 + 10))"  # a moment like any other
done
kill_daemon
nothing_is_lost "after the kills"

# --- With space it is done.
rm "$PENSTOCK_BUS/ballast"
start_daemon
compacted() { [ "$(bytes)" -lt $((before * 7 / 10)) ]; }
wait_for compacted
nothing_is_lost "with space again"
kill -TERM "$daemon"
wait "$daemon" || fail "penstockd ended with $?"
daemon=
[ -z "$(find "$PENSTOCK_BUS/topics" -name '*.tmp')" ] || fail "left behind: $(find "$PENSTOCK_BUS/topics" -name '*.tmp')"
wipe_live_side
nothing_is_lost "at rest"
