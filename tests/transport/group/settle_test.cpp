#include "shared_group.hpp"

namespace penstock::group::testing {
namespace {

using layout::CellState;
using layout::Failure;

class SettleTest : public GroupTest {};

TEST_F(SettleTest, AckFreesTheCellAndCounts) {
  const Lease lease = lease_next(a_, now_);
  ASSERT_TRUE(a_.ack(lease, now_));
  EXPECT_EQ(mapping_.state(lease.cell), CellState::free);
  EXPECT_EQ(mapping_.control().acked.load(), 1u);
  EXPECT_EQ(mapping_.control().in_flight.load(), 0u);
  EXPECT_EQ(a_.committed().offset, 1u);
}

TEST_F(SettleTest, ALeaseThatRanOutCanBeAckedUntilSomebodyTakesItAway) {
  const Lease lease = lease_next(a_, now_);
  EXPECT_TRUE(a_.ack(lease, lease.end() + kSecond));
}

TEST_F(SettleTest, AFailureWaitsForTheGroupsBackoff) {
  const Lease lease = lease_next(a_, now_);
  ASSERT_EQ(a_.nak(lease, now_).value(), Fate::waiting);
  const std::int64_t wait = std::int64_t(mapping_.cell(lease.cell).state.high) - now_;
  EXPECT_GE(wait, 90 * kMs);
  EXPECT_LE(wait, 110 * kMs);
  EXPECT_EQ(mapping_.fields(lease.cell).failure, Failure::nak);
  EXPECT_EQ(mapping_.fields(lease.cell).failed, 1u);
}

TEST_F(SettleTest, TheLastAttemptsFailureIsDeath) {
  options_.max_attempts = 3;
  Lease lease = lease_next(a_, now_);
  EXPECT_EQ(a_.nak(lease, now_, {}, 0).value(), Fate::waiting);
  lease = *lease_due(a_, now_);
  EXPECT_EQ(a_.nak(lease, now_, {}, 0).value(), Fate::waiting);
  lease = *lease_due(a_, now_);
  EXPECT_EQ(lease.attempt(), 3u);
  EXPECT_EQ(a_.nak(lease, now_, {}, 0).value(), Fate::dead);
  EXPECT_EQ(mapping_.state(lease.cell), CellState::dead);
  EXPECT_EQ(a_.dead_raised(), 1u);
  EXPECT_FALSE(lease_due(a_, now_ + kSecond));
  EXPECT_EQ(a_.committed().offset, 0u) << "not settled before its letter is written";
}

TEST_F(SettleTest, ReleaseAndParkCountNothing) {
  options_.max_attempts = 1;
  Lease lease = lease_next(a_, now_);
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(i % 2 == 0 ? a_.release(lease, now_) : a_.park(lease, now_ + kMs));
    EXPECT_EQ(mapping_.control().in_flight.load(), 0u);
    now_ += kMs;
    const auto again = lease_due(b_, now_);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->attempt(), 1u);
    lease = *again;
  }
}

TEST_F(SettleTest, ReleaseKeepsTheReasonOfTheLastFailure) {
  Lease lease = lease_next(a_, now_);
  ASSERT_TRUE(a_.nak(lease, now_, {}, 0, Failure::dropped));
  lease = *lease_due(a_, now_);
  ASSERT_TRUE(a_.release(lease, now_));
  EXPECT_EQ(mapping_.fields(lease.cell).failure, Failure::dropped);
}

TEST_F(SettleTest, AnExtendedLeaseRunsOutLaterAndTheOldOneIsStale) {
  const Lease lease = lease_next(a_, now_);
  const auto longer = a_.extend(lease, now_ + kSecond, 60 * kSecond);
  ASSERT_TRUE(longer);
  EXPECT_EQ(longer->end(), now_ + 61 * kSecond);
  EXPECT_EQ(code_of(a_.ack(lease, now_)), Errc::stale_lease);
  EXPECT_FALSE(lease_due(b_, lease.end() + 1));
  EXPECT_EQ(b_.sweep(lease.end() + 1, kNobodyIsDead).expired, 0u);
  EXPECT_TRUE(a_.ack(*longer, now_));
}

