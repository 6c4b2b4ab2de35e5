// A group-topic in memory for tests: a mapping of its own, a log that exists only as arithmetic, and shorthands. Time
// is a number that the test steps.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "group/group_topic.hpp"

namespace penstock::group::testing {

inline constexpr std::int64_t kMs = 1'000'000;
inline constexpr std::int64_t kSecond = 1000 * kMs;
inline constexpr std::int64_t kStart = 1'700'000'000ll * kSecond;  // where the tests' clocks begin

inline std::uint64_t position_of(std::uint64_t offset) { return 1000 + 2 * offset; }
inline layout::Id128 id_of(std::uint64_t offset) { return {offset * 0x9E3779B97F4A7C15ull, offset + 1}; }
inline Fresh event_at(std::uint64_t offset) {
  return {offset, position_of(offset), offset + 1, position_of(offset + 1), id_of(offset)};
}

// The bytes, zero at first, shared with forked children; as sparse as the file would be.
class Mapping {
 public:
  explicit Mapping(std::uint64_t window = 0) : entries_(dedupe_entries_for(window)), size_(file_bytes(entries_)) {
    void* at = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) throw std::bad_alloc();
    base_ = static_cast<std::byte*>(at);
    format(bytes(), 1, 2, 3, 4, entries_, "group", "topic");
  }
  ~Mapping() { munmap(base_, size_); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::span<std::byte> bytes() const { return {base_, size_}; }
  layout::GroupTopicControl& control() const { return *reinterpret_cast<layout::GroupTopicControl*>(base_); }
  layout::Cell& cell(std::uint32_t index) const {
    return reinterpret_cast<layout::Cell*>(base_ + layout::kCellsAt)[index];
  }
  layout::Lane& lane(std::uint32_t index) const {
    return reinterpret_cast<layout::Lane*>(base_ + layout::kLanesAt)[index];
  }
  layout::CellFields fields(std::uint32_t index) const { return layout::cell_of(cell(index).state.low); }
  layout::CellState state(std::uint32_t index) const { return fields(index).state; }

 private:
  std::uint64_t entries_;
  std::size_t size_;
  std::byte* base_;
};

// No event of a key is delivered, or could be, while an earlier one of it is unsettled.
inline void expect_order(const Mapping& mapping) {
  using layout::CellState;
  std::map<std::uint64_t, std::uint64_t> first;  // unsettled one by key
  const std::uint64_t lanes = mapping.control().lanes_allocated.load();
  for (const bool check : {false, true}) {
    for (std::uint32_t index = 0; index < lanes; ++index) {
      const CellState state = mapping.state(index);
      const std::uint64_t key = mapping.lane(index).key.load(), offset = mapping.cell(index).offset.load();
      const bool moves = state == CellState::leased || state == CellState::waiting;
      if (key == 0 || (!moves && state != CellState::queued)) continue;
      if (!check) {
        const auto there = first.emplace(key, offset).first;
        there->second = std::min(there->second, offset);
      } else if (moves) {
        EXPECT_EQ(offset, first.at(key)) << "key " << key;
      }
    }
  }
}

// What a test does to allocation, and sees of it.
struct Space {
  bool full = false;
  std::function<void()> during;  // happens once, while somebody waits for room
  std::vector<std::pair<std::size_t, std::size_t>> calls;
};

inline GroupTopic open_view(const Mapping& mapping, const layout::GroupOptions& options, std::uint32_t slot = 1,
                            std::uint32_t incarnation = 1, bool marks = false, Space* space = nullptr) {
  Setup setup;
  setup.member = {slot, incarnation};
  setup.pid = 1000 + slot;
  setup.options = &options;
  setup.marks = marks;
  setup.allocate = [space](std::size_t offset, std::size_t bytes) {
    if (space == nullptr) return true;
    if (const auto happens = std::exchange(space->during, nullptr)) happens();
    if (space->full) return false;
    space->calls.emplace_back(offset, bytes);
    return true;
  };
  return GroupTopic::open(mapping.bytes(), setup).value();
}

// Takes the event the cursor stands at.
inline Taken take_next(GroupTopic& group, Instant at) {
  const layout::CursorFields cursor = group.cursor();
  return group.take_fresh(cursor, event_at(cursor.offset), at).value();
}
inline Lease lease_next(GroupTopic& group, Instant at) {
  const Taken taken = take_next(group, at);
  EXPECT_EQ(taken.outcome, Outcome::lease);
  Lease lease = taken.lease;
  EXPECT_TRUE(group.begin(lease));
  return lease;
}
inline std::optional<Lease> lease_due(GroupTopic& group, Instant at) {
  auto taken = group.take_due(at);
  if (!taken || taken->outcome != Outcome::lease || !group.begin(taken->lease)) return std::nullopt;
  return taken->lease;
}

inline const IsDead kNobodyIsDead = [](std::uint32_t, std::uint32_t) { return false; };

// What others do while a member is stopped in a settlement of its lease: that runs out, its event is settled, and the
// next one, which comes to stand in the same cell, is rejected.
inline std::uint32_t go_on_without(GroupTopic& other, std::int64_t now) {
  other.sweep(now - 3600 * kSecond, kNobodyIsDead);
  const auto again = lease_due(other, now);
  EXPECT_TRUE(again && other.ack(*again, now));
  const Lease next = lease_next(other, now);
  EXPECT_TRUE(other.reject(next, now, {"never", "right"}));
  return next.cell;
}

// One group started at offset 0, and two members of it.
class GroupTest : public ::testing::Test {
 protected:
  explicit GroupTest(std::uint64_t window = 0)
      : mapping_(window),
        a_(open_view(mapping_, options_, 1, 1, false, &space_)),
        b_(open_view(mapping_, options_, 2, 1, false, &space_)) {
    options_.dedupe = std::uint32_t(window);
    a_.start({0, position_of(0)});
  }
  IsDead dead(std::uint32_t slot) const {
    return [slot](std::uint32_t who, std::uint32_t) { return who == slot; };
  }

  layout::GroupOptions options_;
  Space space_;
  Mapping mapping_;
  GroupTopic a_, b_;
  std::int64_t now_ = kStart;
};

template <class T>
Errc code_of(const Result<T>& result) {
  return result ? Errc::ok : result.error().code();
}

}  // namespace penstock::group::testing
