// Order by key: what is delivered when, through the engine's calls.
#include "shared_group.hpp"

namespace penstock::group::testing {
namespace {

constexpr std::uint64_t kA = 1, kB = 2, kC = 3;

class LanesTest : public GroupTest {
 protected:
  LanesTest() { options_.max_in_flight = 0; }

  Taken take(GroupTopic& group, std::uint64_t key) {
    const auto cursor = group.cursor();
    Fresh event = event_at(cursor.offset);
    event.key = key;
    return group.take_fresh(cursor, event, now_).value();
  }
  Lease lease(GroupTopic& group, std::uint64_t key) {
    Taken taken = take(group, key);
    EXPECT_EQ(taken.outcome, Outcome::lease);
    EXPECT_TRUE(group.begin(taken.lease));
    return taken.lease;
  }
  // The offset of the event that is due; nothing: none is.
  std::optional<std::uint64_t> due(GroupTopic& group) {
    const auto lease = lease_due(group, now_);
    if (!lease) return std::nullopt;
    last_ = *lease;
    return lease->offset;
  }

  Lease last_;
};

TEST_F(LanesTest, EventsOfAKeyComeOneAfterAnotherAndOtherKeysFlow) {
  const Lease first = lease(a_, kA);
  EXPECT_EQ(take(a_, kA).outcome, Outcome::queued);
  EXPECT_EQ(take(b_, kA).outcome, Outcome::queued);
  EXPECT_EQ(lease(b_, kB).offset, 3u);
  EXPECT_EQ(lease(b_, 0).offset, 4u) << "no key, no order";
  EXPECT_EQ(lease(a_, 0).offset, 5u);
  EXPECT_FALSE(due(a_));
  ASSERT_TRUE(a_.ack(first, now_));
  EXPECT_EQ(due(a_), 1u);
  EXPECT_EQ(last_.attempt(), 1u);
  EXPECT_FALSE(due(a_));
  ASSERT_TRUE(a_.ack(last_, now_));
  EXPECT_EQ(due(a_), 2u);
}

TEST_F(LanesTest, ARetryKeepsItsKeyWaitingAndCountsOnlyItsOwnAttempts) {
  const Lease first = lease(a_, kA);
  EXPECT_EQ(take(a_, kA).outcome, Outcome::queued);
  ASSERT_TRUE(a_.nak(first, now_, {}, kSecond));
  EXPECT_FALSE(due(a_));
  now_ += kSecond;
  EXPECT_EQ(due(b_), 0u);
  EXPECT_EQ(last_.attempt(), 2u);
  EXPECT_FALSE(due(a_));
  ASSERT_TRUE(b_.release(last_, now_));
  EXPECT_EQ(due(a_), 0u);
  ASSERT_TRUE(a_.ack(last_, now_));
  EXPECT_EQ(due(a_), 1u);
  EXPECT_EQ(last_.attempt(), 1u);
  EXPECT_EQ(last_.delivered(), 1u);
}

TEST_F(LanesTest, ADeadEventLetsTheNextOneGoBeforeItsLetterIsWritten) {
  const Lease first = lease(a_, kA);
  EXPECT_EQ(take(a_, kA).outcome, Outcome::queued);
  EXPECT_EQ(take(a_, kA).outcome, Outcome::queued);
  ASSERT_TRUE(a_.reject(first, now_));
  EXPECT_EQ(due(b_), 1u) << "any member may have it";
  options_.max_attempts = 1;
  EXPECT_EQ(b_.nak(last_, now_).value(), Fate::dead);
  EXPECT_EQ(due(a_), 2u);
}

TEST_F(LanesTest, SkippedAndDuplicateEventsLetTheNextOneGo) {
  const Lease first = lease(a_, kA);
  EXPECT_EQ(take(a_, kA).outcome, Outcome::queued);
  EXPECT_EQ(take(a_, kA).outcome, Outcome::queued);
  ASSERT_TRUE(a_.settle_duplicate(first));
  EXPECT_EQ(due(a_), 1u);
  ASSERT_TRUE(a_.settle_overdue(last_));
  EXPECT_EQ(due(a_), 2u);
}

TEST_F(LanesTest, WhatIsQueuedTakesNoPlaceInFlight) {
  options_.max_in_flight = 2;
  lease(a_, kA);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(take(a_, kA).outcome, Outcome::queued);
  EXPECT_EQ(mapping_.control().in_flight.load(), 1u);
  EXPECT_EQ(a_.info().queued, 1000u);
  lease(a_, kB);
  EXPECT_EQ(take(a_, kC).outcome, Outcome::capped);
  EXPECT_EQ(a_.committed().offset, 0u);
}

TEST_F(LanesTest, ATurnThatItsSettlerNeverTookIsFoundByASweep) {
  const Lease first = lease(a_, kA);
  EXPECT_EQ(take(a_, kA).outcome, Outcome::queued);
  ASSERT_TRUE(a_.ack(first, now_));
  EXPECT_FALSE(due(b_)) << "it is kept for the settler";
  EXPECT_TRUE(b_.wants_sweep());
  EXPECT_EQ(b_.sweep(now_, kNobodyIsDead).promoted, 1u);
  EXPECT_EQ(due(b_), 1u);
  EXPECT_FALSE(due(a_)) << "the settler finds it taken";
}

TEST_F(LanesTest, ASettlerWithTwoTurnsLeavesOneToOthers) {
  const Lease first = lease(a_, kA), second = lease(a_, kB);
  EXPECT_EQ(take(a_, kA).outcome, Outcome::queued);
  EXPECT_EQ(take(a_, kB).outcome, Outcome::queued);
  ASSERT_TRUE(a_.ack(first, now_));
  EXPECT_EQ(a_.promoted(), 0u);
  ASSERT_TRUE(a_.ack(second, now_));
  EXPECT_EQ(a_.promoted(), 1u);
  EXPECT_EQ(due(b_), 3u);
  EXPECT_EQ(due(a_), 2u);
}

TEST_F(LanesTest, ADeadMembersEventComesBackBeforeTheNextOfItsKey) {
  lease(a_, kA);
  EXPECT_EQ(take(a_, kA).outcome, Outcome::queued);
  b_.sweep(now_, dead(1));
  EXPECT_EQ(due(b_), 0u);
  EXPECT_EQ(last_.attempt(), 2u);
  EXPECT_FALSE(due(b_));
  ASSERT_TRUE(b_.ack(last_, now_));
  EXPECT_EQ(due(b_), 1u);
}

TEST_F(LanesTest, ALeaseThatRanOutComesBackBeforeTheNextOfItsKey) {
  const Lease late = lease(a_, kA);
  EXPECT_EQ(take(a_, kA).outcome, Outcome::queued);
  now_ += 60 * kSecond;
  EXPECT_FALSE(due(b_)) << "it waits for its backoff now";
  now_ += 60 * kSecond;
  EXPECT_EQ(due(b_), 0u);
  EXPECT_EQ(code_of(a_.ack(late, now_)), Errc::stale_lease);
  EXPECT_FALSE(due(a_)) << "a stale ack lets nobody go";
}

TEST_F(LanesTest, KeysThatShareABucketAreParallelWhileThereIsRoom) {
  for (std::uint64_t key = 1; key <= layout::kLaneBucketEntries; ++key) lease(a_, key);
  for (std::uint64_t key = 1; key <= layout::kLaneBucketEntries; ++key)
    EXPECT_EQ(take(a_, key).outcome, Outcome::queued);
}

TEST_F(LanesTest, InACrowdedBucketKeysWaitForOneAnotherAndNoneOvertakesItsOwn) {
  std::vector<Lease> leases;
  for (std::uint64_t key = 1; key <= 8; ++key) leases.push_back(lease(a_, key));
  // Behind key 8, which moved last; from here on key 8 and all new ones share a lane.
  EXPECT_EQ(take(a_, 9).outcome, Outcome::queued);
  EXPECT_EQ(take(a_, 8).outcome, Outcome::queued);
  EXPECT_EQ(take(a_, 10).outcome, Outcome::queued);
  EXPECT_EQ(take(a_, 1).outcome, Outcome::queued) << "behind its own";
  lease(a_, 1ull << 47);  // another bucket
  ASSERT_TRUE(a_.ack(leases[0], now_));
  EXPECT_EQ(due(a_), 11u);
  ASSERT_TRUE(a_.ack(leases[7], now_));
  for (const std::uint64_t offset : {8u, 9u, 10u}) {
    EXPECT_EQ(due(a_), offset);
    EXPECT_FALSE(due(b_));
    ASSERT_TRUE(a_.ack(last_, now_));
  }
  EXPECT_EQ(lease(a_, 9).offset, 13u) << "the shared lane is spent";
  ASSERT_TRUE(a_.ack(leases[1], now_));
  EXPECT_EQ(lease(a_, 10).offset, 14u);
}

TEST_F(LanesTest, ASeekSettlesWhatIsQueuedAndTheOrderBeginsAnew) {
  lease(a_, kA);
  EXPECT_EQ(take(a_, kA).outcome, Outcome::queued);
  EXPECT_EQ(take(a_, kA).outcome, Outcome::queued);
  a_.seek({1, position_of(1)}, true);
  EXPECT_FALSE(due(a_));
  EXPECT_EQ(a_.info().queued + a_.info().in_flight, 0u);
  EXPECT_EQ(mapping_.control().queued.load(), 0u);
  EXPECT_EQ(lease(a_, kA).offset, 1u);
  EXPECT_EQ(take(a_, kA).outcome, Outcome::queued);
}

TEST_F(LanesTest, WhenEveryCellIsInUseTheCursorWaitsAndNothingIsDropped) {
  std::vector<std::uint64_t> order;
  lease(a_, kA);
  for (int i = 1; i < 64; ++i) ASSERT_EQ(take(a_, kA).outcome, Outcome::queued);
  space_.full = true;
  EXPECT_EQ(take(a_, kB).outcome, Outcome::full);
  EXPECT_EQ(a_.cursor().offset, 64u);
  EXPECT_EQ(a_.info().full, 1u);
  a_.sweep(now_, dead(1));  // itself: nobody is
  b_.sweep(now_, dead(1));
  EXPECT_EQ(due(b_), 0u);
  ASSERT_TRUE(b_.ack(last_, now_));
  EXPECT_EQ(lease(b_, kB).offset, 64u);
  EXPECT_EQ(due(b_), 1u);
}

TEST_F(LanesTest, WithoutRoomForTheLaneTableNothingIsTaken) {
  space_.full = true;
  EXPECT_EQ(code_of(a_.take_fresh(a_.cursor(), Fresh{0, 1000, 1, 1002, {}, kA}, now_)), Errc::no_space);
  EXPECT_EQ(a_.cursor().offset, 0u);
  EXPECT_EQ(mapping_.control().in_flight.load(), 0u);
}

TEST_F(LanesTest, AParallelGroupHasNoLanes) {
  ASSERT_TRUE(a_.ack(lease(a_, 0), now_));
  EXPECT_EQ(mapping_.control().lanes_allocated.load(), 0u);
  for (const layout::Word& pages : mapping_.control().lane_pages) EXPECT_EQ(pages.load(), 0u);
}

std::uint64_t hash_of(std::uint64_t number) {  // splitmix64
  number += 0x9E3779B97F4A7C15ull;
  number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9ull;
  number = (number ^ number >> 27) * 0x94D049BB133111EBull;
  return number ^ number >> 31;
}

TEST_F(LanesTest, AMillionKeysFlow) {
  for (std::uint64_t key = 0; key < 1'000'000; ++key) {
    const Taken taken = take(a_, hash_of(key));
    ASSERT_EQ(taken.outcome, Outcome::lease) << key;
    ASSERT_TRUE(a_.ack(taken.lease, now_));
  }
  EXPECT_EQ(mapping_.control().cells_allocated.load(), 64u);
}

TEST_F(LanesTest, AHotKeyInFrontOfManyOthersHoldsUpNoneOfThem) {
  lease(a_, kA);
  std::uint64_t flowed = 0;
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    if (i % 2 == 0) {
      ASSERT_EQ(take(a_, kA).outcome, Outcome::queued);
    } else {
      ASSERT_TRUE(b_.ack(lease(b_, hash_of(i)), now_));
      ++flowed;
    }
  }
  EXPECT_EQ(flowed, 10'000u);
  b_.sweep(now_, dead(1));
  std::uint64_t last = 0;
  for (std::uint64_t delivered = 0; delivered <= 10'000; ++delivered) {
    const auto offset = due(b_);
    ASSERT_TRUE(offset) << delivered;
    ASSERT_TRUE(delivered == 0 || *offset > last);
    last = *offset;
    ASSERT_TRUE(b_.ack(last_, now_));
  }
  EXPECT_EQ(b_.committed().offset, b_.cursor().offset);
  EXPECT_EQ(mapping_.control().queued.load(), 0u);
}

// However many of them wait for a retry at once: none is dropped, the cursor waits and says so, fresh ones flow again
// as soon as there is room.
TEST_F(LanesTest, AStormOfRetriesIsHeldToTheLastCellAndThenTheCursorWaits) {
  for (std::uint32_t i = 0; i < layout::kCellsMax; ++i) {
    const Taken taken = take(a_, 0);
    ASSERT_EQ(taken.outcome, Outcome::lease);
    ASSERT_TRUE(a_.nak(taken.lease, now_, {}, 3600 * kSecond));
  }
  EXPECT_EQ(mapping_.control().in_flight.load(), 0u);
  EXPECT_EQ(take(a_, 0).outcome, Outcome::full);
  EXPECT_EQ(a_.cursor().offset, layout::kCellsMax);
  EXPECT_EQ(a_.info().full, 1u);
  EXPECT_EQ(a_.info().waiting, layout::kCellsMax);
  now_ += 3600 * kSecond;
  ASSERT_TRUE(due(a_));
  ASSERT_TRUE(a_.ack(last_, now_));
  EXPECT_EQ(lease(a_, 0).offset, layout::kCellsMax);
}

}  // namespace
}  // namespace penstock::group::testing
