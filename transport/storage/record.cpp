#include "storage/record.hpp"

#include <cstring>

#include "log/checksum.hpp"

namespace penstock::storage {
namespace {

using layout::kLine;
using layout::State;

bool plausible_sizes(const layout::SizeFields& sizes, std::uint64_t lines) {
  return (sizes.flags & layout::kFlagChecksum) != 0 && sizes.attributes % 8 == 0 &&
         sizes.payload <= layout::kPayloadMax && layout::record_bytes(sizes) <= lines * kLine;
}

// Fills the record from bytes whose head was found plausible.
Parsed check(const Head& head, std::span<const std::byte> bytes, Record& record, Wanted& wanted) {
  const std::uint64_t size = record_size(head);
  if (bytes.size() < size) {
    wanted.bytes = size;
    return Parsed::cut;
  }
  if (!checksum_holds(head, bytes)) return Parsed::damaged;
  const layout::SizeFields sizes = layout::sizes_of(head.sizes);
  record.head = head;
  record.lines = layout::lines_of(head.word);
  record.compacted = is_compacted(head);
  record.count = record.compacted ? static_cast<std::uint32_t>(head.id_low) : sizes.count;
  record.attributes = record.payload = {};
  if (record.state() == State::committed || record.state() == State::inner) {
    record.attributes = bytes.subspan(layout::body_at(sizes.flags), sizes.attributes);
    record.payload = bytes.subspan(layout::body_at(sizes.flags) + sizes.attributes, sizes.payload);
  }
  return Parsed::ok;
}

}  // namespace

Head load_head(const std::byte* at) {
  Head head;
  std::memcpy(&head, at, sizeof head);
  return head;
}

bool is_compacted(const Head& head) {
  return layout::state_of(head.word) == State::aborted &&
         (layout::sizes_of(head.sizes).flags & layout::kFlagCompacted) != 0;
}

Head compacted_head(std::uint64_t nonce, std::uint64_t offset, std::uint64_t offsets, std::uint64_t lines) {
  Head head;
  const bool pad = offsets == 0;
  head.word = layout::pack(
      layout::WordFields{.state = pad ? State::pad : State::aborted, .lines = static_cast<std::uint32_t>(lines)});
  head.tag = layout::tag_for(nonce, offset);
  head.id_low = offsets;
  const std::uint32_t flags =
      pad ? std::uint32_t{layout::kFlagChecksum} : layout::kFlagChecksum | layout::kFlagCompacted;
  head.sizes = layout::pack(layout::SizeFields{.count = 0, .flags = flags});
  head.checksum = checksum_of(head, {});
  return head;
}

bool plausible_claim(const Head& head) {
  const layout::SizeFields sizes = layout::sizes_of(head.sizes);
  const std::uint64_t lines = layout::lines_of(head.word);
  if (lines == 0 || !plausible_sizes(sizes, lines)) return false;
  if (is_compacted(head)) {
    return sizes.count == 0 && sizes.payload == 0 && sizes.attributes == 0 && head.id_low >= 1 && head.id_low <= lines;
  }
  switch (layout::state_of(head.word)) {
    case State::committed:
    case State::aborted:
      return sizes.count >= 1 && sizes.count <= lines;  // a record takes a line or more
    case State::pad:
      return sizes.count == 0;
    default:
      return false;
  }
}

bool plausible_inner(const Head& head, std::uint64_t distance) {
  const layout::SizeFields sizes = layout::sizes_of(head.sizes);
  const std::uint64_t lines = layout::lines_of(head.word);
  return layout::state_of(head.word) == State::inner && lines > 0 && sizes.count == 0 && head.link == distance &&
         plausible_sizes(sizes, lines) && layout::lines_for(layout::record_bytes(sizes)) == lines;
}

std::uint64_t record_size(const Head& head) { return layout::record_bytes(layout::sizes_of(head.sizes)); }

std::uint64_t checksum_of(const Head& head, std::span<const std::byte> body) {
  return log::record_checksum(head.word, head.link, head.tag, head.time, head.id_low, head.id_high, head.sizes, body);
}

bool checksum_holds(const Head& head, std::span<const std::byte> record) {
  return checksum_of(head, record.subspan(kLine, record_size(head) - kLine)) == head.checksum;
}

Head aborted_head(const Head& claim) {
  Head head = claim;
  head.word = layout::with_state(claim.word, State::aborted);
  head.sizes =
      layout::pack(layout::SizeFields{.count = layout::sizes_of(claim.sizes).count, .flags = layout::kFlagChecksum});
  head.id_low = head.id_high = 0;
  head.checksum = checksum_of(head, {});
  return head;
}

Parsed parse_claim(std::span<const std::byte> bytes, std::uint64_t nonce, std::uint64_t offset, std::uint64_t room,
                   Record& record, Wanted& wanted) {
  if (bytes.size() < kLine) {
    wanted.bytes = kLine;
    return Parsed::cut;
  }
  const Head head = load_head(bytes.data());
  if (head.tag != layout::tag_for(nonce, offset)) return Parsed::unwritten;
  if (!plausible_claim(head) || layout::lines_of(head.word) > room) return Parsed::damaged;
  record.offset = offset;
  return check(head, bytes, record, wanted);
}

Parsed parse_inner(std::span<const std::byte> bytes, std::uint64_t nonce, std::uint64_t offset, std::uint64_t distance,
                   std::uint64_t room, Record& record, Wanted& wanted) {
  if (bytes.size() < kLine) {
    wanted.bytes = kLine;
    return Parsed::cut;
  }
  const Head head = load_head(bytes.data());
  if (head.tag != layout::tag_for(nonce, offset)) return Parsed::unwritten;
  if (!plausible_inner(head, distance) || layout::lines_of(head.word) > room) return Parsed::damaged;
  record.offset = offset;
  return check(head, bytes, record, wanted);
}

Place after(const Place& place, const Record& record) {
  Place next = place;
  if (!place.within()) {
    if (record.state() != layout::State::committed) {
      return {.position = place.position + record.lines, .offset = place.offset + record.count};
    }
    next.head = place.position;
    next.claim_end = place.position + record.lines;
    next.end_offset = place.offset + record.count;
  }
  next.position = place.position + layout::lines_for(record_size(record.head));
  next.offset = place.offset + 1;
  if (next.offset < next.end_offset) return next;
  return {.position = next.claim_end, .offset = next.end_offset};
}

}  // namespace penstock::storage
