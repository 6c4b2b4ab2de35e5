#include "group/pattern.hpp"

#include <gtest/gtest.h>

#include <string>

namespace penstock::group {
namespace {

TEST(PatternTest, NamesAreWordsJoinedByDots) {
  for (const char* name : {"a", "order.created", "A-b_9.x.y.z", "dlq", "group.dlq", "-", "_._"}) {
    EXPECT_TRUE(valid_name(name)) << name;
  }
  for (const char* name :
       {"", ".", "a.", ".a", "a..b", "a b", "a/b", "..", "a*", "*", "**", "a.*", "@a", "caf\xc3\xa9"}) {
    EXPECT_FALSE(valid_name(name)) << name;
  }
  EXPECT_FALSE(valid_name(std::string_view("a\0b", 3)));
}

TEST(PatternTest, ANameHasAtMostTwoHundredBytes) {
  EXPECT_TRUE(valid_name(std::string(200, 'x')));
  EXPECT_FALSE(valid_name(std::string(201, 'x')));
  EXPECT_TRUE(valid_pattern(std::string(198, 'x') + ".*"));
  EXPECT_FALSE(valid_pattern(std::string(199, 'x') + ".*"));
}

TEST(PatternTest, StarsStandForWholeWordsAndTwoStarsOnlyAtTheEnd) {
  for (const char* pattern : {"a", "*", "**", "a.*", "*.b", "a.*.c", "a.**", "*.*", "*.**"}) {
    EXPECT_TRUE(valid_pattern(pattern)) << pattern;
  }
  for (const char* pattern : {"", "a*", "*a", "***", "**.a", "a.**.b", "a.***", "a..*", "*.", "?"}) {
    EXPECT_FALSE(valid_pattern(pattern)) << pattern;
  }
}

TEST(PatternTest, OneStarIsOneWord) {
  EXPECT_TRUE(matches("*", "order"));
  EXPECT_FALSE(matches("*", "order.created"));
  EXPECT_TRUE(matches("order.*", "order.created"));
  EXPECT_FALSE(matches("order.*", "order"));
  EXPECT_FALSE(matches("order.*", "order.created.eu"));
  EXPECT_TRUE(matches("*.created", "order.created"));
  EXPECT_TRUE(matches("a.*.c", "a.b.c"));
  EXPECT_FALSE(matches("a.*.c", "a.b.d"));
}

TEST(PatternTest, TwoStarsAreOneOrMoreWords) {
  EXPECT_TRUE(matches("**", "order"));
  EXPECT_TRUE(matches("**", "order.created.eu"));
  EXPECT_TRUE(matches("order.**", "order.created"));
  EXPECT_TRUE(matches("order.**", "order.created.eu.west"));
  EXPECT_FALSE(matches("order.**", "order"));
  EXPECT_FALSE(matches("order.**", "orders.created"));
  EXPECT_TRUE(matches("*.**", "a.b.c"));
  EXPECT_FALSE(matches("*.**", "a"));
}

TEST(PatternTest, LiteralsMatchThemselvesAlone) {
  EXPECT_TRUE(matches("a.b", "a.b"));
  EXPECT_FALSE(matches("a.b", "a.c"));
  EXPECT_FALSE(matches("a.b", "a"));
  EXPECT_FALSE(matches("a", "a.b"));
}

TEST(PatternTest, DeadLetterQueuesAreMatchedByTheirNameAlone) {
  EXPECT_FALSE(matches("**", "mail.dlq"));
  EXPECT_FALSE(matches("*.dlq", "mail.dlq"));
  EXPECT_FALSE(matches("mail.*", "mail.dlq"));
  EXPECT_TRUE(matches("mail.dlq", "mail.dlq"));
  EXPECT_TRUE(matches("**", "dlq"));
  EXPECT_TRUE(matches("**", "maildlq"));
}

TEST(PatternTest, NothingInvalidMatches) {
  EXPECT_FALSE(matches("a*", "a*"));
  EXPECT_FALSE(matches("", ""));
  EXPECT_FALSE(matches("**", ""));
  EXPECT_FALSE(matches("**", "a..b"));
}

TEST(PatternTest, APatternNamesMoreThanOneTopic) {
  EXPECT_TRUE(is_pattern("a.*"));
  EXPECT_FALSE(is_pattern("a.b"));
}

}  // namespace
}  // namespace penstock::group
