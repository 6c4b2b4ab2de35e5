// One parser for the records of a log, in the ring or on disk. Every byte it reads is data, not truth: whatever stands
// there, the answer is a record that was checked or the reason why it is none. Pure functions on spans; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "layout/record.hpp"

namespace penstock::storage {

// A record's first line, copied once: bytes in shared memory may change under the eyes of who reads them twice.
struct Head {
  std::uint64_t word = 0;
  std::uint64_t link = 0;
  std::uint64_t tag = 0;
  std::uint64_t time = 0;
  std::uint64_t id_low = 0;
  std::uint64_t id_high = 0;
  std::uint64_t sizes = 0;
  std::uint64_t checksum = 0;  // on disk every record carries one (kFlagChecksum)
};
static_assert(sizeof(Head) == layout::kLine);

// `at` has at least kLine bytes.
Head load_head(const std::byte* at);

struct Record {
  Head head;
  std::uint64_t position = 0;
  std::uint64_t offset = 0;
  std::uint32_t lines = 0;                // of the whole claim in a head, of the record itself in an INNER one
  std::uint32_t count = 0;                // offsets the claim uses; 0 in PAD and INNER
  bool compacted = false;                 // ABORTED: a run of what compaction removed
  std::span<const std::byte> attributes;  // empty unless committed or inner
  std::span<const std::byte> payload;

  layout::State state() const { return layout::state_of(head.word); }
  bool given_id() const { return (layout::sizes_of(head.sizes).flags & layout::kFlagGivenId) != 0; }
};

// Whether the words of a header fit together as the head of a claim on disk (COMMITTED, ABORTED or PAD), or as an INNER
// record `distance` lines after its head. Says nothing of the tag and the checksum.
bool plausible_claim(const Head& head);
bool plausible_inner(const Head& head, std::uint64_t distance);

// A run of removed offsets, as compaction leaves it behind; see kFlagCompacted. Offsets 0: what fills a place, a PAD.
Head compacted_head(std::uint64_t nonce, std::uint64_t offset, std::uint64_t offsets, std::uint64_t lines);
bool is_compacted(const Head& head);

// Bytes of the record itself, header included: what its checksum needs to see.
std::uint64_t record_size(const Head& head);
// `record`: the record's bytes from its first line on, record_size of them.
bool checksum_holds(const Head& head, std::span<const std::byte> record);
// The checksum such a record carries. `body`: attributes and payload.
std::uint64_t checksum_of(const Head& head, std::span<const std::byte> body);

// The head that stands on disk for a claim that never became events (its owner died or gave it up): COMMITTED or
// CLAIMED becomes ABORTED, lines and count stay, the body is declared empty. Write zeros for the rest of the claim's
// lines.
Head aborted_head(const Head& claim);

enum class Parsed {
  ok,
  unwritten,  // no record of this offset stands here: another tag
  cut,        // the bytes end before the record does: give `wanted` bytes
  damaged,    // the tag is right and the rest is not
};
struct Wanted {
  std::uint64_t bytes = 0;
};

// The claim whose head stands at the beginning of `bytes`; at most `room` lines long. In a PAD, `offset` is the next
// claim's. The record's spans point into `bytes`.
Parsed parse_claim(std::span<const std::byte> bytes, std::uint64_t nonce, std::uint64_t offset, std::uint64_t room,
                   Record& record, Wanted& wanted);
// A batch's later record, `distance` lines after its head; counts only under a committed head.
Parsed parse_inner(std::span<const std::byte> bytes, std::uint64_t nonce, std::uint64_t offset, std::uint64_t distance,
                   std::uint64_t room, Record& record, Wanted& wanted);

// A place in a log: the next record to be read, between claims or within one.
struct Place {
  std::uint64_t position = 0;
  std::uint64_t offset = 0;
  // Within a committed claim, else zero:
  std::uint64_t head = 0;        // its first line
  std::uint64_t claim_end = 0;   // the line after it
  std::uint64_t end_offset = 0;  // the offset after it
  bool within() const { return claim_end != 0; }
  friend bool operator==(const Place&, const Place&) = default;
};

// The place after this record, which stands at `place`: the next record of its claim, or the next claim.
Place after(const Place& place, const Record& record);

}  // namespace penstock::storage
