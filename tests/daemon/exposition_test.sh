#!/usr/bin/env bash
# The metrics as Prometheus' own client library for Python reads them, for hosts without promtool: see promtool_test.sh.
set -euo pipefail
/usr/bin/python3 -c 'import prometheus_client.parser' 2>/dev/null || {
  echo "skipped: python3-prometheus-client is missing"
  exit 77
}
. "$(dirname "$0")/monitored.sh"

start_monitored '127.0.0.1:0'
make_some_of_everything
fetch /metrics
body >"$work/metrics"
# check FILE: every line is understood, every metric described and typed, no sample told twice.
check() {
  /usr/bin/python3 - "$1" <<'PYTHON'
import sys
from prometheus_client.parser import text_string_to_metric_families

seen = set()
families = list(text_string_to_metric_families(open(sys.argv[1]).read()))
for family in families:
    assert family.documentation and family.type in ("counter", "gauge"), f"{family.name}: {family.type}"
    for sample in family.samples:
        told = (sample.name, tuple(sorted(sample.labels.items())))
        assert told not in seen, f"twice: {told}"
        seen.add(told)
        assert family.type != "counter" or sample.name.endswith("_total"), sample.name
assert len(families) > 20 and len(seen) >= len(families), f"only {len(families)} metrics"
PYTHON
}
check "$work/metrics" || fail "the metrics cannot be read"
# It does look.
for fault in 's/^\(penstock_ready\) .*/\1 much/' 's/^# TYPE penstock_ready.*//' 's/^\(penstock_ready .*\)/\1\n\1/' \
  's/topic="payment/topic=payment/'; do
  sed "$fault" "$work/metrics" >"$work/broken"
  if check "$work/broken" 2>/dev/null; then fail "not noticed: $fault"; fi
done
