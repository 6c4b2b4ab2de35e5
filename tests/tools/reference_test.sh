#!/usr/bin/env bash
# The API reference is made of the public headers, without a complaint; and whatever they leave untold is one.
set -euo pipefail
. "$(dirname "$0")/../main_job/common.sh"
command -v doxygen >/dev/null || { echo "skipped: doxygen is missing"; exit 77; }
tools/reference/make "$work/reference" || fail "the headers do not tell all"
shows() { grep -q "$2" "$work/reference/html/$1"; }
# A class, a call, a field, an error and a call of C, each with what its comment says.
shows classpenstock_1_1Producer.html "Copies the event into the log" || fail "Producer::publish"
shows structpenstock_1_1TopicInfo.html "what the next event gets" || fail "TopicInfo::next_offset"
shows namespacepenstock.html "nothing is lost in memory" || fail "Errc::disk"
shows penstock_8h.html "Waits until every offset up to this one is on disk" || fail "penstock_await_durable"
if shows classpenstock_1_1Bus.html state_; then fail "private members are shown"; fi

mkdir "$work/headers"
for lacking in '  Result<void> untold(int x);' '  enum class Untold { a };' '  void untold();  // see Errc::nowhere and \\nonsense'; do
  cp -r transport/include/penstock "$work/headers"
  sed -i "s|^class Bus {|&\n public:\n$lacking\n|" "$work/headers/penstock/bus.hpp"
  if tools/reference/make "$work/lacking" "$work/headers" 2>"$work/complaint"; then fail "it does not complain of: $lacking"; fi
  grep -q "bus.hpp" "$work/complaint" || fail "it complains of something else: $(cat "$work/complaint")"
done
