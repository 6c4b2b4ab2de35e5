#include "history.hpp"

#include <cstring>
#include <vector>

#include "api/topic.hpp"
#include "io/file.hpp"
#include "storage/index.hpp"
#include "storage/record.hpp"
#include "storage/segment.hpp"
#include "tests/support/small_bus.hpp"

namespace penstock::test {
namespace {

constexpr std::uint64_t kNonce = 0x5eed;

storage::Head head_of(std::uint64_t offset, const std::vector<std::byte>& payload) {
  storage::Head head;
  const auto lines = std::uint32_t(layout::lines_for(layout::kLine + payload.size()));
  head.word = layout::pack(layout::WordFields{.state = layout::State::committed, .lines = lines, .slot = 3});
  head.tag = layout::tag_for(kNonce, offset);
  head.time = 1'000'000 + offset;
  head.id_low = offset + 1;
  head.sizes = layout::pack(layout::SizeFields{
      .payload = std::uint32_t(payload.size()), .attributes = 0, .count = 1, .flags = layout::kFlagChecksum});
  head.checksum = storage::checksum_of(head, payload);
  return head;
}

}  // namespace

void write_past(const std::string& bus, const std::string& topic, const Past& past) {
  const auto state = good(api::look_at_bus(bus));
  const auto meta = good(api::read_topic_meta(*state, topic));
  const std::string directory = state->topic_directory(topic);
  const std::vector<std::byte> payload(past.segment_bytes - layout::kSegmentDataAt - layout::kLine);
  std::uint64_t position = 0;
  for (std::uint64_t offset = 0; offset < past.segments; ++offset) {
    const auto header = storage::make_header(state->bus_id, meta.topic_id, kNonce, topic, offset, position, 1);
    const auto head = head_of(offset, payload);
    const io::Fd fd = good(io::create_file(directory + "/" + storage::segment_name(offset), 0600));
    good(storage::write_front(fd.get(), header));
    good(io::pwrite_exact(fd.get(), std::as_bytes(std::span(&head, 1)),
                          layout::segment_file_offset(position, position)));
    const std::uint64_t end = position + layout::lines_for(layout::kLine + payload.size());
    good(io::truncate(fd.get(), layout::segment_file_offset(position, end)));
    storage::ProgressWriter progress(kNonce);
    good(storage::seal(fd.get(), header, progress, {end, offset + 1, 1, head.time}));
    if (past.indexed) good(storage::write_index(directory, header, {{offset, position, 0}}, 0600, false));
    position = end;
  }
  layout::TopicMeta after = meta;
  after.clean = 0;
  after.offset_bound = past.segments;
  good(api::write_topic_meta(*state, after, true));
}

}  // namespace penstock::test
