#include "group/backoff.hpp"

#include <gtest/gtest.h>

#include "layout/atomic16.hpp"

namespace penstock::group {
namespace {

layout::GroupOptions steps(std::vector<std::uint64_t> list) {
  layout::GroupOptions options;
  options.backoff_count = std::uint32_t(list.size());
  for (std::size_t i = 0; i < list.size(); ++i) options.backoff_ns[i] = list[i];
  return options;
}

TEST(BackoffTest, EachFailureTakesItsEntryAndTheLastRepeats) {
  const auto options = steps({1000, 20'000, 300'000});
  const auto near = [](std::int64_t delay, std::int64_t base) {
    return delay >= base - base / 10 && delay <= base + base / 10;
  };
  for (std::uint64_t random : {0ull, 7ull, 12345678901234567890ull, ~0ull}) {
    EXPECT_TRUE(near(backoff_delay(options, 1, random), 1000));
    EXPECT_TRUE(near(backoff_delay(options, 2, random), 20'000));
    EXPECT_TRUE(near(backoff_delay(options, 3, random), 300'000));
    EXPECT_TRUE(near(backoff_delay(options, 4, random), 300'000));
    EXPECT_TRUE(near(backoff_delay(options, 1023, random), 300'000));
  }
}

TEST(BackoffTest, JitterReachesBothEndsAndNotBeyond) {
  const auto options = steps({1000});
  std::int64_t least = 1 << 30, most = 0;
  for (std::uint64_t random = 0; random < 1000; ++random) {
    least = std::min(least, backoff_delay(options, 1, random));
    most = std::max(most, backoff_delay(options, 1, random));
  }
  EXPECT_EQ(least, 900);
  EXPECT_EQ(most, 1100);
}

TEST(BackoffTest, TheDefaultListAndAnEmptyListAreNeverZero) {
  for (std::uint32_t failed : {0u, 1u, 2u, 5u, 100u})
    EXPECT_GT(backoff_delay(layout::GroupOptions{}, failed, failed), 0);
  EXPECT_GE(backoff_delay(steps({}), 3, 0), kDefaultBackoff * 9 / 10);
}

TEST(BackoffTest, AZeroThatWasAskedForIsZero) { EXPECT_EQ(backoff_delay(steps({0}), 1, 99), 0); }

TEST(BackoffTest, NonsenseInSharedOptionsIsBounded) {
  auto options = steps({~0ull});
  EXPECT_LE(backoff_delay(options, 1, ~0ull), kLongestBackoff + kLongestBackoff / 10);
  EXPECT_GT(backoff_delay(options, 1, 0), 0);
  options.backoff_count = ~0u;
  EXPECT_GE(backoff_delay(options, ~0u, 5), 0);
}

}  // namespace
}  // namespace penstock::group
