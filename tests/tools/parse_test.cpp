#include "tools/penstock/parse.hpp"

#include <gtest/gtest.h>

#include "tools/penstock/json.hpp"

namespace penstock::tool {
namespace {

using namespace std::chrono_literals;

const Timestamp kNow = *parse_time("2026-11-23T07:00:00Z", {});

TEST(ParseTest, SizesTakeUnitsOfBothKinds) {
  EXPECT_EQ(parse_size("65536"), 65536u);
  EXPECT_EQ(parse_size("64KiB"), 65536u);
  EXPECT_EQ(parse_size("1GiB"), 1ull << 30);
  EXPECT_EQ(parse_size("10MB"), 10'000'000u);
  EXPECT_EQ(parse_size("1.5kib"), 1536u);
  EXPECT_EQ(parse_size("0"), 0u);
}

TEST(ParseTest, WhatIsNoSizeIsRefused) {
  for (const char* text : {"", "KiB", "-1", "1K", "1 GiB", "1..5MB", "0x10", "9999999999GiB", "1e9"}) {
    EXPECT_FALSE(parse_size(text)) << text;
  }
}

TEST(ParseTest, DurationsNeedAUnit) {
  EXPECT_EQ(parse_duration("250ms"), 250ms);
  EXPECT_EQ(parse_duration("30s"), 30s);
  EXPECT_EQ(parse_duration("5m"), 5min);
  EXPECT_EQ(parse_duration("2h"), 2h);
  EXPECT_EQ(parse_duration("7d"), 168h);
  EXPECT_EQ(parse_duration("1.5s"), 1500ms);
  EXPECT_EQ(parse_duration("0"), 0ns);
  for (const char* text : {"", "30", "s", "-1s", "5 m", "1w", "999999999999d"})
    EXPECT_FALSE(parse_duration(text)) << text;
}

TEST(ParseTest, ListsOfDurationsAreSplitAtCommas) {
  EXPECT_EQ(parse_durations("100ms,1s,5s"), (std::vector<std::chrono::nanoseconds>{100ms, 1s, 5s}));
  EXPECT_FALSE(parse_durations("1s,"));
  EXPECT_FALSE(parse_durations(""));
}

TEST(ParseTest, TimesAreExactToTheNanosecond) {
  EXPECT_EQ(time_text(*parse_time("2026-11-23T07:00:00.123456789Z", kNow)), "2026-11-23T07:00:00.123456789Z");
  EXPECT_EQ(time_text(*parse_time("2026-11-23T09:00:00.5+02:00", kNow)), "2026-11-23T07:00:00.500000000Z");
  EXPECT_EQ(time_text(*parse_time("2026-11-22T23:30:00-07:30", kNow)), "2026-11-23T07:00:00.000000000Z");
  EXPECT_EQ(time_text(*parse_time("2024-02-29T00:00:00Z", kNow)), "2024-02-29T00:00:00.000000000Z");
}

TEST(ParseTest, TimesMayBeToldFromNow) {
  EXPECT_EQ(parse_time("now", kNow), kNow);
  EXPECT_EQ(parse_time("-10m", kNow), kNow - 10min);
  EXPECT_EQ(parse_time("+30s", kNow), kNow + 30s);
}

TEST(ParseTest, WhatIsNoTimeIsRefused) {
  for (const char* text :
       {"", "yesterday", "2026-11-23", "2026-02-30T00:00:00Z", "2026-11-23T24:00:00Z", "10m", "-10",
        "2026-11-23T07:00:00", "2026-11-23T07:00:00.Z", "2026-11-23T07:00:00Zx", "9999-01-01T00:00:00Z"}) {
    EXPECT_FALSE(parse_time(text, kNow)) << text;
  }
}

TEST(ParseTest, APlaceIsAWordAnOffsetACountOrATime) {
  EXPECT_EQ(parse_start("beginning", kNow)->kind(), StartAt::Kind::beginning);
  EXPECT_EQ(parse_start("end", kNow)->kind(), StartAt::Kind::end);
  EXPECT_EQ(parse_start("17", kNow)->kind(), StartAt::Kind::offset);
  EXPECT_EQ(parse_start("17", kNow)->value(), 17);
  EXPECT_EQ(parse_start("-5", kNow)->kind(), StartAt::Kind::last);
  EXPECT_EQ(parse_start("-5", kNow)->value(), 5);
  EXPECT_EQ(parse_start("-5m", kNow)->kind(), StartAt::Kind::time);
  EXPECT_EQ(parse_start("-5m", kNow)->value(), (kNow - 5min).time_since_epoch().count());
  EXPECT_EQ(parse_start("9223372036854775807", kNow)->value(), 9223372036854775807);
  for (const char* text : {"", "-", "start", "9223372036854775808", "1.5"})
    EXPECT_FALSE(parse_start(text, kNow)) << text;
}

TEST(ParseTest, NamesAreWordsJoinedByDots) {
  for (const char* name : {"a", "order.created", "A-b_9.c"}) EXPECT_TRUE(valid_name(name)) << name;
  for (const char* name : {"", ".", "a.", ".a", "a..b", "a b", "a/b", "a*", "ä"})
    EXPECT_FALSE(valid_name(name)) << name;
}

TEST(ParseTest, PatternsCoverWordByWord) {
  EXPECT_TRUE(covers("order.created", "order.created"));
  EXPECT_TRUE(covers("order.*", "order.created"));
  EXPECT_TRUE(covers("*.created", "order.created"));
  EXPECT_TRUE(covers("**", "order.created.eu"));
  EXPECT_TRUE(covers("order.**", "order.created.eu"));
  EXPECT_FALSE(covers("order.*", "order.created.eu"));
  EXPECT_FALSE(covers("order.*", "order"));
  EXPECT_FALSE(covers("order.**", "order"));
  EXPECT_FALSE(covers("*", "order.created"));
  EXPECT_FALSE(covers("ord*", "order"));
}

TEST(ParseTest, PatternsCoverNoDeadLetterQueueButItsNameDoes) {
  EXPECT_FALSE(covers("**", "fulfillment.dlq"));
  EXPECT_FALSE(covers("fulfillment.*", "fulfillment.dlq"));
  EXPECT_TRUE(covers("fulfillment.dlq", "fulfillment.dlq"));
}

TEST(ParseTest, AnIdIsThirtyTwoHexDigits) {
  const auto id = parse_id("000102030405060708090a0b0c0d0e0F");
  ASSERT_TRUE(id);
  EXPECT_EQ(hex(text_of(id->bytes)), "000102030405060708090a0b0c0d0e0f");
  EXPECT_FALSE(parse_id("00"));
  EXPECT_FALSE(parse_id("zz0102030405060708090a0b0c0d0e0f"));
  EXPECT_FALSE(parse_id("-10102030405060708090a0b0c0d0e0f"));
}

TEST(ParseTest, ADelimiterIsOneCharacterOrAnEscape) {
  EXPECT_EQ(parse_delimiter(":"), ':');
  EXPECT_EQ(parse_delimiter("\\t"), '\t');
  EXPECT_FALSE(parse_delimiter("::"));
  EXPECT_FALSE(parse_delimiter(""));
}

}  // namespace
}  // namespace penstock::tool
