// Readers and consumers as descriptors: readable when there is something, quiet otherwise.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <penstock/penstock.hpp>
#include <thread>

#include "tests/support/temporary_bus.hpp"

namespace penstock::test {
namespace {

using namespace std::chrono_literals;

bool readable(int fd, std::chrono::milliseconds within) {
  pollfd wanted{fd, POLLIN, 0};
  return ::poll(&wanted, 1, int(within.count())) == 1;
}

struct EventFds : testing::Test {
  TemporaryBus at;
  Bus bus = at.open();
  Producer producer = [this] {
    static_cast<void>(bus.create_topic("ticks", {.durability = Durability::memory}));
    return bus.producer("ticks").value();
  }();
  void publish(std::string_view text) { producer.publish(std::as_bytes(std::span(text))).value(); }
};

// A reader that polls until nothing is left is quiet from then on.
TEST_F(EventFds, AReaderIsReadableWhenThereIsAnEventAndQuietAfterIt) {
  Reader reader = bus.reader("ticks", StartAt::beginning()).value();
  const int fd = reader.event_fd().value();
  const auto drain = [&] {
    std::size_t sum = 0;
    while (const std::size_t handled = reader.poll([](const EventView&) {}).value()) sum += handled;
    return sum;
  };
  drain();
  // What was rung while it was set up may have raised it once more; a drain without events settles that.
  const auto become_quiet = [&] {
    while (readable(fd, 0ms)) EXPECT_EQ(drain(), 0u);
  };
  become_quiet();
  for (int round = 0; round < 3; ++round) {
    publish("one");
    ASSERT_TRUE(readable(fd, 10'000ms));
    EXPECT_EQ(drain(), 1u);
    become_quiet();
  }
}

TEST_F(EventFds, AnEventThatWasThereBeforeRaisesIt) {
  publish("early");
  Reader reader = bus.reader("ticks", StartAt::beginning()).value();
  EXPECT_TRUE(readable(reader.event_fd().value(), 10'000ms));
}

// A retry is due without anybody publishing: the timer tells.
TEST_F(EventFds, AConsumerIsReadableWhenARetryIsDue) {
  publish("again");
  Consumer consumer = bus.consumer("workers", {"ticks"}, {.backoff = {30ms}}).value();
  const int fd = consumer.event_fd().value();
  ASSERT_TRUE(readable(fd, 10'000ms));
  auto first = consumer.next(0ms).value();
  ASSERT_TRUE(first);
  ASSERT_TRUE(first->nak({.error_class = "busy"}));
  std::optional<Delivery> second = consumer.next(0ms).value();
  while (!second) {
    ASSERT_TRUE(readable(fd, 10'000ms));
    second = consumer.next(0ms).value();
  }
  EXPECT_EQ(second->attempt(), 2u);
  ASSERT_TRUE(second->ack());
}

// The producer is another process, and dies right after it published.
TEST_F(EventFds, AnEventOfAnotherProcessIsHeard) {
  Reader reader = bus.reader("ticks", StartAt::end()).value();
  const int fd = reader.event_fd().value();
  while (readable(fd, 0ms)) ASSERT_EQ(reader.poll([](const EventView&) {}).value(), 0u);
  const pid_t child = ::fork();
  if (child == 0) {
    auto own = Bus::open(at.path());
    auto other = own->producer("ticks");
    static_cast<void>(other->publish(std::as_bytes(std::span(std::string_view("hello")))));
    ::_exit(0);
  }
  ASSERT_TRUE(readable(fd, 10'000ms));
  std::size_t got = 0;
  while (got == 0) {
    got = reader.poll([](const EventView&) {}).value();
    if (got == 0) {
      ASSERT_TRUE(readable(fd, 10'000ms));
    }
  }
  ::waitpid(child, nullptr, 0);
}

// interrupt() is for every way of waiting.
TEST_F(EventFds, AnInterruptRaisesIt) {
  Reader reader = bus.reader("ticks", StartAt::end()).value();
  const int fd = reader.event_fd().value();
  while (readable(fd, 0ms)) ASSERT_EQ(reader.poll([](const EventView&) {}).value(), 0u);
  std::thread other([&] { reader.interrupt(); });
  EXPECT_TRUE(readable(fd, 10'000ms));
  other.join();
}

}  // namespace
}  // namespace penstock::test
