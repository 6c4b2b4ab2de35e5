#include "shared_group.hpp"

namespace penstock::group::testing {
namespace {

using layout::CellState;
using layout::DedupeEntry;
using layout::EntryState;
using layout::Id128;

constexpr std::uint32_t kWindow = 16;  // its table is one bucket of 64

class DedupeTest : public GroupTest {
 protected:
  DedupeTest() : GroupTest(kWindow) {}

  // The next event of the log, carrying this id.
  Lease lease_with(GroupTopic& group, Id128 id) {
    const auto cursor = group.cursor();
    Fresh event = event_at(cursor.offset);
    event.id = id;
    return group.take_fresh(cursor, event, now_)->lease;
  }
  Admit admit(GroupTopic& group, Lease& lease) { return group.admit(lease, now_).value(); }
  void process(Id128 id) {
    Lease lease = lease_with(a_, id);
    ASSERT_EQ(admit(a_, lease), Admit::admitted);
    ASSERT_TRUE(a_.ack(lease, now_));
  }
  DedupeEntry* entries() { return reinterpret_cast<DedupeEntry*>(mapping_.bytes().data() + layout::kDedupeAt); }
  int count(EntryState state) {
    int found = 0;
    for (std::uint32_t i = 0; i < 64; ++i) found += layout::entry_of(entries()[i].control.low).state == state ? 1 : 0;
    return found;
  }

