#!/usr/bin/env bash
# The kernel refuses io_uring, as in containers: everything durable works through pwrite, and it is said which backend
# there is and why.
set -euo pipefail
refused=$PENSTOCK_BIN/../tests/penstock_without_io_uring
[ -x "$refused" ] || { echo "skipped: $refused is not built"; exit 77; }
code=0
"$refused" EPERM true || code=$?
[ "$code" = 0 ] || exit "$code"
. "$(dirname "$0")/faults.sh"
. "$(dirname "$0")/common.sh"

# check ERROR TEXT: under a filter that answers so.
check() {
  : >"$work/log"
  "$refused" "$1" penstockd 2>>"$work/log" &
  daemon=$!
  wait_for grep -q 'ready, bus .*, pwrite' "$work/log"
  grep -q "io_uring is refused ($2)" "$work/log" || fail "$1: the log does not say why"
  [ "$(penstock bus describe --json | jq -r .backend)" = pwrite ] || fail "$1: another backend"
  seq 1000 | penstock pub numbers --await disk --quiet || fail "$1: pub ended with $?"
  # Who asks may stand outside of the container; and inside.
  for as in "" "$refused $1"; do
    $as penstock doctor --json >"$work/doctor" || fail "$1: doctor ended with $?"
    jq -se --arg text "$2" 'any(.[]; .check == "daemon" and (.ok | not) and
      (.value | test("pwrite \\(io_uring is refused to it: " + $text)) and (.advice | test("seccomp")))' \
      "$work/doctor" >/dev/null || fail "$1: doctor says $(cat "$work/doctor")"
  done
  jq -se --arg text "$2" 'any(.[]; .check == "io_uring" and .value == "refused: " + $text)' "$work/doctor" >/dev/null ||
    fail "$1: inside, doctor says $(cat "$work/doctor")"
  kill -TERM "$daemon"
  wait "$daemon" || fail "$1: penstockd ended with $?"
  daemon=
}
check EPERM 'Operation not permitted'
check ENOSYS 'Function not implemented'
[ "$(penstock dump numbers --format '%v\n' | sort | uniq -c | awk '$1 == 2' | wc -l)" = 1000 ] || fail "numbers are lost"

# A sysctl says no in the same way; then that is what to change.
if unshare -m true 2>/dev/null; then
  echo 2 >"$work/disabled"
  # shellcheck disable=SC2016  # the inner shell's
  unshare -m sh -c 'mount --bind "$1/disabled" /proc/sys/kernel/io_uring_disabled && exec "$2" EPERM penstock doctor' \
    sh "$work" "$refused" >"$work/doctor"
  grep -A1 'io_uring: refused: Operation not permitted' "$work/doctor" | grep -q kernel.io_uring_disabled=0 ||
    fail "with the sysctl doctor says $(cat "$work/doctor")"
fi

# The same suite as ever, on a disk that is written with pwrite.
"$refused" EPERM tests/main_job/million_process_test.sh 20000 || fail "the million"
"$refused" ENOSYS tests/main_job/members_process_test.sh 10000 || fail "members"
"$refused" EPERM tests/main_job/compaction_process_test.sh 50000 || fail "compaction"
COUNT=2 "$refused" EPERM tests/main_job/disk_full_process_test.sh || [ $? = 77 ] || fail "a full disk"
