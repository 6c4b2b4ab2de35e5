// Claiming places in a ring and settling them. One publisher a handle, one thread a publisher, any number of
// publishers a ring. Makes no system call, allocates nothing; waiting and waking are its caller's.
#pragma once

#include <algorithm>
#include <span>
#include <utility>

#include "log/ring.hpp"

namespace penstock::log {

// Finds the intents of the handle that made the last claim, so that the next can link to it.
class Neighbours {
 public:
  virtual ~Neighbours() = default;
  // The mapped page of that slot, or null when there is none.
  virtual const layout::HandlePage* page(std::uint32_t slot) = 0;
};

enum class ClaimFault : std::uint8_t {
  none,
  full,       // past the limit: wait until somebody raises it
  moved,      // somebody claimed in between
  exhausted,  // past the bound of offsets that are safe to give: raise the bound on disk first
};

// A claim that is open: its header says CLAIMED and its bytes are its owner's alone.
struct OpenClaim {
  ClaimFault fault = ClaimFault::none;
  std::uint64_t position = 0;
  std::uint64_t offset = 0;
  std::uint32_t lines = 0;
  std::uint32_t count = 0;
  layout::RecordHeader* head = nullptr;
};

// What becomes of one record's header when it is filled in.
struct Stamp {
  std::int64_t time_ns = 0;
  std::uint64_t id_low = 0, id_high = 0;
  std::uint32_t payload = 0;
  std::uint32_t attributes = 0;
  std::uint32_t flags = 0;
};

class Publisher {
 public:
  // `control` and the ring behind it are mapped for writing; `page` is this handle's own.
  // `fenced`: every commit is a locked instruction, so that a sleeper's mask read after it is current. Else who goes to
  // sleep has this process pass a fence (shm/fence.hpp).
  Publisher(layout::TopicControl* control, const Ring& ring, layout::HandlePage* page, std::uint32_t slot,
            std::uint32_t incarnation, Neighbours& neighbours, bool fenced = true);

  const Ring& ring() const { return ring_; }
  // The intents that the slot's former owner left, if it published here too: the tail may still end with its claim.
  void inherit(const std::array<Witness::IntentCopy, 2>& former) { former_ = former; }

  // Claims `lines` lines for `count` events, after a PAD where the ring's end is too near. At most the ring's size.
  [[gnu::always_inline]] OpenClaim claim(std::uint64_t lines, std::uint32_t count) {
    layout::Pair tail;
    if (!plain(tail, lines, count) || !take(tail, next_in_lap(tail, lines, count), lines, count)) [[unlikely]]
      return claim_slowly(lines, count);
    return open(tail, lines, count, std::exchange(last_, link_of_own(lines, count)));
  }

  // Publishes a whole event without attributes, where nothing is in the way, and says where. False: nothing was done;
  // claim() does the same and more. The header is there at once, COMMITTED, and the tag last: until then it is not
  // written, as it is between any other claim and its tag, so payloads must be small enough to be copied in a moment.
  [[gnu::always_inline]] bool put(std::int64_t time_ns, const std::uint64_t& id_low, const std::uint64_t& id_high,
                                  std::span<const std::byte> payload, std::uint64_t& offset) {
    const std::uint64_t lines = lines_for(payload.size());
    layout::Pair tail;
    if (!plain(tail, lines, 1) || !take(tail, next_in_lap(tail, lines, 1), lines, 1)) [[unlikely]]
      return false;
    const std::uint64_t place = lane_.origin + tail.low * layout::kLine;
    fetch_ahead(place, lines);
    auto* head = reinterpret_cast<layout::RecordHeader*>(place);
    const std::uint64_t link = std::exchange(last_, link_of_own(lines, 1));
    const std::uint64_t word = (lane_.word | layout::kCommitBit) + (lines << layout::kStateBits);
    const std::uint64_t sizes = sizes_of_one_ + payload.size();
    const std::uint64_t tag = layout::tag_for(ring_.nonce ^ slot_high_, tail.high);  // the slot's bits cancel out
    head->word.store(word, std::memory_order_relaxed);
    head->link.store(link, std::memory_order_relaxed);
    head->time.store(std::uint64_t(time_ns), std::memory_order_relaxed);
    head->id_low.store(id_low, std::memory_order_relaxed);
    head->id_high.store(id_high, std::memory_order_relaxed);
    head->sizes.store(sizes, std::memory_order_relaxed);
    copy(reinterpret_cast<std::byte*>(place + head_bytes_), payload);
    if (checked_) seal(head, word, link, tag, sizes);
    settle(head->tag, tag);
    offset = tail.high & layout::k56;
    return true;
  }

