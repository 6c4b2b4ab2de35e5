// Every timer of a group and of the daemon under clocks that the test moves: it fires when its time is over and not a
// nanosecond before, and somebody who sets the wall clock by a day neither hastens it, nor delays it, nor loses
// anything; but for what is asked for by the wall clock, which follows it.
#include "stepped_bus.hpp"
#include "tests/transport/io/faulty_disk.hpp"

namespace penstock::test {
namespace {

using std::chrono::nanoseconds;

constexpr nanoseconds kDay = 24h;

class ClockTest : public ::testing::Test {
 protected:
  ClockTest() : bus_((set_clock(1'800'000'000'000'000'000, 5'000'000'000'000), open_small(stage_))) {
    is_true(bool(bus_.create_topic("t")));
    open();
  }
  void open() {
    producer_.emplace(bus_.producer("t", {.block = 0ns}).value());
    member_.emplace(bus_.consumer("g", {"t"}, options_).value());
  }
  void publish(const PublishOptions& options = {}) {
    is_true(producer_->publish(bytes_of("event"), options).has_value());
  }
  std::optional<Delivery> next() {
    auto delivery = member_->next(0s);
    EXPECT_TRUE(delivery) << delivery.error().message();
    return delivery ? std::move(*delivery) : std::nullopt;
  }
  // The daemon writes everything down, the machine starts again with the wall clock set by so much.
  void reboot_with(nanoseconds ahead) {
    member_.reset(), producer_.reset();
    rounds_.reset();
    reboot(stage_);
    jump(ahead);
    bus_ = stage_.open();
    open();
  }
  void rounds(int count = 4) {
    if (!rounds_) rounds_ = open_rounds(bus_);
    step(*rounds_, count);
  }
  // Nothing comes until the moment, and then something does.
  std::optional<Delivery> comes_in(nanoseconds duration) {
    pass(duration - 1ns);
    EXPECT_FALSE(next()) << "early";
    pass(1ns);
    auto out = next();
    EXPECT_TRUE(out) << "late";
    return out;
  }

  Stage stage_;
  Bus bus_;
  ConsumerOptions options_{.max_attempts = 3, .backoff = {10s}, .lease = 30s, .dedupe_age = 1h};
  std::unique_ptr<daemon::Rounds> rounds_;
  std::optional<Producer> producer_;
  std::optional<Consumer> member_;
};

// --- Leases and retries: the monotonic clock.

class JumpTest : public ClockTest, public ::testing::WithParamInterface<int> {
 protected:
  nanoseconds by() const { return kDay * GetParam(); }
};

TEST_P(JumpTest, ALeaseRunsOutWhenItsTimeIsOver) {
  publish();
  auto held = next();
  jump(by());
  Consumer other = bus_.consumer("g").value();
  pass(30s - 1ns);
  ASSERT_FALSE(*other.next(0s));
  EXPECT_TRUE(held->extend(30s)) << "it is held still";
  jump(-by());
  pass(30s - 1ns);
  EXPECT_EQ(bus_.group_topics("g")->front().in_flight, 1u);
  ASSERT_FALSE(*other.next(0s));
  pass(1ns);
  ASSERT_FALSE(*other.next(0s)) << "it ran out, and comes after the backoff";
  EXPECT_EQ(held->ack().error().code(), Errc::stale_lease);
  pass(11s);
  EXPECT_TRUE(*other.next(0s));
}

TEST_P(JumpTest, ARetryComesAfterItsDelay) {
  publish();
  ASSERT_TRUE(next()->nak({.delay = 10s}));
  pass(4s);
  jump(by());
  const auto again = comes_in(6s);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->attempt(), 2u);
}

TEST_P(JumpTest, ABackoffKeepsWithinItsTenth) {
  publish();
  ASSERT_TRUE(next()->nak());
  jump(by());
  pass(9s - 1ns);
  EXPECT_FALSE(next());
  pass(2s + 1ns);
  EXPECT_TRUE(next());
}

// What was left of it when the checkpoint was written, and that the machine was down, is all that is known.
TEST_P(JumpTest, ARetryIsNeitherLostNorHastenedByAJumpBeforeAReboot) {
  publish();
  ASSERT_TRUE(next()->nak({.delay = 1h}));
  rounds();
  jump(by());
  rounds(8);
  pass(10min - 1200ms);
  reboot_with(0ns);
  const auto again = comes_in(50min);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->attempt(), 2u);
}

