// What is written to a terminal so that it shows a text.
#include "tools/penstock/screen.hpp"

#include <gtest/gtest.h>

namespace penstock::tool {
namespace {

constexpr const char* kEnd = "\x1b[0m\x1b[K";  // colours off, and the rest of the line is blank

TEST(ScreenTest, LinesAreWrittenOverWhatIsThereAndTheRestIsBlank) {
  EXPECT_EQ(picture("a\nb\n", 10, 10), std::string("\x1b[H") + "a" + kEnd + "\nb" + kEnd + "\x1b[J");
  EXPECT_EQ(picture("", 10, 10), "\x1b[H\x1b[J");
  EXPECT_EQ(picture("no newline", 10, 1), std::string("\x1b[Hno newline") + kEnd + "\x1b[J");
}

TEST(ScreenTest, WhatDoesNotFitIsCut) {
  EXPECT_EQ(picture("abcdef\nx\ny\n", 3, 2), std::string("\x1b[Habc") + kEnd + "\nx" + kEnd + "\x1b[J");
  EXPECT_EQ(picture("äöü\n", 2, 1), std::string("\x1b[Häö") + kEnd + "\x1b[J");
  EXPECT_EQ(picture("a\n", 0, 1), std::string("\x1b[H") + kEnd + "\x1b[J");
}

TEST(ScreenTest, ColoursTakeNoColumns) {
  EXPECT_EQ(picture("\x1b[1mabc\x1b[0m\n", 3, 1), std::string("\x1b[H\x1b[1mabc\x1b[0m") + kEnd + "\x1b[J");
  EXPECT_EQ(picture("\x1b[1mabcd\x1b[0m\n", 3, 1), std::string("\x1b[H\x1b[1mabc") + kEnd + "\x1b[J");
  EXPECT_EQ(picture("\x1b", 3, 1), std::string("\x1b[H\x1b") + kEnd + "\x1b[J");
}

}  // namespace
}  // namespace penstock::tool