  // Claims only if the tail still is what the caller read. The head's id is there with its header, before it is
  // committed.
  OpenClaim claim_at(const layout::Pair& tail, std::uint64_t lines, std::uint32_t count, const layout::Id128& id);

  // Where the attributes of the record at `position` begin, and what stands before them.
  std::byte* body(std::uint64_t position) const { return bytes(position) + head_bytes_; }
  std::uint64_t head_bytes() const { return head_bytes_; }
  // Of a record with so many bytes of attributes and payload.
  std::uint64_t lines_for(std::uint64_t body_bytes) const { return layout::lines_for(head_bytes_ + body_bytes); }
  // Puts a payload in its place; small ones without a call.
  static void copy(std::byte* to, std::span<const std::byte> payload);
  // Fills in the header of the record at `position` of the claim (the head, or a later record of a batch), attributes
  // and payload being in place; with kFlagChecksum computes the checksum of the final record.
  [[gnu::always_inline]] void stamp(const OpenClaim& claim, std::uint64_t position, std::uint64_t offset,
                                    const Stamp& stamp) {
    layout::RecordHeader* record = header(position);
    const bool inner = position != claim.position;
    const std::uint64_t sizes = pack(
        layout::SizeFields{stamp.payload, stamp.attributes, inner ? 0 : claim.count, stamp.flags | checked_flag()});
    write(record, stamp, sizes);
    if (inner) {
      const std::uint64_t own = lines_for(std::uint64_t{stamp.attributes} + stamp.payload);
      record->word.store(layout::with_state(word_at(position), layout::State::inner) | own << layout::kStateBits,
                         std::memory_order_relaxed);
      record->link.store(position - claim.position, std::memory_order_relaxed);
      record->tag.store(layout::tag_for(ring_.nonce, offset), std::memory_order_relaxed);
    }
    if (checked_) seal(record, sizes, inner ? layout::State::inner : layout::State::committed);
  }

  // Makes the claim's events visible.
  void commit(const OpenClaim& claim) {
    const std::uint64_t word = claim.head->word.load(std::memory_order_relaxed);
    settle(claim.head->word, layout::with_state(word, layout::State::committed));
  }
  // Uses the claim's offsets up without an event. On checked topics the header is given its checksum.
  void abort(const OpenClaim& claim) { settle_empty(claim, layout::State::aborted); }
  // The half of the state word that a FUTEX_WAKE_OP may settle with OR kCommitBit.
  std::uint32_t* commit_half(const OpenClaim& claim) const { return reinterpret_cast<std::uint32_t*>(claim.head); }

  // Where the tail ended at the last failed claim: what must fit below the limit.
  std::uint64_t wanted_end() const { return wanted_end_; }

