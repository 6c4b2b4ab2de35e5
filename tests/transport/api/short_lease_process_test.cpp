// A member stopped at every change that its search for work makes, until its lease is somebody else's: it is told of no
// error, for it never knew of that lease.
#include "tests/support/stage.hpp"

namespace penstock::test {
namespace {

Consumer join(Bus& bus) {
  ConsumerOptions options;
  options.max_attempts = 1000;
  options.backoff = {1ns};
  options.lease = 1ms;
  return bus.consumer("g", {"t"}, options).value();
}

// One event whose id is to be looked at, and, if `delayed`, whose time.
void prepare(const Stage& stage, bool delayed) {
  Bus bus = stage.open();
  if (!bus.create_topic("t", {.durability = Durability::memory, .ring_bytes = 64 << 10})) std::abort();
  PublishOptions options;
  options.id = "id";
  if (delayed) options.deliver_at = std::chrono::system_clock::now() + 20ms;
  bus.producer("t").value().publish(bytes_of(text_of('a', 0, 100)), options).value();
  join(bus);
}

// False: its search has no more points.
bool stop_at(std::uint64_t point, bool delayed) {
  Stage stage;
  prepare(stage, delayed);
  std::optional<Bus> bus;
  std::optional<Consumer> member;
  Victim victim(
      Points::changes, point, SIGSTOP,
      [&] {
        bus.emplace(stage.open());
        member.emplace(join(*bus));
      },
      [&] {
        if (!member->next(0s)) std::abort();
      });
  if (!victim.reached()) return false;
  Bus mine = stage.open();
  Consumer other = join(mine);
  const auto delivery = other.next(30s);
  EXPECT_TRUE(delivery && *delivery);
  victim.resume([] {});
  return !::testing::Test::HasFailure();
}

TEST(ShortLease, ThatRanOutBeforeItsEventIsGivenOutIsNoError) {
  for (const bool delayed : {false, true}) {
    std::uint64_t points = 0;
    while (stop_at(points + 1, delayed)) ++points;
    if (points == 0 && !HasFailure()) GTEST_SKIP() << "this build can't be stepped";
    ::testing::Test::RecordProperty(delayed ? "points_delayed" : "points", std::to_string(points));
  }
}

}  // namespace
}  // namespace penstock::test
