// A segment on disk: topics/<topic>/<first offset, 20 digits>.seg. The same records as in the ring, at the same
// distances, so one parser reads both.
//
//   0        512          1024         1536          2048   4096
//   | header | progress A | progress B | header copy | zero | ring lines from base_position on ...
//
// The file keeps the ring's alignment: line p stands at kSegmentDataAt + (p - base_position) * 64, where base_position
// is first_position rounded down to a page of lines. Lines before first_position are zero and mean nothing.
#pragma once

#include "layout/base.hpp"
#include "layout/topic.hpp"

namespace penstock::layout {

inline constexpr std::uint64_t kSector = 512;
inline constexpr std::uint64_t kLinesPerPage = kPage / kLine;
inline constexpr std::uint64_t kSegmentDataAt = kPage;
inline constexpr std::uint64_t kSegmentCompacted = 1;  // an incompat bit: there may be records with kFlagCompacted

struct SegmentHeader {  // written twice and synced before the segment holds anything; then immutable
  Preamble preamble;    // checksum covers this header
  std::uint64_t topic_id;
  std::uint64_t nonce;           // of the life of the topic that wrote it; goes into every tag
  std::uint64_t first_offset;    // of the first claim; a jump from the segment before is a gap, not damage
  std::uint64_t first_position;  // its line
  std::uint64_t created_ns;      // realtime
  std::uint64_t reserved[3];
  Name topic;
};
static_assert(sizeof(SegmentHeader) == 64 + 64 + 208 && sizeof(SegmentHeader) <= kSector);
inline constexpr std::uint64_t kHeaderAt[2] = {0, 3 * kSector};  // a bad sector must not cost the segment

// How far the segment is known to be whole. Two sectors alternate; the valid one with the higher sequence counts. Both
// are valid from the segment's creation on, and both say so when it is sealed.
struct SegmentProgress {
  std::uint64_t checksum;  // XXH3-64 of the rest, seeded with the header's nonce
  std::uint64_t sequence;
  std::uint64_t sealed;        // 1: nothing comes after `position`; any break before it is corruption
  std::uint64_t position;      // every line below was flushed when this was written
  std::uint64_t offset;        // every offset below was flushed
  std::uint64_t events;        // committed events below (exact when sealed)
  std::uint64_t last_time_ns;  // the latest time of the events below
  // Sealed: when compaction was done with it for the first time, realtime and even, 0: not yet. From then on no segment
  // before it has an older event of its keys. Plus 1 while it has events that delete their keys.
  std::uint64_t compacted;
};
static_assert(sizeof(SegmentProgress) == 64);
inline constexpr std::uint64_t kProgressAt[2] = {kSector, 2 * kSector};

constexpr std::uint64_t segment_base(std::uint64_t first_position) {
  return first_position / kLinesPerPage * kLinesPerPage;
}
constexpr std::uint64_t segment_file_offset(std::uint64_t first_position, std::uint64_t position) {
  return kSegmentDataAt + (position - segment_base(first_position)) * kLine;
}

// The sparse index beside it, <first offset>.idx: a cache, rebuilt when missing or wrong.
struct IndexHeader {
  Preamble preamble;  // checksum covers header and entries
  std::uint64_t nonce;
  std::uint64_t first_offset;
  std::uint64_t entries;
  std::uint64_t reserved;
};
struct IndexEntry {  // one claim head about every 64 KiB
  std::uint64_t offset;
  std::uint64_t position;
  std::uint64_t time_ns;  // the latest time of the segment's events before it: 0 for none
};
static_assert(sizeof(IndexHeader) == 96 && sizeof(IndexEntry) == 24);

// topics/<topic>/topic.meta, a double-buffered blob: what the topic is and how far its offsets may have been given.
struct TopicMeta {
  std::uint64_t topic_id;
  std::uint64_t offset_bound;   // offsets at or above were never given
  std::uint64_t clean;          // 1: stopped cleanly, next_offset and next_position are exact
  std::uint64_t next_offset;    // valid when clean
  std::uint64_t next_position;  // valid when clean
  TopicOptions options;
  Name name;
};
static_assert(sizeof(TopicMeta) == 40 + 40 + 208);

}  // namespace penstock::layout
