#include "tools/penstock/handlers.hpp"

#include <gtest/gtest.h>
#include <signal.h>

namespace penstock::tool {
namespace {

// What waitpid says of an exit and of a death by a signal.
int exited(int code) { return code << 8; }

TEST(HandlersTest, ZeroAcksAndAHundredRejectsAndTheRestNaks) {
  EXPECT_EQ(verdict_of(exited(0), "said").kind, Verdict::Kind::ack);
  EXPECT_EQ(verdict_of(exited(100), "said").kind, Verdict::Kind::reject);
  for (const int code : {1, 2, 99, 101, 255}) {
    const Verdict verdict = verdict_of(exited(code), "said");
    EXPECT_EQ(verdict.kind, Verdict::Kind::nak);
    EXPECT_EQ(verdict.error_class, "exit-" + std::to_string(code));
    EXPECT_EQ(verdict.reason, "said");
  }
}

TEST(HandlersTest, ADeathBySignalIsNamed) {
  const Verdict verdict = verdict_of(SIGKILL, "");
  EXPECT_EQ(verdict.kind, Verdict::Kind::nak);
  EXPECT_EQ(verdict.error_class, "signal-9");
}

TEST(HandlersTest, ADeathBySignalThatTheShellTellsIsNamedTheSame) {
  const Verdict verdict = verdict_of(exited(128 + SIGSEGV), "Segmentation fault");
  EXPECT_EQ(verdict.kind, Verdict::Kind::nak);
  EXPECT_EQ(verdict.error_class, "signal-11");
  EXPECT_EQ(verdict_of(exited(128), "").error_class, "exit-128");
  EXPECT_EQ(verdict_of(exited(200), "").error_class, "exit-200");
}

std::string last_of(const std::vector<std::string>& pieces) {
  LastLine line;
  for (const std::string& piece : pieces) line.feed(piece);
  return line.take();
}

TEST(HandlersTest, TheReasonIsTheLastLineThatSaysSomething) {
  EXPECT_EQ(last_of({}), "");
  EXPECT_EQ(last_of({"one\ntwo\n"}), "two");
  EXPECT_EQ(last_of({"one\ntwo"}), "two");
  EXPECT_EQ(last_of({"one\n\n  \n\n"}), "one");
  EXPECT_EQ(last_of({"split ac", "ross\r\n"}), "split across");
}

TEST(HandlersTest, AnEndlessLineIsCut) { EXPECT_EQ(last_of({std::string(5000, 'x')}).size(), 1000u); }

}  // namespace
}  // namespace penstock::tool
