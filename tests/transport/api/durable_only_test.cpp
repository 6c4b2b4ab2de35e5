// Readers and members that take only what is on disk.
#include <gtest/gtest.h>

#include <penstock/daemon.hpp>
#include <penstock/penstock.hpp>

#include "tests/support/temporary_bus.hpp"

namespace penstock::test {
namespace {

using namespace std::chrono_literals;

struct DurableOnly : testing::Test {
  TemporaryBus at;
  Bus bus = at.open();
  static Bytes bytes(std::string_view text) { return std::as_bytes(std::span(text)); }
};

TEST_F(DurableOnly, ReaderWaitsForTheDisk) {
  auto producer = bus.producer("log").value();
  auto reader = bus.reader("log", StartAt::beginning(), {.durable_only = true}).value();
  auto hasty = bus.reader("log", StartAt::beginning()).value();
  for (Offset offset = 0; offset < 3; ++offset) ASSERT_EQ(producer.publish(bytes("x")).value(), offset);
  EXPECT_TRUE(hasty.next(0ms).value());
  EXPECT_FALSE(reader.wait(0ms).value());
  EXPECT_EQ(reader.poll([](const EventView&) {}).value(), 0u);
  // The flush wakes who waits: the deadline is for a reader that is not woken.
  Daemon daemon = Daemon::start(bus).value();
  for (Offset offset = 0; offset < 3; ++offset) {
    const auto event = reader.next(30s).value();
    ASSERT_TRUE(event);
    EXPECT_EQ(event->offset(), offset);
    EXPECT_GT(bus.describe_topic("log")->durable_offset, offset);
  }
  ASSERT_TRUE(daemon.stop());
  producer.publish(bytes("later")).value();
  EXPECT_FALSE(reader.next(0ms).value());
  EXPECT_EQ(reader.missed(), 0u);
}

TEST_F(DurableOnly, ReaderSeesNothingOfMemoryTopics) {
  ASSERT_TRUE(bus.create_topic("ticks", {.durability = Durability::memory, .ring_bytes = 64 << 10}));
  auto reader = bus.reader("ticks", StartAt::beginning(), {.durable_only = true}).value();
  bus.producer("ticks").value().publish(bytes("x")).value();
  EXPECT_FALSE(reader.next(0ms).value());
}

TEST_F(DurableOnly, MemberWaitsForTheDisk) {
  auto producer = bus.producer("log").value();
  auto member = bus.consumer("g", {"log"}, {.durable_only = true}).value();
  producer.publish(bytes("x")).value();
  EXPECT_FALSE(member.next(0ms).value());
  Daemon daemon = Daemon::start(bus).value();
  EXPECT_TRUE(member.next(30s).value());
}

}  // namespace
}  // namespace penstock::test
