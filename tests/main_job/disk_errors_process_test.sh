#!/usr/bin/env bash
# A disk that refuses writes with EIO, and stops doing so, under a real file system: nbdkit gives the errors, nbdfuse and
# a loop device make a disk of it. Who awaits is told, durability stops with the error and goes on after it, and what was
# called durable is there, whole, also when all that the kernel kept in memory is gone. COUNT: outbreaks (3).
set -euo pipefail
. "$(dirname "$0")/faults.sh"
for program in nbdkit nbdfuse mkfs.ext4; do
  command -v "$program" >/dev/null || { echo "skipped: $program is missing"; exit 77; }
done
[ -w /dev/fuse ] && [ -w /dev/loop-control ] || { echo "skipped: neither FUSE nor loop devices for us here"; exit 77; }
in_own_mounts "$0" "$@"
. "$(dirname "$0")/common.sh"
: >"$work/log" >"$work/durable"

# --- The disk. Without a journal: ext4 gives a file system up, for good, when that cannot be written.
mkdir "$work/nbd" "$PENSTOCK_BUS"
truncate -s 96M "$work/disk"
nbdkit -f -U "$work/socket" --filter=error file "$work/disk" error=EIO error-pwrite-rate=100% "error-file=$work/errors" \
  2>>"$work/log" &
wait_for test -S "$work/socket"
nbdfuse "$work/nbd/disk" "nbd+unix:///?socket=$work/socket" 2>>"$work/log" &
made() { [ -s "$work/nbd/disk" ]; }
wait_for made
mkfs.ext4 -q -O ^has_journal "$work/nbd/disk" || { echo "skipped: no file system can be made over FUSE here"; exit 77; }
mount_disk() { mount -o loop,errors=continue -t ext4 "$work/nbd/disk" "$PENSTOCK_BUS"; }
mount_disk 2>"$work/why" || { echo "skipped: $(cat "$work/why")"; exit 77; }
# shellcheck disable=SC2154  # daemon is common.sh's
trap 'rm -f "$work/errors"; kill -KILL $daemon 2>/dev/null || true; rm -rf "$(readlink "$PENSTOCK_BUS/live")"; umount "$PENSTOCK_BUS" || umount -l "$PENSTOCK_BUS"
  umount -l "$work/nbd"; finish' EXIT
printf '[daemon]\nsegment_bytes = "1MiB"\n' >"$PENSTOCK_BUS/bus.toml"

# --- Outbreaks, in the middle of what is written.
start_daemon
penstock topic create t --ring 64MiB >/dev/null
for ((outbreak = 0; outbreak < ${COUNT:-3}; ++outbreak)); do
  publish_durably t 200 1000 || fail "on a good disk: $(cat "$work/pub")"
  segments=$(find "$PENSTOCK_BUS/topics/t" -name '*.seg' | wc -l)
  (while [ ! -e "$work/done" ]; do payloads 20 1000 | penstock pub t --quiet --wait 1s 2>/dev/null || true; done) &
  producer=$!
  touch "$work/errors"
  wait_for errs_with t 5
  code=0
  publish_durably t 50 1000 || code=$?
  [ "$code" = 1 ] || fail "who awaited a broken disk ended with $code"
  grep -q 'Input/output error' "$work/pub" || fail "the awaiter was told: $(cat "$work/pub")"
  payloads 50 1000 | penstock pub t --quiet || fail "publishing without awaiting ended with $?"
  kill -0 "$daemon" || fail "the daemon is gone"
  penstock doctor --json |
    jq -se 'any(.[]; .check == "topic t" and (.ok | not) and (.value | test("Input/output error")))' >/dev/null ||
    fail "doctor: $(penstock doctor)"
  # Killed in the middle of it, too: the next daemon finds a disk that refuses.
  if [ $((outbreak % 2)) = 1 ]; then
    kill_daemon
    start_daemon
    wait_for errs_with t 5
  fi
  rm "$work/errors"
  wait_for errs_with t 0
  touch "$work/done"
  wait "$producer"
  rm "$work/done"
  publish_durably t 50 1000 || fail "after the errors: $(cat "$work/pub")"
  [ "$(find "$PENSTOCK_BUS/topics/t" -name '*.seg' | wc -l)" -gt "$segments" ] || fail "no new segment was begun"
  durable_is_there t "after outbreak $outbreak"
done
grep -q 'topic t: events are not written to disk' "$work/log" || fail "the log does not tell of the error"
grep -q 'topic t is written to disk again' "$work/log" || fail "the log does not tell that it goes on"

# --- What the disk itself holds, when the kernel and the shared memory have forgotten all.
kill_daemon
wipe_live_side
umount "$PENSTOCK_BUS"
mount_disk
durable_is_there t "on the disk"
start_daemon
publish_durably t 50 1000 || fail "after the reboot: $(cat "$work/pub")"
durable_is_there t "after the reboot"
kill -TERM "$daemon"
wait "$daemon" || fail "penstockd ended with $?"
daemon=
echo "$(wc -l <"$work/durable") durable events"
