# shellcheck shell=bash disable=SC2154  # what the script that sources it has
# Sourced by manual_process_test.sh: what commands print as JSON on a bus on which things happened, and what their pages
# tell of it. A field that is printed and not told, or told and not printed, fails.
told=0
page_fields() {  # PAGE HEADING: the fields that this part of the page defines, one a line
  awk -v heading="$2" '/^#/ { part = $0 } part == heading && /^\*[a-z0-9_]+\*(, \*[a-z0-9_]+\*)*$/' "$pages/$1.scd" |
    grep -o '[a-z0-9_]*' | sort -u
}
printed() { jq -r 'keys[]' | sed 's/_base64$//' | sort -u; }  # of all the objects on standard input
# same_fields PRINTED TOLD: these files have the same lines.
same_fields() { diff "$1" "$2" >"$work/diff"; }
# fields PAGE HEADING COMMAND...: the command prints what that part of the page tells.
fields() {
  local page=$1 heading=$2
  shift 2
  "$@" >"$work/json" 2>>"$work/log" || fail "'$*' failed"
  printed <"$work/json" >"$work/printed"
  page_fields "$page" "$heading" >"$work/told"
  [ -s "$work/printed" ] || fail "'$*' prints nothing"
  same_fields "$work/printed" "$work/told" || fail "$page ($heading) tells other fields (right) than '$*' prints: $(cat "$work/diff")"
  told=$((told + $(wc -l <"$work/printed")))
}

# What happened: an event that has all it can have is rejected by one group and to be tried again by two.
start_daemon
jq -nc '{specversion: "1.0", id: "a", source: "/shop", type: "order", datacontenttype: "text/plain",
    dataschema: "http://shop/order", data: "first"}' |
  penstock pub orders --cloudevents --deliver-at +1ms --ttl 1d --key k -H "raw=$(printf '\xff')" 2>>"$work/log"
for group in keys desk; do
  ordering=parallel
  [ $group = desk ] || ordering=key
  penstock sub orders --group $group --ordering $ordering --backoff 1h --exec 'exit 3' -n 1 2>>"$work/log"
done
penstock sub orders --group strict --exec 'exit 100' -n 1 2>>"$work/log"
letter_is_there() { [ "$(penstock dlq list --json | jq 'select(.group == "strict") | .letters')" = 1 ]; }
wait_for letter_is_there

fields penstock-pub.1 '# AS JSON' penstock pub orders second --json
all_events() { penstock sub orders --group all --json -n 2 && penstock dump orders --json && penstock dlq export strict; }
fields penstock.1 '# EVENTS AS JSON' all_events
letter() { penstock dlq show strict --json | jq .dead_letter; }
fields penstock.1 "## A dead letter's history" letter
fields penstock-topic.1 '## topic describe' penstock topic describe orders --json
fields penstock-topic.1 '## topic describe' penstock topic list --json
fields penstock-topic.1 '## topic delete' penstock topic delete orders --dry-run --json
fields penstock-group.1 '## group list' penstock group list --json
fields penstock-group.1 '## group describe' penstock group describe desk --json
fields penstock-group.1 '## group delete' penstock group delete desk --dry-run --json
pending() {
  penstock group pending desk --json
  penstock group pending desk --keys --json
  penstock group pending keys --keys --json
}
fields penstock-group.1 '## group pending' pending
fields penstock-dlq.1 '## dlq list' penstock dlq list --json
fields penstock-dlq.1 '## dlq redrive' penstock dlq redrive strict --dry-run --json
purge() { penstock dlq purge strict --dry-run --json | sed 's/"purged":/"redriven":/'; }
fields penstock-dlq.1 '## dlq redrive' purge
fields penstock-bus.1 '## bus describe' penstock bus describe --json
fields penstock-bus.1 '## bus delete' penstock bus delete --dry-run --json
fields penstock-verify.1 '# AS JSON' penstock verify --json
fields penstock-doctor.1 '# AS JSON' penstock doctor --json
fields penstock-bench.1 '# AS JSON' penstock bench --durability disk --duration 200ms --json
{ penstock topic describe orders --json && penstock group describe desk --json; } >"$work/described"
only_stats() {
  penstock stats --json | jq -c --slurpfile d "$work/described" '[to_entries[] | select(.key | in($d | add) | not)] | from_entries'
}
fields penstock-stats.1 '# AS JSON' only_stats
[ "$told" -gt 150 ] || fail "only $told fields were compared"

# What a field too few in a page would look like.
sed 's/^\*durable_error\*$/durable_error/' "$pages/penstock-topic.1.scd" >"$work/penstock-topic.1.scd"
penstock topic list --json | printed >"$work/printed"
pages=$work page_fields penstock-topic.1 '## topic describe' >"$work/told"
if same_fields "$work/printed" "$work/told"; then fail "a missing field is not noticed"; fi

kill "$daemon"
wait "$daemon"
penstock bus delete --yes --quiet >/dev/null
