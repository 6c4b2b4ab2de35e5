#include "daemon/retention.hpp"

#include <algorithm>
#include <cstdlib>

#include "storage/segment_reader.hpp"
#include "storage/segment_set.hpp"

namespace penstock::daemon {
namespace {

constexpr std::int64_t kJump = 1'000'000'000;                  // less is the clock being kept right
constexpr std::size_t kJumpsMost = 64;                         // then the oldest two count as one, the later
constexpr std::int64_t kTryAgain = 1'000'000'000;              // where a segment could not be looked at or removed
constexpr std::uint64_t kLongest = 3'000'000'000'000'000'000;  // a hundred years: added to a time, no overflow

}  // namespace

bool Retention::look_at_clock(std::int64_t now, std::int64_t wall, Persister& persister) {
  const bool set = jumps_.set(now, wall);
  jumps_.look(now, wall);
  if (set)
    for (const auto& topic : persister.topics()) topic->kept().look_at = 0;
  return set;
}

std::int64_t Retention::step(std::int64_t wall, Persister& persister) {
  std::int64_t next = INT64_MAX;
  for (const auto& topic : persister.topics()) next = std::min(next, retain(*topic, wall));
  return next;
}

std::int64_t Retention::retain(TopicPersister& persister, std::int64_t wall) {
  const api::Topic& topic = persister.topic();
  TopicPersister::Kept& kept = persister.kept();
  if (topic.deleted()) return INT64_MAX;
  // Read again when somebody changed it; while it cannot be read, nothing is given up.
  const std::uint64_t version = topic.control()->meta_version.load(std::memory_order_seq_cst);
  if (version != kept.meta_version) {
    const auto meta = api::read_topic_meta(*topic.state(), topic.name());
    const layout::TopicOptions options = meta ? meta->options : layout::TopicOptions{};
    kept.bytes = options.retention_bytes;
    kept.age = std::int64_t(std::min(options.retention_ns, kLongest));
    if (meta) kept.compact = options.compact != 0;
    if (meta && version % 2 == 0) kept.meta_version = version;
    kept.look_at = 0;
  }
  if (kept.bytes == 0 && kept.age == 0) return INT64_MAX;
  const std::int64_t now = api::monotonic_ns();
  if (now >= kept.look_at) kept.look_at = give_up_segments(persister, now, wall);
  return kept.look_at;
}

// Oldest first, never the one that is being written.
std::int64_t Retention::give_up_segments(TopicPersister& persister, std::int64_t now, std::int64_t wall) {
  const api::Topic& topic = persister.topic();
  const TopicPersister::Kept& kept = persister.kept();
  const std::int64_t later = now + kTryAgain;
  storage::SegmentSet segments(topic.directory());
  if (!segments.refresh()) return later;
  auto total = segments.total_bytes();
  if (!total) return later;
  std::uint64_t bytes = *total;
  for (std::size_t i = 0; i + 1 < segments.size(); ++i) {
    const bool too_much = kept.bytes != 0 && bytes > kept.bytes;
    if (!too_much) {
      if (kept.age == 0) return INT64_MAX;
      auto reader = storage::SegmentReader::open(segments.path(i), layout::kPage);
      if (!reader || !reader->front().progress) return later;
      const std::uint64_t newest = std::min(reader->front().progress->last_time_ns, 2 * kLongest);
      const std::int64_t left = std::int64_t(newest) - jumps_.before(now, wall, kept.age);
      if (left >= 0) return std::min(now + left + 1, jumps_.until(now, kept.age));
    }
    bytes -= std::min(bytes, segments.bytes(i));
    if (auto removed = segments.remove(i); !removed) {
      log_(1, "topic " + topic.name() + ": " + segments.path(i) + ": " + removed.error().message());
      return later;
    }
  }
  return INT64_MAX;
}

bool ClockJumps::set(std::int64_t now, std::int64_t wall) const {
  return clock_ && std::abs(wall - now - *clock_) >= kJump;
}

void ClockJumps::look(std::int64_t now, std::int64_t wall) {
  const std::int64_t clock = wall - now, ahead = clock - clock_.value_or(clock);
  clock_ = clock;
  if (ahead < kJump) return;
  jumps_.push_back({now, ahead});
  if (jumps_.size() <= kJumpsMost) return;
  jumps_[1].ahead += jumps_[0].ahead;
  jumps_.erase(jumps_.begin());
}

std::int64_t ClockJumps::before(std::int64_t now, std::int64_t wall, std::int64_t age) const {
  std::int64_t out = wall - age;
  for (const Jump& jump : jumps_) out -= now - jump.at <= age ? jump.ahead : 0;
  return out;
}

std::int64_t ClockJumps::until(std::int64_t now, std::int64_t age) const {
  std::int64_t out = INT64_MAX;
  for (const Jump& jump : jumps_)
    if (now - jump.at <= age) out = std::min(out, jump.at + age + 1);
  return out;
}

}  // namespace penstock::daemon
