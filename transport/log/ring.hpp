// A ring seen through its bytes: where lines are, what stands at a position, who is waited for.
// Views own nothing and are only as good as the mapping under them. All of it is one thread's; the ring itself is
// everybody's. Nothing here trusts a value it read: what cannot be counts as not written.
#pragma once

#include <array>
#include <atomic>
#include <cstring>
#include <optional>
#include <span>

#include "layout/atomic16.hpp"
#include "layout/handle.hpp"
#include "layout/record.hpp"
#include "layout/topic.hpp"

namespace penstock::log {

// What a reader must ask of the world outside the ring: which owners are dead, and what they had in mind.
class Witness {
 public:
  struct IntentCopy {
    layout::TailFields tail;  // as the owner read it
    std::uint32_t lines = 0;
    std::uint32_t count = 0;
    std::uint32_t incarnation = 0;
  };
  virtual ~Witness() = default;
  // True only when that life of the slot is proved over. The proof holds for ever.
  virtual bool dead(std::uint32_t slot, std::uint32_t incarnation) = 0;
  // The slot's alternating intents; empty when the slot's page cannot be read.
  virtual std::optional<std::array<IntentCopy, 2>> intents(std::uint32_t slot) = 0;
  virtual std::uint32_t slots() = 0;  // slots that may have intents are below this
};

struct Ring {
  const layout::TopicControl* control = nullptr;
  const std::byte* lines = nullptr;
  std::uint64_t mask = 0;  // ring lines - 1; the ring is a power of two lines
  unsigned shift = 0;      // log2 of ring lines
  std::uint64_t nonce = 0;
  std::uint64_t base_position = 0;
  std::uint64_t base_offset = 0;

