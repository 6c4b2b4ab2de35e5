// A group ordered by key, lived through: tests/main_job/key_history.hpp. PENSTOCK_SEED runs one seed again.
#include <gtest/gtest.h>

#include <cstdlib>

#include "key_history.hpp"

namespace penstock::test {
namespace {

void expect_right(const KeyRun& run) {
  const KeyRunResult result = run_keys(run);
  EXPECT_EQ(result.wrong, "") << "seed " << run.seed << ", " << run.keys << " keys";
  EXPECT_GT(result.acked, run.events / 2);
  EXPECT_GT(result.dead, 0u);
  ::testing::Test::RecordProperty("seed_" + std::to_string(run.seed),
                                  std::to_string(result.begun) + " deliveries, " + std::to_string(result.failed) +
                                      " naks, " + std::to_string(result.dead) + " letters, " +
                                      std::to_string(result.crashes) + " crashes, " + std::to_string(result.daemons) +
                                      " daemons");
}

TEST(KeyHistory, OrderIsKeptAttemptsAreExactAndNothingIsLost) {
  if (const char* seed = std::getenv("PENSTOCK_SEED")) return expect_right({.seed = std::strtoull(seed, nullptr, 10)});
  expect_right({.seed = 1});
  expect_right({.seed = 2, .keys = 1});
  expect_right({.seed = 3, .keys = 500});
}

}  // namespace
}  // namespace penstock::test
