#!/usr/bin/env bash
# Shared memory is removed under a daemon that runs: it says so and serves what is made anew, without a restart.
set -euo pipefail
. "$(dirname "$0")/../main_job/common.sh"
: >"$work/log"
told() { [ "$(grep -c "$1" "$work/log")" -ge "$2" ]; }
events() { penstock dump orders --format '%v\n' | paste -sd ' '; }
start_daemon
penstock pub orders one --await disk

# Nobody else was there: what it held is on disk.
wipe_live_side
wait_for told 'was removed under the daemon.*what it held is written' 1
wait_for told 'ready again' 1
timeout 60 penstock pub orders two --await disk || fail "no daemon serves the new live side"

# Somebody made another one first, as a process does that sees another boot id: offsets are given once.
kill -STOP "$daemon"
wipe_live_side
penstock pub orders three
kill -CONT "$daemon"
wait_for told 'was removed under the daemon.*what was not on disk is lost' 1
wait_for told 'ready again' 2
timeout 60 penstock pub orders four --await disk || fail "no daemon serves the second live side"
[ "$(events)" = "one two three four" ] || fail "the topic has: $(events)"
[ -z "$(penstock dump orders --format '%o\n' | sort -n | uniq -d)" ] || fail "an offset was given twice"

# The bus is gone as well: it is not made again.
live=$(readlink "$PENSTOCK_BUS/live")
mv "$PENSTOCK_BUS" "$work/elsewhere"
rm -rf "$live"
code=0
wait "$daemon" || code=$?
[ "$code" != 0 ] && [ ! -e "$PENSTOCK_BUS" ] || fail "it ended with $code"
mv "$work/elsewhere" "$PENSTOCK_BUS"
penstock verify >>"$work/log" 2>&1 || fail "verify"
