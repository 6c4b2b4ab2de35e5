#!/usr/bin/env bash
# The metrics and the alerts as Prometheus' own checker sees them.
set -euo pipefail
command -v promtool >/dev/null || {
  echo "skipped: promtool is missing (.ci/promtool gets it); exposition_test.sh reads the same with another parser"
  exit 77
}
. "$(dirname "$0")/monitored.sh"

start_monitored '127.0.0.1:0'
make_some_of_everything
fetch /metrics
body | promtool check metrics >"$work/told" 2>&1 || fail "$(cat "$work/told")"
[ ! -s "$work/told" ] || fail "$(cat "$work/told")"
# It does look: a counter without its suffix is told of.
if body | sed 's/_acked_total/_acked/' | promtool check metrics >/dev/null 2>&1; then fail "promtool finds nothing"; fi
promtool check rules tools/monitoring/alerts.yml >"$work/told" 2>&1 || fail "$(cat "$work/told")"
