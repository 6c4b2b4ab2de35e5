// The same as keys_process_test.cpp, for many seeds; PENSTOCK_SEEDS says how many.
#include <gtest/gtest.h>

#include <cstdlib>

#include "key_history.hpp"

namespace penstock::test {
namespace {

TEST(KeyHistoryLong, HoldsForManySeeds) {
  const char* asked = std::getenv("PENSTOCK_SEEDS");
  const std::uint64_t seeds = asked == nullptr ? 20 : std::strtoull(asked, nullptr, 10);
  for (std::uint64_t seed = 100; seed < 100 + seeds && !HasFailure(); ++seed) {
    const std::uint64_t keys[] = {1, 3, 20, 500};
    EXPECT_EQ(run_keys({.seed = seed, .keys = keys[seed % 4]}).wrong, "") << "seed " << seed;
  }
}

}  // namespace
}  // namespace penstock::test
