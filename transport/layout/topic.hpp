// The control block of a topic's live file: live/topics/<topic>. The ring follows at kRingAt.
// Producers and the daemon map it for writing; whoever only consumes maps it read-only.
#pragma once

#include "layout/base.hpp"
#include "layout/record.hpp"

namespace penstock::layout {

enum class Durability : std::uint8_t { memory = 0, disk = 1 };
enum class FullPolicy : std::uint8_t { block = 0, fail = 1, drop_oldest = 2 };

// Of TopicOptions::flags.
inline constexpr std::uint8_t kCompact = 1;        // of a key the newest event is enough
inline constexpr std::uint8_t kRetainUnacked = 2;  // retention leaves what a group has not settled

// What a topic was created with; kept in topic.meta on disk and copied into the live header.
struct TopicOptions {
  std::uint64_t ring_bytes = 16ull << 20;  // a power of two
  std::uint64_t max_payload = 0;           // bytes; 0: a quarter of the ring, at most 1 GiB
  std::uint64_t retention_bytes = 0;       // 0: no bound
  std::uint64_t retention_ns = 0;          // 0: no bound
  std::uint32_t publish_dedupe = 0;        // ids remembered at publish; 0: off
  Durability durability = Durability::disk;
  FullPolicy full = FullPolicy::block;
  std::uint8_t single_producer = 0;
  std::uint8_t flags = 0;  // kCompact, kRetainUnacked
  friend bool operator==(const TopicOptions&, const TopicOptions&) = default;
};
static_assert(sizeof(TopicOptions) == 40);

struct TopicHeader {  // immutable once the file is in place
  Preamble preamble;
  std::uint64_t topic_id;       // random; a topic deleted and made again has another
  std::uint64_t nonce;          // of this life; goes into every tag
  std::uint64_t ring_lines;     // lines in the ring
  std::uint64_t base_position;  // the first line of this life
  std::uint64_t base_offset;    // the first offset of this life
  std::uint64_t ordinal;        // the topic's place among the wake words
  TopicOptions options;
  Name name;
};
static_assert(sizeof(TopicHeader) == 64 + 48 + 40 + 208);

// Of TopicControl::single_owner.
inline constexpr std::uint64_t kOwned = 1ull << 63;
inline constexpr std::uint64_t kUnfenced = 1ull << 62;  // commits without a fence: who goes to sleep fences for it

struct TopicControl {
  TopicHeader header;
  std::byte reserved0[kPage - sizeof(TopicHeader)];

  // Producers fight over the tail: it has its pair of lines to itself.
  alignas(kFalseShare) Pair tail;
  // Read by producers when they cross it, written by who moves it.
  alignas(kFalseShare) Word limit;  // claims must end at or below this line; never decreases
  Word reclaim;                     // announced before limit is raised: lines below may be overwritten
  Word offset_bound;                // offsets below this are safe to give: the bound on disk is not lower
  // Written by the persister once a flush, read by who awaits durability.
  alignas(kFalseShare) Pair durable;  // low: every line below is on disk; high: every offset below is
  Word durable_error;                 // errno of a persister that cannot go on, else 0
  Word deleted;                       // 1: the topic was deleted; handles end with an error
  Word meta_version;                  // raised before and after the options in topic.meta change: odd, being changed
  alignas(kFalseShare) Word
      single_owner;  // single-producer topics: slot | incarnation << 16 | kOwned; others: kUnfenced or 0
  std::byte reserved1[kPage - 3 * kFalseShare - sizeof(Word)];
};
inline constexpr std::size_t kRingAt = 2 * kPage;
static_assert(sizeof(TopicControl) == kRingAt);
static_assert(offsetof(TopicControl, tail) == kPage && offsetof(TopicControl, limit) == kPage + 128);
static_assert(offsetof(TopicControl, durable) == kPage + 256);

}  // namespace penstock::layout