 private:
  std::byte* bytes(std::uint64_t position) const {
    return const_cast<std::byte*>(ring_.lines) + (position & ring_.mask) * layout::kLine;
  }
  layout::RecordHeader* header(std::uint64_t position) const {
    return reinterpret_cast<layout::RecordHeader*>(bytes(position));
  }
  static void write(layout::RecordHeader* record, const Stamp& stamp, std::uint64_t sizes) {
    record->time.store(std::uint64_t(stamp.time_ns), std::memory_order_relaxed);
    record->id_low.store(stamp.id_low, std::memory_order_relaxed);
    record->id_high.store(stamp.id_high, std::memory_order_relaxed);
    record->sizes.store(sizes, std::memory_order_relaxed);
  }
  // The store that readers go by.
  void settle(layout::Word& at, std::uint64_t value) const {
    if (fenced_)
      at.store(value, std::memory_order_seq_cst);
    else
      at.store(value, std::memory_order_release);
  }
  void seal(layout::RecordHeader* record, std::uint64_t sizes, layout::State final_state);
  static void seal(layout::RecordHeader* record, std::uint64_t word, std::uint64_t link, std::uint64_t tag,
                   std::uint64_t sizes);
  std::uint32_t checked_flag() const { return checked_ ? std::uint32_t{layout::kFlagChecksum} : 0u; }
  void settle_empty(const OpenClaim& claim, layout::State state);  // aborted or pad: no event, no body
  bool mine(const layout::Pair& tail) const {                      // made by this slot's claim
    return ((tail.low ^ slot_low_) | (tail.high ^ slot_high_)) >> 56 == 0;
  }
  // Whether a claim at the tail, which is this publisher's own, needs nothing but to be made.
  bool plain(layout::Pair& tail, std::uint64_t lines, std::uint32_t count) const {
    tail = single_ ? lane_.tail : layout::load16_halves(&control_->tail);
    return (single_ || mine(tail)) && tail.low + lines <= lane_.room && tail.high + count <= lane_.bound;
  }
  static layout::Pair next_in_lap(const layout::Pair& tail, std::uint64_t lines, std::uint32_t count) {
    return {tail.low + lines, tail.high + count};
  }
  std::uint64_t word_at(std::uint64_t position) const {  // CLAIMED, without its lines
    return word_base_ | std::uint64_t(ring_.generation(position)) << 52;
  }
  std::uint64_t link_of_own(std::uint64_t lines, std::uint32_t count) const {
    return link_base_ | layout::link_extent(lines, count);
  }
  OpenClaim claim_slowly(std::uint64_t lines, std::uint32_t count);
  OpenClaim try_claim(const layout::Pair& tail, std::uint64_t lines, std::uint32_t count, const layout::Id128* id);
  std::uint64_t link_to(const layout::Pair& tail);
  // The steps of the quick way are inlined as a whole, so that what they hand on stays in registers.
  bool take(const layout::Pair& tail, const layout::Pair& next, std::uint64_t lines, std::uint32_t count);
  OpenClaim open(const layout::Pair& tail, std::uint64_t lines, std::uint32_t count, std::uint64_t link,
                 const layout::Id128* id = nullptr);
  bool room(std::uint64_t end);
  void lay_lane(std::uint64_t end);
  static void fetch_ahead(std::uint64_t place, std::uint64_t lines);

