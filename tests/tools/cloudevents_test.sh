#!/usr/bin/env bash
# CloudEvents 1.0 in JSON go in and come out the same; other events come out as valid ones; and a W3C trace context
# reaches consumers in every language through the event's headers.
set -euo pipefail
. tests/main_job/common.sh
: >"$work/log"

# --- In and out: the examples of the specification, data of every kind, extensions, a trace.
cat >"$work/in" <<'JSON'
{"specversion":"1.0","type":"com.github.pull_request.opened","source":"https://github.com/cloudevents/spec/pull","subject":"123","id":"A234-1234-1234","time":"2018-04-05T17:31:00Z","comexampleextension1":"value","datacontenttype":"text/xml","data":"<much wow=\"xml\"/>"}
{"specversion":"1.0","type":"com.example.someevent","source":"/mycontext","id":"C234-1234-1234","datacontenttype":"application/vnd.apache.thrift.binary","data_base64":"/wCBAA=="}
{"specversion":"1.0","id":"2","source":"/s","type":"t","datacontenttype":"application/json; charset=utf-8","data":{"amount": 12345678901234567890.10, "x":"a\"}{"}}
{"specversion":"1.0","id":"3","source":"/s","type":"t","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","tracestate":"rojo=00f067aa0ba902b7","data_base64":"/wA="}
{"specversion":"1.0","id":"4","source":"/s","type":"t","partitionkey":"k","dataschema":"/x.json"}
{"specversion":"1.0","id":"5","source":"/s","type":"t","data":[1,null,true]}
JSON
penstock pub ce --cloudevents <"$work/in"
penstock dump ce --cloudevents >"$work/out"
diff <(jq -cS . "$work/in") <(jq -cS . "$work/out") >&2 || fail "what went in came out different"
[ "$(penstock dump ce --json | jq -c '[.key,.id_text]' | head -1)" = '["123","https://github.com/cloudevents/spec/pull#A234-1234-1234"]' ] ||
  fail "key and id: $(penstock dump ce --json | head -1)"
penstock dump ce --from 2 --to 3 --format '%v' | cmp - <(printf '{"amount": 12345678901234567890.10, "x":"a\\"}{"}') ||
  fail "the data was written anew"
penstock dump ce --cloudevents | penstock pub again --cloudevents
penstock dump again --cloudevents | cmp - "$work/out" || fail "the second time it is another"
# Sent twice, it is once in a topic that refuses duplicates: source and id tell events apart.
penstock topic create once --publish-dedupe 100
cat "$work/in" "$work/in" | penstock pub once --cloudevents --json | jq -s -e 'map(.duplicate) == [range(12) | . >= 6]' \
  >/dev/null || fail "duplicates"

# --- Events that were none: what a CloudEvent must have, and the payload byte for byte.
readonly trace=00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
penstock pub t hello --key k -H traceparent=$trace -H tracestate=a=1,b=2 -H Not-An-Attribute=1 -H region=eu
penstock pub t '{"a":1}' --id pay-9
printf '\377\0' | penstock pub t --whole
printf '{"a":\n1}' | penstock pub t --whole
penstock dump t --cloudevents >"$work/out"
jq -se --arg trace $trace '(all(.[]; .specversion == "1.0" and .source == "/topics/t" and .type == "t" and (.id | length > 0)
    and (.time | test("^20[0-9-]{8}T[0-9:.]*Z$")) and (keys | all(test("^[a-z0-9]+$|^data_base64$")))))
  and (.[0] | .data == "hello" and .partitionkey == "k" and .traceparent == $trace and .tracestate == "a=1,b=2" and .region == "eu")
  and .[1].id == "pay-9" and .[1].data == {a: 1} and .[2].data_base64 == "/wA="' "$work/out" >/dev/null ||
  fail "as CloudEvents: $(cat "$work/out")"
penstock pub t2 --cloudevents <"$work/out"
for topic in t t2; do penstock dump $topic --format '%v\n' | md5sum; done | uniq | wc -l | grep -qx 1 || fail "payloads differ"

# --- What is wrong is named, and what to do; those before it are in.
for wrong in '[{}]|batch; give one event a line, as `jq -c' '{|not a JSON object on one line; `jq -c .`' \
  '{"specversion":"0.3","id":"1","source":"s","type":"t"}|only 1.0 is read' \
  '{"specversion":"1.0","id":"1","source":"s"}|its attribute type is missing' \
  '{"specversion":"1.0","id":1,"source":"s","type":"t"}|its attribute id is missing or no text' \
  '{"specversion":"1.0","id":"1","source":"s","type":"t","dataContentType":"x"}|dataContentType is not named in small letters' \
  '{"specversion":"1.0","id":"1","source":"s","type":"t","ext":{}}|put it into data' \
  '{"specversion":"1.0","id":"1","source":"s","type":"t","data":1,"data_base64":"AA=="}|both data and data_base64' \
  '{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"*"}|its data_base64 is not base64'; do
  code=0
  { head -1 "$work/in"; echo "${wrong%%|*}"; } | penstock pub wrong --cloudevents 2>"$work/err" || code=$?
  [ "$code" = 1 ] && grep -qF "event 2 is no CloudEvent: " "$work/err" && grep -qF "${wrong#*|}" "$work/err" &&
    grep -qF '1 event was published before it' "$work/err" || fail "$wrong: $code, $(cat "$work/err")"
done

# --- The trace: into headers by the command, through Python if that is built, into a handler's environment.
next=traced
penstock pub $next x -H traceparent=$trace -H tracestate=a=1
if PYTHONPATH=$PENSTOCK_BIN/../python /usr/bin/python3 -c 'import penstock' 2>/dev/null; then
  PYTHONPATH=$PENSTOCK_BIN/../python /usr/bin/python3 - <<'PYTHON'
import os, penstock
bus = penstock.Bus(os.environ["PENSTOCK_BUS"])
with bus.reader("traced", "beginning") as reader, bus.producer("passed") as producer:
    event = reader.next(10)
    producer.publish(b"y", headers=event.headers)
PYTHON
  next=passed
fi
# shellcheck disable=SC2016  # the handler's variables
[ "$(penstock sub $next --group g --exit-at-end --exec 'echo "$TRACEPARENT $TRACESTATE"')" = "$trace a=1" ] ||
  fail "the trace in the handler of $next"
# An event without one adds nothing.
penstock pub bare x
# shellcheck disable=SC2016
[ "$(penstock sub bare --group b --exit-at-end --exec 'echo "${TRACEPARENT-none}"')" = none ] || fail "a trace from nowhere"
