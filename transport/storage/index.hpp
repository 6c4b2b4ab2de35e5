// The sparse index beside a segment: a cache of places, so that finding an offset or a time reads little. Whoever jumps
// to an entry checks that a claim of that offset stands there; a missing or wrong index costs time, never truth.
#pragma once

#include <sys/types.h>
#include <cstdint>
#include <penstock/error.hpp>
#include <string>
#include <vector>

#include "layout/segment.hpp"

namespace penstock::storage {

inline constexpr std::uint64_t kIndexEvery = 64 * 1024 / layout::kLine;  // lines between entries, about

// Collects entries while a segment is written or walked, in order.
class IndexBuilder {
 public:
  // A claim of this offset begins at this line; `latest_ns`: the latest time of the segment's events before it.
  void claim(std::uint64_t position, std::uint64_t offset, std::uint64_t latest_ns);
  const std::vector<layout::IndexEntry>& entries() const { return entries_; }
  void clear() { entries_.clear(); }

 private:
  std::vector<layout::IndexEntry> entries_;
};

// Replaces <directory>/<first offset>.idx as a whole.
Result<void> write_index(const std::string& directory, const layout::SegmentHeader& segment,
                         const std::vector<layout::IndexEntry>& entries, mode_t mode, bool sync);
// Errc::not_found, or corrupt: rebuild it. Entries are in order and not before the segment's first offset.
Result<std::vector<layout::IndexEntry>> read_index(const std::string& directory, const layout::SegmentHeader& segment);
// Walks the segment and writes its index anew.
Result<std::vector<layout::IndexEntry>> rebuild_index(const std::string& directory, std::uint64_t first_offset,
                                                      mode_t mode);

}  // namespace penstock::storage
