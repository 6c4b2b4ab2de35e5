// Claiming places in a ring and settling them. One publisher a handle, one thread a publisher, any number of
// publishers a ring. Makes no system call, allocates nothing; waiting and waking are its caller's.
#pragma once

#include <span>

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
  Publisher(layout::TopicControl* control, const Ring& ring, layout::HandlePage* page, std::uint32_t slot,
            std::uint32_t incarnation, Neighbours& neighbours);

  const Ring& ring() const { return ring_; }

  // Claims `lines` lines for `count` events, after a PAD where the ring's end is too near. At most the ring's size.
  OpenClaim claim(std::uint64_t lines, std::uint32_t count);

  // Where the attributes of the record at `position` begin, with flags as they will be stamped.
  std::byte* body(std::uint64_t position, std::uint32_t flags) const {
    return bytes(position) + layout::body_at(flags | checked_flag());
  }
  std::uint32_t checked_flag() const { return checked_ ? std::uint32_t{layout::kFlagChecksum} : 0u; }
  // Fills in the header of the record at `position` of the claim (the head, or a later record of a batch), attributes
  // and payload being in place; with kFlagChecksum computes the checksum of the final record.
  void stamp(const OpenClaim& claim, std::uint64_t position, std::uint64_t offset, const Stamp& stamp);

  // Makes the claim's events visible. Sequentially consistent, so that a sleeper's mask read after it is current.
  void commit(const OpenClaim& claim);
  // Uses the claim's offsets up without an event. On checked topics the header is given its checksum.
  void abort(const OpenClaim& claim);
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
  std::uint64_t link_to(const layout::TailFields& tail);
  bool take(const layout::TailFields& tail, std::uint64_t lines, std::uint32_t count);
  void open(const layout::TailFields& tail, std::uint64_t lines, std::uint32_t count, std::uint64_t link);
  void write_pad(const layout::TailFields& tail, std::uint64_t lines, std::uint64_t link);
  bool room(std::uint64_t end);

  layout::TopicControl* control_;
  Ring ring_;
  layout::HandlePage* page_;
  std::uint32_t slot_;
  std::uint32_t incarnation_;
  Neighbours& neighbours_;
  bool checked_;  // records carry checksums
  std::uint64_t limit_ = 0;
  std::uint64_t bound_ = 0;
  std::uint64_t wanted_end_ = 0;
  unsigned entry_ = 0;  // the intent entry to write next
  std::uint32_t last_lines_ = 0, last_count_ = 0;
};

}  // namespace penstock::log
