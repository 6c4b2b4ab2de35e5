// Where readers begin: by offset, by count from the end and by time, found in the ring itself.
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace penstock::test
