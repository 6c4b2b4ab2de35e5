#include "storage/segment_set.hpp"

#include <sys/stat.h>

#include <algorithm>

#include "io/file.hpp"
#include "storage/segment.hpp"

namespace penstock::storage {
namespace {

// What the file occupies: segments are allocated ahead of what they hold.
std::uint64_t occupied(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 ? static_cast<std::uint64_t>(status.st_blocks) * 512 : 0;
}

}  // namespace

Result<void> SegmentSet::refresh() {
  const Result<std::vector<std::string>> names = io::list_directory(directory_);
  if (!names && names.error().code() != Errc::not_found) return tl::unexpected(names.error());
  firsts_.clear();
  if (!names) return {};
  for (const std::string& name : *names) {
    if (const auto offset = offset_in_name(name)) firsts_.push_back(*offset);
  }
  std::sort(firsts_.begin(), firsts_.end());
  return {};
}

std::string SegmentSet::path(std::size_t index) const { return directory_ + "/" + segment_name(firsts_[index]); }

std::optional<std::size_t> SegmentSet::after(std::uint64_t offset) const {
  const auto next = std::upper_bound(firsts_.begin(), firsts_.end(), offset);
  if (next == firsts_.end()) return std::nullopt;
  return static_cast<std::size_t>(next - firsts_.begin());
}

std::optional<std::size_t> SegmentSet::find(std::uint64_t offset) const {
  const std::size_t next = after(offset).value_or(firsts_.size());
  if (next == 0) return std::nullopt;
  return next - 1;
}

std::uint64_t SegmentSet::bytes(std::size_t index) const {
  return occupied(path(index)) + occupied(directory_ + "/" + index_name(firsts_[index]));
}

Result<std::uint64_t> SegmentSet::total_bytes() const {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < size(); ++i) sum += bytes(i);
  return sum;
}

Result<void> SegmentSet::remove(std::size_t index) const {
  // The index first: alone it would be in the way of nothing, but nobody would remove it.
  if (Result<void> done = io::remove_file(directory_ + "/" + index_name(firsts_[index])); !done) return done;
  return io::remove_file(path(index));
}

}  // namespace penstock::storage
