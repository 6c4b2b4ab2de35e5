# Sourced by the scripts beside it: a daemon that serves metrics, and a client.
. "$(dirname "${BASH_SOURCE[0]}")/../main_job/common.sh"
: >"$work/log"

# start_monitored ADDRESS: sets host and port.
start_monitored() {
  penstockd --metrics "$1" 2>>"$work/log" &
  daemon=$!
  wait_for grep -q 'ready, bus' "$work/log"
  read -r host port < <(sed -n 's|.*metrics at http://\(.*\):\([0-9]*\)/metrics$|\1 \2|p' "$work/log" | tail -1)
}
# fetch PATH: the answer is in $work/answer.
fetch() {
  exec 3<>"/dev/tcp/$host/$port"
  printf 'GET %s HTTP/1.0\r\n\r\n' "$1" >&3
  tr -d '\r' <&3 >"$work/answer"
  exec 3>&-
}
body() { sed '1,/^$/d' "$work/answer"; }
expect() { head -1 "$work/answer" | grep -q "^HTTP/1.1 $1 " || fail "not $1: $(cat "$work/answer")"; }
# Twenty payments, one of which could not be shipped, and two that a second group waits to try again; and a topic in
# memory.
make_some_of_everything() {
  seq 20 | penstock pub payment.confirmed --await disk --quiet
  # shellcheck disable=SC2016  # the handler's variable
  penstock sub payment.confirmed --group fulfillment --max-attempts 1 --exit-at-end \
    --exec '[ "$PENSTOCK_OFFSET" != 4 ] || exit 3' 2>/dev/null
  penstock sub payment.confirmed --group desk --backoff 1h -n 2 --exec 'exit 3' 2>/dev/null
  penstock topic create ticks --durability memory
}
