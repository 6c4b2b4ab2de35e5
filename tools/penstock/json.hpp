// Events and descriptions as JSON, one object a line. Events are written by hand, since `sub` and `dump` write
// millions; the order of the keys and what stands for absent values is a contract with scripts.
#pragma once

#include <nlohmann/json.hpp>
#include <penstock/admin.hpp>
#include <penstock/event.hpp>
#include <penstock/log.hpp>
#include <string>
#include <string_view>

namespace penstock::tool {

using Json = nlohmann::ordered_json;

// RFC 3339 in UTC with nine digits after the point.
std::string time_text(Timestamp time);
bool valid_utf8(std::string_view text);
std::string base64(std::string_view bytes);
std::string hex(std::string_view bytes);
inline std::string_view text_of(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
inline Bytes bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

// A string with its quotes and escapes; bytes that are not UTF-8 must not come here.
void append_string(std::string& out, std::string_view text);
// One line of text for people: control characters and what is not UTF-8 become \n, \t, \xHH.
std::string escaped(std::string_view text);

enum class PayloadAs : std::uint8_t { text, hex, nothing };

// What an event's object has besides the event.
struct EventExtras {
  std::string_view group;  // of a delivery; empty: none, and no attempt
  unsigned attempt = 0;
  const DeadLetter* letter = nullptr;  // nothing: the event's own history, if it has one
  PayloadAs payload = PayloadAs::text;
};
void append_event(std::string& out, const EventView& event, const EventExtras& extras = {});

// One line of a description; what is not UTF-8 is replaced, so that the line is always JSON.
std::string line(const Json& object);

Json topic_json(const TopicInfo& info);
Json group_json(const GroupInfo& info);
Json group_topic_json(const GroupTopicInfo& info);
Json pending_json(const std::string& group, const PendingInfo& info);
Json key_json(const std::string& group, const KeyInfo& info);
Json file_json(const FileReport& report);
Json bus_json(const BusInfo& info);

const char* name_of(Durability durability);
const char* name_of(Full full);
const char* name_of(Ordering ordering);
const char* name_of(Expired expired);
// 1500ms, 30s, 5m: the largest unit that tells it exactly.
std::string duration_text(std::chrono::nanoseconds duration);
// 64KiB, 1.5GiB: for people, not for reading back.
std::string size_text(std::uint64_t bytes);

}  // namespace penstock::tool
