#include "shared_group.hpp"

namespace penstock::group::testing {
namespace {

using layout::CellState;
using layout::Failure;

class SweepTest : public GroupTest {};

TEST_F(SweepTest, LeasesThatRanOutBecomeFailuresAndOthersStay) {
  const Lease lease = lease_next(a_, now_);
  EXPECT_EQ(b_.sweep(lease.end() - 1, kNobodyIsDead).expired, 0u);
  const Sweep swept = b_.sweep(lease.end(), kNobodyIsDead);
  EXPECT_EQ(swept.expired, 1u);
  EXPECT_EQ(mapping_.state(lease.cell), CellState::waiting);
  EXPECT_EQ(mapping_.fields(lease.cell).failure, Failure::expired);
  EXPECT_GT(swept.next_due, lease.end());
  EXPECT_EQ(std::uint64_t(swept.next_due), mapping_.cell(lease.cell).state.high);
}

TEST_F(SweepTest, LeasesOfTheDeadComeBackAtOnceAndCount) {
  const Lease dead_lease = lease_next(a_, now_), living = lease_next(b_, now_);
  const Sweep swept = b_.sweep(now_, dead(1));
  EXPECT_EQ(swept.crashed, 1u);
  EXPECT_EQ(swept.due, 1u);
  EXPECT_EQ(swept.next_due, now_);
  const auto again = lease_due(b_, now_);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->offset, dead_lease.offset);
  EXPECT_EQ(again->attempt(), 2u);
  EXPECT_TRUE(b_.ack(living, now_));
}

TEST_F(SweepTest, TheLastAttemptsCrashIsDeath) {
  options_.max_attempts = 1;
  const Lease lease = lease_next(a_, now_);
  EXPECT_EQ(b_.sweep(now_, dead(1)).dead, 1u);
  EXPECT_EQ(mapping_.fields(lease.cell).failure, Failure::crash);
  EXPECT_EQ(b_.dead_raised(), 1u);
}

TEST_F(SweepTest, AnEarlierLifeOfOurOwnSlotIsDead) {
  lease_next(a_, now_);
  GroupTopic again = open_view(mapping_, options_, 1, 2);
  EXPECT_EQ(again.sweep(now_, kNobodyIsDead).crashed, 1u);
}

TEST_F(SweepTest, OneProofOfDeathIsEnoughForAllItsLeases) {
  for (int i = 0; i < 10; ++i) lease_next(a_, now_);
  int asked = 0;
  b_.sweep(now_, [&](std::uint32_t, std::uint32_t) { return ++asked > 0; });
  EXPECT_EQ(asked, 1);
}

// Cells that were scribbled over name owners without number.
TEST_F(SweepTest, ASweepAsksAboutSoManyOwnersAndNoMore) {
  constexpr std::uint32_t kOwners = 10'000;
  mapping_.control().cells_allocated.store(layout::kCellsMax);
  for (std::uint32_t i = 0; i < kOwners; ++i) {
    const layout::CellFields fields{CellState::leased, i % 4000 + 3, i / 4000 + 1, 1};
    mapping_.cell(i).state = {pack(fields), std::uint64_t(now_ + kSecond)};
    mapping_.control().occupied[i / 64].fetch_or(1ull << i % 64);
  }
  int asked = 0;
  b_.sweep(now_, [&](std::uint32_t, std::uint32_t) { return ++asked == 0; });
  EXPECT_EQ(asked, 4096);
}

// A member killed before it moved the cursor.
TEST_F(SweepTest, WhatTheDeadHadNotTakenYetIsFreed) {
  mapping_.control().cells_allocated.store(64);
  mapping_.cell(5).state = {pack(layout::CellFields{CellState::tentative, 9, 1, 1}), std::uint64_t(now_ + kSecond)};
  mapping_.control().occupied[0].store(1 << 5);
  EXPECT_EQ(b_.sweep(now_, kNobodyIsDead).freed, 0u) << "its owner may be slow";
  EXPECT_EQ(mapping_.state(5), CellState::tentative);
  EXPECT_EQ(b_.sweep(now_, dead(9)).freed, 1u);
  EXPECT_EQ(mapping_.state(5), CellState::free);
  EXPECT_EQ(lease_next(b_, now_).offset, 0u) << "the event was never taken";
}

// A member killed right after it moved the cursor.
TEST_F(SweepTest, WhatTheDeadHadJustTakenComesBack) {
  const Lease lease = lease_next(a_, now_);
  mapping_.cell(lease.cell).state.low = (lease.state.low & ~7ull) | std::uint64_t(CellState::tentative);
  EXPECT_EQ(b_.committed().offset, 0u);
  EXPECT_EQ(b_.sweep(now_, dead(1)).crashed, 1u);
  const auto again = lease_due(b_, now_);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->offset, 0u);
}

