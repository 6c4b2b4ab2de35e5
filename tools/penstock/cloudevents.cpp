#include "tools/penstock/cloudevents.hpp"

#include "tools/penstock/json.hpp"

namespace penstock::tool {
namespace {

int digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

std::string attribute_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.dump();
}

// Text stays text; anything else is passed on as the JSON it is.
std::optional<std::string> payload_of(const Json& object, bool text) {
  if (const auto encoded = object.find("data_base64"); encoded != object.end()) {
    return encoded->is_string() ? from_base64(encoded->get_ref<const std::string&>()) : std::nullopt;
  }
  const auto data = object.find("data");
  if (data == object.end() || data->is_null()) return "";
  return text && data->is_string() ? data->get<std::string>() : data->dump();
}

bool is_json(std::string_view type) {
  const std::string_view bare = type.substr(0, type.find(';'));
  return bare.empty() || bare.ends_with("/json") || bare.ends_with("+json");
}

}  // namespace

std::optional<std::string> from_base64(std::string_view text) {
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  if (text.size() % 4 == 1) return {};
  std::string result;
  unsigned bits = 0;
  int held = 0;
  for (const char c : text) {
    const int value = digit(c);
    if (value < 0) return {};
    bits = bits << 6 | static_cast<unsigned>(value);
    held += 6;
    if (held >= 8) result += static_cast<char>(bits >> (held -= 8) & 0xff);
  }
  return result;
}

Parsed<CloudEvent> parse_cloudevent(std::string_view text) {
  const Json object = Json::parse(text, nullptr, false);
  if (object.is_discarded() || !object.is_object()) return tl::unexpected(std::string("it is not a JSON object"));
  for (const char* required : {"specversion", "id", "source", "type"}) {
    const auto found = object.find(required);
    if (found == object.end() || !found->is_string() || found->get_ref<const std::string&>().empty()) {
      return tl::unexpected("its attribute " + std::string(required) + " is missing or no text");
    }
  }
  CloudEvent event;
  // Source and id together are unique; the id alone is not.
  event.id = object["source"].get<std::string>() + "#" + object["id"].get<std::string>();
  for (const auto& [name, value] : object.items()) {
    if (name == "data" || name == "data_base64" || value.is_null()) continue;
    if (name == "datacontenttype")
      event.content_type = attribute_text(value);
    else if (name == "dataschema")
      event.schema = attribute_text(value);
    else
      event.headers.emplace_back("ce_" + name, attribute_text(value));
    if (name == "partitionkey" || (name == "subject" && !object.contains("partitionkey")))
      event.key = attribute_text(value);
  }
  auto payload = payload_of(object, !is_json(event.content_type));
  if (!payload) return tl::unexpected(std::string("its data_base64 is not base64"));
  event.payload = std::move(*payload);
  return event;
}

}  // namespace penstock::tool
