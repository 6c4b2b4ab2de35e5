#include <cstring>
#include <penstock/event.hpp>

#include "api/error.hpp"
#include "layout/dead_letter.hpp"
#include "log/attributes.hpp"
#include "log/checksum.hpp"

namespace penstock {
namespace {

EventId to_id(const layout::Id128& value) {
  EventId out;  // the most significant byte first, as XXH3-128 is written canonically
  for (std::size_t i = 0; i < 8; ++i) {
    out.bytes[7 - i] = std::byte(value.high >> (8 * i));
    out.bytes[15 - i] = std::byte(value.low >> (8 * i));
  }
  return out;
}

std::optional<Timestamp> to_time(std::optional<std::int64_t> ns) {
  if (!ns) return std::nullopt;
  return Timestamp(std::chrono::nanoseconds(*ns));
}

}  // namespace

std::string EventId::hex() const {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out(32, '0');
  for (std::size_t i = 0; i < 16; ++i) {
    const auto byte = std::to_integer<unsigned>(bytes[i]);
    out[2 * i] = kDigits[byte >> 4];
    out[2 * i + 1] = kDigits[byte & 15];
  }
  return out;
}

EventId EventId::of(std::string_view given) { return to_id(log::hash128(given.data(), given.size())); }

EventId EventView::id() const {
  const layout::Id128 stored{raw_.id_low, raw_.id_high};
  return to_id(raw_.given_id ? stored : log::hash128(&stored, sizeof stored));
}

std::optional<std::string_view> EventView::id_text() const {
  return log::find_attribute(raw_.attributes, layout::Attribute::id_text);
}
std::optional<std::string_view> EventView::key() const {
  return log::find_attribute(raw_.attributes, layout::Attribute::key);
}
std::optional<std::string_view> EventView::content_type() const {
  return log::find_attribute(raw_.attributes, layout::Attribute::content_type);
}
std::optional<std::string_view> EventView::schema() const {
  return log::find_attribute(raw_.attributes, layout::Attribute::schema);
}
std::optional<Timestamp> EventView::deliver_at() const {
  return to_time(log::find_time(raw_.attributes, layout::Attribute::deliver_at));
}
std::optional<Timestamp> EventView::expires_at() const {
  return to_time(log::find_time(raw_.attributes, layout::Attribute::expires_at));
}

std::vector<Header> EventView::headers() const {
  std::vector<Header> out;
  log::AttributeReader reader(raw_.attributes);
  while (const auto entry = reader.next()) {
    if (entry->type != layout::Attribute::header) continue;
    const auto nul = entry->value.find('\0');
    if (nul != std::string_view::npos) out.push_back({entry->value.substr(0, nul), entry->value.substr(nul + 1)});
  }
  return out;
}

std::optional<std::string_view> EventView::header(std::string_view name) const {
  for (const Header& header : headers())
    if (header.name == name) return header.value;
  return std::nullopt;
}

Event::Event(const EventView& view) : raw_(view.raw()) {
  const std::size_t topic = raw_.topic.size(), attributes = raw_.attributes.size(), payload = raw_.payload.size();
  bytes_.reset(new std::byte[topic + attributes + payload + 1]);
  std::byte* at = bytes_.get();
  const auto keep = [&at](const void* from, std::size_t size) {
    std::byte* const begin = at;
    if (size != 0) std::memcpy(at, from, size);
    at += size;
    return begin;
  };
  raw_.topic = {reinterpret_cast<const char*>(keep(raw_.topic.data(), topic)), topic};
  raw_.attributes = {keep(raw_.attributes.data(), attributes), attributes};
  raw_.payload = {keep(raw_.payload.data(), payload), payload};
}

Result<DeadLetter> DeadLetter::of(const EventView& event) {
  const auto value = log::find_attribute(event.attribute_bytes(), layout::Attribute::dead_letter);
  if (!value) return api::refuse(Errc::not_found, "event " + std::to_string(event.offset()) + " is no dead letter");
  layout::DeadLetterFields fields;
  if (value->size() < sizeof fields) return api::refuse(Errc::corrupt, "a dead letter's history");
  std::memcpy(&fields, value->data(), sizeof fields);
  std::string_view rest = value->substr(sizeof fields);
  const std::size_t text =
      std::size_t{fields.topic_size} + fields.group_size + fields.member_size + fields.class_size + fields.reason_size;
  if (rest.size() != text) return api::refuse(Errc::corrupt, "a dead letter's history");
  const auto take = [&rest](std::size_t size) {
    std::string out(rest.substr(0, size));
    rest.remove_prefix(size);
    return out;
  };
  static constexpr const char* kDispositions[] = {"attempts", "rejected", "expired", "crash"};
  DeadLetter out;
  out.topic = take(fields.topic_size);
  out.group = take(fields.group_size);
  out.member = take(fields.member_size);
  out.error_class = take(fields.class_size);
  out.reason = take(fields.reason_size);
  out.offset = fields.offset;
  out.attempts = fields.attempts;
  out.redrives = fields.redrives;
  out.first_failure = Timestamp(std::chrono::nanoseconds(fields.first_ns));
  out.last_failure = Timestamp(std::chrono::nanoseconds(fields.last_ns));
  out.disposition = fields.disposition < 4 ? kDispositions[fields.disposition] : "attempts";
  return out;
}

}  // namespace penstock
