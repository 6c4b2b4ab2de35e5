// A segment's first page and its name: header, marks of progress, and the act of sealing. See layout/segment.hpp for
// the bytes. Functions on descriptors; who writes is the one daemon or the one recovery, who reads may be anybody.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <penstock/error.hpp>
#include <string>
#include <string_view>

#include "layout/segment.hpp"

namespace penstock::storage {

std::string segment_name(std::uint64_t first_offset);  // "00000000000000000042.seg"
std::string index_name(std::uint64_t first_offset);    // "00000000000000000042.idx"
std::optional<std::uint64_t> offset_in_name(std::string_view name, std::string_view suffix = ".seg");

// Up to where a log is known, always between two claims.
struct Mark {
  std::uint64_t position = 0;      // every line below is meant
  std::uint64_t offset = 0;        // every offset below is meant
  std::uint64_t events = 0;        // committed events of the segment below
  std::uint64_t last_time_ns = 0;  // the latest time among them
  std::uint64_t compacted = 0;     // see layout::SegmentProgress
  friend bool operator==(const Mark&, const Mark&) = default;
};

Mark mark_of(const layout::SegmentProgress& progress);

// What the first page says, each part checked on its own.
struct Front {
  std::optional<layout::SegmentHeader> header;
  std::array<bool, 2> header_good{};                // each copy
  std::optional<layout::SegmentProgress> progress;  // the newest good one; needs a header
  int progress_slot = 0;
  std::array<bool, 2> progress_good{};
  std::array<bool, 2> slot_sealed{};
  bool headers_equal = true;  // meaningful when both are good; as is
  bool marks_equal = true;    // but for the sequence and what compaction says
  bool blank = true;          // nothing but zeros, or nothing at all
  bool rest_zero = true;      // the bytes of the page that mean nothing are zero
  bool incompatible = false;  // the header is whole and of another version, or has bits we don't know
};
Result<Front> read_front(int fd);

layout::SegmentHeader make_header(std::uint64_t bus_id, std::uint64_t topic_id, std::uint64_t nonce,
                                  std::string_view topic, std::uint64_t first_offset, std::uint64_t first_position,
                                  std::uint64_t created_ns);
// The same for the segment's compacted successor.
layout::SegmentHeader compacted_header(layout::SegmentHeader header);
// Both copies of the header and two marks at the first position. Does not sync.
Result<void> write_front(int fd, const layout::SegmentHeader& header);

// Writes the next mark into the slot that does not hold the newest. Does not sync.
class ProgressWriter {
 public:
  ProgressWriter(std::uint64_t nonce, std::uint64_t sequence, int newest_slot)
      : nonce_(nonce), sequence_(sequence), newest_slot_(newest_slot) {}
  // After write_front.
  explicit ProgressWriter(std::uint64_t nonce) : ProgressWriter(nonce, 2, 1) {}
  explicit ProgressWriter(const Front& front);
  Result<void> write(int fd, const Mark& mark, bool sealed);

 private:
  std::uint64_t nonce_;
  std::uint64_t sequence_;
  int newest_slot_;
};

// Ends the segment at the mark, for good: cuts what comes after, physically, and syncs, and only then says so in both
// slots. Killed anywhere it can be done again. `fd` must not be O_DIRECT.
Result<void> seal(int fd, const layout::SegmentHeader& header, ProgressWriter& progress, const Mark& mark);

}  // namespace penstock::storage
