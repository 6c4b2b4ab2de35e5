#include <cerrno>
#include <mutex>
#include <thread>
#include <vector>

#include "bindings/c/c_bus.hpp"

namespace penstock::test {
namespace {

class CDaemon : public CBus {
 protected:
  CDaemon() {
    penstock_daemon_options options{};
    options.struct_size = sizeof options;
    options.checkpoint_ms = 10;
    EXPECT_EQ(penstock_daemon_start(bus_, &options, &daemon_), 0) << penstock_last_error();
  }
  ~CDaemon() override { EXPECT_EQ(penstock_daemon_stop(daemon_), 0) << penstock_last_error(); }

  struct Letter {
    std::uint64_t offset;
    std::string payload, reason, disposition;
  };
  // What stands in the group's queue, once it is as many as that.
  std::vector<Letter> letters(std::size_t wanted) {
    std::vector<Letter> found;
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(kSoon);
    do {
      found.clear();
      const int status = penstock_dead_letters(bus_, "desk", &visit, &found);
      if (status != 0 && status != -ENOENT) ADD_FAILURE() << penstock_last_error();
      std::this_thread::yield();
    } while (found.size() != wanted && std::chrono::steady_clock::now() < until);
    return found;
  }
  static int visit(void* context, const penstock_event* event) {
    penstock_dead_letter letter{};
    letter.struct_size = sizeof letter;
    EXPECT_EQ(penstock_event_dead_letter(event, &letter), 0) << penstock_last_error();
    EXPECT_STREQ(letter.topic, "orders");
    EXPECT_STREQ(letter.group, "desk");
    static_cast<std::vector<Letter>*>(context)->push_back(
        {penstock_event_offset(event), payload(event), letter.reason, letter.disposition});
    return 0;
  }

  penstock_daemon* daemon_ = nullptr;
};

TEST_F(CDaemon, OneThreadWaitsForTheDiskWhileAnotherPublishes) {
  constexpr std::uint64_t kEvents = 2000;
  auto producer = this->producer("orders");
  publish(producer.get(), "first");
  int waited = -1;
  std::thread waiting([&] { waited = penstock_await_durable(producer.get(), kEvents, kSoon); });
  std::uint64_t last = 0;
  while (last < kEvents) last = publish(producer.get(), "order");
  waiting.join();
  EXPECT_EQ(last, kEvents);
  EXPECT_EQ(waited, 0);
}

TEST_F(CDaemon, WhatIsPublishedAndSettledBecomesDurable) {
  penstock_daemon* second = nullptr;
  EXPECT_EQ(penstock_daemon_start(bus_, nullptr, &second), -EBUSY);
  auto producer = this->producer("orders");
  auto consumer = this->consumer(nullptr, "orders");
  ASSERT_EQ(penstock_await_durable(producer.get(), publish(producer.get(), "order"), kSoon), 0)
      << penstock_last_error();
  EXPECT_EQ(penstock_delivery_ack(next(consumer.get()).get()), 0);
  ASSERT_EQ(penstock_consumer_await_settled(consumer.get(), kSoon), 0) << penstock_last_error();
  auto ticks = this->producer();
  EXPECT_EQ(penstock_await_durable(ticks.get(), publish(ticks.get(), "tick"), kSoon), -EINVAL);  // memory alone
}

TEST_F(CDaemon, ADeadLetterIsToldGivenBackOrPurged) {
  auto producer = this->producer("orders");
  auto consumer = this->consumer(nullptr, "orders");
  publish(producer.get(), "one");
  publish(producer.get(), "two");
  for (int i = 0; i < 2; ++i) {
    const auto delivery = next(consumer.get());
    penstock_dead_letter letter{};
    letter.struct_size = sizeof letter;
    EXPECT_EQ(penstock_event_dead_letter(penstock_delivery_event(delivery.get()), &letter), -ENOENT);
    ASSERT_EQ(penstock_delivery_reject(delivery.get(), "parse", "no order"), 0);
  }
  const auto dead = letters(2);
  ASSERT_EQ(dead.size(), 2u);
  EXPECT_EQ(dead[0].payload, "one");
  EXPECT_EQ(dead[0].reason, "no order");
  EXPECT_EQ(dead[0].disposition, "rejected");

  ASSERT_EQ(penstock_redrive(bus_, "desk", dead[0].offset), 0) << penstock_last_error();
  ASSERT_EQ(penstock_purge(bus_, "desk", dead[1].offset), 0) << penstock_last_error();
  const auto again = next(consumer.get());
  EXPECT_EQ(payload(again), "one");
  EXPECT_EQ(penstock_delivery_attempt(again.get()), 1u);
  penstock_dead_letter letter{};
  letter.struct_size = sizeof letter;
  ASSERT_EQ(penstock_event_dead_letter(penstock_delivery_event(again.get()), &letter), 0) << penstock_last_error();
  EXPECT_STREQ(letter.error_class, "parse");
  EXPECT_EQ(letter.attempts, 1u);
  EXPECT_EQ(penstock_delivery_ack(again.get()), 0);
  EXPECT_TRUE(letters(0).empty());
  EXPECT_EQ(penstock_redrive(bus_, "nobody", 0), -ENOENT);
}

}  // namespace
}  // namespace penstock::test
