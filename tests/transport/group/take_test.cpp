#include "shared_group.hpp"

namespace penstock::group::testing {
namespace {

using layout::CellState;
using layout::kNoCell;

class TakeTest : public GroupTest {};

TEST(TakeStartTest, NothingCanBeTakenBeforeTheGroupStarted) {
  layout::GroupOptions options;
  Mapping mapping;
  GroupTopic group = open_view(mapping, options);
  EXPECT_FALSE(group.started());
  EXPECT_EQ(code_of(group.take_fresh(group.cursor(), event_at(0), kStart)), Errc::invalid_argument);
}

TEST(TakeStartTest, TheFirstToSayWhereTheGroupBeginsIsRight) {
  layout::GroupOptions options;
  Mapping mapping;
  GroupTopic a = open_view(mapping, options), b = open_view(mapping, options, 2);
  a.start({7, position_of(7)});
  b.start({9, position_of(9)});
  EXPECT_TRUE(b.started());
  EXPECT_EQ(b.cursor(), (layout::CursorFields{position_of(7), 7, kNoCell}));
}

TEST(TakeStartTest, ABeginningAtOffsetAndPositionZeroIsABeginning) {
  layout::GroupOptions options;
  Mapping mapping;
  GroupTopic group = open_view(mapping, options);
  group.start({0, 0});
  EXPECT_TRUE(group.started());
  EXPECT_EQ(group.cursor(), (layout::CursorFields{0, 0, kNoCell}));
}

TEST_F(TakeTest, FreshEventsAreTakenInOrderByWhoeverComes) {
  const Lease first = lease_next(a_, now_), second = lease_next(b_, now_), third = lease_next(a_, now_);
  EXPECT_EQ(first.offset, 0u);
  EXPECT_EQ(second.offset, 1u);
  EXPECT_EQ(third.offset, 2u);
  EXPECT_EQ(second.position, position_of(1));
  EXPECT_EQ(second.id, id_of(1));
  EXPECT_EQ(second.attempt(), 1u);
  EXPECT_EQ(second.delivered(), 1u);
  EXPECT_EQ(second.end(), now_ + std::int64_t(options_.lease_ns));
  EXPECT_EQ(mapping_.fields(second.cell).slot, 2u);
  EXPECT_EQ(mapping_.control().in_flight.load(), 3u);
}

TEST_F(TakeTest, AMemberWithAnOldCursorIsToldToLookAgainAndLeavesNothing) {
  const auto old = b_.cursor();
  const Lease first = lease_next(a_, now_);
  const auto taken = b_.take_fresh(old, event_at(0), now_).value();
  EXPECT_EQ(taken.outcome, Outcome::moved);
  EXPECT_EQ(mapping_.control().in_flight.load(), 1u);
  for (std::uint32_t i = 0; i < 64; ++i) EXPECT_EQ(mapping_.state(i) != CellState::free, i == first.cell);
}

TEST_F(TakeTest, TheCursorNamesTheLastTakenCellUntilThatIsSettled) {
  const Lease first = lease_next(a_, now_);
  EXPECT_EQ(a_.cursor().cell, first.cell);
  ASSERT_TRUE(a_.ack(first, now_));
  EXPECT_EQ(a_.cursor().cell, kNoCell);
  EXPECT_EQ(a_.cursor().offset, 1u);
}

TEST_F(TakeTest, ACursorThatOnlyLetGoOfItsCellDoesNotFailATaker) {
  const Lease first = lease_next(a_, now_);
  const auto seen = b_.cursor();
  ASSERT_TRUE(a_.ack(first, now_));
  EXPECT_EQ(b_.take_fresh(seen, event_at(1), now_)->outcome, Outcome::lease);
}

// What a member killed between moving the cursor and its last step leaves behind.
TEST_F(TakeTest, AnUnconfirmedEventIsConfirmedByWhoeverMovesTheCursorNext) {
  const Lease first = lease_next(a_, now_);
  mapping_.cell(first.cell).state.low = (first.state.low & ~7ull) | std::uint64_t(CellState::tentative);
  lease_next(b_, now_);
  EXPECT_EQ(mapping_.cell(first.cell).state, first.state);
}

TEST_F(TakeTest, SkippingConfirmsTheLastEventToo) {
  const Lease first = lease_next(a_, now_);
  mapping_.cell(first.cell).state.low = (first.state.low & ~7ull) | std::uint64_t(CellState::tentative);
  EXPECT_TRUE(b_.skip(b_.cursor(), {5, position_of(5)}, GroupTopic::Skip::gap));
  EXPECT_EQ(mapping_.cell(first.cell).state, first.state);
  EXPECT_EQ(b_.cursor(), (layout::CursorFields{position_of(5), 5, kNoCell}));
}

TEST_F(TakeTest, SkippedEventsAreCountedForWhatTheyAre) {
  EXPECT_TRUE(a_.skip(a_.cursor(), {1, position_of(1)}, GroupTopic::Skip::gap));
  EXPECT_TRUE(a_.skip(a_.cursor(), {2, position_of(2)}, GroupTopic::Skip::expired));
  EXPECT_TRUE(a_.skip(a_.cursor(), {3, position_of(3)}, GroupTopic::Skip::duplicate));
  EXPECT_EQ(mapping_.control().expired_skipped.load(), 1u);
  EXPECT_EQ(mapping_.control().duplicates.load(), 1u);
  EXPECT_FALSE(a_.skip({position_of(1), 1, kNoCell}, {9, position_of(9)}, GroupTopic::Skip::gap)) << "an old cursor";
  EXPECT_FALSE(a_.skip(a_.cursor(), {2, position_of(2)}, GroupTopic::Skip::gap)) << "backwards";
}

TEST_F(TakeTest, OffsetsBeforeTheEventAreSettledWithIt) {
  Fresh event = event_at(4);
  event.next_offset = 6;
  const auto taken = a_.take_fresh(a_.cursor(), event, now_);
  ASSERT_EQ(taken->outcome, Outcome::lease);
  EXPECT_EQ(taken->lease.offset, 4u);
  EXPECT_EQ(a_.cursor().offset, 6u);
  EXPECT_EQ(a_.committed().offset, 4u);
}

TEST_F(TakeTest, AnEventThatIsNotAtOrAfterTheCursorIsRefused) {
  lease_next(a_, now_);
  EXPECT_EQ(code_of(a_.take_fresh(a_.cursor(), event_at(0), now_)), Errc::invalid_argument);
  Fresh circle = event_at(1);
  circle.next_offset = 1;
  EXPECT_EQ(code_of(a_.take_fresh(a_.cursor(), circle, now_)), Errc::invalid_argument);
}

TEST_F(TakeTest, AMemberNeverGivesTheSameLeaseEndTwice) {
  const Lease first = lease_next(a_, now_), second = lease_next(a_, now_);
  EXPECT_NE(first.end(), second.end());
}

TEST_F(TakeTest, TheGroupNeverHasMoreLeasesThanItsCap) {
  options_.max_in_flight = 2;
  const Lease first = lease_next(a_, now_);
  lease_next(b_, now_);
  EXPECT_EQ(take_next(a_, now_).outcome, Outcome::capped);
  EXPECT_EQ(take_next(b_, now_).outcome, Outcome::capped);
  ASSERT_TRUE(a_.ack(first, now_));
  EXPECT_EQ(take_next(b_, now_).outcome, Outcome::lease);
  EXPECT_EQ(take_next(b_, now_).outcome, Outcome::capped);
}

TEST_F(TakeTest, RetriesCountAgainstTheCap) {
  options_.max_in_flight = 1;
  const Lease first = lease_next(a_, now_);
  ASSERT_TRUE(a_.nak(first, now_, {}, 0));
  const Lease second = lease_next(a_, now_);
  EXPECT_EQ(b_.take_due(now_)->outcome, Outcome::capped);
  ASSERT_TRUE(a_.ack(second, now_));
  EXPECT_TRUE(lease_due(b_, now_ + 10 * kMs));
}

TEST_F(TakeTest, LeasesThatNobodyHasDoNotKeepAGroupCapped) {
  options_.max_in_flight = 2;
  mapping_.control().in_flight.store(2);  // what two deaths between counter and cell leave
  EXPECT_EQ(take_next(a_, now_).outcome, Outcome::lease);
  EXPECT_EQ(mapping_.control().in_flight.load(), 1u);
}

TEST_F(TakeTest, ACounterBelowZeroIsMended) {
  mapping_.control().in_flight.store(std::uint64_t(-3));
  lease_next(a_, now_);
  a_.sweep(now_, kNobodyIsDead);
  a_.sweep(now_, kNobodyIsDead);
  EXPECT_EQ(mapping_.control().in_flight.load(), 1u);
}

TEST_F(TakeTest, ALeaseThatRanOutDoesNotKeepAGroupCapped) {
  options_.max_in_flight = 1;
  lease_next(a_, now_);
  now_ += std::int64_t(options_.lease_ns) + 1;
  EXPECT_EQ(take_next(b_, now_).outcome, Outcome::capped);
  b_.take_due(now_);
  EXPECT_EQ(take_next(b_, now_).outcome, Outcome::lease);
}

TEST_F(TakeTest, CellsGrowInStepsAndAreAllocatedBeforeTheyAreUsed) {
  options_.max_in_flight = 0;
  for (int i = 0; i < 64 + 64 + 128 + 1; ++i) lease_next(a_, now_);
  const std::size_t cell = sizeof(layout::Cell);
  const std::size_t bits = offsetof(layout::GroupTopicControl, occupied),
                    due = offsetof(layout::GroupTopicControl, due);
  std::vector<std::pair<std::size_t, std::size_t>> expected;
  for (const auto& [first, count] : {std::pair(0, 64), std::pair(64, 64), std::pair(128, 128), std::pair(256, 256)}) {
    expected.emplace_back(bits + std::size_t(first) / 8, std::size_t(count) / 8);
    expected.emplace_back(due + std::size_t(first) / 8, std::size_t(count) / 8);
    expected.emplace_back(layout::kCellsAt + std::size_t(first) * cell, std::size_t(count) * cell);
  }
  EXPECT_EQ(space_.calls, expected);
  EXPECT_EQ(mapping_.control().cells_allocated.load(), 512u);
}

TEST_F(TakeTest, NoMemoryForTheFirstCellIsAnError) {
  space_.full = true;
  EXPECT_EQ(code_of(a_.take_fresh(a_.cursor(), event_at(0), now_)), Errc::no_space);
  EXPECT_EQ(a_.cursor().offset, 0u);
  space_.full = false;
  EXPECT_EQ(lease_next(a_, now_).offset, 0u);
}

TEST_F(TakeTest, WhereThereIsNoMemoryForMoreCellsTheCursorWaitsAndTellsSo) {
  options_.max_in_flight = 0;
  std::vector<Lease> leases;
  for (int i = 0; i < 64; ++i) leases.push_back(lease_next(a_, now_));
  space_.full = true;
  EXPECT_EQ(take_next(a_, now_).outcome, Outcome::full);
  EXPECT_EQ(a_.cursor().offset, 64u);
  EXPECT_EQ(mapping_.control().in_flight.load(), 64u);
  EXPECT_EQ(a_.info().full, 1u);
  ASSERT_TRUE(b_.ack(leases[10], now_));
  now_ += 5 * kMs;  // not looked for again at once
  EXPECT_EQ(lease_next(a_, now_).offset, 64u) << "a cell that was settled is found again, by any member";
}

TEST_F(TakeTest, SettledCellsAreUsedAgainBeforeMoreAreAllocated) {
  for (int i = 0; i < 1000; ++i) {
    const Lease lease = lease_next(i % 2 == 0 ? a_ : b_, now_);
    ASSERT_TRUE(a_.ack(lease, now_));
  }
  EXPECT_EQ(mapping_.control().cells_allocated.load(), 64u);
}

TEST_F(TakeTest, TheLastCellIsTheLimit) {
  options_.max_in_flight = 0;
  mapping_.control().cells_allocated.store(layout::kCellsMax - 64);
  for (std::uint32_t group = 0; group < layout::kCellsMax / 64 - 1; ++group) {
    mapping_.control().occupied[group].store(~0ull);
    for (std::uint32_t i = 0; i < 64; ++i) mapping_.cell(group * 64 + i).state = {std::uint64_t(CellState::dead), 0};
  }
  for (int i = 0; i < 64; ++i) lease_next(a_, now_);
  EXPECT_EQ(take_next(a_, now_).outcome, Outcome::full);
  EXPECT_EQ(a_.cursor().offset, 64u);
  EXPECT_EQ(a_.info().full, 1u);
}

TEST_F(TakeTest, DueRetriesComeBackWhenTheyAreDueAndNotBefore) {
  const Lease lease = lease_next(a_, now_);
  ASSERT_EQ(a_.nak(lease, now_, {}, 50 * kMs).value(), Fate::waiting);
  EXPECT_FALSE(lease_due(b_, now_ + 50 * kMs - 1));
  EXPECT_EQ(b_.next_due(), now_ + 50 * kMs);
  const auto again = lease_due(b_, now_ + 50 * kMs);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->offset, lease.offset);
  EXPECT_EQ(again->position, lease.position);
  EXPECT_EQ(again->id, lease.id);
  EXPECT_EQ(again->attempt(), 2u);
  EXPECT_EQ(again->delivered(), 2u);
  EXPECT_FALSE(lease_due(a_, now_ + 50 * kMs)) << "it is leased";
  EXPECT_EQ(mapping_.control().redelivered.load(), 1u);
}

TEST_F(TakeTest, AskingForDueWorkIsOneLookWhenNothingIsDue) {
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(a_.nak(lease_next(a_, now_), now_, {}, kSecond + i));
  EXPECT_FALSE(lease_due(a_, now_));
  EXPECT_EQ(a_.next_due(), now_ + kSecond);
  // Whatever the groups' words say: the one over all of them is enough.
  const std::uint64_t first = mapping_.control().due[0].exchange(0);
  EXPECT_FALSE(lease_due(a_, now_ + kSecond - 1));
  mapping_.control().due[0].store(first);
  EXPECT_TRUE(lease_due(a_, now_ + kSecond));
}

TEST_F(TakeTest, EveryDueRetryIsFoundOnceAmongMany) {
  options_.max_in_flight = 0;
  const int count = 1000;
  for (int i = 0; i < count; ++i) ASSERT_TRUE(a_.nak(lease_next(a_, now_), now_, {}, (i % 7) * kMs));
  std::vector<int> seen(count, 0);
  for (int ms = 0; ms < 7; ++ms) {
    while (const auto lease = lease_due(ms % 2 == 0 ? a_ : b_, now_ + ms * kMs)) {
      EXPECT_EQ(int(lease->offset) % 7, ms);
      ++seen[lease->offset];
      ASSERT_TRUE(b_.ack(*lease, now_));
    }
  }
  EXPECT_EQ(seen, std::vector<int>(count, 1));
}

TEST_F(TakeTest, ALeaseThatRanOutComesBackAsAFailure) {
  const Lease lease = lease_next(a_, now_);
  now_ = lease.end();
  EXPECT_FALSE(lease_due(b_, now_)) << "it waits for its backoff first";
  EXPECT_EQ(mapping_.fields(lease.cell).failure, layout::Failure::expired);
  EXPECT_EQ(code_of(a_.ack(lease, now_)), Errc::stale_lease);
  const auto again = lease_due(b_, now_ + kSecond);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->attempt(), 2u);
}

