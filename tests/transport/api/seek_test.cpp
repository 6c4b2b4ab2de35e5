// Where readers begin: by offset, by count from the end and by time, found in the ring itself.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <penstock/daemon.hpp>
#include <penstock/log.hpp>
#include <penstock/penstock.hpp>

#include "tests/support/temporary_bus.hpp"

namespace penstock::test {
namespace {

using namespace std::chrono_literals;

struct Seeks : testing::TestWithParam<Durability> {
  TemporaryBus at;
  Bus bus = at.open();

  void publish_by_new_producer(int from, int to) {
    auto producer = bus.producer("log").value();
    for (int i = from; i < to; ++i) {
      const std::string text = std::to_string(i);
      producer.publish(std::as_bytes(std::span(text))).value();
    }
  }
  std::vector<int> read_from(StartAt start, std::size_t most) {
    std::vector<int> out;
    auto reader = bus.reader("log", start).value();
    while (out.size() < most) {
      auto event = reader.next(0ms).value();
      if (!event) break;
      const Bytes text = event->payload();
      out.push_back(std::stoi(std::string(reinterpret_cast<const char*>(text.data()), text.size())));
    }
    return out;
  }
};

INSTANTIATE_TEST_SUITE_P(Topics, Seeks, testing::Values(Durability::memory, Durability::disk),
                         [](const auto& name) { return name.param == Durability::memory ? "memory" : "disk"; });

// Each producer takes over the slot of the one before, so links lead over the ends of handles.
TEST_P(Seeks, ByOffsetAndByCount) {
  ASSERT_TRUE(bus.create_topic("log", {.durability = GetParam(), .ring_bytes = 1 << 20}));
  for (int i = 0; i < 1000; i += 50) publish_by_new_producer(i, i + 50);
  for (const int from : {0, 1, 499, 500, 501, 998, 999})
    EXPECT_EQ(read_from(StartAt::offset(Offset(from)), 1), std::vector<int>{from});
  EXPECT_EQ(read_from(StartAt::last(3), 10), (std::vector<int>{997, 998, 999}));
  EXPECT_EQ(read_from(StartAt::last(5000), 1), std::vector<int>{0});
  EXPECT_TRUE(read_from(StartAt::offset(1000), 1).empty());
  EXPECT_TRUE(read_from(StartAt::end(), 1).empty());
}

TEST_P(Seeks, ByTime) {
  ASSERT_TRUE(bus.create_topic("log", {.durability = GetParam(), .ring_bytes = 1 << 20}));
  publish_by_new_producer(0, 100);
  std::vector<Timestamp> times;
  {
    auto reader = bus.reader("log", StartAt::beginning()).value();
    while (auto event = reader.next(0ms).value()) times.push_back(event->time());
  }
  ASSERT_EQ(times.size(), 100u);
  const auto expected = [&](Timestamp from) {
    const auto first = std::find_if(times.begin(), times.end(), [from](Timestamp time) { return time >= from; });
    return first == times.end() ? std::vector<int>{} : std::vector<int>{int(first - times.begin())};
  };
  for (const Timestamp from : {times.front(), times[50], times.back(), times.back() + 1ns, times.front() - 1h})
    EXPECT_EQ(read_from(StartAt::time(from), 1), expected(from));
}

// What dump shows newest first is what it shows oldest first, turned round.
TEST_P(Seeks, ScansBackwardsShowTheSame) {
  ASSERT_TRUE(bus.create_topic("log", {.durability = GetParam(), .ring_bytes = 4 << 20}));
  publish_by_new_producer(0, 10'000);
  std::vector<Offset> forward, backward;
  const auto log = Log::open(at.path(), "log").value();
  ASSERT_TRUE(log.scan({}, {.event = [&](const EventView& event) {
                         forward.push_back(event.offset());
                         return true;
                       }}));
  ASSERT_TRUE(log.scan({.reverse = true}, {.event = [&](const EventView& event) {
                         backward.push_back(event.offset());
                         return true;
                       }}));
  EXPECT_EQ(forward.size(), 10'000u);
  std::reverse(backward.begin(), backward.end());
  EXPECT_EQ(forward, backward);
}

// A power cut leaves a hole of a million offsets between two lives: so many before the end means events, not numbers.
TEST(SeeksOverAHole, CountFromTheEndInEvents) {
  const TemporaryBus at;
  for (int life = 0; life < 3; ++life) {
    Bus bus = at.open();
    if (life == 0) {
      ASSERT_TRUE(bus.create_topic("log", {.ring_bytes = 1 << 20}));
    }
    auto daemon = Daemon::start(bus).value();
    auto producer = bus.producer("log").value();  // as long as it is there, a stop is not a clean one
    for (int i = life * 4; i < life * 4 + 4; ++i) {
      const std::string text = std::to_string(i);
      ASSERT_TRUE(producer.await_durable(producer.publish(std::as_bytes(std::span(text))).value(), 30s));
    }
    ASSERT_TRUE(daemon.stop());
    if (life < 2) at.lose_live_side();
  }
  const auto number = [](const EventView& event) {
    return std::stoi(std::string(reinterpret_cast<const char*>(event.payload().data()), event.payload().size()));
  };
  const auto dumped = [&](std::uint64_t count, bool reverse) {
    std::vector<int> out;
    const LogVisitor visitor{.event = [&](const EventView& event) {
      out.push_back(number(event));
      return true;
    }};
    EXPECT_TRUE(Log::open(at.path(), "log")->scan({.from = StartAt::last(count), .reverse = reverse}, visitor));
    if (reverse) std::reverse(out.begin(), out.end());
    return out;
  };
  for (const bool running : {true, false}) {
    if (!running) at.lose_live_side();
    for (const int count : {1, 4, 5, 8, 9, 12, 13}) {
      std::vector<int> expected(std::size_t(std::min(count, 12)));
      std::iota(expected.begin(), expected.end(), 12 - int(expected.size()));
      EXPECT_EQ(dumped(std::uint64_t(count), false), expected) << running;
      EXPECT_EQ(dumped(std::uint64_t(count), true), expected) << running;
      if (!running) continue;
      std::vector<int> read;
      Bus bus = at.open();
      auto reader = bus.reader("log", StartAt::last(std::uint64_t(count))).value();
      while (auto event = reader.next(0ms).value()) read.push_back(number(event->view()));
      EXPECT_EQ(read, expected);
    }
  }
}

// After a power cut offsets go on far ahead. When nothing comes, and all is stopped cleanly, no event is missing there.
TEST(ALifeWithoutEvents, LeavesNoDamageBehind) {
  const TemporaryBus at;
  for (int life = 0; life < 2; ++life) {
    Bus bus = at.open();
    if (life == 0) {
      ASSERT_TRUE(bus.create_topic("log", {.ring_bytes = 1 << 20}));
    }
    auto daemon = Daemon::start(bus).value();
    {
      auto producer = bus.producer("log").value();  // as long as it is there, a stop is not a clean one
      if (life == 0) {
        ASSERT_TRUE(producer.await_durable(producer.publish(std::as_bytes(std::span("event"))).value(), 30s));
        ASSERT_TRUE(daemon.stop());
      }
    }
    if (life == 1) {
      ASSERT_TRUE(daemon.stop());
    }
    at.lose_live_side();
  }
  const Log log = Log::open(at.path(), "log").value();
  int events = 0;
  ASSERT_TRUE(log.scan({}, {.event = [&](const EventView&) { return ++events; },
                            .aborted = {},
                            .damage =
                                [](const Damage& damage) {
                                  ADD_FAILURE() << damage.problem;
                                  return true;
                                }}));
  EXPECT_EQ(events, 1);
  const auto reports = log.verify().value();
  for (const FileReport& report : reports) EXPECT_TRUE(report.ok) << report.problems.front();
}

}  // namespace
}  // namespace penstock::test
