// What can be chosen. Every field's default is what stands here; an optional left empty means "as it is".
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <penstock/event.hpp>
#include <string>
#include <vector>

namespace penstock {

// What a topic's events survive: the death of any process, or the machine's.
enum class Durability : std::uint8_t { memory = 0, disk = 1 };
// When a ring is full: producers wait, are refused, or overwrite what was not read (memory topics).
enum class Full : std::uint8_t { block = 0, fail = 1, drop_oldest = 2 };
// What a group's members get: any event; those of a key one after another and in order; all of a topic so.
enum class Ordering : std::uint8_t { parallel = 0, key = 1, strict = 2 };
// What becomes of an event in a group when its time to live is over.
enum class Expired : std::uint8_t { dlq = 0, skip = 1 };
// How a handle waits: burns a core, yields it, or spins briefly and then sleeps in the kernel.
enum class Wait : std::uint8_t { spin = 0, yield = 1, sleep = 2 };

// What a topic is made with.
struct TopicOptions {
  Durability durability = Durability::disk;
  std::uint64_t ring_bytes = 16ull << 20;  // 64 KiB to 16 GiB; rounded up to a power of two
  Full full = Full::block;
  bool single_producer = false;
  std::uint64_t max_payload = 0;  // bytes; 0: a quarter of the ring, at most 1 GiB
  // On disk; 0: no bound. What a group has taken and not settled stays in any case.
  std::uint64_t retention_bytes = 0;
  std::chrono::nanoseconds retention_time{0};
  std::uint32_t publish_dedupe = 0;  // an id is refused while it is among this many newest events; 0: off
  bool compact = false;              // on disk the newest event of each key is enough; see Bus::set_compaction
  bool retain_unacked = false;       // retention waits for every group; see Bus::set_retain_unacked
};

// What an event has beside its payload; views need to live as long as the call.
struct PublishOptions {
  std::string_view id;   // deduplicates; empty: a generated id
  std::string_view key;  // orders and partitions; a key that is present but empty: set has_key
  std::vector<Header> headers{};
  std::string_view content_type{};
  std::string_view schema{};
  std::optional<Timestamp> deliver_at{};          // groups get it then
  std::optional<std::chrono::nanoseconds> ttl{};  // from now
  bool has_key = false;
};

// How a producer is opened.
struct ProducerOptions {
  bool create = true;                                        // make the topic with the bus's defaults when missing
  std::chrono::nanoseconds block{std::chrono::seconds(10)};  // how long to wait for a full ring
  bool precise_clock = false;                                // stamp events by CLOCK_REALTIME, not its coarse sister
  Wait wait = Wait::sleep;                                   // for the disk, in await_durable
};

// Where a reader or a new group begins.
class StartAt {
 public:
  // Which of the calls below made it.
  enum class Kind : std::uint8_t { beginning = 0, end = 1, offset = 2, time = 3, last = 4 };
  static StartAt beginning() { return {Kind::beginning, 0}; }  // the oldest event that is there
  static StartAt end() { return {Kind::end, 0}; }              // what is published from now on
  // This event; the oldest that is there when it is gone, the end when it is not there yet.
  static StartAt offset(Offset offset) { return {Kind::offset, static_cast<std::int64_t>(offset)}; }
  // The first event published then or later.
  static StartAt time(Timestamp time) { return {Kind::time, time.time_since_epoch().count()}; }
  static StartAt last(std::uint64_t events) { return {Kind::last, static_cast<std::int64_t>(events)}; }  // readers
  Kind kind() const { return kind_; }
  std::int64_t value() const { return value_; }

 private:
  StartAt(Kind kind, std::int64_t value) : kind_(kind), value_(value) {}
  Kind kind_;
  std::int64_t value_;
};

// A group's options belong to the group: what is left empty stays as it is (or takes the default when the group is
// new); what differs from an existing group's is refused with Errc::options_differ.
struct ConsumerOptions {
  std::optional<std::uint32_t> max_attempts{};           // default 5; counts failures
  std::vector<std::chrono::nanoseconds> backoff{};       // default 100ms, 1s, 5s, 30s; the last repeats
  std::optional<std::chrono::nanoseconds> lease{};       // default 30 s
  std::optional<Ordering> ordering{};                    // default parallel
  std::optional<std::uint32_t> max_in_flight{};          // default 256; leases of the whole group in one topic
  std::optional<std::uint32_t> dedupe{};                 // default 4096 ids; 0: off
  std::optional<std::chrono::nanoseconds> dedupe_age{};  // default none
  std::optional<Expired> expired{};                      // default dlq
  std::optional<StartAt> start{};                        // a new group's; default beginning
  bool durable_only = false;                             // this member takes only what is on disk
  Wait wait = Wait::sleep;                               // this member's way of waiting
};

// How a reader is opened.
struct ReaderOptions {
  bool lossy = false;         // never hold up a memory topic's producers; count what was missed
  bool durable_only = false;  // only what is on disk; nothing of memory topics
  Wait wait = Wait::sleep;
};

// Why a delivery failed; kept with the event, and in its dead letter.
struct NakOptions {
  std::string_view error_class{};
  std::string_view reason{};
  std::optional<std::chrono::nanoseconds> delay{};  // instead of the group's backoff
};

}  // namespace penstock
