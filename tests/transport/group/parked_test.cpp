#include "shared_group.hpp"

namespace penstock::group::testing {
namespace {

class ParkedTest : public GroupTest {
 protected:
  static constexpr std::int64_t kWall = 1000 * kSecond, kHour = 3600 * kSecond;
  Instant at(std::int64_t set = 0) const { return {now_, kWall + now_ - kStart + set}; }
  std::int64_t due(const Lease& lease) const { return std::int64_t(mapping_.cell(lease.cell).state.high); }
  std::uint64_t clock() const { return mapping_.control().parked_clock.load(); }
};

TEST_F(ParkedTest, AnEventWaitsForAMomentOfTheWallClock) {
  const Lease lease = lease_next(a_, at());
  ASSERT_TRUE(a_.park_until(lease, at().wall + kHour, at()));
  EXPECT_EQ(due(lease), now_ + kHour);
  EXPECT_EQ(mapping_.fields(lease.cell).failed, 0u);
  EXPECT_TRUE(b_.waits_for_clock());
  EXPECT_EQ(b_.clock_ahead(at()), 0);
  EXPECT_EQ(b_.clock_ahead(at(-kHour)), 0) << "who takes it too early parks it again";
  EXPECT_EQ(b_.clock_ahead(at(kHour)), kHour);
}

TEST_F(ParkedTest, ASweepBringsItForwardOnceByWhatTheClockWasSetAhead) {
  const Lease lease = lease_next(a_, at()), retry = lease_next(a_, at());
  ASSERT_TRUE(a_.park_until(lease, at().wall + kHour, at()));
  ASSERT_TRUE(a_.nak(retry, at(), {}, kHour));
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(b_.sweep(at(kHour / 4), kNobodyIsDead).ahead, round == 0 ? kHour / 4 : 0);
    EXPECT_EQ(due(lease), now_ + kHour - kHour / 4);
    EXPECT_EQ(due(retry), now_ + kHour) << "a retry does not wait for the wall clock";
  }
  b_.sweep(at(kHour), kNobodyIsDead);
  EXPECT_EQ(due(lease), now_);
  EXPECT_EQ(lease_due(b_, at(kHour))->offset, lease.offset);
}

TEST_F(ParkedTest, TheSlowestClockCounts) {
  const Lease first = lease_next(a_, at()), second = lease_next(a_, at());
  ASSERT_TRUE(a_.park_until(first, at().wall + kHour, at()));
  ASSERT_TRUE(b_.park_until(second, at().wall + kHour, at(-kHour)));
  EXPECT_EQ(due(second), now_ + 2 * kHour);
  EXPECT_EQ(a_.sweep(at(), kNobodyIsDead).ahead, kHour);
  EXPECT_EQ(due(second), now_ + kHour);
  EXPECT_EQ(due(first), now_) << "who takes it finds that it is early";
}

TEST_F(ParkedTest, ClocksThatAreReadAMomentApartAreNotSet) {
  ASSERT_TRUE(a_.park_until(lease_next(a_, at()), at().wall + kHour, at()));
  const std::uint64_t before = clock();
  EXPECT_EQ(b_.sweep(at(kMs), kNobodyIsDead).ahead, 0);
  EXPECT_EQ(clock(), before);
}

}  // namespace
}  // namespace penstock::group::testing