TEST_F(SettleTest, AShortenedLeaseRunsOutSooner) {
  const Lease lease = lease_next(a_, now_);
  const auto shorter = a_.extend(lease, now_, kMs);
  ASSERT_TRUE(shorter);
  EXPECT_LE(b_.next_due(), now_ + kMs);
}

TEST_F(SettleTest, FailuresAreDatedOnceAndAgain) {
  Lease lease = lease_next(a_, now_);
  ASSERT_TRUE(a_.nak(lease, Instant(now_, 5000 * kSecond), {}, 0));
  lease = *lease_due(a_, now_);
  ASSERT_TRUE(a_.nak(lease, Instant(now_, 6000 * kSecond), {}, 0));
  int seen = 0;
  a_.for_each_pending([&](const CellView& cell) {
    EXPECT_NEAR(double(cell.first_failure), double(5000 * kSecond), 4096);
    EXPECT_NEAR(double(cell.last_failure), double(6000 * kSecond), 4096);
    return ++seen > 0;
  });
  EXPECT_EQ(seen, 1);
}

TEST_F(SettleTest, ANewEventInTheCellHasNoFailures) {
  Lease lease = lease_next(a_, now_);
  ASSERT_TRUE(a_.nak(lease, now_, {}, 0));
  ASSERT_TRUE(a_.ack(*lease_due(a_, now_), now_));
  const Lease next = lease_next(a_, now_);
  ASSERT_EQ(next.cell, lease.cell);
  EXPECT_EQ(a_.info().oldest_failure, 0);
}

TEST_F(SettleTest, ATimeThatCannotBeIsBounded) {
  const Lease lease = lease_next(a_, now_);
  ASSERT_TRUE(a_.nak(lease, now_, {}, INT64_MAX));
  EXPECT_LT(mapping_.cell(lease.cell).state.high, std::uint64_t(kNever));
  EXPECT_FALSE(lease_due(a_, now_ + 1000 * kSecond));
}

TEST_F(SettleTest, AnEventParkedBeyondAllTimeIsNotDueAtOnce) {
  const Lease lease = lease_next(a_, now_);
  ASSERT_TRUE(a_.park(lease, INT64_MAX));
  EXPECT_FALSE(lease_due(a_, now_ + 1000 * kSecond));
}

TEST_F(SettleTest, ACounterOfLeasesThatCannotBeIsCountedAnew) {
  lease_next(a_, now_);
  mapping_.control().in_flight.store(1ull << 63);
  for (int i = 0; i < 3; ++i) a_.sweep(now_, kNobodyIsDead);
  EXPECT_EQ(mapping_.control().in_flight.load(), 1u);
}

TEST_F(SettleTest, ALeaseThatNamesNoCellIsStale) {
  Lease lease = lease_next(a_, now_);
  lease.cell = 1 << 18;
  EXPECT_EQ(code_of(a_.ack(lease, now_)), Errc::stale_lease);
  EXPECT_EQ(code_of(a_.nak(lease, now_)), Errc::stale_lease);
  lease.cell = layout::kNoCell;
  EXPECT_EQ(code_of(a_.release(lease, now_)), Errc::stale_lease);
  EXPECT_EQ(code_of(a_.settle_dead(1 << 18, lease.state)), Errc::stale_lease);
}

TEST_F(SettleTest, AnAckThatWasCutShortIsFinishedByWhoeverAsksForWork) {
  Lease lease = lease_next(a_, now_);
  mapping_.cell(lease.cell).state.low = (lease.state.low & ~7ull) | std::uint64_t(CellState::acked);
  EXPECT_EQ(b_.committed().offset, 1u) << "it is settled";
  b_.sweep(now_, kNobodyIsDead);
  EXPECT_EQ(mapping_.state(lease.cell), CellState::free);
}

}  // namespace
}  // namespace penstock::group::testing
