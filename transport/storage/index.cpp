#include "storage/index.hpp"

#include <algorithm>
#include <cstring>
#include <span>

#include "io/file.hpp"
#include "log/checksum.hpp"
#include "storage/segment.hpp"
#include "storage/segment_reader.hpp"

namespace penstock::storage {
namespace {

using layout::IndexEntry;
using layout::IndexHeader;

constexpr std::uint64_t kIndexBytesMost = 256ull << 20;

std::uint64_t checksum(IndexHeader header, std::span<const std::byte> entries) {
  header.preamble.checksum = 0;
  return log::hash64(entries.data(), entries.size(), log::hash64(&header, sizeof header));
}

bool in_order(const std::vector<IndexEntry>& entries, const layout::SegmentHeader& segment) {
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].offset < segment.first_offset || entries[i].position < segment.first_position) return false;
    if (i == 0) continue;
    const IndexEntry& before = entries[i - 1];
    if (entries[i].offset < before.offset || entries[i].position <= before.position ||
        entries[i].time_ns < before.time_ns) {
      return false;
    }
  }
  return true;
}

}  // namespace

void IndexBuilder::claim(std::uint64_t position, std::uint64_t offset, std::uint64_t latest_ns) {
  if (!entries_.empty() && position < entries_.back().position + kIndexEvery) return;
  entries_.push_back({offset, position, latest_ns});
}

Result<void> write_index(const std::string& directory, const layout::SegmentHeader& segment,
                         const std::vector<IndexEntry>& entries, mode_t mode, bool sync) {
  IndexHeader header{};
  header.preamble.magic = layout::kMagicIndex;
  header.preamble.version = layout::kLayoutVersion;
  header.preamble.size = sizeof header;
  header.preamble.bus_id = segment.preamble.bus_id;
  header.nonce = segment.nonce;
  header.first_offset = segment.first_offset;
  header.entries = entries.size();
  const auto body = std::as_bytes(std::span(entries));
  header.preamble.checksum = checksum(header, body);
  std::vector<std::byte> bytes(sizeof header + body.size());
  std::memcpy(bytes.data(), &header, sizeof header);
  if (!body.empty()) std::memcpy(bytes.data() + sizeof header, body.data(), body.size());
  return io::replace_file(directory + "/" + index_name(segment.first_offset), bytes, mode, sync);
}

Result<std::vector<IndexEntry>> read_index(const std::string& directory, const layout::SegmentHeader& segment) {
  const Result<std::vector<std::byte>> bytes =
      io::read_file(directory + "/" + index_name(segment.first_offset), kIndexBytesMost);
  if (!bytes) return tl::unexpected(bytes.error());
  const tl::unexpected<Error> corrupt{Error(Errc::corrupt)};
  IndexHeader header;
  if (bytes->size() < sizeof header) return corrupt;
  std::memcpy(&header, bytes->data(), sizeof header);
  const auto body = std::span<const std::byte>(*bytes).subspan(sizeof header);
  if (body.size() % sizeof(IndexEntry) != 0 || header.entries != body.size() / sizeof(IndexEntry)) return corrupt;
  if (checksum(header, body) != header.preamble.checksum) return corrupt;
  if (header.preamble.magic != layout::kMagicIndex || header.preamble.version != layout::kLayoutVersion ||
      header.nonce != segment.nonce || header.first_offset != segment.first_offset) {
    return corrupt;
  }
  std::vector<IndexEntry> entries(header.entries);
  if (!body.empty()) std::memcpy(entries.data(), body.data(), body.size());
  if (!in_order(entries, segment)) return corrupt;
  return entries;
}

Result<std::vector<IndexEntry>> rebuild_index(const std::string& directory, std::uint64_t first_offset, mode_t mode) {
  Result<SegmentReader> reader = SegmentReader::open(directory + "/" + segment_name(first_offset));
  if (!reader) return tl::unexpected(reader.error());
  IndexBuilder builder;
  std::uint64_t latest = 0;
  reader->seek_start();
  for (;;) {
    const Result<Item> item = reader->next();
    if (!item) return tl::unexpected(item.error());
    if (item->kind == ItemKind::end) break;
    if (!item->inner && item->kind != ItemKind::damage) builder.claim(item->position, item->offset, latest);
    if (item->kind == ItemKind::event) latest = std::max(latest, item->record.head.time);
  }
  if (Result<void> done = write_index(directory, reader->header(), builder.entries(), mode, true); !done) {
    return tl::unexpected(done.error());
  }
  return builder.entries();
}

}  // namespace penstock::storage
