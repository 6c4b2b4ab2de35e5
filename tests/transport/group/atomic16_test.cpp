#include "layout/atomic16.hpp"

#include <gtest/gtest.h>

#include <thread>

namespace penstock::layout {
namespace {

TEST(Atomic16Test, ReplacesOnlyWhatWasExpectedInBothHalves) {
  Pair pair{1, 2};
  EXPECT_FALSE(cas16(&pair, {1, 3}, {7, 8}));
  EXPECT_FALSE(cas16(&pair, {0, 2}, {7, 8}));
  EXPECT_EQ(pair, (Pair{1, 2}));
  EXPECT_TRUE(cas16(&pair, {1, 2}, {~0ull, 8}));
  EXPECT_EQ(pair, (Pair{~0ull, 8}));
}

TEST(Atomic16Test, EveryLoadSeesBothHalves) {
  Pair pair{0x1111222233334444, 0x5555666677778888};
  EXPECT_EQ(load16(&pair), pair);
  EXPECT_EQ(load16_halves(&pair), pair);
  EXPECT_EQ(load16_guess(&pair), pair);
  EXPECT_EQ(load16_low(&pair), pair.low);
  EXPECT_EQ(load16_high(&pair), pair.high);
}

// Writers keep high == 2 * low while low only grows; no whole load ever sees it otherwise.
TEST(Atomic16Test, WholeLoadsAreNeverTornAndNoReplacementIsLost) {
  Pair pair{0, 0};
  constexpr std::uint64_t kEach = 50'000;
  const auto write = [&pair] {
    for (std::uint64_t i = 0; i < kEach; ++i) {
      for (Pair seen = load16_guess(&pair); !cas16(&pair, seen, {seen.low + 1, 2 * (seen.low + 1)});) {
        seen = load16_guess(&pair);
      }
    }
  };
  std::thread first(write), second(write);
  for (std::uint64_t low = 0; low < 2 * kEach;) {
    const Pair whole = load16(&pair), halves = load16_halves(&pair);
    ASSERT_EQ(whole.high, 2 * whole.low);
    ASSERT_EQ(halves.high, 2 * halves.low);
    ASSERT_GE(halves.low, whole.low);
    low = halves.low;
  }
  first.join();
  second.join();
  EXPECT_EQ(pair, (Pair{2 * kEach, 4 * kEach}));
}

}  // namespace
}  // namespace penstock::layout
