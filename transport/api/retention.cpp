#include "api/retention.hpp"

#include "storage/segment_reader.hpp"

namespace penstock::api {
namespace {

std::optional<storage::SegmentReader> open_segment(const storage::SegmentSet& segments, std::size_t index) {
  auto reader = storage::SegmentReader::open(segments.path(index), layout::kPage);
  if (!reader) return std::nullopt;
  return std::move(*reader);
}

// Where the log goes on from this segment on: of one that cannot be read nothing is left to readers.
std::optional<Place> first_from(const storage::SegmentSet& segments, std::size_t index) {
  for (; index < segments.size(); ++index)
    if (const auto reader = open_segment(segments, index); reader && segments.holds(index, reader->header()))
      return Place{reader->header().first_position, reader->header().first_offset};
  return std::nullopt;
}

bool left_the_ring(const Topic& topic, std::uint64_t end) {
  const log::Ring& ring = topic.ring();
  return end <= ring.base_position || end + ring.size() <= topic.end().position;
}

}  // namespace

std::vector<Place> segments_given_up(const Topic& topic, const storage::SegmentSet& segments,
                                     const layout::TopicOptions& options, std::int64_t before) {
  std::vector<Place> out;
  const auto total = segments.total_bytes();
  if (!total) return out;
  std::uint64_t bytes = *total;
  for (std::size_t i = 0; i + 1 < segments.size(); ++i) {
    bool goes = options.retention_bytes != 0 && bytes > options.retention_bytes;
    if (!goes && options.retention_ns != 0) {
      const auto reader = open_segment(segments, i);
      goes = reader && reader->front().progress && std::int64_t(reader->front().progress->last_time_ns) < before;
    }
    if (!goes) break;
    const auto next = first_from(segments, i + 1);
    if (!next || !left_the_ring(topic, next->position)) break;
    out.push_back(*next);
    bytes -= std::min(bytes, segments.bytes(i));
  }
  return out;
}

Need retained_need(const layout::TopicOptions& options) {
  return (options.flags & layout::kRetainUnacked) != 0 ? Need::unsettled : Need::pending;
}

std::optional<std::string> retention_waits_for(const Topic& topic, const layout::TopicOptions& options) {
  if (!topic.durable() || (options.retention_bytes == 0 && options.retention_ns == 0)) return std::nullopt;
  storage::SegmentSet segments(topic.directory(), topic.header().topic_id);
  if (!segments.refresh()) return std::nullopt;
  const auto ends = segments_given_up(topic, segments, options, now_ns() - std::int64_t(options.retention_ns));
  if (ends.empty()) return std::nullopt;
  const Hold hold = hold_of(topic.state(), topic.name(), retained_need(options), true);
  if (ends.front().offset <= hold.offset) return std::nullopt;
  return hold.who;
}

}  // namespace penstock::api