  layout::TopicControl* control_;
  Ring ring_;
  Neighbours& neighbours_;
  bool checked_;                // records carry checksums
  std::uint64_t head_bytes_;    // of a record without attributes
  std::uint64_t sizes_of_one_;  // of a claim of one event without payload
  bool single_;                 // nobody else may claim, and the tail needs no compare-and-swap
  bool fenced_;                 // commits are locked instructions
  // What the slow way made ready for the quick one: good for the rest of the lap, up to the limit last seen. Halves of
  // the tail have this slot's bits, which are shifted out of, or cancel out in, what is made of them.
  struct Lane {
    layout::Pair tail{};               // of the only producer: as its last claim left it
    std::uint64_t room = 0;            // the tail's low half at which a new limit is to be looked for, or the lap ends
    std::uint64_t bound = 0;           // the tail's high half at which offsets end that are safe to give
    std::uint64_t origin = 0;          // the address of line 0, were the ring as long as the log
    std::uint64_t word = 0;            // CLAIMED
    layout::Intent* intent = nullptr;  // the entry to write next
    layout::Intent* next_intent = nullptr;
  } lane_;
  std::uint64_t limit_ = 0;
  std::uint64_t bound_ = 0;
  std::uint64_t wanted_end_ = 0;
  std::array<Witness::IntentCopy, 2> former_{};  // of the slot, by its owner before
  std::uint64_t last_ = 0;                       // the link to this publisher's last claim; 0 before the first
  // This owner as the tail's halves, a state word and a link have it.
  std::uint64_t slot_low_, slot_high_, word_base_, link_base_;
  std::uint64_t shape_base_;  // and its incarnation as a shape has it
};

// Replaces the tail that was read by the one behind this claim.
[[gnu::always_inline]] inline bool Publisher::take(const layout::Pair& tail, const layout::Pair& next,
                                                   std::uint64_t lines, std::uint32_t count) {
  layout::Intent& intent = *lane_.intent;
  // Shape 0 marks the entry as being written: an entry half old, half new must not name a claim that never was.
  intent.shape.store(0, std::memory_order_relaxed);
  intent.tail_low.store(tail.low, std::memory_order_release);
  intent.tail_high.store(tail.high, std::memory_order_release);
  intent.shape.store(shape_base_ | layout::pack_shape(lines, count, 0), std::memory_order_release);
  // Either way with release, so the intent is visible before the claim is.
  if (single_) {
    layout::store16(&control_->tail, next);
    lane_.tail = next;
  } else if (!layout::cas16(&control_->tail, tail, next)) {
    return false;
  }
  std::swap(lane_.intent, lane_.next_intent);
  return true;
}

inline constexpr std::uint64_t kFetchAhead = 32;  // lines ahead of the tail that are asked for

// Asks for the lines of claims to come, for writing: a locked instruction waits until all stores before it have their
// lines, and fetching one from the reader that had it last takes as long as many claims. At the lap's end these are
// nobody's lines, which does no harm.
[[gnu::always_inline]] inline void Publisher::fetch_ahead(std::uint64_t place, std::uint64_t lines) {
  const std::uint64_t ahead = place + kFetchAhead * layout::kLine;
  const auto fetch = [ahead](std::uint64_t line) {
    __asm__ volatile("prefetchw (%0)" : : "r"(ahead + line * layout::kLine));
  };
  fetch(0);
  if (lines > 1) fetch(1);
  for (std::uint64_t line = 2; line < std::min(lines, kFetchAhead); ++line) [[unlikely]] fetch(line);
}

// The word first and the tag last: whoever sees the tag sees a word of this claim.
[[gnu::always_inline]] inline OpenClaim Publisher::open(const layout::Pair& tail, std::uint64_t lines,
                                                        std::uint32_t count, std::uint64_t link,
                                                        const layout::Id128* id) {
  const std::uint64_t end = tail.low & layout::k56, offset = tail.high & layout::k56;
  layout::RecordHeader* head = header(end);
  fetch_ahead(reinterpret_cast<std::uint64_t>(head), lines);
  head->word.store(word_at(end) | lines << layout::kStateBits, std::memory_order_relaxed);
  head->link.store(link, std::memory_order_relaxed);
  head->sizes.store(pack(layout::SizeFields{0, 0, count, 0}), std::memory_order_relaxed);
  if (id != nullptr) {
    head->id_low.store(id->low, std::memory_order_relaxed);
    head->id_high.store(id->high, std::memory_order_relaxed);
  }
  head->tag.store(layout::tag_for(ring_.nonce, offset), std::memory_order_release);
  return {ClaimFault::none, end, offset, std::uint32_t(lines), count, head};
}

// Small ones by words, front and back, which may overlap. A payload was mostly written a moment ago, field by field: a
// load that is wider than the store it reads from waits until that store has reached the cache, and so have all before
// it, to lines that other processors have.
[[gnu::always_inline]] inline void Publisher::copy(std::byte* to, std::span<const std::byte> payload) {
  const std::byte* from = payload.data();
  const std::size_t size = payload.size();
  const auto words = [to, from](std::size_t at, std::size_t number) {
#pragma GCC unroll 8
    for (std::size_t i = at; i < at + 8 * number; i += 8) {
      std::uint64_t word;
      std::memcpy(&word, from + i, sizeof word);
      __asm__("" : "+r"(word));  // so that compilers do not join them
      std::memcpy(to + i, &word, sizeof word);
    }
  };
  if (size > 32 && size <= 64) {
    words(0, 4);
    words(size - 32, 4);
  } else if (size > 64 && size <= 128) {
    words(0, 8);
    words(size - 64, 8);
  } else if (size > 16 && size <= 32) {
    words(0, 2);
    words(size - 16, 2);
  } else if (size != 0) {
    std::memcpy(to, from, size);
  }
}

}  // namespace penstock::log