TEST_P(JumpTest, ALeaseThatAPowerCutEndedComesBackAtOnce) {
  publish();
  rounds();
  auto held = next();
  rounds();
  reboot_with(by());
  const auto again = next();
  ASSERT_TRUE(again);
  EXPECT_EQ(again->attempt(), 1u);
}

// --- Ids that are remembered by age: the monotonic clock.

TEST_P(JumpTest, AnIdIsRememberedForItsAge) {
  publish({.id = "once"});
  ASSERT_TRUE(next()->ack());
  jump(by());
  pass(1h);
  publish({.id = "once"});
  EXPECT_FALSE(next()) << "it is an hour old";
  pass(1ns);
  publish({.id = "once"});
  EXPECT_TRUE(next()) << "it is older";
}

TEST_P(JumpTest, AnIdIsRememberedForItsAgeOverAReboot) {
  publish({.id = "once"});
  ASSERT_TRUE(next()->ack());
  rounds();
  jump(by());
  rounds(8);
  pass(30min - 1200ms);
  reboot_with(0ns);
  publish({.id = "once"});
  pass(30min);
  EXPECT_FALSE(next());
  publish({.id = "once"});
  pass(1ns);
  EXPECT_TRUE(next());
}

INSTANTIATE_TEST_SUITE_P(By, JumpTest, ::testing::Values(1, -1),
                         [](const auto& it) { return it.param > 0 ? "ADayAhead" : "ADayBack"; });

// --- Delivery at a time, and time to live: the wall clock.

TEST_F(ClockTest, ADelayedEventComesAtItsTime) {
  publish({.deliver_at = Timestamp(nanoseconds(g_clock.wall) + 2h)});
  EXPECT_FALSE(next());
  pass(1h);
  EXPECT_TRUE(comes_in(1h));
}

TEST_F(ClockTest, ADelayedEventFollowsTheWallClock) {
  publish({.deliver_at = Timestamp(nanoseconds(g_clock.wall) + 2h + kDay)});
  EXPECT_FALSE(next());
  jump(kDay);
  pass(1h);
  EXPECT_FALSE(next()) << "an hour early";
  EXPECT_TRUE(comes_in(1h)) << "a day later, since the clock was set";
}

TEST_F(ClockTest, ADelayedEventFollowsTheWallClockThereAndBack) {
  publish({.deliver_at = Timestamp(nanoseconds(g_clock.wall) + 2h)});
  EXPECT_FALSE(next());
  jump(-kDay);
  pass(3h);
  EXPECT_FALSE(next()) << "a day and more early";
  jump(kDay);
  pass(30ms);
  EXPECT_TRUE(next()) << "an hour late";
}

TEST_F(ClockTest, TheDaemonMakesADelayedEventFollowTheWallClock) {
  publish({.deliver_at = Timestamp(nanoseconds(g_clock.wall) + kDay)});
  EXPECT_FALSE(next());
  rounds();
  jump(kDay);
  rounds();
  EXPECT_LE(bus_.group_pending("g")->front().due, Timestamp(nanoseconds(g_clock.wall)));
}

TEST_F(ClockTest, ADelayedEventComesAtItsTimeAfterAReboot) {
  publish({.deliver_at = Timestamp(nanoseconds(g_clock.wall) + 2h + kDay)});
  EXPECT_FALSE(next());
  rounds(10);
  reboot_with(kDay);
  EXPECT_FALSE(next());
  EXPECT_TRUE(comes_in(2h - 1s));
}

TEST_F(ClockTest, ADelayedEventComesAtItsTimeThoughARebootFoundTheClockUnset) {
  publish({.deliver_at = Timestamp(nanoseconds(g_clock.wall) + 2h)});
  EXPECT_FALSE(next());
  rounds(10);
  reboot_with(-kDay);
  EXPECT_FALSE(next());
  pass(10min);
  EXPECT_FALSE(next());
  jump(kDay);
  pass(30ms);
  EXPECT_FALSE(next());
  EXPECT_TRUE(comes_in(110min - 1s - 30ms));
}

