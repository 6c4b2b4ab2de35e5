#include "api/near.hpp"

#include <gtest/gtest.h>

namespace penstock::api {
namespace {

const std::vector<std::string> kTopics{"orders", "order.created", "payment.confirmed", "t"};

TEST(Near, OneLetterMoreLessOrOtherIsMeant) {
  EXPECT_EQ(nearest("order", kTopics), "orders");
  EXPECT_EQ(nearest("ordeers", kTopics), "orders");
  EXPECT_EQ(nearest("orderz", kTopics), "orders");
  EXPECT_EQ(nearest("payment.confirned", kTopics), "payment.confirmed");
}
TEST(Near, ExchangedLettersAreOneChange) { EXPECT_EQ(nearest("jsno", {"jet", "json"}), "json"); }
TEST(Near, CapitalsAreTheSameLetters) { EXPECT_EQ(nearest("ORDERS", kTopics), "orders"); }
TEST(Near, AnotherWordIsNotMeant) {
  EXPECT_FALSE(nearest("shipments", kTopics));
  EXPECT_FALSE(nearest("x", kTopics));  // every letter would be another
  EXPECT_FALSE(nearest("", kTopics));
  EXPECT_FALSE(nearest("order", {}));
}
TEST(Near, AWordOfWhichHalfWouldChangeIsNotMeant) {
  EXPECT_FALSE(nearest("follow", {"color"}));
  EXPECT_FALSE(nearest("folow", {"color"}));
  EXPECT_FALSE(nearest("form", {"to", "for-key"}));
  EXPECT_EQ(nearest("folow", {"color", "follow"}), "follow");
  EXPECT_EQ(nearest("retenton-byte", {"retention-time", "retention-bytes"}), "retention-bytes");
}
TEST(Near, TheNearestOfSeveralIsMeant) { EXPECT_EQ(nearest("order.create", kTopics), "order.created"); }
TEST(Near, NothingIsSaidWhereNothingIsNear) {
  EXPECT_EQ(did_you_mean("order", kTopics), "; did you mean orders?");
  EXPECT_EQ(did_you_mean("shipments", kTopics), "");
}

}  // namespace
}  // namespace penstock::api
