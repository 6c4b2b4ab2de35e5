#include "log/publisher.hpp"

#include "log/checksum.hpp"

namespace penstock::log {

using layout::RecordHeader;
using layout::State;
using layout::TailFields;

Publisher::Publisher(layout::TopicControl* control, const Ring& ring, layout::HandlePage* page, std::uint32_t slot,
                     std::uint32_t incarnation, Neighbours& neighbours)
    : control_(control),
      ring_(ring),
      page_(page),
      slot_(slot),
      incarnation_(incarnation),
      neighbours_(neighbours),
      checked_(control->header.options.durability == layout::Durability::disk) {}

bool Publisher::room(std::uint64_t end) {
  if (end <= limit_) return true;
  // Acquire: whoever raised the limit had done reading the lines we are about to overwrite.
  limit_ = control_->limit.load(std::memory_order_acquire);
  return end <= limit_;
}

// The link names the claim that the tail ends with. Its owner's intents say how long it was, and stay as they are for
// as long as the tail does: an entry is written again only after the owner's next claim succeeded. So what is read here
// is right if the compare-and-swap that follows succeeds, and forgotten if not.
std::uint64_t Publisher::link_to(const TailFields& tail) {
  if (tail.end == ring_.base_position) return 0;
  if (tail.slot == slot_ && last_lines_ == 0) return 0;  // this slot's, but of an earlier life
  if (tail.slot == slot_) return pack(layout::LinkFields{slot_, incarnation_ & 0xfff, last_lines_, last_count_});
  const layout::HandlePage* page = neighbours_.page(tail.slot);
  if (page == nullptr) return 0;
  for (const layout::Intent& intent : page->intents) {
    const std::uint64_t shape = intent.shape.load(std::memory_order_acquire);
    const TailFields seen = layout::tail_of(
        {intent.tail_low.load(std::memory_order_relaxed), intent.tail_high.load(std::memory_order_relaxed)});
    const std::uint32_t lines = layout::shape_lines(shape), count = layout::shape_count(shape);
    if (lines != 0 && seen.end + lines == tail.end && seen.offset + count == tail.offset)
      return pack(layout::LinkFields{tail.slot, layout::shape_incarnation(shape) & 0xfff, lines, count});
  }
  return 0;
}

bool Publisher::take(const TailFields& tail, std::uint64_t lines, std::uint32_t count) {
  layout::Intent& intent = page_->intents[entry_];
  const layout::Pair seen = pack(tail);
  // Shape 0 marks the entry as being written: an entry half old, half new must not name a claim that never was.
  intent.shape.store(0, std::memory_order_relaxed);
  intent.tail_low.store(seen.low, std::memory_order_release);
  intent.tail_high.store(seen.high, std::memory_order_release);
  intent.shape.store(layout::pack_shape(lines, count, incarnation_), std::memory_order_release);
  // A full barrier, so the intent is visible before the claim is.
  if (!layout::cas16(&control_->tail, seen, pack(TailFields{tail.end + lines, tail.offset + count, slot_})))
    return false;
  entry_ ^= 1;
  last_lines_ = std::uint32_t(lines);
  last_count_ = count;
  return true;
}

// The word first and the tag last: whoever sees the tag sees a word of this claim.
void Publisher::open(const TailFields& tail, std::uint64_t lines, std::uint32_t count, std::uint64_t link) {
  RecordHeader* head = header(tail.end);
  head->word.store(
      pack(layout::WordFields{State::claimed, std::uint32_t(lines), slot_, incarnation_, ring_.generation(tail.end)}),
      std::memory_order_relaxed);
  head->link.store(link, std::memory_order_relaxed);
  head->sizes.store(pack(layout::SizeFields{0, 0, count, checked_flag()}), std::memory_order_relaxed);
  head->tag.store(layout::tag_for(ring_.nonce, tail.offset), std::memory_order_release);
}

void Publisher::write_pad(const TailFields& tail, std::uint64_t lines, std::uint64_t link) {
  open(tail, lines, 0, link);
  RecordHeader* head = header(tail.end);
  head->time.store(0, std::memory_order_relaxed);
  head->id_low.store(0, std::memory_order_relaxed);
  head->id_high.store(0, std::memory_order_relaxed);
  const std::uint64_t word = layout::with_state(head->word.load(std::memory_order_relaxed), State::pad);
  if (checked_) {
    const std::uint64_t sum = record_checksum(word, link, head->tag.load(std::memory_order_relaxed), 0, 0, 0,
                                              head->sizes.load(std::memory_order_relaxed), {});
    std::memcpy(bytes(tail.end) + layout::kHeaderBytes, &sum, sizeof sum);
  }
  head->word.store(word, std::memory_order_seq_cst);
}

OpenClaim Publisher::claim(std::uint64_t lines, std::uint32_t count) {
  for (;;) {
    const TailFields tail = layout::tail_of(layout::load16_halves(&control_->tail));
    const std::uint64_t left = ring_.size() - (tail.end & ring_.mask);
    const bool pad = left < lines;
    wanted_end_ = tail.end + (pad ? left : 0) + lines;
    if (!room(wanted_end_)) return {ClaimFault::full, tail.end, tail.offset, 0, 0, nullptr};
    if (tail.offset + count > bound_) {
      bound_ = control_->offset_bound.load(std::memory_order_acquire);
      if (tail.offset + count > bound_) return {ClaimFault::exhausted, tail.end, tail.offset, 0, 0, nullptr};
    }
    const std::uint64_t link = link_to(tail);
    if (pad) {
      if (take(tail, left, 0)) write_pad(tail, left, link);
      continue;
    }
    if (!take(tail, lines, count)) continue;
    open(tail, lines, count, link);
    return {ClaimFault::none, tail.end, tail.offset, std::uint32_t(lines), count, header(tail.end)};
  }
}

void Publisher::stamp(const OpenClaim& claim, std::uint64_t position, std::uint64_t offset, const Stamp& stamp) {
  RecordHeader* record = header(position);
  const bool inner = position != claim.position;
  const std::uint32_t flags = stamp.flags | checked_flag();
  const std::uint64_t sizes = pack(layout::SizeFields{stamp.payload, stamp.attributes, inner ? 0 : claim.count, flags});
  record->time.store(std::uint64_t(stamp.time_ns), std::memory_order_relaxed);
  record->id_low.store(stamp.id_low, std::memory_order_relaxed);
  record->id_high.store(stamp.id_high, std::memory_order_relaxed);
  record->sizes.store(sizes, std::memory_order_relaxed);
  std::uint64_t word = record->word.load(std::memory_order_relaxed);
  if (inner) {
    const std::uint64_t own = layout::lines_for(layout::record_bytes(layout::sizes_of(sizes)));
    word = pack(layout::WordFields{State::inner, std::uint32_t(own), slot_, incarnation_, ring_.generation(position)});
    record->word.store(word, std::memory_order_relaxed);
    record->link.store(position - claim.position, std::memory_order_relaxed);
    record->tag.store(layout::tag_for(ring_.nonce, offset), std::memory_order_relaxed);
  } else {
    word = layout::with_state(word, State::committed);
  }
  if (!checked_) return;
  const std::byte* body = bytes(position) + layout::body_at(flags);
  const std::uint64_t sum =
      record_checksum(word, record->link.load(std::memory_order_relaxed), record->tag.load(std::memory_order_relaxed),
                      std::uint64_t(stamp.time_ns), stamp.id_low, stamp.id_high, sizes,
                      {body, std::size_t{stamp.attributes} + stamp.payload});
  std::memcpy(bytes(position) + layout::kHeaderBytes, &sum, sizeof sum);
}

void Publisher::commit(const OpenClaim& claim) {
  const std::uint64_t word = claim.head->word.load(std::memory_order_relaxed);
  claim.head->word.store(layout::with_state(word, State::committed), std::memory_order_seq_cst);
}

void Publisher::abort(const OpenClaim& claim) {
  RecordHeader* head = claim.head;
  const std::uint64_t word = layout::with_state(head->word.load(std::memory_order_relaxed), State::aborted);
  const std::uint64_t sizes = pack(layout::SizeFields{0, 0, claim.count, checked_flag()});
  head->time.store(0, std::memory_order_relaxed);
  head->id_low.store(0, std::memory_order_relaxed);
  head->id_high.store(0, std::memory_order_relaxed);
  head->sizes.store(sizes, std::memory_order_relaxed);
  if (checked_) {
    const std::uint64_t sum = record_checksum(word, head->link.load(std::memory_order_relaxed),
                                              head->tag.load(std::memory_order_relaxed), 0, 0, 0, sizes, {});
    std::memcpy(bytes(claim.position) + layout::kHeaderBytes, &sum, sizeof sum);
  }
  head->word.store(word, std::memory_order_seq_cst);
}

}  // namespace penstock::log
