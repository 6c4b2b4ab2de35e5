#include "damaged_bus.hpp"

namespace penstock::test {
namespace {

constexpr std::uint64_t kShares = 16;

class DamageLong : public ::testing::TestWithParam<std::uint64_t> {};

// All shares together flip every byte.
TEST_P(DamageLong, EveryByteFlippedIsToldAndNoPayloadIsWrong) {
  EXPECT_GT(DamagedBus().flip_each(kShares, GetParam()), 1000u);
}
INSTANTIATE_TEST_SUITE_P(Shares, DamageLong, ::testing::Range<std::uint64_t>(0, kShares));

}  // namespace
}  // namespace penstock::test
