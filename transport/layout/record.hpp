// The record: an event's bytes in a log, the same in the ring and in a segment on disk.
//
//   0        8        16       24       32                48            56           56+c      +a        +p
//   | word   | link   | tag    | time   | id              | sizes       | checksum?  | attrs   | payload |
//
// c is 8 when kFlagChecksum is set, else 0. A record starts on a line and never straddles the ring's end.
// Who may write what when is the protocol of transport/DESIGN.md; these are only the bits.
#pragma once

#include "layout/base.hpp"

namespace penstock::layout {

// The state word's lowest bits. COMMITTED and ABORTED each add one bit to CLAIMED, so that a kernel-side OR
// (FUTEX_WAKE_OP) can settle a claim.
enum class State : std::uint8_t {
  unwritten = 0,  // nothing of this lap
  claimed = 1,    // its owner's to finish
  inner = 2,      // a batch's later record: counts only under a committed head
  committed = 3,
  aborted = 5,  // never became events; on disk also a run of what compaction removed
  pad = 7,      // fills the ring's end; count 0
};

inline constexpr unsigned kStateBits = 3;
inline constexpr unsigned kLinesBits = 25;        // lines of a claim
inline constexpr unsigned kSlotBits = 12;         // handle slots of a bus
inline constexpr unsigned kIncarnationBits = 12;  // lives of a slot, modulo
inline constexpr unsigned kGenerationBits = 12;   // laps of a ring, modulo
static_assert(kStateBits + kLinesBits + kSlotBits + kIncarnationBits + kGenerationBits == 64);

inline constexpr std::uint32_t kMaxSlots = 1u << kSlotBits;
inline constexpr std::uint32_t kNoSlot = kMaxSlots - 1;  // never given to a handle
inline constexpr std::uint64_t kMaxClaimLines = (1ull << kLinesBits) - 1;

inline constexpr std::uint32_t kCommitBit = 2;  // claimed | kCommitBit == committed

struct WordFields {
  State state = State::unwritten;
  std::uint32_t lines = 0;
  std::uint32_t slot = 0;
  std::uint32_t incarnation = 0;
  std::uint32_t generation = 0;
};

constexpr std::uint64_t pack(const WordFields& f) {
  return std::uint64_t(f.state) | std::uint64_t(f.lines) << 3 | std::uint64_t(f.slot & 0xfff) << 28 |
         std::uint64_t(f.incarnation & 0xfff) << 40 | std::uint64_t(f.generation & 0xfff) << 52;
}
constexpr State state_of(std::uint64_t word) { return State(word & 7); }
constexpr bool settled(State state) { return state >= State::committed && (std::uint8_t(state) & 1) != 0; }
constexpr std::uint32_t lines_of(std::uint64_t word) { return std::uint32_t(word >> 3 & kMaxClaimLines); }
constexpr std::uint32_t slot_of(std::uint64_t word) { return std::uint32_t(word >> 28 & 0xfff); }
constexpr std::uint32_t incarnation_of(std::uint64_t word) { return std::uint32_t(word >> 40 & 0xfff); }
constexpr std::uint32_t generation_of(std::uint64_t word) { return std::uint32_t(word >> 52 & 0xfff); }
constexpr std::uint64_t with_state(std::uint64_t word, State state) {
  return (word & ~std::uint64_t{7}) | std::uint64_t(state);
}

// The link names the claim before this one, for readers that walk backwards or look for a hole's owner.
// In an INNER record it is the distance in lines to the head instead.
inline constexpr unsigned kCountBits = 11;
inline constexpr std::uint32_t kMaxBatch = (1u << kCountBits) - 1;  // events of a claim
struct LinkFields {
  std::uint32_t slot = 0;
  std::uint32_t incarnation = 0;
  std::uint32_t lines = 0;  // 0: not known: the first claim of the ring's life, or one before had a handle that is gone
  std::uint32_t count = 0;
};
constexpr std::uint64_t pack(const LinkFields& f) {
  return std::uint64_t(f.slot & 0xfff) | std::uint64_t(f.incarnation & 0xfff) << 12 | std::uint64_t(f.lines) << 24 |
         std::uint64_t(f.count & kMaxBatch) << 49;
}
constexpr std::uint64_t link_extent(std::uint64_t lines, std::uint32_t count) {
  return lines << 24 | std::uint64_t(count) << 49;
}
constexpr LinkFields link_of(std::uint64_t link) {
  return {std::uint32_t(link & 0xfff), std::uint32_t(link >> 12 & 0xfff), std::uint32_t(link >> 24 & kMaxClaimLines),
          std::uint32_t(link >> 49 & kMaxBatch)};
}

// The sizes word: payload bytes 0..31, attribute bytes 32..47, count 48..58, flags 59..63.
enum Flags : std::uint32_t {
  kFlagGivenId = 1,   // id is the XXH3-128 of a given id, else (producer, sequence)
  kFlagChecksum = 2,  // eight bytes of checksum stand before the attributes
  // On disk, of an ABORTED claim: a run of offsets that compaction removed. id_low has their number, count is 0, the
  // other words but tag and checksum are 0, and so are the lines behind the first.
  kFlagCompacted = 4,
};
struct SizeFields {
  std::uint32_t payload = 0;
  std::uint32_t attributes = 0;
  std::uint32_t count = 1;  // events of the claim this head opens; 0 in PAD and INNER
  std::uint32_t flags = 0;
};
constexpr std::uint64_t pack(const SizeFields& f) {
  return std::uint64_t(f.payload) | std::uint64_t(f.attributes & 0xffff) << 32 |
         std::uint64_t(f.count & kMaxBatch) << 48 | std::uint64_t(f.flags & 31) << 59;
}
constexpr SizeFields sizes_of(std::uint64_t sizes) {
  return {std::uint32_t(sizes), std::uint32_t(sizes >> 32 & 0xffff), std::uint32_t(sizes >> 48 & kMaxBatch),
          std::uint32_t(sizes >> 59 & 31)};
}

struct RecordHeader {
  Word word;     // state, lines, owner, lap: written first as CLAIMED, last as COMMITTED
  Word link;     // the claim before
  Word tag;      // ties the record to this life of the topic and to its offset; published with release
  Word time;     // nanoseconds since the Unix epoch
  Word id_low;   // 128-bit event id
  Word id_high;  //
  Word sizes;    // SizeFields
};
static_assert(sizeof(RecordHeader) == 56 && std::is_standard_layout_v<RecordHeader>);
static_assert(offsetof(RecordHeader, tag) == 16 && offsetof(RecordHeader, sizes) == 48);

inline constexpr std::size_t kHeaderBytes = 56;
inline constexpr std::size_t kChecksumBytes = 8;
inline constexpr std::size_t kAttributesMax = 0xfff8;  // bytes, a multiple of 8
inline constexpr std::uint64_t kPayloadMax = 1ull << 30;

constexpr std::size_t body_at(std::uint32_t flags) {
  return kHeaderBytes + ((flags & kFlagChecksum) != 0 ? kChecksumBytes : 0);
}
constexpr std::uint64_t record_bytes(const SizeFields& f) { return body_at(f.flags) + f.attributes + f.payload; }
constexpr std::uint64_t lines_for(std::uint64_t bytes) { return (bytes + kLine - 1) / kLine; }

// A bijection of the offset for each nonce: two offsets of one life never share a tag.
constexpr std::uint64_t tag_for(std::uint64_t nonce, std::uint64_t offset) {
  std::uint64_t x = (offset ^ nonce) * 0x9E3779B97F4A7C15ull;
  x ^= x >> 29;
  x *= 0xBF58476D1CE4E5B9ull;
  return x ^ (x >> 32);
}
// Its inverse: which offset a tag of this life names. Any word names some offset; a checksum must confirm it.
constexpr std::uint64_t offset_of_tag(std::uint64_t nonce, std::uint64_t tag) {
  std::uint64_t x = tag ^ (tag >> 32);
  x *= 0x96DE1B173F119089ull;  // the inverse of 0xBF58476D1CE4E5B9 modulo 2^64
  x ^= x >> 29 ^ x >> 58;
  return (x * 0xF1DE83E19937733Dull) ^ nonce;  // the inverse of 0x9E3779B97F4A7C15
}
static_assert(offset_of_tag(77, tag_for(77, 0x123456789abcdull)) == 0x123456789abcdull);

// The tail: where the next claim starts and which offset it gets, replaced as one 16-byte word.
struct TailFields {
  std::uint64_t end = 0;     // line after the last claim; 56 bits
  std::uint64_t offset = 0;  // next offset; 56 bits
  std::uint32_t slot = 0;    // who made the last claim
  friend bool operator==(const TailFields&, const TailFields&) = default;
};
inline constexpr std::uint64_t k56 = (1ull << 56) - 1;
constexpr Pair pack(const TailFields& t) {
  return {t.end | std::uint64_t(t.slot & 0xff) << 56, t.offset | std::uint64_t(t.slot >> 8 & 0xff) << 56};
}
constexpr TailFields tail_of(const Pair& p) {
  return {p.low & k56, p.high & k56, std::uint32_t(p.low >> 56 | (p.high >> 56) << 8)};
}

// Attributes: entries of type u8, size u16, bytes; a zero byte is padding. The whole is padded to 8 bytes.
enum class Attribute : std::uint8_t {
  padding = 0,
  key = 1,
  id_text = 2,       // the id as given
  header = 3,        // name, NUL, value; repeated
  content_type = 4,  //
  schema = 5,        //
  deliver_at = 6,    // i64, nanoseconds since the epoch
  expires_at = 7,    // i64, nanoseconds since the epoch
  dead_letter = 8,   // layout/dead_letter.hpp
};
inline constexpr std::size_t kAttributeHeader = 3;

}  // namespace penstock::layout
