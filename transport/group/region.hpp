// The mapping of one group-topic file, and how its regions grow. Everything read from it is data: what points outside
// what is allocated is never followed. Any thread may use it; it must not outlive the mapping.
#pragma once

#include <functional>
#include <penstock/error.hpp>
#include <span>
#include <string_view>

#include "group/types.hpp"

namespace penstock::group {

// Makes these bytes of the file real, so that touching them cannot fail. Called again for the same bytes when its
// caller died in between, or when two come at once. False: no space; nothing is touched then.
using Allocate = std::function<bool(std::size_t offset, std::size_t bytes)>;

inline constexpr std::uint32_t kGroupCells = 64;  // cells that share a word of bits and a due time

class Region {
 public:
  // The mapping's header is taken at its word about the window's size once, here, if the mapping can hold it.
  // Errc::incompatible: another magic or version. Errc::corrupt: a size that cannot be.
  static Result<Region> open(std::span<std::byte> mapping, Allocate allocate);

  layout::GroupTopicControl& control() const { return *reinterpret_cast<layout::GroupTopicControl*>(base_); }

  // Cells that may be touched: a multiple of 64.
  std::uint32_t cells() const;
  std::uint32_t groups() const { return cells() / kGroupCells; }
  layout::Cell& cell(std::uint32_t index) const;  // index < cells()
  // More cells. Errc::too_many: there are no more; settle some. Errc::no_space.
  Result<void> grow_cells() const;

  // A note as words; null when it is not allocated. `allocate` makes room first.
  layout::Word* note(std::uint32_t cell, std::uint32_t parity, bool allocate) const;

  // False: no event ever had a key here, and nobody pays for the order.
  bool has_lanes() const { return control().lanes_allocated.load(std::memory_order_relaxed) != 0; }
  // Where a cell's event stands in its lane; null when it is not allocated. `allocate` makes room first.
  layout::Lane* lane(std::uint32_t cell, bool allocate) const;
  // The 8 entries of a bucket of the lane table; null as above.
  layout::Pair* lane_bucket(std::uint32_t bucket, bool allocate) const;

  // A word of 64 marks; null when it is not allocated.
  layout::Word* marks(std::uint64_t letter) const;
  std::uint64_t letters() const;
  Result<void> grow_letters(std::uint64_t letter) const;

  // The dedupe window's buckets; none when dedupe is off or not allocated yet.
  std::uint64_t buckets() const { return dedupe_entries_ / layout::kBucketEntries; }
  bool has_dedupe() const;
  Result<void> allocate_dedupe() const;
  layout::DedupeEntry* bucket(std::uint64_t number) const;  // number < buckets(), has_dedupe()

 private:
  Region(std::byte* base, std::uint64_t dedupe_entries, Allocate allocate)
      : base_(base), dedupe_entries_(dedupe_entries), allocate_(std::move(allocate)) {}
  bool allocate(std::size_t offset, std::size_t bytes) const { return allocate_ && allocate_(offset, bytes); }

  std::byte* base_;
  std::uint64_t dedupe_entries_;
  Allocate allocate_;
};

// Writes the header of a new file: the mapping's bytes up to `occupied` are allocated and zero, nobody else sees it
// yet. `dedupe_entries`: dedupe_entries_for(window).
void format(std::span<std::byte> mapping, std::uint64_t bus_id, std::uint64_t boot_id, std::uint64_t group_id,
            std::uint64_t topic_id, std::uint64_t dedupe_entries, std::string_view group, std::string_view topic);
// Entries of a window that remembers this many ids: four times as many, so that a bucket hardly ever overflows.
std::uint64_t dedupe_entries_for(std::uint64_t window);
// How long the file must be.
std::size_t file_bytes(std::uint64_t dedupe_entries);

}  // namespace penstock::group
