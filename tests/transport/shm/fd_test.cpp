#include "shm/fd.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/support/scratch.hpp"

namespace penstock::shm {
namespace {

// With its stdin closed, as if it had been started so.
template <class Body>
void without_stdin(Body&& body) {
  const int kept = ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 100);
  ::close(STDIN_FILENO);
  body();
  if (kept < 0) return;
  ::dup2(kept, STDIN_FILENO);
  ::close(kept);
}

TEST(Fd, NoFileOfOursTakesTheNumberOfAClosedStandardStream) {
  const test::Scratch folder;
  const std::string mine = folder / "mine";
  without_stdin([&] {
    const auto created = create_file(mine, 0600, 100);
    const auto opened = open_file(mine, true);
    const auto unnamed = create_unnamed_file(folder.path(), 0600, 100);
    ASSERT_TRUE(created && opened);
    EXPECT_GT(created->get(), STDERR_FILENO);
    EXPECT_GT(opened->get(), STDERR_FILENO);
    if (unnamed) {  // not every file system has these
      EXPECT_GT(unnamed->get(), STDERR_FILENO);
    }
    EXPECT_LT(::fcntl(STDIN_FILENO, F_GETFD), 0);
  });
}

TEST(Fd, AReservedStandardStreamIsStillNoneThatCanBeUsed) {
  without_stdin([] {
    reserve_standard_descriptors();
    char byte = 0;
    EXPECT_GE(::fcntl(STDIN_FILENO, F_GETFD), 0);
    EXPECT_LT(::read(STDIN_FILENO, &byte, 1), 0);
    ::close(STDIN_FILENO);
  });
}

}  // namespace
}  // namespace penstock::shm
