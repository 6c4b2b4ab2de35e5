#include "storage/segment_reader.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "storage/index.hpp"

namespace penstock::storage {
namespace {

using layout::kLine;
using layout::kPage;

}  // namespace

void SegmentReader::Free::operator()(std::byte* bytes) const { std::free(bytes); }

Result<SegmentReader> SegmentReader::open(const std::string& path, std::size_t window_bytes) {
  Result<io::Fd> fd = io::open_nofollow(path, O_RDONLY);
  if (!fd) return tl::unexpected(fd.error());
  SegmentReader reader;
  reader.path_ = path;
  reader.fd_ = std::move(*fd);
  reader.window_bytes_ = std::max<std::size_t>(window_bytes, kPage);
  if (window_bytes > kPage) io::expect_sequential(reader.fd_.get());
  if (Result<void> done = reader.refresh(); !done) return tl::unexpected(done.error());
  reader.seek_start();
  return reader;
}

Result<void> SegmentReader::refresh() {
  Result<Front> front = read_front(fd_.get());
  if (!front) return tl::unexpected(front.error());
  if (!front->header) return tl::unexpected(Error(Errc::corrupt));
  if (front->incompatible) return tl::unexpected(Error(Errc::incompatible, front->header->preamble.version));
  front_ = std::move(*front);
  bound();
  return {};
}

void SegmentReader::set_limit(const std::optional<Boundary>& limit) {
  limit_ = limit;
  bound();
}

void SegmentReader::bound() {
  const Boundary first{header().first_position, header().first_offset};
  open_tail_ = !limit_ && !sealed();
  no_mark_ = open_tail_ && !front_.progress;
  boundary_ = first;
  if (front_.progress) boundary_ = {front_.progress->position, front_.progress->offset};
  if (limit_ && (!sealed() || limit_->position < boundary_.position)) boundary_ = *limit_;
  if (boundary_.position < first.position) boundary_ = first;
  boundary_.offset = std::max(boundary_.offset, first.offset);
}

// Where the bytes that may be looked at end: not past the boundary, since what lies there may be being written.
std::uint64_t SegmentReader::readable_end() const {
  return open_tail_ ? ~std::uint64_t{0} : file_offset(boundary_.position);
}

// Refills the window from `from`, `bytes` or more where the file has them.
Result<void> SegmentReader::fill(std::uint64_t from, std::uint64_t bytes) {
  const std::uint64_t begin = from / kPage * kPage;
  const std::uint64_t end = std::min(std::max(begin + window_bytes_, from + bytes), readable_end());
  window_size_ = 0;
  if (end <= begin) return {};
  const Result<std::uint64_t> size = io::file_size(fd_.get());
  if (!size) return tl::unexpected(size.error());
  if (*size <= begin) return {};
  const std::size_t wanted = std::min(end, *size) - begin;  // never more than the file has, whatever a record claims
  if (wanted > window_capacity_) {
    void* memory = std::aligned_alloc(kPage, (wanted + kPage - 1) / kPage * kPage);
    if (memory == nullptr) return tl::unexpected(io::error_of(ENOMEM));
    window_.reset(static_cast<std::byte*>(memory));
    window_capacity_ = wanted;
  }
  const std::span<std::byte> window(window_.get(), wanted);
  Result<std::size_t> n = io::pread_some(fd_.get(), window, begin);
  if (!n && n.error().code() == Errc::disk) {
    // A bad sector must not hide its neighbours: what can't be read counts as zeros, and so as damage.
    n = wanted;
    for (std::size_t at = 0; at < wanted; at += kPage) {
      const auto block = window.subspan(at, std::min(kPage, wanted - at));
      if (!io::pread_exact(fd_.get(), block, begin + at)) std::memset(block.data(), 0, block.size());
    }
  }
  if (!n) return tl::unexpected(n.error());
  window_from_ = begin;
  window_size_ = *n;
  return {};
}

// Up to `bytes` bytes from this line on; fewer when the file or what may be read ends before.
Result<std::span<const std::byte>> SegmentReader::bytes_at(std::uint64_t position, std::uint64_t bytes) {
  const std::uint64_t at = file_offset(position);
  const auto inside = [&] { return at >= window_from_ && at + bytes <= window_from_ + window_size_; };
  if (!inside()) {
    if (Result<void> done = fill(at, bytes); !done) return tl::unexpected(done.error());
  }
  if (at < window_from_ || at >= window_from_ + window_size_) return std::span<const std::byte>{};
  const std::uint64_t there = window_from_ + window_size_ - at;
  return std::span<const std::byte>(window_.get() + (at - window_from_), std::min(bytes, there));
}

// The record at a place; none of its claim may reach past line `stop`.
Result<Parsed> SegmentReader::parse(const Place& place, std::uint64_t stop, Record& record) {
  std::uint64_t bytes = kLine;
  const std::uint64_t room = stop > place.position ? stop - place.position : 0;
  for (;;) {
    const Result<std::span<const std::byte>> there = bytes_at(place.position, bytes);
    if (!there) return tl::unexpected(there.error());
    Wanted wanted;
    const Parsed parsed = place.within()
                              ? parse_inner(*there, header().nonce, place.offset, place.position - place.head,
                                            place.claim_end - place.position, record, wanted)
                              : parse_claim(*there, header().nonce, place.offset, room, record, wanted);
    record.position = place.position;
    if (parsed != Parsed::cut || there->size() < bytes) return parsed;
    bytes = wanted.bytes;  // more than before, and at most the room's
  }
}

// Whether every record of the claim that `record` opens holds; `record` is read anew, since its bytes may have moved.
Result<Parsed> SegmentReader::parse_batch(Record& record) {
  if (record.count < 2 || record.state() != layout::State::committed) return Parsed::ok;
  Record inner;
  for (Place place = after(place_, record); place.within(); place = after(place, inner)) {
    const Result<Parsed> parsed = parse(place, 0, inner);
    if (!parsed || *parsed != Parsed::ok) return parsed;
  }
  return parse(place_, ~std::uint64_t{0}, record);
}

Item SegmentReader::item_of(const Record& record) const {
  Item item{.position = record.position, .offset = record.offset, .count = record.count};
  item.kind = record.compacted                           ? ItemKind::compacted
              : record.state() == layout::State::aborted ? ItemKind::aborted
                                                         : ItemKind::event;
  item.inner = place_.within();
  item.next = after(place_, record);
  item.record = record;
  return item;
}

Item SegmentReader::end_item() {
  window_size_ = 0;  // the file may grow: look again the next time
  return {.kind = ItemKind::end, .position = place_.position, .offset = place_.offset, .next = place_};
}

Result<Item> SegmentReader::next() {
  for (;;) {
    if (!place_.within() && !open_tail_ && place_.position >= boundary_.position) return end_item();
    const bool known = place_.position < boundary_.position;
    const std::uint64_t stop = known ? boundary_.position : ~std::uint64_t{0};
    Record record;
    Result<Parsed> parsed = parse(place_, stop, record);
    // Nobody vouches for what comes after the last mark: there a batch is whole or absent.
    if (parsed && *parsed == Parsed::ok && !known && !place_.within()) parsed = parse_batch(record);
    if (!parsed) return tl::unexpected(parsed.error());
    if (*parsed != Parsed::ok) return damage_or_end(*parsed);
    const Item item = item_of(record);
    place_ = item.next;
    if (record.state() != layout::State::pad) return item;
  }
}

Result<Item> SegmentReader::damage_or_end(Parsed why) {
  const bool known = place_.position < boundary_.position || place_.within();
  if (!known && !no_mark_) return end_item();  // the torn tail of a segment that was not closed
  const std::uint64_t stop = place_.position < boundary_.position ? boundary_.position : ~std::uint64_t{0};
  const Result<std::optional<Place>> found = resync(stop);
  if (!found) return tl::unexpected(found.error());
  Place next;
  if (*found) {
    next = **found;
  } else if (place_.within()) {
    next = {.position = place_.claim_end, .offset = place_.end_offset};
  } else if (place_.position < boundary_.position) {
    next = {.position = boundary_.position, .offset = std::max(boundary_.offset, place_.offset)};
  } else {
    return end_item();
  }
  Item item{.kind = ItemKind::damage, .position = place_.position, .offset = place_.offset};
  item.count = next.offset - place_.offset;
  item.file_begin = file_offset(place_.position);
  item.file_end = file_offset(next.position);
  item.next = next;
  item.inner = place_.within();
  item.problem = why == Parsed::cut         ? "the file ends within a record"
                 : why == Parsed::unwritten ? "no record where one should stand"
                                            : "a record's checksum does not hold";
  place_ = next;
  return item;
}

// The next record after the broken one, looked for line by line: a later one of the same claim, or a claim's head whose
// tag names an offset that can be there and whose checksum confirms it. Stale records of an earlier lap name offsets
// that are too small.
Result<std::optional<Place>> SegmentReader::resync(std::uint64_t stop) {
  const std::uint64_t last = place_.within() ? place_.claim_end : stop;
  for (std::uint64_t position = place_.position + 1; position < last; ++position) {
    const Result<std::span<const std::byte>> line = bytes_at(position, kLine);
    if (!line) return tl::unexpected(line.error());
    if (line->size() < kLine) break;
    const Result<std::optional<Place>> found = try_place(position, stop);
    if (!found || *found) return found;
  }
  return std::optional<Place>{};
}

// Expects the line to be in the window.
Result<std::optional<Place>> SegmentReader::try_place(std::uint64_t position, std::uint64_t stop) {
  const Head head = load_head(window_.get() + (file_offset(position) - window_from_));
  const std::uint64_t offset = layout::offset_of_tag(header().nonce, head.tag);
  // An event takes a line or more, so offsets advance no faster than lines. One that is too small wraps, and fails too.
  if (offset - place_.offset > position - place_.position) return std::optional<Place>{};
  Place place{.position = position, .offset = offset};
  if (place_.within()) {
    place.head = place_.head, place.claim_end = place_.claim_end, place.end_offset = place_.end_offset;
    if (offset == place_.offset || offset >= place.end_offset) return std::optional<Place>{};
    if (!plausible_inner(head, position - place.head)) return std::optional<Place>{};
  } else if (!plausible_claim(head)) {
    return std::optional<Place>{};
  }
  Record record;
  const Result<Parsed> parsed = parse(place, stop, record);
  if (!parsed) return tl::unexpected(parsed.error());
  return *parsed == Parsed::ok ? std::optional<Place>(place) : std::nullopt;
}

}  // namespace penstock::storage
