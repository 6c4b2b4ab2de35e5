#include "tools/penstock/lines.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

namespace penstock::tool {
namespace {

// A file in memory to read from.
class Input {
 public:
  explicit Input(const std::string& text) : fd_(::memfd_create("input", MFD_CLOEXEC)) {
    EXPECT_EQ(::write(fd_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    ::lseek(fd_, 0, SEEK_SET);
  }
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;
  ~Input() { ::close(fd_); }
  int fd() const { return fd_; }

 private:
  int fd_;
};

std::vector<std::string> all_lines(const std::string& text, char delimiter = '\n', std::size_t longest = 1 << 20) {
  const Input input(text);
  Lines lines(input.fd(), delimiter, longest);
  std::vector<std::string> result;
  for (auto fill = Lines::Fill::more; fill == Lines::Fill::more;) {
    fill = lines.fill();
    EXPECT_TRUE(fill == Lines::Fill::more || fill == Lines::Fill::end);
    while (const auto line = lines.next()) result.emplace_back(*line);
  }
  return result;
}

using Texts = std::vector<std::string>;

TEST(LinesTest, NothingHasNoLines) { EXPECT_EQ(all_lines(""), Texts{}); }

TEST(LinesTest, ALastLineWithoutItsNewlineCounts) {
  EXPECT_EQ(all_lines("a\nb"), (Texts{"a", "b"}));
  EXPECT_EQ(all_lines("a\nb\n"), (Texts{"a", "b"}));
}

TEST(LinesTest, AnEmptyLineIsALine) {
  EXPECT_EQ(all_lines("\n"), (Texts{""}));
  EXPECT_EQ(all_lines("a\n\n\nb\n"), (Texts{"a", "", "", "b"}));
}

TEST(LinesTest, NulCanEndALineInstead) {
  EXPECT_EQ(all_lines(std::string("a\nb\0c\0", 6), '\0'), (Texts{"a\nb", "c"}));
}

TEST(LinesTest, LinesLongerThanTheBufferComeWhole) {
  const std::string longer(700'000, 'x');
  EXPECT_EQ(all_lines("a\n" + longer + "\nb\n"), (Texts{"a", longer, "b"}));
}

TEST(LinesTest, ManyLinesAcrossManyReadsAreAllThere) {
  std::string text;
  Texts expected;
  for (int i = 0; i < 100'000; ++i) {
    expected.push_back(std::to_string(i * 7919));
    text += expected.back() + "\n";
  }
  EXPECT_EQ(all_lines(text), expected);
}

TEST(LinesTest, ALineThatIsTooLongIsHandedOutBeforeItEnds) {
  const Texts lines = all_lines("ok\n" + std::string(2'000'000, 'x') + "\n", '\n', 300'000);
  ASSERT_GE(lines.size(), 2u);
  EXPECT_EQ(lines[0], "ok");
  EXPECT_GT(lines[1].size(), 300'000u);
}

TEST(LinesTest, TheWholeStreamIsOnePiece) {
  const std::string text = "a\nb\n\n" + std::string(500'000, 'y');
  const Input input(text);
  Lines lines(input.fd(), '\n', 1 << 20);
  std::string_view all;
  EXPECT_EQ(lines.read_all(all), Lines::Fill::end);
  EXPECT_EQ(all, text);
}

TEST(LinesTest, AStreamThatIsTooLongIsSeenToBeSo) {
  const Input input(std::string(400'000, 'z'));
  Lines lines(input.fd(), '\n', 300'000);
  std::string_view all;
  EXPECT_EQ(lines.read_all(all), Lines::Fill::end);
  EXPECT_GT(all.size(), 300'000u);
}

}  // namespace
}  // namespace penstock::tool
