#include "group/snapshot.hpp"

#include "shared_group.hpp"

namespace penstock::group::testing {
namespace {

using layout::CellState;

constexpr Place kEnd{1'000'000, 9'000'000};  // of a log that has everything

class SnapshotTest : public GroupTest {
 protected:
  SnapshotTest() : GroupTest(64) {}

  std::vector<std::byte> taken(GroupTopic& group) {
    std::vector<std::byte> bytes;
    group.snapshot(bytes, Instant(now_, wall_));
    return bytes;
  }

  std::int64_t wall_ = kStart + 77 * kSecond;
};

// A group restored from bytes, in a mapping of its own.
struct Restored {
  Restored(const std::vector<std::byte>& bytes, Place end, Instant at, std::uint64_t window = 64, bool marks = false)
      : mapping(window), group(open_view(mapping, options, 3, 1, marks, &space)) {
    options.dedupe = std::uint32_t(window);
    code = code_of(group.restore(bytes, end, at));
  }
  layout::GroupOptions options;
  Space space;
  Mapping mapping;
  GroupTopic group;
  Errc code;
};

TEST_F(SnapshotTest, AnEmptyGroupComesBackEmpty) {
  Restored back(taken(a_), kEnd, now_);
  ASSERT_EQ(back.code, Errc::ok);
  EXPECT_TRUE(back.group.started());
  EXPECT_EQ(back.group.cursor(), (layout::CursorFields{position_of(0), 0, layout::kNoCell}));
}

TEST_F(SnapshotTest, AGroupThatNeverStartedDoesNotStart) {
  Mapping mapping;
  GroupTopic group = open_view(mapping, options_);
  Restored back(taken(group), kEnd, now_);
  ASSERT_EQ(back.code, Errc::ok);
  EXPECT_FALSE(back.group.started());
}

TEST_F(SnapshotTest, LeasesComeBackAtOnceUncountedAndWhatWaitsKeepsWaiting) {
  lease_next(a_, now_);
  ASSERT_TRUE(a_.nak(lease_next(a_, now_), now_, {"carrier", "late"}, 10 * kSecond));
  ASSERT_TRUE(a_.reject(lease_next(a_, now_), now_, {"form", "bad"}));
  ASSERT_TRUE(a_.ack(lease_next(a_, now_), now_));
  const auto bytes = taken(a_);

  const std::int64_t now = 5 * kSecond;  // another boot: the clock of leases began anew
  Restored back(bytes, kEnd, Instant(now, wall_ + 4 * kSecond));
  ASSERT_EQ(back.code, Errc::ok);
  EXPECT_EQ(back.group.cursor().offset, 4u);
  EXPECT_EQ(back.group.committed(), (Place{0, position_of(0)}));
  const auto lease = lease_due(back.group, now);
  ASSERT_TRUE(lease);
  EXPECT_EQ(lease->offset, 0u);
  EXPECT_EQ(lease->attempt(), 1u);
  EXPECT_EQ(lease->id, id_of(0));
  EXPECT_FALSE(lease_due(back.group, now + 6 * kSecond - 1));
  const auto waited = lease_due(back.group, now + 6 * kSecond);
  ASSERT_TRUE(waited);
  EXPECT_EQ(waited->offset, 1u);
  EXPECT_EQ(waited->attempt(), 2u);
  int dead = 0;
  back.group.for_each_dead([&](const CellView& cell) {
    EXPECT_EQ(cell.offset, 2u);
    EXPECT_EQ(cell.fields.slot, 1u);
    EXPECT_EQ(back.group.note(cell)->error_class, "form");
    EXPECT_EQ(back.group.note(cell)->pid, 1001u);
    EXPECT_NEAR(double(cell.first_failure), double(now_), 4096);
    return ++dead > 0;
  });
  EXPECT_EQ(dead, 1);
  EXPECT_EQ(back.group.dead_raised(), 1u);
  EXPECT_EQ(back.group.info().acked, 1u);
  EXPECT_EQ(lease_next(back.group, now).offset, 4u);
}

TEST_F(SnapshotTest, AClockThatJumpedNeitherLosesNorHurriesARetry) {
  ASSERT_TRUE(a_.nak(lease_next(a_, now_), now_, {}, 10 * kSecond));
  const auto bytes = taken(a_);
  Restored jumped_back(bytes, kEnd, Instant(0, wall_ - 1000 * kSecond));
  EXPECT_FALSE(lease_due(jumped_back.group, 10 * kSecond - 1));
  EXPECT_TRUE(lease_due(jumped_back.group, 10 * kSecond)) << "no longer than was left";
  Restored jumped_ahead(bytes, kEnd, Instant(0, wall_ + 1000 * kSecond));
  EXPECT_TRUE(lease_due(jumped_ahead.group, 0));
}

TEST_F(SnapshotTest, AnEventJustTakenIsInTheSnapshot) {
  const Lease lease = lease_next(a_, now_);
  mapping_.cell(lease.cell).state.low = (lease.state.low & ~7ull) | std::uint64_t(CellState::tentative);
  Restored back(taken(b_), kEnd, now_);
  EXPECT_EQ(back.group.cursor().offset, 1u);
  EXPECT_EQ(back.group.committed().offset, 0u);
}

TEST_F(SnapshotTest, AnEventOnlyAboutToBeTakenIsFreshAgain) {
  const Lease lease = lease_next(a_, now_);
  mapping_.cell(lease.cell).state.low = (lease.state.low & ~7ull) | std::uint64_t(CellState::tentative);
  mapping_.control().cursor = pack(layout::CursorFields{position_of(0), 0, layout::kNoCell});
  Restored back(taken(b_), kEnd, now_);
  EXPECT_EQ(back.group.cursor().offset, 0u);
  EXPECT_EQ(back.group.info().in_flight + back.group.info().waiting, 0u);
}

TEST_F(SnapshotTest, ACursorAheadOfTheLogIsPutAtItsEnd) {
  for (int i = 0; i < 10; ++i) lease_next(a_, now_);
  const Place end{6, position_of(6)};
  Restored back(taken(a_), end, now_);
  ASSERT_EQ(back.code, Errc::ok);
  EXPECT_EQ(back.group.cursor(), (layout::CursorFields{end.position, end.offset, layout::kNoCell}));
  std::uint64_t events = 0;
  back.group.for_each_pending([&](const CellView& cell) {
    EXPECT_LT(cell.offset, 6u);
    return ++events > 0;
  });
  EXPECT_EQ(events, 6u);
}

// Offsets 4 to 99 were lost in a power cut; what stands where event 4 stood is event 100.
TEST_F(SnapshotTest, WhatThePowerCutTookFromTheLogIsForgotten) {
  for (int i = 0; i < 10; ++i) lease_next(a_, now_);
  const auto bytes = taken(a_);
  const auto lost = [](std::uint64_t offset) {
    return offset >= 4 && offset < 100 ? std::optional(Place{100, position_of(4)}) : std::nullopt;
  };
  Mapping mapping;
  GroupTopic back = open_view(mapping, options_, 7);
  ASSERT_TRUE(back.restore(bytes, {120, position_of(24)}, now_, lost));
  EXPECT_EQ(back.cursor(), (layout::CursorFields{position_of(4), 100, layout::kNoCell}));
  std::vector<std::uint64_t> unsettled;
  back.for_each_pending([&](const CellView& cell) {
    unsettled.push_back(cell.offset);
    return true;
  });
  EXPECT_EQ(unsettled, (std::vector<std::uint64_t>{0, 1, 2, 3}));
}

TEST_F(SnapshotTest, ProcessedIdsAreRemembered) {
  for (int i = 0; i < 5; ++i) {
    Lease lease = lease_next(a_, now_);
    ASSERT_EQ(a_.admit(lease, now_).value(), Admit::admitted);
    ASSERT_TRUE(a_.ack(lease, now_));
  }
  const auto bytes = taken(a_);
  for (const std::uint64_t window : {64ull, 4096ull, 1ull}) {
    Restored back(bytes, kEnd, now_, window);
    ASSERT_EQ(back.code, Errc::ok);
    EXPECT_EQ(back.group.remembered(id_of(4), now_), true);
    EXPECT_EQ(back.group.remembered(id_of(0), now_), window > 1);
    EXPECT_FALSE(back.group.remembered(id_of(5), now_));
  }
  Restored off(bytes, kEnd, now_, 0);
  EXPECT_EQ(off.code, Errc::ok);
  EXPECT_FALSE(off.group.remembered(id_of(0), now_));
}

TEST_F(SnapshotTest, AnAgeBoundCountsTheTimeTheMachineWasDown) {
  Lease lease = lease_next(a_, now_);
  ASSERT_TRUE(a_.admit(lease, now_));
  ASSERT_TRUE(a_.ack(lease, now_));
  now_ += 4 * kSecond;
  const auto bytes = taken(a_);
  Restored back(bytes, kEnd, Instant(0, wall_ + 3 * kSecond));
  back.options.dedupe_age_ns = std::uint64_t(10 * kSecond);
  EXPECT_TRUE(back.group.remembered(id_of(0), 3 * kSecond));
  EXPECT_FALSE(back.group.remembered(id_of(0), 3 * kSecond + 1));
}

TEST_F(SnapshotTest, AnIdInFlightIsStillItsEvents) {
  Lease lease = lease_next(a_, now_);
  ASSERT_EQ(a_.admit(lease, now_).value(), Admit::admitted);
  Restored back(taken(a_), kEnd, now_);
  Fresh copy = event_at(1);
  copy.id = id_of(0);
  Lease other = back.group.take_fresh(back.group.cursor(), copy, now_)->lease;
  EXPECT_EQ(back.group.admit(other, now_).value(), Admit::busy);
  Lease again = *lease_due(back.group, now_);
  EXPECT_EQ(back.group.admit(again, now_).value(), Admit::admitted);
}

TEST_F(SnapshotTest, AnAckedEventIsSettledAndItsIdRememberedWhoeverIsToFinishIt) {
  Lease lease = lease_next(a_, now_);
  ASSERT_EQ(a_.admit(lease, now_).value(), Admit::admitted);
  auto& word = mapping_.cell(lease.cell).state.low;
  word = (word & ~7ull) | std::uint64_t(CellState::acked);
  Restored back(taken(b_), kEnd, now_);
  EXPECT_EQ(back.group.committed().offset, 1u);
  EXPECT_TRUE(back.group.remembered(id_of(0), now_));
}

TEST_F(SnapshotTest, MarksAndLettersInHandComeBack) {
  Mapping mapping;
  GroupTopic letters = open_view(mapping, options_, 1, 1, true);
  for (std::uint64_t letter : {3ull, 64ull, 40'000ull}) {
    ASSERT_TRUE(Redrive(letters).give_back(letter, position_of(letter), id_of(letter), now_));
  }
  ASSERT_TRUE(letters.ack(*lease_due(letters, now_), now_));
  Restored back(taken(letters), kEnd, now_, 0, true);
  ASSERT_EQ(back.code, Errc::ok);
  for (std::uint64_t letter : {3ull, 64ull, 40'000ull}) EXPECT_TRUE(back.group.marked(letter));
  EXPECT_FALSE(back.group.marked(4));
  EXPECT_EQ(back.group.info().waiting, 2u);
  EXPECT_FALSE(back.group.started());
}

TEST_F(SnapshotTest, AUsedFileIsNotRestoredInto) {
  const auto bytes = taken(a_);
  EXPECT_EQ(code_of(a_.restore(bytes, kEnd, now_)), Errc::already_exists);
}

TEST_F(SnapshotTest, NoSpaceIsAnError) {
  lease_next(a_, now_);
  const auto bytes = taken(a_);
  Mapping mapping;
  Space space{true, {}};
  GroupTopic group = open_view(mapping, options_, 1, 1, false, &space);
  EXPECT_EQ(code_of(group.restore(bytes, kEnd, now_)), Errc::no_space);
}

class SnapshotBytesTest : public SnapshotTest {
 protected:
  std::vector<std::byte> sample() {
    Lease lease = lease_next(a_, now_);
    EXPECT_TRUE(a_.admit(lease, now_));
    EXPECT_TRUE(a_.ack(lease, now_));
    lease = lease_next(a_, now_);
    EXPECT_TRUE(a_.admit(lease, now_));
    EXPECT_TRUE(a_.nak(lease, now_, {"class", "reason"}));
    lease_next(a_, now_);
    return taken(a_);
  }
};

TEST_F(SnapshotBytesTest, EveryShorterSnapshotIsRefused) {
  const auto bytes = sample();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    Restored back(std::vector<std::byte>(bytes.begin(), bytes.begin() + std::ptrdiff_t(size)), kEnd, now_);
    EXPECT_EQ(back.code, Errc::corrupt) << size;
  }
  Restored back(bytes, kEnd, now_);
  EXPECT_EQ(back.code, Errc::ok);
  auto longer = bytes;
  longer.push_back(std::byte{0});
  EXPECT_EQ(Restored(longer, kEnd, now_).code, Errc::corrupt);
}

TEST_F(SnapshotBytesTest, AnotherVersionIsRefused) {
  auto bytes = sample();
  bytes[offsetof(SnapshotHeader, version)] = std::byte{9};
  EXPECT_EQ(Restored(bytes, kEnd, now_).code, Errc::incompatible);
}

// Checksums are the caller's; bytes that passed one wrongly still do no more than be wrong.
TEST_F(SnapshotBytesTest, FlippedAndOverwrittenBytesNeverCrash) {
  const auto bytes = sample();
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (const std::byte value :
         {std::byte{0xff}, std::byte{0x00}, bytes[at] ^ std::byte{0x80}, bytes[at] ^ std::byte{0x01}}) {
      auto changed = bytes;
      changed[at] = value;
      Restored back(changed, kEnd, now_);
      if (back.code != Errc::ok) continue;
      back.group.sweep(now_, kNobodyIsDead);
      back.group.committed();
      lease_due(back.group, now_ + kSecond);
    }
  }
}

// --- Keys

class KeySnapshotTest : public SnapshotTest {
 protected:
  Taken take(GroupTopic& group, std::uint64_t key) {
    const auto cursor = group.cursor();
    Fresh event = event_at(cursor.offset);
    event.key = key;
    return group.take_fresh(cursor, event, now_).value();
  }
  std::optional<std::uint64_t> settle_due(GroupTopic& group) {
    const auto lease = lease_due(group, now_);
    if (!lease) return std::nullopt;
    EXPECT_TRUE(group.ack(*lease, now_));
    return lease->offset;
  }
};

TEST_F(KeySnapshotTest, AKeysEventsKeepTheirOrderAndFreshOnesComeBehindThem) {
  ASSERT_TRUE(a_.nak(take(a_, 1).lease, now_, {}, 0));
  for (const std::uint64_t key : {1, 2, 1, 2, 1}) take(a_, key);
  Restored back(taken(b_), kEnd, Instant(now_, wall_));
  ASSERT_EQ(back.code, Errc::ok);
  EXPECT_EQ(back.group.info().queued, 4u);
  EXPECT_EQ(back.mapping.control().queued.load(), 4u);
  EXPECT_EQ(take(back.group, 1).outcome, Outcome::queued);
  std::map<std::uint64_t, std::vector<std::uint64_t>> order;
  while (const auto offset = settle_due(back.group)) order[*offset == 2 || *offset == 4].push_back(*offset);
  EXPECT_EQ(order[false], (std::vector<std::uint64_t>{0, 1, 3, 5, 6}));
  EXPECT_EQ(order[true], (std::vector<std::uint64_t>{2, 4}));
}

TEST_F(KeySnapshotTest, ARetryThatWaitsHoldsItsKeyAfterARestoreToo) {
  ASSERT_TRUE(a_.nak(take(a_, 1).lease, now_, {}, 10 * kSecond));
  take(a_, 1);
  Restored back(taken(b_), kEnd, Instant(now_, wall_));
  EXPECT_FALSE(settle_due(back.group));
  now_ += 10 * kSecond;
  EXPECT_EQ(settle_due(back.group), 0u);
  EXPECT_EQ(settle_due(back.group), 1u);
}

TEST_F(KeySnapshotTest, ADeadEventHoldsNothingAfterARestore) {
  ASSERT_TRUE(a_.reject(take(a_, 1).lease, now_));
  take(a_, 1);
  Restored back(taken(b_), kEnd, Instant(now_, wall_));
  EXPECT_EQ(settle_due(back.group), 1u);
}

TEST_F(KeySnapshotTest, ManyKeysAndCrowdedBucketsComeBackWithTheirOrder) {
  for (std::uint64_t i = 0; i < 3000; ++i) take(a_, 1 + i * 7 % 31);  // all in one bucket
  Restored back(taken(b_), kEnd, Instant(now_, wall_));
  ASSERT_EQ(back.code, Errc::ok);
  expect_order(back.mapping);
  std::map<std::uint64_t, std::uint64_t> last;
  std::uint64_t settled = 0;
  for (int idle = 0; idle < 3; ++idle) {
    back.group.sweep(now_, kNobodyIsDead);
    while (const auto offset = settle_due(back.group)) {
      const std::uint64_t key = 1 + *offset * 7 % 31;
      EXPECT_TRUE(!last.contains(key) || last[key] < *offset);
      last[key] = *offset;
      ++settled;
      idle = 0;
    }
  }
  EXPECT_EQ(settled, 3000u);
}

}  // namespace
}  // namespace penstock::group::testing
