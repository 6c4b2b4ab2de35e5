#include "shm/fence.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "shm/wake.hpp"

namespace penstock::shm {
namespace {

// Each of two stores and then looks for the other's store; at least one of them is to see it. One leaves its fence out.
TEST(Fence, TheOneWhoPaysPaysForBoth) {
  if (!may_leave_fences_out()) GTEST_SKIP() << "membarrier is not to be had here";
  constexpr int kRounds = 20'000;
  struct alignas(128) Word {
    std::atomic<int> value{0};
  };
  Word news, sleeper, turn, done;
  std::atomic<int> quick_saw{0};
  std::thread quick([&] {
    for (int round = 1; round <= kRounds; ++round) {
      while (turn.value.load() < round) continue;
      news.value.store(round, std::memory_order_release);
      std::atomic_signal_fence(std::memory_order_seq_cst);
      quick_saw.store(sleeper.value.load(std::memory_order_relaxed), std::memory_order_relaxed);
      done.value.store(round);
    }
  });
  int missed = 0;
  for (int round = 1; round <= kRounds; ++round) {
    turn.value.store(round);
    sleeper.value.store(round);
    ASSERT_TRUE(fence_others());
    const bool seen = news.value.load() == round;
    while (done.value.load() < round) continue;
    missed += !seen && quick_saw.load() != round;
  }
  quick.join();
  EXPECT_EQ(missed, 0);
}

TEST(Fence, OnlyWhoListensWhereAFenceIsLeftOutAsksForOne) {
  layout::WakeFile wake{};
  const Sleeper sleeper(&wake, 0, false);
  Listening all(sleeper);
  all.to(wake.masks[1].mask);
  EXPECT_EQ(all.settle(), INT64_MAX);
  all.leaves_fences_out();
  EXPECT_EQ(all.settle() == INT64_MAX, fence_others());  // without one, sleeps are short
}

}  // namespace
}  // namespace penstock::shm
