// Compaction by key: of each key the newest event stays, older ones go, and an event that deletes its key (it has a key
// and no payload) goes too, some time after what it deleted. Events without a key stay.
//
// A sealed segment is rewritten as a sparse file with the same positions and offsets, where each run of removed claims
// is one claim that says how many offsets it stands for (layout::kFlagCompacted). It gets its name when it is whole and
// on disk: killed anywhere, the old file or the new one is there. Who has the old one open reads on in it. Segments
// with damage are never rewritten.
//
// For a thread of the daemon's that may wait for the disk. Only one pass over a topic at a time.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <penstock/error.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "layout/base.hpp"
#include "storage/segment.hpp"
#include "storage/segment_reader.hpp"

namespace penstock::storage {

// The newest offset of each key, known by 128 bits of a hash whose seed nobody who publishes can know.
class NewestOfKeys {
 public:
  explicit NewestOfKeys(std::uint64_t seed) : seed_(seed), entries_(64) {}
  void add(std::string_view key, std::uint64_t offset);
  std::optional<std::uint64_t> newest(std::string_view key) const;
  std::size_t size() const { return size_; }

 private:
  struct Entry {
    layout::Id128 hash{};
    std::uint64_t after = 0;  // the offset plus 1; 0: free
  };
  std::size_t slot_of(const layout::Id128& hash) const;
  void grow();

  std::uint64_t seed_;
  std::size_t size_ = 0;
  std::vector<Entry> entries_;  // a power of two, at most three quarters full
};

// What stays of a segment.
struct CompactionRule {
  const NewestOfKeys* newest;
  bool tombstones_go = false;  // those that are the newest of their key
  bool stays(const Item& event) const;
};
bool is_tombstone(const Item& event);

// Writes the compacted successor of a sealed segment to `to`, which must not exist, and syncs it. `compacted`: see
// layout::SegmentProgress; its lowest bit is set here. Errc::corrupt: the segment has damage. interrupted: `stop`.
Result<Mark> rewrite_segment(SegmentReader& from, const std::string& to, mode_t mode, const CompactionRule& rule,
                             std::uint64_t compacted, const std::atomic<bool>& stop);

struct CompactionPlan {
  std::string directory;
  mode_t mode = 0600;
  std::vector<std::uint64_t> segments;     // by first offset, oldest first; all sealed, and all of them may lose events
  std::size_t keys_most = 1'000'000;       // held at a time, though never fewer than one segment has
  std::uint64_t now_ns = 0;                // wall
  std::uint64_t tombstones_before_ns = 0;  // wall: they go where compaction was not later than this
  std::uint64_t seed = 0;
};

// Gives a rewritten segment its name, in the place of the one that begins at this offset. False: that one is gone, or
// must stay as it is now; then the pass ends.
using Replace = std::function<Result<bool>(std::uint64_t first_offset, const std::string& temporary)>;

struct Compacted {
  std::uint64_t segments = 0, events = 0;  // rewritten, removed
  std::vector<std::uint64_t> unreadable;   // first offsets of what has damage
};

// One pass. Takes the newest offsets from segments that were not compacted yet, as many as `keys_most` allows, and
// treats these and all before them, oldest first, each on disk before the next: an event that deletes its key is never
// gone while an older one of that key is not. An error ends the pass; what was done until then is done.
Result<Compacted> compact(const CompactionPlan& plan, const Replace& replace, const std::atomic<bool>& stop);

// Removes what a pass that was killed left behind. While none runs.
void remove_unfinished(const std::string& directory);

}  // namespace penstock::storage
