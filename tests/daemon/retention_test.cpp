// Retention by a running daemon while members take, fail and settle what is about to go: no event that a group has
// taken is ever gone when it is asked for again.
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <penstock/daemon.hpp>
#include <penstock/penstock.hpp>
#include <random>
#include <thread>

#include "tests/support/temporary_bus.hpp"

namespace penstock {
namespace {

using namespace std::chrono_literals;

constexpr Offset kAhead = 4'000;  // events on disk, about, before the publisher waits for retention
constexpr int kMoves = 3;         // times that retention must have taken something

std::string text_at(Offset offset) { return std::to_string(offset) + std::string(900, char('a' + offset % 26)); }
Bytes bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }
std::string text_of(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

class RetentionUnderWayTest : public ::testing::Test {
 protected:
  RetentionUnderWayTest() {
    std::ofstream(place_.path() + "/bus.toml") << "[daemon]\nsegment_bytes = \"32KiB\"\n";
    bus_.emplace(place_.open());
    EXPECT_TRUE(bus_->create_topic("t", {.ring_bytes = 64 << 10, .retention_bytes = 64 << 10}));
    for (const char* group : {"quick", "slow"})
      EXPECT_TRUE(bus_->consumer(group, {"t"}, {.max_attempts = 1000, .max_in_flight = 4096}));
    daemon_.emplace(Daemon::start(*bus_, {}).value());
  }
  Offset first() const { return bus_->describe_topic("t")->first_offset; }

  // Publishes until retention took something so many times.
  void publish() {
    Producer producer = bus_->producer("t").value();
    Offset seen = 0;
    const auto deadline = std::chrono::steady_clock::now() + 60s;
    for (int moves = 0; moves < kMoves;) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "after " << moves << " moves";
      const Offset oldest = first();
      moves += oldest > seen ? 1 : 0;
      seen = oldest;
      if (published_ > oldest + kAhead) {
        std::this_thread::sleep_for(1ms);
        continue;
      }
      for (int i = 0; i < 50; ++i, ++published_)
        ASSERT_EQ(producer.publish(bytes_of(text_at(published_))).value(), published_.load());
    }
    ASSERT_TRUE(producer.await_durable(published_ - 1, 60s));
  }
  bool all_done(const std::string& group) const { return over_ && bus_->group_topics(group)->front().lag == 0; }
  static std::optional<Delivery> next(Consumer& member) {
    auto delivery = member.next(1ms).value();
    if (delivery) {
      EXPECT_EQ(text_of(delivery->payload()), text_at(delivery->offset()));
    }
    return delivery;
  }
  // At the end of the log: many events that failed wait at any time, and others are ahead of them.
  void keep_up() {
    std::mt19937 random{7};
    Consumer member = bus_->consumer("quick").value();
    while (!all_done("quick"))
      for (int i = 0; i < 100; ++i) {
        auto delivery = next(member);
        if (!delivery) break;
        const auto delay = std::chrono::milliseconds(random() % 300);
        ASSERT_TRUE(random() % 3 == 0 ? delivery->nak({.delay = delay}) : delivery->ack());
      }
  }
  // In what goes: takes an event for each twenty that are published, fails it, and acks it when it comes again.
  void lag_behind() {
    Consumer member = bus_->consumer("slow").value();
    std::uint64_t taken = 0, failed = 0;
    while (!all_done("slow")) {
      if (!over_ && failed == 0 && taken * 20 > published_) {
        std::this_thread::sleep_for(1ms);
        continue;
      }
      auto delivery = next(member);
      if (!delivery) continue;
      ++taken;
      if (delivery->attempt() > 1 || over_) {
        failed -= delivery->attempt() > 1 ? 1 : 0;
        ASSERT_TRUE(delivery->ack());
        continue;
      }
      ++failed;
      ASSERT_TRUE(delivery->nak({.delay = 2ms}));
      std::this_thread::sleep_for(3ms);  // what failed is due, and comes before what is fresh
    }
  }

  test::TemporaryBus place_;
  std::optional<Bus> bus_;
  std::optional<Daemon> daemon_;
  std::atomic<Offset> published_{0};
  std::atomic<bool> over_{false};
};

TEST_F(RetentionUnderWayTest, NoEventThatAGroupHasTakenIsGoneWhenItComesAgain) {
  {
    std::jthread quick([this] { keep_up(); }), slow([this] { lag_behind(); });
    publish();
    over_ = true;
  }
  for (const char* group : {"quick", "slow"}) {
    const GroupTopicInfo info = bus_->group_topics(group)->front();
    EXPECT_EQ(info.dead_lettered, 0u) << group << ": an event could not be read again";
    EXPECT_EQ(info.acked + info.missed, info.next_offset) << group;
    EXPECT_GT(info.redelivered, 0u) << group;
    EXPECT_EQ(info.damaged, 0u) << group;
  }
  EXPECT_GT(bus_->group_topics("slow")->front().missed, 0u) << "fresh events are not waited for";
}

}  // namespace
}  // namespace penstock
