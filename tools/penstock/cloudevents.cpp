#include "tools/penstock/cloudevents.hpp"

#include <algorithm>

#include "tools/penstock/format.hpp"
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

// Of other headers' names those that the specification has for attributes.
bool attribute_name(std::string_view name) {
  return !name.empty() &&
         std::all_of(name.begin(), name.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); });
}

bool trace_name(std::string_view name) { return name == "traceparent" || name == "tracestate"; }

// Where the text's JSON string that begins at `at` ends, behind its quote.
std::size_t behind_string(std::string_view text, std::size_t at) {
  for (++at; text[at] != '"'; ++at) at += text[at] == '\\' ? 1 : 0;
  return at + 1;
}

// The value of the object's member as it is written there, since reading and writing it anew rounds large numbers.
// `text` is known to be an object in JSON that has the member.
std::string_view written_value(std::string_view text, std::string_view name) {
  constexpr std::string_view kBlanks = " \t\r\n";
  std::string_view value;
  std::size_t at = text.find('{') + 1;
  while ((at = text.find_first_not_of(kBlanks, at)) != std::string_view::npos && text[at] == '"') {
    const std::size_t key_end = behind_string(text, at);
    const Json key = Json::parse(text.substr(at, key_end - at));
    const std::size_t begin = text.find_first_not_of(kBlanks, text.find(':', key_end) + 1);
    std::size_t depth = 0;
    for (at = begin; depth > 0 || (text[at] != ',' && text[at] != '}');) {
      if (text[at] == '"') {
        at = behind_string(text, at);
        continue;
      }
      depth += text[at] == '{' || text[at] == '[' ? 1 : 0;
      depth -= text[at] == '}' || text[at] == ']' ? 1 : 0;
      ++at;
    }
    if (key == name) value = text.substr(begin, at - begin);
    ++at;
  }
  return value.substr(0, value.find_last_not_of(kBlanks) + 1);
}

// Text stays text; anything else is passed on as the JSON it is.
std::optional<std::string> payload_of(const Json& object, std::string_view text, bool plain) {
  if (const auto encoded = object.find("data_base64"); encoded != object.end()) {
    return encoded->is_string() ? from_base64(encoded->get_ref<const std::string&>()) : std::nullopt;
  }
  const auto data = object.find("data");
  if (data == object.end() || data->is_null()) return "";
  return plain && data->is_string() ? data->get<std::string>() : std::string(written_value(text, "data"));
}

bool is_json(std::string_view type) {
  const std::string_view bare = type.substr(0, type.find(';'));
  return bare.empty() || bare.ends_with("/json") || bare.ends_with("+json");
}

// The first thing that keeps it from being a CloudEvent of ours to read, and what to do.
std::optional<std::string> wrong_with(const Json& object) {
  if (object.is_array()) return "it is a batch; give one event a line, as `jq -c '.[]'` makes them";
  if (!object.is_object()) return "it is not a JSON object on one line; `jq -c .` makes it one";
  for (const char* required : {"specversion", "id", "source", "type"}) {
    const auto found = object.find(required);
    if (found == object.end() || !found->is_string() || found->get_ref<const std::string&>().empty())
      return "its attribute " + std::string(required) + " is missing or no text";
  }
  if (object["specversion"] != "1.0")
    return "its specversion is " + object["specversion"].get<std::string>() + "; only 1.0 is read";
  if (object.contains("data") && object.contains("data_base64")) return "it has both data and data_base64; give one";
  for (const auto& [name, value] : object.items()) {
    if (name == "data" || name == "data_base64") continue;
    if (!attribute_name(name)) return "its attribute " + name + " is not named in small letters and digits alone";
    if (value.is_structured()) return "its attribute " + name + " is no text, number or truth value; put it into data";
  }
  return {};
}

// "name":"text"
void append_attribute(std::string& out, std::string_view name, std::string_view value) {
  out += out.back() == '{' ? "" : ",";
  append_string(out, name);
  out += ':';
  append_string(out, valid_utf8(value) ? std::string(value) : escaped(value));
}

// As a CloudEvent would have to be told: the attributes of one that came as such, else what ours has instead.
void append_context(std::string& out, const EventView& event, const std::vector<Header>& headers) {
  if (event.header("ce_specversion")) {
    for (const Header& header : headers)
      if (header.name.starts_with("ce_")) append_attribute(out, header.name.substr(3), header.value);
    return;
  }
  append_attribute(out, "specversion", "1.0");
  append_attribute(out, "id", id_for_people(event));
  append_attribute(out, "source", "/topics/" + std::string(event.topic()));
  append_attribute(out, "type", event.topic());
  append_attribute(out, "time", time_text(event.time()));
  if (const auto key = event.key()) append_attribute(out, "partitionkey", *key);
  for (const Header& header : headers) {
    static constexpr std::string_view kTaken[] = {
        "specversion", "id", "source", "type", "time", "partitionkey", "datacontenttype", "dataschema", "data"};
    const bool taken = std::find(std::begin(kTaken), std::end(kTaken), header.name) != std::end(kTaken);
    if (!taken && !trace_name(header.name) && attribute_name(header.name))
      append_attribute(out, header.name, header.value);
  }
}

// JSON stands in the line as it is, text as a string, anything else in base64. Without a type data is JSON: `add_type`
// says what it is instead.
void append_data(std::string& out, std::string_view payload, std::string_view type, bool add_type) {
  const bool json = is_json(type) && Json::accept(payload) && payload.find_first_of("\r\n") == std::string_view::npos;
  const bool text = !json && valid_utf8(payload) && (!is_json(type) || (type.empty() && add_type));
  if (!json && type.empty() && add_type) type = text ? "text/plain" : "application/octet-stream";
  if (!type.empty()) append_attribute(out, "datacontenttype", type);
  if (json) {
    out += ",\"data\":";
    out += payload;
  } else if (text) {
    append_attribute(out, "data", payload);
  } else {
    append_attribute(out, "data_base64", base64(payload));
  }
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
  if (const auto wrong = wrong_with(object)) return tl::unexpected(*wrong);
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
      event.headers.emplace_back((trace_name(name) ? "" : "ce_") + name, attribute_text(value));
    if (name == "partitionkey" || (name == "subject" && !object.contains("partitionkey")))
      event.key = attribute_text(value);
  }
  auto payload = payload_of(object, text, !is_json(event.content_type));
  if (!payload) return tl::unexpected(std::string("its data_base64 is not base64"));
  event.payload = std::move(*payload);
  return event;
}

void append_cloudevent(std::string& out, const EventView& event) {
  const std::vector<Header> headers = event.headers();
  std::string object = "{";
  append_context(object, event, headers);
  for (const Header& header : headers)
    if (trace_name(header.name)) append_attribute(object, header.name, header.value);
  if (const auto schema = event.schema()) append_attribute(object, "dataschema", *schema);
  const std::string_view type = event.content_type().value_or(std::string_view());
  if (!event.payload().empty())
    append_data(object, text_of(event.payload()), type, !event.header("ce_specversion"));
  else if (!type.empty())
    append_attribute(object, "datacontenttype", type);
  out += object;
  out += "}\n";
}

}  // namespace penstock::tool
