#include "damaged_bus.hpp"

namespace penstock::test {
namespace {

// Every byte in its turn is tried by damage_long_test.cpp.
TEST(Damage, AFlippedByteIsToldAndNoPayloadIsWrong) { EXPECT_GT(DamagedBus().flip_each(211), 100u); }

}  // namespace
}  // namespace penstock::test
