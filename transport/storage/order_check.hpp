// Does each segment of a topic go on where the one before ended, and has it its index? Looks at every segment's first
// page, some at a time: a start does not wait for it, however long the past is. Reads only, also while the daemon
// writes and deletes. One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "storage/segment.hpp"
#include "storage/segment_set.hpp"

namespace penstock::storage {

class OrderCheck {
 public:
  // Of the segments that are there now: after recovery, which sealed the last of them.
  OrderCheck(std::string directory, std::uint64_t topic_id);

  std::size_t left() const { return set_.size() - next_; }
  bool done() const { return left() == 0; }
  // Looks at so many more segments; what is wrong with them, a sentence each.
  std::vector<std::string> step(std::size_t segments);
  // The first offsets of segments looked at since the last call whose index is missing or wrong: they want a new one.
  std::vector<std::uint64_t> take_unindexed() { return std::exchange(unindexed_, {}); }

 private:
  std::string name(std::size_t index) const { return segment_name(set_.first_offsets()[index]); }
  void look_at(std::size_t index, std::vector<std::string>& problems);
  void look_at_joint(const layout::SegmentHeader& header, std::size_t index, std::vector<std::string>& problems) const;

  SegmentSet set_;
  std::size_t next_ = 0;
  std::optional<layout::SegmentProgress> before_;  // the seal of the one before
  std::uint64_t nonce_ = 0;                        // and its nonce
  std::vector<std::uint64_t> unindexed_;
};

}  // namespace penstock::storage
