// Finding a place in a segment: SegmentReader's seeks.
#include <algorithm>

#include "storage/index.hpp"
#include "storage/segment_reader.hpp"

namespace penstock::storage {

Result<void> SegmentReader::seek(std::uint64_t position, std::uint64_t offset) {
  const tl::unexpected<Error> corrupt{Error(Errc::corrupt)};
  if (position < header().first_position || offset < header().first_offset) return corrupt;
  if (!open_tail_ && position == boundary_.position && offset == boundary_.offset) {
    place_ = {position, offset};
    return {};
  }
  if (!open_tail_ && position >= boundary_.position) return corrupt;
  const Result<std::span<const std::byte>> line = bytes_at(position, layout::kLine);
  if (!line) return tl::unexpected(line.error());
  if (line->size() < layout::kLine) return corrupt;
  const Head here = load_head(line->data());
  if (here.tag != layout::tag_for(header().nonce, offset)) return corrupt;
  Place place{position, offset};
  Place head = place;
  if (layout::state_of(here.word) == layout::State::inner) {
    // Only its head can say that it counts.
    if (here.link == 0 || here.link > position - header().first_position) return corrupt;
    head.position = position - here.link;
    const Result<std::span<const std::byte>> first = bytes_at(head.position, layout::kLine);
    if (!first) return tl::unexpected(first.error());
    if (first->size() < layout::kLine) return corrupt;
    head.offset = layout::offset_of_tag(header().nonce, load_head(first->data()).tag);
  }
  Record record;
  const std::uint64_t stop = position < boundary_.position ? boundary_.position : ~std::uint64_t{0};
  const Result<Parsed> parsed = parse(head, stop, record);
  if (!parsed) return tl::unexpected(parsed.error());
  if (*parsed != Parsed::ok) return corrupt;
  if (!(head == place)) {
    if (record.state() != layout::State::committed || head.offset >= offset || offset - head.offset >= record.count ||
        position - head.position >= record.lines) {
      return corrupt;
    }
    place.head = head.position;
    place.claim_end = head.position + record.lines;
    place.end_offset = head.offset + record.count;
  }
  place_ = place;
  return {};
}

// To the last index entry that is not past this offset and has only earlier times before it; else to the start.
Result<void> SegmentReader::jump(std::uint64_t offset_most, std::uint64_t time_below) {
  if (!index_read_ && sealed()) {
    const std::size_t slash = path_.rfind('/');
    Result<std::vector<layout::IndexEntry>> entries =
        read_index(slash == std::string::npos ? "." : path_.substr(0, slash), header());
    if (entries) index_ = std::move(*entries);
    index_read_ = true;  // without it, reading starts at the segment's beginning
  }
  for (std::size_t i = index_.size(); i > 0; --i) {
    const layout::IndexEntry& entry = index_[i - 1];
    if (entry.offset > offset_most || entry.time_ns >= time_below) continue;
    const Result<void> sought = seek(entry.position, entry.offset);
    if (sought || sought.error().code() != Errc::corrupt) return sought;
  }
  seek_start();
  return {};
}

Result<void> SegmentReader::seek_offset(std::uint64_t offset) {
  if (Result<void> done = jump(offset, ~std::uint64_t{0}); !done) return done;
  for (;;) {
    const Place before = place_;
    const Result<Item> item = next();
    if (!item) return tl::unexpected(item.error());
    if (item->kind == ItemKind::end) return {};
    if (item->next.offset > offset) {
      place_ = before;
      return {};
    }
  }
}

Result<void> SegmentReader::seek_time(std::uint64_t time_ns) {
  seek_start();
  if (time_ns == 0) return {};
  if (Result<void> done = jump(~std::uint64_t{0}, time_ns); !done) return done;
  for (;;) {
    const Place before = place_;
    const Result<Item> item = next();
    if (!item) return tl::unexpected(item.error());
    if (item->kind == ItemKind::end) return {};
    if (item->kind == ItemKind::event && item->record.head.time >= time_ns) {
      place_ = before;
      return {};
    }
  }
}

}  // namespace penstock::storage
