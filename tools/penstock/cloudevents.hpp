// CloudEvents 1.0 in their JSON form, turned into what an event of ours holds.
#pragma once

#include <optional>
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
  std::vector<std::pair<std::string, std::string>> headers;  // every other attribute, as ce_NAME
  std::string payload;
};

// The error says which attribute is missing or wrong.
Parsed<CloudEvent> parse_cloudevent(std::string_view text);
// The bytes of a base64 text, or nothing.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace penstock::tool
