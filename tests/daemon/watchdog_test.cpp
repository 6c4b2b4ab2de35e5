#include "daemon/watchdog.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace penstock::daemon {
namespace {

using namespace std::chrono_literals;

class WatchdogTest : public ::testing::Test {
 protected:
  void TearDown() override {
    ::unsetenv("WATCHDOG_USEC");
    ::unsetenv("WATCHDOG_PID");
  }
  std::vector<bool> told_;
  Watchdog watchdog_{24h, [this](bool well) { told_.push_back(well); }};  // steps of its own never come
};

TEST_F(WatchdogTest, OneThatGetsOnIsTold) {
  std::uint64_t count = 0;
  watchdog_.watch([&count] { return count++; });
  for (int i = 0; i < 3; ++i) watchdog_.look();
  EXPECT_EQ(told_, (std::vector{true, true, true}));
}
TEST_F(WatchdogTest, OneThatIsStuckIsNotToldAndComplainedOfOnceUntilItGoesOn) {
  std::uint64_t count = 7;
  watchdog_.watch([&count] { return count; });
  for (int i = 0; i < 3; ++i) watchdog_.look();
  EXPECT_EQ(told_, (std::vector{true, false}));
  ++count;
  for (int i = 0; i < 2; ++i) watchdog_.look();
  EXPECT_EQ(told_, (std::vector{true, false, true, false}));
}
TEST_F(WatchdogTest, WithNobodyToWatchAllIsWellAsInAStartOrStop) {
  for (int i = 0; i < 2; ++i) watchdog_.look();
  watchdog_.watch([] { return 7; });
  watchdog_.look();
  watchdog_.watch({});
  for (int i = 0; i < 2; ++i) watchdog_.look();
  watchdog_.watch([] { return 7; });  // another daemon, whose count is the former's by chance
  watchdog_.look();
  EXPECT_EQ(told_, std::vector(6, true));
}

// A parent waits for a child of vfork() as others wait for a disk: in state D, until the child ends.
TEST_F(WatchdogTest, OneThatWaitsForADiskThatHangsIsToldAsWell) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  EXPECT_FALSE(waits_uninterruptibly());
  watchdog_.watch([] { return 7; });
  watchdog_.look();
  std::thread hangs([&ends] {
    const pid_t child = ::vfork();
    if (child == 0) {
      char byte;
      ::_exit(::read(ends[0], &byte, 1) == 1 ? 0 : 1);
    }
    ::waitpid(child, nullptr, 0);
  });
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  while (!waits_uninterruptibly() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_TRUE(waits_uninterruptibly());
  for (int i = 0; i < 3; ++i) watchdog_.look();
  EXPECT_EQ(::write(ends[1], "x", 1), 1);
  hangs.join();
  EXPECT_EQ(told_, std::vector(4, true));
  watchdog_.look();
  EXPECT_FALSE(told_.back());
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_F(WatchdogTest, TheTurnIsHalfOfWhatTheManagerGivesToThisProcess) {
  EXPECT_FALSE(watchdog_turn());
  ::setenv("WATCHDOG_USEC", "3000000", 1);
  EXPECT_EQ(watchdog_turn(), 1500ms);
  ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
  EXPECT_EQ(watchdog_turn(), 1500ms);
  ::setenv("WATCHDOG_PID", std::to_string(::getppid()).c_str(), 1);
  EXPECT_FALSE(watchdog_turn());
  ::unsetenv("WATCHDOG_PID");
  for (const char* text : {"", "soon", "0", "-5", "5 minutes"}) {
    ::setenv("WATCHDOG_USEC", text, 1);
    EXPECT_FALSE(watchdog_turn()) << text;
  }
}
TEST_F(WatchdogTest, ItLooksByItself) {
  std::atomic<int> looks{0};
  Watchdog quick(1us, [&looks](bool) { ++looks; });
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  while (looks < 3 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_GE(looks, 3);
}

}  // namespace
}  // namespace penstock::daemon
