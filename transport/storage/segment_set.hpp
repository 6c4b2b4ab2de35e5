// The segments of a topic as a directory listing, sorted by first offset. The daemon deletes old ones and adds new ones
// at any time; a listing is a moment's truth, and what is gone when it is opened is no error. One thread each.
#pragma once

#include <cstdint>
#include <optional>
#include <penstock/error.hpp>
#include <string>
#include <vector>

namespace penstock::storage {

class SegmentSet {
 public:
  explicit SegmentSet(std::string directory) : directory_(std::move(directory)) {}

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

  // Bytes on disk of all segments and indexes.
  Result<std::uint64_t> total_bytes() const;
  std::uint64_t bytes(std::size_t index) const;  // 0 when it is gone
  // Removes a segment with its index; for retention. The listing stays as it is until refreshed.
  Result<void> remove(std::size_t index) const;

 private:
  std::string directory_;
  std::vector<std::uint64_t> firsts_;
};

}  // namespace penstock::storage
