#include "daemon/retention.hpp"

#include "storage/segment_reader.hpp"
#include "storage/segment_set.hpp"

namespace penstock::daemon {
namespace {

constexpr std::int64_t kJump = 1'000'000'000;  // less is the clock being kept right
constexpr std::size_t kJumpsMost = 64;         // then the oldest two count as one, the later

}  // namespace

void Retention::step(std::int64_t wall, Persister& persister) {
  jumps_.look(api::monotonic_ns(), wall);
  for (const auto& topic : persister.topics()) retain(*topic, wall);
}

// Oldest first, never the one that is being written.
void Retention::retain(TopicPersister& persister, std::int64_t wall) {
  const api::Topic& topic = persister.topic();
  auto meta = api::read_topic_meta(*topic.state(), topic.name());
  if (meta) persister.set_compacts(meta->options.compact != 0);
  if (!meta || (meta->options.retention_bytes == 0 && meta->options.retention_ns == 0)) return;
  storage::SegmentSet segments(topic.directory());
  if (!segments.refresh()) return;
  auto total = segments.total_bytes();
  if (!total) return;
  std::uint64_t bytes = *total;
  for (std::size_t i = 0; i + 1 < segments.size(); ++i) {
    const bool too_much = meta->options.retention_bytes != 0 && bytes > meta->options.retention_bytes;
    bool too_old = false;
    if (!too_much && meta->options.retention_ns != 0) {
      auto reader = storage::SegmentReader::open(segments.path(i), layout::kPage);
      too_old = reader && reader->front().progress &&
                std::int64_t(reader->front().progress->last_time_ns) <
                    jumps_.before(api::monotonic_ns(), wall, std::int64_t(meta->options.retention_ns));
    }
    if (!too_much && !too_old) return;
    bytes -= std::min(bytes, segments.bytes(i));
    if (auto removed = segments.remove(i); !removed) {
      log_(1, "topic " + topic.name() + ": " + segments.path(i) + ": " + removed.error().message());
      return;
    }
  }
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

}  // namespace penstock::daemon