TEST_F(TakeTest, AMemberStoppedInTheMiddleOfTakingDoesNotKeepTheGroupBusy) {
  // Its cell is TENTATIVE, unnamed, and its lease's end has passed.
  const Lease lease = lease_next(a_, now_);
  ASSERT_TRUE(a_.ack(lease, now_));
  mapping_.cell(3).state = {pack(layout::CellFields{CellState::tentative, 9, 1, 1}), std::uint64_t(now_)};
  mapping_.control().occupied[0].fetch_or(8);
  now_ += kSecond;
  EXPECT_FALSE(lease_due(b_, now_));
  EXPECT_FALSE(lease_due(b_, now_));
  EXPECT_EQ(b_.next_due(), kNever);
}

TEST_F(TakeTest, DeliveriesAreCountedUpToWhatACellHolds) {
  Lease lease = lease_next(a_, now_);
  for (int i = 0; i < 5000; ++i) {
    ASSERT_TRUE(a_.release(lease, now_));
    const auto again = lease_due(a_, now_);
    ASSERT_TRUE(again);
    EXPECT_NE(again->state, lease.state);
    lease = *again;
  }
  EXPECT_EQ(lease.delivered(), 2047u);
  EXPECT_EQ(lease.attempt(), 1u);
  EXPECT_TRUE(a_.ack(lease, now_));
}

}  // namespace
}  // namespace penstock::group::testing
