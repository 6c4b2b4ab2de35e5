#include "log/publisher.hpp"

#include "log/checksum.hpp"

namespace penstock::log {

using layout::RecordHeader;
using layout::State;
using layout::TailFields;

Publisher::Publisher(layout::TopicControl* control, const Ring& ring, layout::HandlePage* page, std::uint32_t slot,
                     std::uint32_t incarnation, Neighbours& neighbours, bool fenced)
    : control_(control),
      ring_(ring),
      neighbours_(neighbours),
      checked_(control->header.options.durability == layout::Durability::disk),
      head_bytes_(layout::body_at(checked_flag())),
      sizes_of_one_(pack(layout::SizeFields{0, 0, 1, checked_flag()})),
      single_(control->header.options.single_producer != 0 && layout::kStoresPairs),
      fenced_(fenced),
      slot_low_(std::uint64_t(slot & 0xff) << 56),
      slot_high_(std::uint64_t(slot >> 8 & 0xff) << 56),
      word_base_(pack(layout::WordFields{State::claimed, 0, slot, incarnation, 0})),
      link_base_(pack(layout::LinkFields{slot, incarnation, 0, 0})),
      shape_base_(layout::pack_shape(0, 0, incarnation)) {
  lane_.intent = page->intents;
  lane_.next_intent = page->intents + 1;
}

bool Publisher::room(std::uint64_t end) {
  if (end <= limit_) return true;
  // Acquire: whoever raised the limit had done reading the lines we are about to overwrite.
  limit_ = control_->limit.load(std::memory_order_acquire);
  return end <= limit_;
}

// The link names the claim that the tail ends with. Its owner's intents say how long it was, and stay as they are for
// as long as the tail does: an entry is written again only after the owner's next claim succeeded. So what is read here
// is right if the compare-and-swap that follows succeeds, and forgotten if not.
std::uint64_t Publisher::link_to(const layout::Pair& seen) {
  const TailFields tail = layout::tail_of(seen);
  if (tail.end == ring_.base_position) return 0;
  if (mine(seen) && last_ != 0) return last_;
  std::array<Witness::IntentCopy, 2> intents = former_;
  if (!mine(seen)) {
    const layout::HandlePage* page = neighbours_.page(tail.slot);
    if (page == nullptr) return 0;
    for (int i = 0; i < 2; ++i) {
      const layout::Intent& intent = page->intents[i];
      const std::uint64_t shape = intent.shape.load(std::memory_order_acquire);
      intents[i] = {layout::tail_of({intent.tail_low.load(std::memory_order_relaxed),
                                     intent.tail_high.load(std::memory_order_relaxed)}),
                    layout::shape_lines(shape), layout::shape_count(shape), layout::shape_incarnation(shape)};
    }
  }
  for (const auto& intent : intents)
    if (intent.lines != 0 && intent.tail.end + intent.lines == tail.end &&
        intent.tail.offset + intent.count == tail.offset)
      return pack(layout::LinkFields{tail.slot, intent.incarnation & 0xfff, intent.lines, intent.count});
  return 0;
}

// One attempt at this tail. ClaimFault::moved: the tail is another by now, if only behind a PAD of our own.
OpenClaim Publisher::try_claim(const layout::Pair& seen, std::uint64_t lines, std::uint32_t count,
                               const layout::Id128* id) {
  const TailFields tail = layout::tail_of(seen);
  const std::uint64_t left = ring_.size() - (tail.end & ring_.mask);
  const bool pad = left < lines;
  wanted_end_ = tail.end + (pad ? left : 0) + lines;
  if (!room(wanted_end_)) return {ClaimFault::full, tail.end, tail.offset, 0, 0, nullptr};
  if (tail.offset + count > bound_) {
    bound_ = control_->offset_bound.load(std::memory_order_acquire);
    if (tail.offset + count > bound_) return {ClaimFault::exhausted, tail.end, tail.offset, 0, 0, nullptr};
  }
  const std::uint64_t link = link_to(seen);
  const OpenClaim moved{ClaimFault::moved, tail.end, tail.offset, 0, 0, nullptr};
  const std::uint64_t taken = pad ? left : lines;
  const std::uint32_t given = pad ? 0 : count;
  if (!take(seen, {(tail.end + taken) | slot_low_, (tail.offset + given) | slot_high_}, taken, given)) return moved;
  last_ = link_of_own(taken, given);
  lay_lane(tail.end + taken);
  if (!pad) return open(seen, lines, count, link, id);
  settle_empty(open(seen, left, 0, link), State::pad);
  return moved;
}

// For claims from this end on.
void Publisher::lay_lane(std::uint64_t end) {
  const std::uint64_t lap = end & ~ring_.mask;
  lane_.room = std::min(limit_, lap + ring_.size()) | slot_low_;
  lane_.bound = bound_ | slot_high_;
  lane_.origin = reinterpret_cast<std::uint64_t>(ring_.lines) - (lap | slot_low_) * layout::kLine;
  lane_.word = word_at(end);
}

OpenClaim Publisher::claim_slowly(std::uint64_t lines, std::uint32_t count) {
  for (;;) {
    const OpenClaim claim = try_claim(layout::load16_halves(&control_->tail), lines, count, nullptr);
    if (claim.fault != ClaimFault::moved) return claim;
  }
}

OpenClaim Publisher::claim_at(const layout::Pair& tail, std::uint64_t lines, std::uint32_t count,
                              const layout::Id128& id) {
  // A single producer's claim compares nothing; nobody else moves the tail.
  if (single_ && !(layout::load16_halves(&control_->tail) == tail)) return {ClaimFault::moved, 0, 0, 0, 0, nullptr};
  return try_claim(tail, lines, count, &id);
}

// The checksum over the record as it will be in its final state. Its sizes are those that were stamped: the ring's may
// be another's by now, and reach past it.
void Publisher::seal(RecordHeader* record, std::uint64_t sizes, State final_state) {
  seal(record, layout::with_state(record->word.load(std::memory_order_relaxed), final_state),
       record->link.load(std::memory_order_relaxed), record->tag.load(std::memory_order_relaxed), sizes);
}

void Publisher::seal(RecordHeader* record, std::uint64_t word, std::uint64_t link, std::uint64_t tag,
                     std::uint64_t sizes) {
  const layout::SizeFields fields = layout::sizes_of(sizes);
  auto* at = reinterpret_cast<std::byte*>(record);
  const std::uint64_t sum =
      record_checksum(word, link, tag, record->time.load(std::memory_order_relaxed),
                      record->id_low.load(std::memory_order_relaxed), record->id_high.load(std::memory_order_relaxed),
                      sizes, {at + layout::body_at(fields.flags), std::size_t{fields.attributes} + fields.payload});
  std::memcpy(at + layout::kHeaderBytes, &sum, sizeof sum);
}

void Publisher::settle_empty(const OpenClaim& claim, State state) {
  const std::uint64_t sizes = pack(layout::SizeFields{0, 0, claim.count, checked_flag()});
  claim.head->time.store(0, std::memory_order_relaxed);
  claim.head->id_low.store(0, std::memory_order_relaxed);
  claim.head->id_high.store(0, std::memory_order_relaxed);
  claim.head->sizes.store(sizes, std::memory_order_relaxed);
  if (checked_) seal(claim.head, sizes, state);
  const std::uint64_t word = claim.head->word.load(std::memory_order_relaxed);
  claim.head->word.store(layout::with_state(word, state), std::memory_order_seq_cst);
}

}  // namespace penstock::log
