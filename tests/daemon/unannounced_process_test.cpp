// Topics and groups whose maker died when they were made and nobody had been told of them.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <penstock/daemon.hpp>

#include "api/state.hpp"
#include "support/scratch.hpp"
#include "support/small_bus.hpp"

namespace penstock::test {
namespace {

using namespace std::chrono_literals;

class Unannounced : public ::testing::Test {
 protected:
  Unannounced() : daemon_(::fork()) {
    if (daemon_ != 0) return;
    const Daemon daemon = good(Daemon::start(good(Bus::open(place_))));
    for (;;) ::pause();
  }
  ~Unannounced() override {
    ::kill(daemon_, SIGKILL);
    ::waitpid(daemon_, nullptr, 0);
    (void)Bus::remove(place_);
  }

  // The daemon has looked at what there is and is stopped; what is made now it is not told of, nor is anybody.
  template <class Make>
  void silently(Bus& bus, Make&& make) {
    good(bus.create_topic("known", {.ring_bytes = 64 << 10}));
    Producer known = good(bus.producer("known"));
    good(known.await_durable(good(known.publish(bytes_of("event"))), 30s));
    ::kill(daemon_, SIGSTOP);
    ASSERT_EQ(::waitpid(daemon_, nullptr, WUNTRACED), daemon_);
    auto& topics = bus.state()->live.header()->topics_epoch;
    auto& groups = bus.state()->live.groups_epoch();
    const std::uint64_t topics_before = topics, groups_before = groups;
    make();
    topics = topics_before, groups = groups_before;
    ::kill(daemon_, SIGCONT);
  }

  const Scratch scratch_;
  const std::string place_ = scratch_ / "bus";
  const pid_t daemon_;
};

TEST_F(Unannounced, TopicComesToThoseWhoWaitForIt) {
  Bus bus = good(Bus::open(place_));
  Consumer desk = good(bus.consumer(kGroup, {"orders"}));
  silently(bus, [&] {
    ASSERT_FALSE(good(desk.next(0s)));
    good(bus.create_topic("orders", {.ring_bytes = 64 << 10}));
    good(good(bus.producer("orders")).publish(bytes_of("order")));
  });
  auto delivery = good(desk.next(30s));
  ASSERT_TRUE(delivery);
  good(delivery->ack());
}

TEST_F(Unannounced, GroupHasItsLettersMoved) {
  Bus bus = good(Bus::open(place_));
  silently(bus, [&] { good(good(good(bus.consumer(kGroup, {"known"})).next(10s))->reject()); });
  Reader letters = good(bus.reader(std::string(kGroup) + ".dlq", StartAt::beginning()));
  EXPECT_TRUE(good(letters.next(30s)));
}

}  // namespace
}  // namespace penstock::test
