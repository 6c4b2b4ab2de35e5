# Sourced by the scripts beside it: a bus of their own, a daemon, and cleaning up.
PATH=$PENSTOCK_BIN:$PATH
work=$(mktemp -d "${TMPDIR:-/tmp}/penstock-test.XXXXXX")
export PENSTOCK_BUS=$work/bus
daemon=
finish() {
  # shellcheck disable=SC2046  # one word a process
  kill $(jobs -p) 2>/dev/null || true
  { wait; } 2>/dev/null || true
  penstock bus delete --yes --quiet >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap finish EXIT
fail() {
  cat "$work/log" >&2
  echo "FAILED: $*" >&2
  exit 1
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