TEST_F(ClockTest, AnEventLivesUntilItsTimeByTheWallClock) {
  publish({.ttl = 1h});
  publish({.ttl = 1h});
  pass(1h);
  ASSERT_TRUE(next()) << "the last moment";
  pass(1ns);
  EXPECT_FALSE(next());
  rounds();
  int letters = 0;
  ASSERT_TRUE(bus_.dead_letters("g", [&](const EventView&, const DeadLetter& letter) {
    EXPECT_EQ(letter.disposition, "expired");
    return ++letters != 0;
  }));
  EXPECT_EQ(letters, 1);
  publish({.ttl = 1h});
  jump(-kDay);
  pass(20h);
  EXPECT_TRUE(next());
}

// --- The daemon.

TEST_F(ClockTest, TheBooksAreKeptThoughTheClockIsSetBack) {
  rounds();
  for (const nanoseconds by : {kDay, -kDay, -kDay}) {
    jump(by);
    publish();
    ASSERT_TRUE(next()->reject());
    rounds(3);
    const auto topics = bus_.group_topics("g").value();
    EXPECT_EQ(topics.front().lag, 0u);
    const TopicInfo topic = bus_.describe_topic("g.dlq").value();
    EXPECT_EQ(topic.durable_offset, topic.next_offset);
  }
}

TEST_F(ClockTest, ADiskThatRefusedIsAskedAgainThoughTheClockIsSetBack) {
  auto disk = std::make_unique<io::FaultyDisk>(io::make_pwrite_disk(0));
  for (const std::size_t job : {0, 1}) disk->fail(job, EIO);
  rounds_ = open_rounds(bus_, std::move(disk));
  publish();
  rounds_->work(g_clock.monotonic);
  rounds_->work(g_clock.monotonic);
  rounds_->work(g_clock.monotonic);
  EXPECT_EQ(bus_.describe_topic("t")->durable_error, EIO);
  jump(-kDay);
  pass(500ms - 1ns);
  rounds_->work(g_clock.monotonic);
  EXPECT_EQ(bus_.describe_topic("t")->durable_offset, 0u) << "early";
  pass(1ns);
  rounds_->work(g_clock.monotonic);
  EXPECT_EQ(bus_.describe_topic("t")->durable_offset, 1u);
  EXPECT_EQ(bus_.describe_topic("t")->durable_error, 0);
}

// Segments of 64 KiB: each of these events ends one.
class RetentionTest : public ClockTest {
 protected:
  RetentionTest() {
    is_true(bool(bus_.set_retention("t", 0, 12h)));
    for (int i = 0; i < 6; ++i) {
      is_true(producer_->publish(bytes_of(std::string(16000, 'x'))).has_value());
      is_true(producer_->publish(bytes_of(std::string(16000, 'x'))).has_value());
      is_true(producer_->publish(bytes_of(std::string(16000, 'x'))).has_value());
      rounds(2);
    }
    first_written_ = g_clock.wall;
  }
  Offset first() { return bus_.describe_topic("t")->first_offset; }
  std::int64_t first_written_ = 0;
};

TEST_F(RetentionTest, SegmentsGoWhenTheirEventsAreTooOld) {
  rounds(20);
  EXPECT_EQ(first(), 0u);
  pass(12h - 5s);
  rounds(11);
  EXPECT_EQ(first(), 0u);
  pass(5s);
  rounds(11);
  EXPECT_GT(first(), 0u);
}

TEST_F(RetentionTest, AClockThatIsSetAheadMakesNothingOlder) {
  rounds(20);
  jump(kDay);
  rounds(20);
  EXPECT_EQ(first(), 0u);
  pass(6h);
  rounds(20);
  EXPECT_EQ(first(), 0u);
  pass(6h);
  rounds(20);
  EXPECT_GT(first(), 0u) << "when its time is over, it goes";
}

TEST_F(RetentionTest, AClockThatIsSetBackKeepsThemLonger) {
  rounds(20);
  jump(-kDay);
  pass(13h);
  rounds(20);
  EXPECT_EQ(first(), 0u);
  pass(kDay);
  rounds(20);
  EXPECT_GT(first(), 0u);
}

}  // namespace
}  // namespace penstock::test