  const Id128 id_{7, 8};
};

TEST_F(DedupeTest, ACopyOfAProcessedEventIsADuplicate) {
  process(id_);
  Lease copy = lease_with(b_, id_);
  EXPECT_EQ(admit(b_, copy), Admit::duplicate);
  ASSERT_TRUE(b_.settle_duplicate(copy));
  EXPECT_EQ(mapping_.control().duplicates.load(), 1u);
  EXPECT_EQ(mapping_.control().acked.load(), 1u);
  EXPECT_TRUE(b_.remembered(id_, now_));
  EXPECT_FALSE(b_.remembered({7, 9}, now_));
}

TEST_F(DedupeTest, ACopyOfAnEventInFlightIsBusyUntilThatIsSettled) {
  Lease first = lease_with(a_, id_), copy = lease_with(b_, id_);
  EXPECT_EQ(admit(a_, first), Admit::admitted);
  EXPECT_EQ(admit(b_, copy), Admit::busy);
  ASSERT_TRUE(b_.park(copy, now_ + kMs));
  ASSERT_TRUE(a_.ack(first, now_));
  now_ += kMs;
  copy = *lease_due(b_, now_);
  EXPECT_EQ(copy.attempt(), 1u) << "parking counts nothing";
  EXPECT_EQ(admit(b_, copy), Admit::duplicate);
}

TEST_F(DedupeTest, AFailedEventKeepsItsIdWhileItWaits) {
  Lease first = lease_with(a_, id_), copy = lease_with(b_, id_);
  EXPECT_EQ(admit(a_, first), Admit::admitted);
  ASSERT_TRUE(a_.nak(first, now_, {}, kMs));
  EXPECT_EQ(admit(b_, copy), Admit::busy);
  now_ += kMs;
  Lease again = *lease_due(b_, now_);
  EXPECT_EQ(again.offset, first.offset);
  EXPECT_EQ(admit(b_, again), Admit::admitted) << "it is the same event";
  ASSERT_TRUE(b_.ack(again, now_));
  EXPECT_EQ(admit(b_, copy), Admit::duplicate);
}

TEST_F(DedupeTest, ADeadEventLetsItsCopyThroughOnceItsLetterIsWritten) {
  Lease first = lease_with(a_, id_), copy = lease_with(b_, id_);
  EXPECT_EQ(admit(a_, first), Admit::admitted);
  ASSERT_TRUE(a_.reject(first, now_));
  EXPECT_EQ(admit(b_, copy), Admit::busy);
  ASSERT_TRUE(a_.settle_dead(first.cell, mapping_.cell(first.cell).state));
  EXPECT_EQ(count(EntryState::pending), 0);
  EXPECT_EQ(admit(b_, copy), Admit::admitted);
}

TEST_F(DedupeTest, AskingTwiceIsAnsweredTwice) {
  Lease lease = lease_with(a_, id_);
  EXPECT_EQ(admit(a_, lease), Admit::admitted);
  EXPECT_EQ(admit(a_, lease), Admit::admitted);
  EXPECT_EQ(count(EntryState::pending), 1);
}

TEST_F(DedupeTest, IdsThatShareABucketDoNotDisturbEachOther) {
  for (std::uint64_t i = 0; i < kWindow; ++i) process({64 * i, i});
  for (std::uint64_t i = 0; i < kWindow; ++i) EXPECT_TRUE(a_.remembered({64 * i, i}, now_)) << i;
  EXPECT_FALSE(a_.remembered({0, 1}, now_));
}

TEST_F(DedupeTest, TheWindowForgetsByNumber) {
  process(id_);
  for (std::uint64_t i = 1; i < kWindow; ++i) process({i, 1000});
  EXPECT_TRUE(a_.remembered(id_, now_));
  process({99, 1000});
  EXPECT_FALSE(a_.remembered(id_, now_));
  Lease copy = lease_with(a_, id_);
  EXPECT_EQ(admit(a_, copy), Admit::admitted);
}

TEST_F(DedupeTest, TheWindowForgetsByAge) {
  options_.dedupe_age_ns = std::uint64_t(kSecond);
  process(id_);
  now_ += kSecond;
  EXPECT_TRUE(a_.remembered(id_, now_));
  now_ += 1;
  EXPECT_FALSE(a_.remembered(id_, now_));
  Lease copy = lease_with(a_, id_);
  EXPECT_EQ(admit(a_, copy), Admit::admitted);
}

TEST_F(DedupeTest, AFullBucketGivesUpItsOldestDoneIdAndNeverOneInFlight) {
  options_.dedupe = 1000;  // more than the table was made for
  options_.max_in_flight = 0;
  Lease flying = lease_with(a_, id_);
  ASSERT_EQ(admit(a_, flying), Admit::admitted);
  for (std::uint64_t i = 0; i < 64; ++i) process({i, 1000});
  EXPECT_FALSE(a_.remembered({0, 1000}, now_));
  EXPECT_TRUE(a_.remembered({1, 1000}, now_));
  Lease copy = lease_with(b_, id_);
  EXPECT_EQ(admit(b_, copy), Admit::busy);
}

TEST_F(DedupeTest, ABucketFullOfEventsInFlightIsBusy) {
  options_.max_in_flight = 0;
  for (std::uint64_t i = 0; i < 64; ++i) {
    Lease lease = lease_with(a_, {i, 1});
    ASSERT_EQ(admit(a_, lease), Admit::admitted);
  }
  Lease one_more = lease_with(a_, {64, 1});
  EXPECT_EQ(admit(a_, one_more), Admit::busy);
}

TEST_F(DedupeTest, WithoutRoomForTheWindowNothingIsDecided) {
  Lease lease = lease_with(a_, id_);
  space_.full = true;
  EXPECT_EQ(code_of(a_.admit(lease, now_)), Errc::no_space);
  EXPECT_FALSE(lease.admitted);
  space_.full = false;
  EXPECT_EQ(admit(a_, lease), Admit::admitted);
}

TEST_F(DedupeTest, SwitchedOffEverythingIsAdmitted) {
  options_.dedupe = 0;
  process(id_);
  Lease copy = lease_with(a_, id_);
  EXPECT_EQ(admit(a_, copy), Admit::admitted);
  EXPECT_TRUE(a_.ack(copy, now_));
  EXPECT_EQ(mapping_.control().dedupe_allocated.load(), 0u);
}

TEST_F(DedupeTest, AStaleLeaseIsNotAdmitted) {
  Lease lease = lease_with(a_, id_);
  ASSERT_TRUE(a_.release(lease, now_));
  EXPECT_EQ(code_of(a_.admit(lease, now_)), Errc::stale_lease);
}

TEST_F(DedupeTest, AnEntryWhoseEventWasSettledOtherwiseHoldsNothing) {
  Lease first = lease_with(a_, id_);
  ASSERT_EQ(admit(a_, first), Admit::admitted);
  ASSERT_TRUE(a_.settle_overdue(first));
  Lease copy = lease_with(b_, id_);
  EXPECT_EQ(admit(b_, copy), Admit::admitted);
  EXPECT_EQ(count(EntryState::pending), 1);
}

// What a member leaves that was killed in the middle of asking.
class DedupeDeathTest : public DedupeTest {
 protected:
  // b's lease on the event, and its entry in this state.
  Lease left_by_b(EntryState state) {
    Lease lease = lease_with(b_, id_);
    EXPECT_EQ(admit(b_, lease), Admit::admitted);
    for (std::uint32_t i = 0; i < 64; ++i) {
      auto fields = layout::entry_of(entries()[i].control.low);
      if (fields.state != EntryState::pending) continue;
      fields.state = state;
      entries()[i].control = {pack(fields), lease.state.high};
    }
    return lease;
  }
};

TEST_F(DedupeDeathTest, ATentativeEntryHoldsItsIdAsLongAsItsLease) {
  const Lease dead_lease = left_by_b(EntryState::tentative);
  for (std::uint32_t i = 0; i < 3; ++i) std::swap(entries()[0].control, entries()[0].control);
  Lease copy = lease_with(a_, id_);
  EXPECT_EQ(admit(a_, copy), Admit::busy) << "its writer may be alive";
  a_.sweep(now_, dead(2));
  EXPECT_EQ(admit(a_, copy), Admit::admitted);
  Lease again = *lease_due(a_, now_);
  EXPECT_EQ(again.offset, dead_lease.offset);
  EXPECT_EQ(admit(a_, again), Admit::busy);
}

TEST_F(DedupeDeathTest, AReservedEntryOfTheDeadIsFreedWithItsLease) {
  left_by_b(EntryState::reserved);
  EXPECT_EQ(count(EntryState::reserved), 1);
  a_.sweep(now_, kNobodyIsDead);
  EXPECT_EQ(count(EntryState::reserved), 1);
  a_.sweep(now_, dead(2));
  EXPECT_EQ(count(EntryState::reserved), 0);
}

TEST_F(DedupeDeathTest, AReservedEntryWhoseLeaseRanOutBeforeIsFreedByThoroughRounds) {
  const Lease lease = left_by_b(EntryState::reserved);
  now_ = lease.end();
  a_.sweep(now_, kNobodyIsDead);
  for (int i = 0; i < 256; ++i) a_.sweep(now_, dead(2));
  EXPECT_EQ(count(EntryState::reserved), 0);
}

TEST_F(DedupeDeathTest, AnAckedEventIsADuplicateBeforeItsEntryIsDone) {
  const Lease lease = left_by_b(EntryState::pending);
  auto& word = mapping_.cell(lease.cell).state.low;
  word = (word & ~7ull) | std::uint64_t(CellState::acked);
  Lease copy = lease_with(a_, id_);
  EXPECT_EQ(admit(a_, copy), Admit::duplicate);
  a_.sweep(now_, dead(2));
  EXPECT_EQ(mapping_.state(lease.cell), CellState::free);
  EXPECT_EQ(count(EntryState::done), 1);
  EXPECT_TRUE(a_.remembered(id_, now_));
}

TEST_F(DedupeDeathTest, WhoeverGetsTheEventNextTakesItsEntryOver) {
  left_by_b(EntryState::pending);
  a_.sweep(now_, dead(2));
  Lease again = *lease_due(a_, now_);
  EXPECT_EQ(admit(a_, again), Admit::admitted);
  EXPECT_EQ(count(EntryState::pending), 1);
  ASSERT_TRUE(a_.ack(again, now_));
  EXPECT_EQ(count(EntryState::done), 1);
}

TEST_F(DedupeDeathTest, SeekingBackCanForgetEveryId) {
  process(id_);
  a_.seek({0, position_of(0)}, false);
  EXPECT_TRUE(a_.remembered(id_, now_));
  a_.seek({0, position_of(0)}, true);
  EXPECT_FALSE(a_.remembered(id_, now_));
}

}  // namespace
}  // namespace penstock::group::testing