TEST_F(SweepTest, WhatAStoppedMemberHadJustTakenRunsOut) {
  const Lease lease = lease_next(a_, now_);
  mapping_.cell(lease.cell).state.low = (lease.state.low & ~7ull) | std::uint64_t(CellState::tentative);
  EXPECT_EQ(b_.sweep(lease.end(), kNobodyIsDead).expired, 1u);
  EXPECT_EQ(mapping_.state(lease.cell), CellState::waiting);
}

TEST_F(SweepTest, ACellWhoseBitADeathLeftClearIsFoundByThoroughRounds) {
  mapping_.control().cells_allocated.store(64);
  mapping_.cell(5).state = {pack(layout::CellFields{CellState::tentative, 9, 1, 1}), std::uint64_t(now_)};
  std::uint32_t freed = 0;
  for (int i = 0; i < 257; ++i) freed += b_.sweep(now_, dead(9)).freed;
  EXPECT_EQ(freed, 1u);
}

// A member killed after it changed a cell and before it said when that is due.
TEST_F(SweepTest, ADueTimeThatADeathLeftUnsaidIsFound) {
  const Lease lease = lease_next(a_, now_);
  ASSERT_TRUE(a_.nak(lease, now_, {}, kMs));
  mapping_.control().due[0].store(std::uint64_t(kNever));
  mapping_.control().next_due.store(std::uint64_t(kNever));
  EXPECT_FALSE(lease_due(b_, now_ + kMs));
  EXPECT_EQ(b_.sweep(now_, kNobodyIsDead).next_due, now_ + kMs);
  EXPECT_TRUE(lease_due(b_, now_ + kMs));
}

TEST_F(SweepTest, BitsOfFreeCellsAreClearedOnlyWhenNoneOfTheirGroupIsUsed) {
  const Lease first = lease_next(a_, now_), second = lease_next(a_, now_);
  ASSERT_TRUE(a_.ack(first, now_));
  b_.sweep(now_, kNobodyIsDead);
  EXPECT_NE(mapping_.control().occupied[0].load() >> first.cell & 1, 0u);
  ASSERT_TRUE(a_.ack(second, now_));
  b_.sweep(now_, kNobodyIsDead);
  EXPECT_EQ(mapping_.control().occupied[0].load(), 0u);
  EXPECT_EQ(mapping_.state(first.cell), CellState::free);
  lease_next(a_, now_);
  EXPECT_NE(mapping_.control().occupied[0].load(), 0u);
}

TEST_F(SweepTest, TheCounterOfLeasesIsMended) {
  lease_next(a_, now_);
  mapping_.control().in_flight.store(17);
  b_.sweep(now_, kNobodyIsDead);
  b_.sweep(now_, kNobodyIsDead);
  EXPECT_EQ(mapping_.control().in_flight.load(), 1u);
}

TEST_F(SweepTest, ACellInNoStateAtAllIsFreed) {
  mapping_.control().cells_allocated.store(64);
  mapping_.cell(7).state = {~0ull, ~0ull};
  mapping_.control().occupied[0].store(1 << 7);
  b_.sweep(now_, kNobodyIsDead);
  EXPECT_EQ(mapping_.state(7), CellState::free);
}

TEST_F(SweepTest, AnEmptyGroupHasNothingDueEver) { EXPECT_EQ(b_.sweep(now_, kNobodyIsDead).next_due, kNever); }

// Whatever the shared words say, every call ends and touches nothing outside of what is allocated.
TEST_F(SweepTest, NonsenseEverywhereIsOnlyData) {
  std::uint64_t x = 88172645463325252ull;
  const auto random = [&x] {
    x ^= x << 13;
    x ^= x >> 7;
    return x ^= x << 17;
  };
  layout::GroupTopicControl& control = mapping_.control();
  for (int round = 0; round < 2000; ++round) {
    control.cells_allocated.store(round % 3 == 0 ? random() % 512 : 256);
    control.cursor = {random(), random()};
    control.next_due.store(random());
    control.in_flight.store(random());
    for (int g = 0; g < 4; ++g) {
      control.occupied[g].store(random());
      control.due[g].store(random());
    }
    for (std::uint32_t i = 0; i < 256; ++i) {
      layout::Cell& cell = mapping_.cell(i);
      cell.state = {random(), random() % 3 == 0 ? random() : std::uint64_t(now_)};
      cell.offset.store(random());
      cell.id_low.store(random());
    }
    Lease lease;
    if (auto taken = a_.take_due(now_); taken && taken->outcome == Outcome::lease) lease = taken->lease;
    a_.ack(lease, now_);
    const auto cursor = a_.cursor();
    const auto fresh = a_.take_fresh(cursor, event_at(cursor.offset), now_);
    if (fresh && fresh->outcome == Outcome::lease) a_.nak(fresh->lease, now_, {"class", "reason"});
    a_.sweep(now_, dead(3));
    a_.committed();
    a_.info();
    std::vector<std::byte> bytes;
    a_.snapshot(bytes, now_);
    a_.for_each_dead([&](const CellView& cell) { return a_.note(cell).has_value(); });
  }
}

}  // namespace
}  // namespace penstock::group::testing
