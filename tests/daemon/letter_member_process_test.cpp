// The member that a dead letter names is the one that had the event last, or nobody's process.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <penstock/daemon.hpp>

#include "support/scratch.hpp"
#include "support/small_bus.hpp"

namespace penstock::test {
namespace {

using namespace std::chrono_literals;

class LetterMember : public ::testing::Test {
 protected:
  LetterMember() {
    Bus bus = good(Bus::open(place_));
    good(bus.create_topic("orders", {.ring_bytes = 64 << 10}));
    good(good(bus.producer("orders")).publish(bytes_of("order")));
  }
  ~LetterMember() override { (void)Bus::remove(place_); }

  Consumer join() {
    ConsumerOptions options;
    options.max_attempts = 2;
    options.backoff = {1ms};
    return good(good(Bus::open(place_)).consumer(kGroup, {"orders"}, options));
  }
  // The process of a member that was killed when it had the event.
  pid_t die_with_it() {
    const pid_t pid = ::fork();
    if (pid == 0) {
      Consumer desk = join();
      const auto delivery = good(desk.next(30s));
      if (delivery) ::raise(SIGKILL);
      ::_exit(1);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status));
    return pid;
  }
  // What the letter says, when the daemon has written it.
  std::string member() {
    Bus bus = good(Bus::open(place_));
    Consumer desk = join();  // in the slot of the dead; it finds out about the death
    EXPECT_FALSE(good(desk.next(100ms)));
    const Daemon daemon = good(Daemon::start(bus));
    Reader letters = good(bus.reader(std::string(kGroup) + ".dlq", StartAt::beginning()));
    const auto letter = good(letters.next(30s));
    return letter ? good(DeadLetter::of(letter->view())).member : std::string();
  }

  const Scratch scratch_;
  const std::string place_ = scratch_ / "bus";
};

std::string pid_text(pid_t pid) { return "pid " + std::to_string(pid); }

TEST_F(LetterMember, IsNotWhoHasTheSlotNow) {
  die_with_it();
  die_with_it();
  const std::string told = member();
  EXPECT_EQ(told.find("slot "), 0u) << told;
  EXPECT_EQ(told.find(pid_text(::getpid())), std::string::npos) << told;
}

TEST_F(LetterMember, IsNotWhoFailedBefore) {
  good(good(join().next(30s))->nak({.reason = "not now"}));
  die_with_it();
  const std::string told = member();
  EXPECT_EQ(told.find("slot "), 0u) << told;
  EXPECT_EQ(told.find(pid_text(::getpid())), std::string::npos) << told;
}

}  // namespace
}  // namespace penstock::test