  std::uint64_t size() const { return mask + 1; }
  const layout::RecordHeader* at(std::uint64_t position) const {
    return reinterpret_cast<const layout::RecordHeader*>(lines + (position & mask) * layout::kLine);
  }
  std::uint32_t generation(std::uint64_t position) const { return std::uint32_t(position >> shift) & 0xfff; }
  layout::TailFields tail() const { return layout::tail_of(layout::load16_halves(&control->tail)); }
  // Whether no claim that was made so far reaches into the line at `position` again. To be asked after its bytes were
  // copied: a claim is in the tail before its owner writes a byte of it.
  bool intact(std::uint64_t position) const {
    std::atomic_thread_fence(std::memory_order_acquire);
    const std::uint64_t end = position + size();
    // The limit changes rarely; the tail is a line that producers fight over.
    return control->limit.load(std::memory_order_relaxed) <= end || tail().end <= end;
  }
};

// Null control when the header cannot be a ring of `file_bytes`.
Ring ring_of(const layout::TopicControl* control, std::uint64_t file_bytes);

// What stands at a position.
struct Look {
  enum class Kind : std::uint8_t {
    nothing,  // the tail is here: wait for an event
    waiting,  // a claim that its living owner has still to settle: wait for it, nobody else can
    settled,  // committed, aborted or pad, the owner's word
    dead,     // aborted: its owner died before it committed. Everybody comes to the same verdict.
  } kind = Kind::nothing;
  layout::State state = layout::State::unwritten;  // committed, aborted or pad when settled or dead
  std::uint32_t lines = 0;                         // of the whole claim
  std::uint32_t count = 0;                         // offsets the claim uses
  std::uint32_t slot = layout::kNoSlot;            // waiting: whom for
  std::uint32_t incarnation = 0;
  const layout::RecordHeader* head = nullptr;  // null: the header was never written
};

// The quick look: one line, no tail, no witness. False: use look().
inline bool glance(const Ring& ring, std::uint64_t position, std::uint64_t offset, Look& out) {
  const layout::RecordHeader* head = ring.at(position);
  // The tag first: once it matches, the word that is loaded after it belongs to this claim.
  if (head->tag.load(std::memory_order_acquire) != layout::tag_for(ring.nonce, offset)) return false;
  const std::uint64_t word = head->word.load(std::memory_order_acquire);
  const layout::State state = layout::state_of(word);
  if (!layout::settled(state)) return false;
  const std::uint32_t lines = layout::lines_of(word);
  if (layout::generation_of(word) != ring.generation(position) || lines == 0 ||
      (position & ring.mask) + lines > ring.size())
    return false;
  out.kind = Look::Kind::settled;
  out.state = state;
  out.lines = lines;
  out.count = layout::sizes_of(head->sizes.load(std::memory_order_relaxed)).count;
  out.head = head;
  return true;
}

// The whole answer, deriving the verdict on claims of the dead.
Look look(const Ring& ring, std::uint64_t position, std::uint64_t offset, Witness& witness);

// One event of a committed claim. Spans point into the ring.
struct Record {
  std::uint64_t offset = 0;
  std::uint64_t position = 0;
  std::int64_t time_ns = 0;
  std::uint64_t id_low = 0, id_high = 0;
  std::uint32_t flags = 0;
  std::span<const std::byte> attributes;
  std::span<const std::byte> payload;
};

// Fills in what the record's own header says. False when its sizes cannot be: it would reach past `claim_end`.
inline bool read_record(const Ring& ring, std::uint64_t position, std::uint64_t offset, std::uint64_t claim_end,
                        std::uint64_t& own_end, Record& out) {
  const layout::RecordHeader* head = ring.at(position);
  const layout::SizeFields sizes = layout::sizes_of(head->sizes.load(std::memory_order_relaxed));
  own_end = position + layout::lines_for(layout::record_bytes(sizes));
  if (own_end > claim_end || (position & ring.mask) + (own_end - position) > ring.size()) return false;
  out.offset = offset;
  out.position = position;
  out.time_ns = static_cast<std::int64_t>(head->time.load(std::memory_order_relaxed));
  out.id_low = head->id_low.load(std::memory_order_relaxed);
  out.id_high = head->id_high.load(std::memory_order_relaxed);
  out.flags = sizes.flags;
  const std::byte* body = reinterpret_cast<const std::byte*>(head) + layout::body_at(sizes.flags);
  out.attributes = {body, sizes.attributes};
  out.payload = {body + sizes.attributes, sizes.payload};
  return true;
}

// The same for a batch's later record, under a head known to be committed whose claim ends at `claim_end`. False: it is
// none, or was overwritten.
inline bool inner_record(const Ring& ring, std::uint64_t position, std::uint64_t offset, std::uint64_t claim_end,
                         std::uint64_t& own_end, Record& out) {
  const layout::RecordHeader* record = ring.at(position);
  return record->tag.load(std::memory_order_acquire) == layout::tag_for(ring.nonce, offset) &&
         layout::state_of(record->word.load(std::memory_order_relaxed)) == layout::State::inner &&
         read_record(ring, position, offset, claim_end, own_end, out);
}

// What a reader that expects `offset` at `position` finds there, record by record, batches included.
struct Found {
  enum class Kind : std::uint8_t {
    nothing,  // the tail is here
    waiting,  // a living owner has to settle its claim: `slot`
    skipped,  // an aborted claim or a PAD: go on at the next place
    event,    // `record`
    gone,     // a batch's later record whose head was overwritten: only the disk can tell
  } kind = Kind::nothing;
  Record record;
  std::uint64_t next_position = 0;
  std::uint64_t next_offset = 0;
  std::uint32_t skipped = 0;  // offsets that never became events
  std::uint32_t slot = layout::kNoSlot;
  std::uint32_t incarnation = 0;
};
Found event_at(const Ring& ring, std::uint64_t position, std::uint64_t offset, Witness& witness);

// Where the claim that ends at a place began: one step back over the links. The place is a claim's first line, or the
// tail. Nothing when that claim is no longer in the ring, has no header, or is not known, as after a handle that is
// gone.
struct Back {
  std::uint64_t position = 0, offset = 0;
  const layout::RecordHeader* head = nullptr;
};
std::optional<Back> claim_before(const Ring& ring, std::uint64_t position, std::uint64_t offset, Witness& witness);

// The first line of the claim that the record at this position belongs to: what must be kept for it to be read. The
// position is a record's, or the tail's.
std::uint64_t claim_of(const Ring& ring, std::uint64_t position);

}  // namespace penstock::log
