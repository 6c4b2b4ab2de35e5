#include "storage/segment.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <span>

#include "io/file.hpp"
#include "log/checksum.hpp"

namespace penstock::storage {
namespace {

using layout::kPage;
using layout::SegmentHeader;
using layout::SegmentProgress;

std::uint64_t header_checksum(SegmentHeader header) {
  header.preamble.checksum = 0;
  return log::hash64(&header, sizeof header);
}

std::uint64_t progress_checksum(const SegmentProgress& progress, std::uint64_t nonce) {
  return log::hash64(&progress.sequence, sizeof progress - sizeof progress.checksum, nonce);
}

template <class T>
T load(std::span<const std::byte, kPage> page, std::uint64_t at) {
  T value;
  std::memcpy(&value, page.data() + at, sizeof value);
  return value;
}

bool all_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

std::string numbered(std::uint64_t offset, const char* suffix) {
  char name[32];
  std::snprintf(name, sizeof name, "%020llu%s", static_cast<unsigned long long>(offset), suffix);
  return name;
}

void look_at_header(std::span<const std::byte, kPage> page, Front& front) {
  for (std::size_t i = 0; i < 2; ++i) {
    const auto header = load<SegmentHeader>(page, layout::kHeaderAt[i]);
    if (header.preamble.magic != layout::kMagicSegment || header_checksum(header) != header.preamble.checksum) continue;
    if (header.first_position > layout::k56 || header.first_offset > layout::k56) continue;
    front.header_good[i] = true;
    if (front.header) {
      front.headers_equal = header.preamble.checksum == front.header->preamble.checksum;
      continue;
    }
    front.header = header;
    front.header->topic.text[sizeof header.topic.text - 1] = 0;
    front.incompatible = header.preamble.version != layout::kLayoutVersion || header.preamble.size != sizeof header ||
                         (header.preamble.incompat & ~layout::kSegmentCompacted) != 0;
  }
}

bool same_mark(const SegmentProgress& a, const SegmentProgress& b) {
  return a.sealed == b.sealed && a.position == b.position && a.offset == b.offset && a.events == b.events &&
         a.last_time_ns == b.last_time_ns;
}

void look_at_progress(std::span<const std::byte, kPage> page, Front& front) {
  const SegmentHeader& header = *front.header;
  for (std::size_t i = 0; i < 2; ++i) {
    const auto progress = load<SegmentProgress>(page, layout::kProgressAt[i]);
    if (progress_checksum(progress, header.nonce) != progress.checksum) continue;
    if (progress.position < header.first_position || progress.offset < header.first_offset) continue;
    // Counted in bytes, what lies beyond would come round to small numbers.
    if (progress.position > layout::k56 || progress.offset > layout::k56) continue;
    front.progress_good[i] = true;
    front.slot_sealed[i] = progress.sealed == 1;
    if (front.progress) front.marks_equal = same_mark(*front.progress, progress);
    if (front.progress && front.progress->sequence >= progress.sequence) continue;
    front.progress = progress;
    front.progress_slot = static_cast<int>(i);
  }
}

bool rest_is_zero(std::span<const std::byte, kPage> page) {
  const auto zero = [&](std::uint64_t from, std::uint64_t to) { return all_zero(page.subspan(from, to - from)); };
  using layout::kSector;
  return zero(sizeof(SegmentHeader), kSector) && zero(kSector + sizeof(SegmentProgress), 2 * kSector) &&
         zero(2 * kSector + sizeof(SegmentProgress), 3 * kSector) && zero(3 * kSector + sizeof(SegmentHeader), kPage);
}

}  // namespace

std::string segment_name(std::uint64_t first_offset) { return numbered(first_offset, ".seg"); }
std::string index_name(std::uint64_t first_offset) { return numbered(first_offset, ".idx"); }

std::optional<std::uint64_t> offset_in_name(std::string_view name, std::string_view suffix) {
  constexpr std::size_t kDigits = 20;
  if (name.size() != kDigits + suffix.size() || name.substr(kDigits) != suffix) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : name.substr(0, kDigits)) {
    const auto digit = static_cast<std::uint64_t>(c - '0');
    if (c < '0' || c > '9' || value > (~0ull - digit) / 10) return std::nullopt;
    value = value * 10 + digit;
  }
  return value;
}

