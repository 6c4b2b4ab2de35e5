// Events as readers see them: views of bytes that somebody else owns, and copies that own theirs.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <penstock/error.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace penstock {

using Offset = std::uint64_t;                                       // an event's number in its topic, from 0
using Timestamp = std::chrono::sys_time<std::chrono::nanoseconds>;  // UTC
using Bytes = std::span<const std::byte>;                           // of which the call says how long they live

// A header's name and value: views into the caller's bytes when publishing, into the event's when reading.
struct Header {
  std::string_view name;
  std::string_view value;
};

// A 128-bit event id: XXH3-128 of the id given at publish, or of the generated (producer, sequence).
struct EventId {
  std::array<std::byte, 16> bytes{};
  std::string hex() const;  // 32 lower-case digits
  // The id that an event published with this text carries.
  static EventId of(std::string_view given);
  friend bool operator==(const EventId&, const EventId&) = default;
};

// An event in place. Valid only inside the handler it was given to; copy what must last.
class EventView {
 public:
  std::string_view topic() const { return raw_.topic; }
  Offset offset() const { return raw_.offset; }
  Timestamp time() const { return Timestamp(std::chrono::nanoseconds(raw_.time_ns)); }
  Bytes payload() const { return raw_.payload; }
  EventId id() const;                               // hashes a generated id: costs some 20 ns
  std::optional<std::string_view> id_text() const;  // the id as given; nothing for a generated one
  std::optional<std::string_view> key() const;
  std::optional<std::string_view> header(std::string_view name) const;  // the first of this name
  std::vector<Header> headers() const;
  std::optional<std::string_view> content_type() const;
  std::optional<std::string_view> schema() const;
  std::optional<Timestamp> deliver_at() const;
  std::optional<Timestamp> expires_at() const;

  // For those who make views of records; not for callers.
  struct Raw {
    std::string_view topic;
    Offset offset = 0;
    std::int64_t time_ns = 0;
    std::uint64_t id_low = 0, id_high = 0;
    bool given_id = false;
    Bytes attributes;
    Bytes payload;
    std::uint64_t position = 0;
  };
  // The same: for those who make views.
  explicit EventView(const Raw& raw) : raw_(raw) {}
  Bytes attribute_bytes() const { return raw_.attributes; }
  // The same.
  const Raw& raw() const { return raw_; }
  // The same: to be filled in anew for the next event.
  Raw& raw() { return raw_; }

 private:
  Raw raw_;
};

// An event that owns its bytes; moves, does not copy. Valid as long as it lives, whatever happens to the bus.
class Event {
 public:
  Event() = default;
  explicit Event(const EventView& view);  // a copy
  EventView view() const { return EventView(raw_); }
  std::string_view topic() const { return raw_.topic; }
  Offset offset() const { return raw_.offset; }
  Timestamp time() const { return view().time(); }
  Bytes payload() const { return raw_.payload; }
  EventId id() const { return view().id(); }
  std::optional<std::string_view> id_text() const { return view().id_text(); }
  std::optional<std::string_view> key() const { return view().key(); }
  std::optional<std::string_view> header(std::string_view name) const { return view().header(name); }
  std::vector<Header> headers() const { return view().headers(); }

 private:
  std::unique_ptr<std::byte[]> bytes_;  // topic name, attributes, payload
  EventView::Raw raw_;
};

// Why an event is in a dead-letter queue. The event's payload, key, headers, id and time are as they were.
struct DeadLetter {
  std::string topic;  // where it came from
  Offset offset = 0;
  std::string group;
  std::string member;  // the last member's handle and process: "slot 12, pid 3456"
  std::uint32_t attempts = 0;
  Timestamp first_failure{};
  Timestamp last_failure{};
  std::string disposition;  // rejected, attempts, expired, crash
  std::string error_class;
  std::string reason;
  std::uint32_t redrives = 0;
  // Errc::not_found when the event is no dead letter, Errc::corrupt when its history cannot be read.
  static Result<DeadLetter> of(const EventView& event);
};

}  // namespace penstock
