#include "tools/penstock/format.hpp"

#include <gtest/gtest.h>

#include "tools/penstock/json.hpp"

namespace penstock::tool {
namespace {

std::string rendered(std::string_view format, std::string_view payload = "paid", unsigned attempt = 2) {
  EventView::Raw raw;
  raw.topic = "payment.confirmed";
  raw.offset = 17;
  raw.payload = bytes_of(payload);
  std::string out;
  Format::compile(format)->render(out, EventView(raw), attempt);
  return out;
}

TEST(FormatTest, FieldsAreReplaced) {
  EXPECT_EQ(rendered("%t@%o %a: %v"), "payment.confirmed@17 2: paid");
  EXPECT_EQ(rendered("%T"), "1970-01-01T00:00:00.000000000Z");
  EXPECT_EQ(rendered("[%k]"), "[]");
}

TEST(FormatTest, NothingIsAddedAtTheEnd) { EXPECT_EQ(rendered("%v"), "paid"); }

TEST(FormatTest, EscapesAreReplacedAndUnknownOnesStay) {
  EXPECT_EQ(rendered("a\\nb\\tc\\\\n%%\\x"), "a\nb\tc\\n%\\x");
  EXPECT_EQ(rendered("\\"), "\\");
}

TEST(FormatTest, PayloadsAreNotInterpreted) { EXPECT_EQ(rendered("%v", "%o\\n"), "%o\\n"); }

TEST(FormatTest, UnknownFieldsAreRefused) {
  EXPECT_FALSE(Format::compile("%x"));
  EXPECT_FALSE(Format::compile("100%"));
}

}  // namespace
}  // namespace penstock::tool