Mark mark_of(const SegmentProgress& progress) {
  return {progress.position, progress.offset, progress.events, progress.last_time_ns, progress.compacted};
}

Result<Front> read_front(int fd) {
  std::array<std::byte, kPage> page{};
  const Result<std::size_t> n = io::pread_some(fd, page, 0);
  if (!n) return tl::unexpected(n.error());
  Front front;
  front.blank = all_zero(page);
  front.rest_zero = rest_is_zero(page);
  look_at_header(page, front);
  if (front.header && !front.incompatible) look_at_progress(page, front);
  return front;
}

SegmentHeader make_header(std::uint64_t bus_id, std::uint64_t topic_id, std::uint64_t nonce, std::string_view topic,
                          std::uint64_t first_offset, std::uint64_t first_position, std::uint64_t created_ns) {
  SegmentHeader header{};
  header.preamble.magic = layout::kMagicSegment;
  header.preamble.version = layout::kLayoutVersion;
  header.preamble.size = sizeof header;
  header.preamble.bus_id = bus_id;
  header.topic_id = topic_id;
  header.nonce = nonce;
  header.first_offset = first_offset;
  header.first_position = first_position;
  header.created_ns = created_ns;
  std::memcpy(header.topic.text, topic.data(), std::min(topic.size(), layout::kNameMax));
  header.preamble.checksum = header_checksum(header);
  return header;
}

SegmentHeader compacted_header(SegmentHeader header) {
  header.preamble.incompat |= layout::kSegmentCompacted;
  header.preamble.checksum = header_checksum(header);
  return header;
}

Result<void> write_front(int fd, const SegmentHeader& header) {
  std::array<std::byte, kPage> page{};
  SegmentProgress progress{};
  progress.position = header.first_position;
  progress.offset = header.first_offset;
  for (std::size_t i = 0; i < 2; ++i) {
    std::memcpy(page.data() + layout::kHeaderAt[i], &header, sizeof header);
    progress.sequence = i + 1;
    progress.checksum = progress_checksum(progress, header.nonce);
    std::memcpy(page.data() + layout::kProgressAt[i], &progress, sizeof progress);
  }
  return io::pwrite_exact(fd, page, 0);
}

ProgressWriter::ProgressWriter(const Front& front)
    : ProgressWriter(front.header ? front.header->nonce : 0, front.progress ? front.progress->sequence : 0,
                     front.progress_slot) {}

Result<void> ProgressWriter::write(int fd, const Mark& mark, bool sealed) {
  SegmentProgress progress{};
  progress.sequence = sequence_ + 1;
  progress.sealed = sealed ? 1 : 0;
  progress.position = mark.position;
  progress.offset = mark.offset;
  progress.events = mark.events;
  progress.last_time_ns = mark.last_time_ns;
  progress.compacted = mark.compacted;
  progress.checksum = progress_checksum(progress, nonce_);
  const int slot = 1 - newest_slot_;
  Result<void> done = io::pwrite_exact(fd, std::as_bytes(std::span(&progress, 1)), layout::kProgressAt[slot]);
  if (done) sequence_ = progress.sequence, newest_slot_ = slot;
  return done;
}

Result<void> seal(int fd, const SegmentHeader& header, ProgressWriter& progress, const Mark& mark) {
  const std::uint64_t end = layout::segment_file_offset(header.first_position, mark.position);
  const std::uint64_t whole = (end + kPage - 1) / kPage * kPage;
  Result<void> done = io::truncate(fd, whole);
  // What a write that was never completed left in the last block.
  const std::array<std::byte, kPage> zeros{};
  if (done) done = io::pwrite_exact(fd, std::span(zeros).first(whole - end), end);
  if (done) done = io::sync_all(fd);
  // One slot after the other, so that one of them always holds.
  for (int i = 0; i < 2 && done; ++i) {
    done = progress.write(fd, mark, true);
    if (done) done = io::sync_data(fd);
  }
  return done;
}

}  // namespace penstock::storage
