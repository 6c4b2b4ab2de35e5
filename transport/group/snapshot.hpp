// The bytes of a group-topic's checkpoint, shared by those who write and read them:
//
//   header | marks, 64 letters a word | cells, each followed by its note's text | done ids and pending ones
//
// Whoever stores them adds a checksum; all sizes are checked again here. Times of leases and backoffs are stored as
// wall times and as what was left of them, so that neither a clock that jumps nor a long stop makes them wrong by more
// than themselves.
#pragma once

#include <cstring>
#include <optional>
#include <penstock/error.hpp>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "group/types.hpp"
#include "layout/base.hpp"

namespace penstock::group {

inline constexpr std::uint64_t kMagicSnapshot = layout::magic("PENGSNP1");
inline constexpr std::uint32_t kSnapshotVersion = 2;

struct SnapshotHeader {
  std::uint64_t magic = kMagicSnapshot;
  std::uint32_t version = kSnapshotVersion;
  std::uint32_t started = 0;
  std::int64_t wall = 0;     // when it was taken
  std::uint64_t offset = 0;  // the cursor
  std::uint64_t position = 0;
  std::uint64_t mark_words = 0;
  std::uint64_t cells = 0;
  std::uint64_t ids = 0;
  std::uint64_t dedupe_sequence = 0;
  std::uint64_t delivered = 0, acked = 0, redelivered = 0, duplicates = 0, dead_lettered = 0, redriven = 0;
  std::uint64_t expired_skipped = 0;
};
static_assert(sizeof(SnapshotHeader) == 16 * 8);

struct SnapshotCell {
  std::uint64_t word = 0;
  std::int64_t due = 0;   // wall
  std::int64_t left = 0;  // of it when the snapshot was taken
  std::uint64_t offset = 0;
  std::uint64_t position = 0;
  std::uint64_t id_low = 0;
  std::uint64_t id_high = 0;
  std::int64_t first_failure = 0;
  std::int64_t last_failure = 0;
  std::uint64_t key = 0;   // hash of the event's; 0: none
  std::int64_t taken = 0;  // when, wall; with a key
  std::uint32_t pid = 0;
  std::uint32_t note_delivered = 0;  // 0: no note
  std::uint16_t class_size = 0;
  std::uint16_t reason_size = 0;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(SnapshotCell) == 104);

struct SnapshotId {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  std::uint64_t sequence = 0;  // of a done id; pending: 0
  std::int64_t value = 0;      // done: how long ago, in nanoseconds; pending: the number of its cell in this snapshot
};
static_assert(sizeof(SnapshotId) == 32);

class SnapshotWriter {
 public:
  explicit SnapshotWriter(std::vector<std::byte>& out) : out_(out) {}
  template <class T>
  void put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes(&value, sizeof value);
  }
  void bytes(const void* from, std::size_t size) {
    if (size == 0) return;
    const auto* begin = static_cast<const std::byte*>(from);
    out_.insert(out_.end(), begin, begin + size);
  }

 private:
  std::vector<std::byte>& out_;
};

class SnapshotReader {
 public:
  explicit SnapshotReader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  // False: there isn't that much left.
  template <class T>
  bool get(T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (bytes_.size() < sizeof value) return false;
    std::memcpy(&value, bytes_.data(), sizeof value);
    bytes_ = bytes_.subspan(sizeof value);
    return true;
  }
  bool text(std::string_view& value, std::size_t size) {
    if (bytes_.size() < size) return false;
    value = {reinterpret_cast<const char*>(bytes_.data()), size};
    bytes_ = bytes_.subspan(size);
    return true;
  }
  std::size_t left() const { return bytes_.size(); }

 private:
  std::span<const std::byte> bytes_;
};

// What a checkpoint says of places, for who only wants to know that. Errc::corrupt, incompatible.
struct SavedPlaces {
  bool started = false;
  Place cursor;
  std::optional<std::uint64_t> pending;  // the first event that has a cell
};
Result<SavedPlaces> saved_places(std::span<const std::byte> bytes);

}  // namespace penstock::group
