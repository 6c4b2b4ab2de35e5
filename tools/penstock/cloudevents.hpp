// CloudEvents 1.0 in their JSON form, one a line, turned into what an event of ours holds, and back. What comes in goes
// out as it came: every attribute, and the data byte for byte, but for numbers and truth values of extension
// attributes, which go out as texts.
#pragma once

#include <optional>
#include <penstock/event.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/penstock/parse.hpp"

namespace penstock::tool {

struct CloudEvent {
  std::string id;
  std::optional<std::string> key;  // its partitionkey, else its subject
  std::string content_type;
  std::string schema;
  // Every other attribute, as ce_NAME; but traceparent and tracestate as they are, for programs that know no
  // CloudEvents.
  std::vector<std::pair<std::string, std::string>> headers;
  std::string payload;
};

// The error says which attribute is missing or wrong.
Parsed<CloudEvent> parse_cloudevent(std::string_view text);
// A line. An event that was none is given what is needed: its id, /topics/TOPIC as source, its topic as type, its time,
// its key as partitionkey. Headers that can be attributes become some, others are left out.
void append_cloudevent(std::string& out, const EventView& event);
// The bytes of a base64 text, or nothing.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace penstock::tool
