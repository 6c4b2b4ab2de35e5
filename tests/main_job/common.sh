# Sourced by scripts: a folder of their own, a bus in it, a daemon, and cleaning up.
PATH=$PENSTOCK_BIN:$PATH
work=$(mktemp -d "${TMPDIR:-/tmp}/penstock-test.XXXXXX")
export PENSTOCK_BUS=$work/bus
daemon=
finish() {
  # shellcheck disable=SC2046  # one word a process
  kill $(jobs -p) 2>/dev/null || true
  { wait; } 2>/dev/null || true
  # The live side of each bus in the folder.
  find "$work" -maxdepth 4 -type l -name live -printf '%l\0' 2>/dev/null | xargs -0r rm -rf
  rm -rf --one-file-system "$work"
}
trap finish EXIT
fail() {
  cat "$work/log" >&2
  echo "FAILED: $*" >&2
  exit 1
}
# wait_for COMMAND...: until it succeeds.
wait_for() {
  local end=$((SECONDS + 60))
  until "$@"; do
    [ $SECONDS -lt $end ] || fail "never: $*"
    sleep 0.02
  done
}
# What a reboot takes.
wipe_live_side() {
  local live
  live=$(readlink "$PENSTOCK_BUS/live")
  case $live in /dev/shm/penstock-*) rm -rf "$live" ;; *) fail "live leads to $live" ;; esac
}
start_daemon() {
  penstockd 2>>"$work/log" &
  daemon=$!
  for ((i = 0; i < 400; ++i)); do
    [ "$(penstock bus describe --json 2>/dev/null | jq -r '.daemon_pid // empty')" = "$daemon" ] && return
    sleep 0.05
  done
  fail "no daemon"
}
