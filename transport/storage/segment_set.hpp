// The segments of a topic as a directory listing, sorted by first offset. The daemon deletes old ones and adds new ones
// at any time; a listing is a moment's truth, and what is gone when it is opened is no error. One thread each.
#pragma once

#include <cstdint>
#include <optional>
#include <penstock/error.hpp>
#include <string>
#include <vector>

#include "layout/segment.hpp"

namespace penstock::storage {

class SegmentSet {
 public:
  // `topic_id`: whose segments belong here; 0: not known, then any topic's.
  explicit SegmentSet(std::string directory, std::uint64_t topic_id = 0)
      : directory_(std::move(directory)), topic_id_(topic_id) {}

  // Lists again. A directory that is not there holds no segments.
  Result<void> refresh();

  const std::vector<std::uint64_t>& first_offsets() const { return firsts_; }
  bool empty() const { return firsts_.empty(); }
  std::size_t size() const { return firsts_.size(); }
  const std::string& directory() const { return directory_; }
  std::string path(std::size_t index) const;
  // The segment that holds this offset if any does: the last that begins at or before it.
  std::optional<std::size_t> find(std::uint64_t offset) const;
  // The first that begins after this offset.
  std::optional<std::size_t> after(std::uint64_t offset) const;

  // A segment of another topic, put here by a person or left by a topic of the same name: nothing of it counts here.
  bool foreign(const layout::SegmentHeader& header) const { return topic_id_ != 0 && header.topic_id != topic_id_; }
  // Whether the segment with this header is the listing's: ours, and under its own name.
  bool holds(std::size_t index, const layout::SegmentHeader& header) const {
    return header.first_offset == firsts_[index] && !foreign(header);
  }

  // Bytes on disk of all segments and indexes.
  Result<std::uint64_t> total_bytes() const;
  std::uint64_t bytes(std::size_t index) const;  // 0 when it is gone
  // Removes a segment with its index; for retention. The listing stays as it is until refreshed.
  Result<void> remove(std::size_t index) const;

 private:
  std::string directory_;
  std::uint64_t topic_id_;
  std::vector<std::uint64_t> firsts_;
};

}  // namespace penstock::storage
