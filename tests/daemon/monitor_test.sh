#!/usr/bin/env bash
# penstockd --metrics over HTTP: what the endpoints answer, over a reload too, and that every metric which the dashboard
# and the alerts name is served.
set -euo pipefail
. "$(dirname "$0")/monitored.sh"

start_monitored '127.0.0.1:0'
fetch /healthz
expect 200
[ "$(body)" = ok ] || fail "healthz: $(body)"
fetch /readyz
expect 200
fetch /nothing
expect 404

make_some_of_everything
fetch /metrics
expect 200
grep -qi '^Content-Type: text/plain; version=0.0.4' "$work/answer" || fail "type: $(cat "$work/answer")"
value() { body | sed -n "s/^$1 //p"; }
[ "$(value 'penstock_topic_next_offset{topic="payment.confirmed"}')" = 20 ] || fail "offset"
[ "$(value 'penstock_group_acked_total{group="fulfillment",topic="payment.confirmed"}')" = 19 ] || fail "acked"
[ "$(value 'penstock_dlq_letters{group="fulfillment"}')" = 1 ] || fail "letters"
[ "$(value penstock_ready)" = 1 ] || fail "ready"
[ "$(value penstock_describe_failures_total)" = 0 ] || fail "something could not be described"

# lacking FILE: the metrics that the file names and that are not served.
lacking() {
  comm -23 <(grep -o '\bpenstock_[a-z_]*' "$1" | sort -u) <(body | sed -n 's/^# TYPE \([a-z_]*\) .*/\1/p' | sort)
}
for file in grafana-dashboard.json alerts.yml; do
  [ "$(grep -c penstock_ "tools/monitoring/$file")" -gt 5 ] || fail "$file names no metrics"
  [ -z "$(lacking "tools/monitoring/$file")" ] || fail "$file: not served: $(lacking "tools/monitoring/$file")"
done
echo 'rate(penstock_topic_typos_total[1m])' >"$work/query"
[ "$(lacking "$work/query")" = penstock_topic_typos_total ] || fail "a metric that is not served is not noticed"
# And the other way round: but for a constant, what is served is on the dashboard.
for metric in $(body | sed -n 's/^# TYPE \([a-z_]*\) .*/\1/p' | grep -v ring_bytes); do
  grep -q "$metric\b" tools/monitoring/grafana-dashboard.json || fail "$metric is on no panel"
done
jq -e '.panels | length > 20 and all(.id and .gridPos) and ([.[].id] | unique | length) == length' \
  tools/monitoring/grafana-dashboard.json >/dev/null || fail "the dashboard's panels"

# A reload that changes settings keeps the port.
echo '[daemon]
checkpoint = "50ms"' >"$PENSTOCK_BUS/bus.toml"
kill -HUP "$daemon"
wait_for grep -q 'bus.toml was read again and is in effect' "$work/log"
fetch /readyz
expect 200
fetch /metrics
[ "$(value 'penstock_topic_next_offset{topic="payment.confirmed"}')" = 20 ] || fail "offset after the reload"

# A port that is taken and an address that is none are errors at the start, before the bus is touched.
code=0
penstockd --bus "$work/other" --metrics "$host:$port" 2>"$work/error" || code=$?
[ "$code" = 1 ] || fail "a taken port ended with $code"
[ "$(wc -l <"$work/error")" = 1 ] && grep -q "$host:$port (Address already in use)" "$work/error" || fail "$(cat "$work/error")"
code=0
penstockd --bus "$work/other" --metrics nowhere 2>"$work/error" || code=$?
[ "$code" = 2 ] || fail "a wrong address ended with $code"
[ ! -e "$work/other" ] || fail "the bus was made"

kill "$daemon"
wait "$daemon" || fail "it ended with $?"
