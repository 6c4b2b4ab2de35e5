#include "io/file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "temp_dir.hpp"

namespace penstock::io {
namespace {

std::vector<std::byte> bytes_of(std::string_view text) {
  std::vector<std::byte> bytes(text.size());
  if (!text.empty()) std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

TEST(File, ErrnoBecomesAnErrorThatSaysWhatToDo) {
  EXPECT_EQ(error_of(ENOSPC), Error(Errc::no_space, ENOSPC));
  EXPECT_EQ(error_of(EDQUOT), Error(Errc::no_space, EDQUOT));
  EXPECT_EQ(error_of(EIO), Error(Errc::disk, EIO));
  EXPECT_EQ(error_of(EACCES), Error(Errc::permission, EACCES));
  EXPECT_EQ(error_of(EPERM), Error(Errc::permission, EPERM));
  EXPECT_EQ(error_of(ENOENT), Error(Errc::not_found, ENOENT));
  EXPECT_EQ(error_of(EEXIST), Error(Errc::already_exists, EEXIST));
  EXPECT_EQ(error_of(EMFILE), Error(Errc::system, EMFILE));
}

TEST(File, ANewFileHasItsModeWhateverTheUmask) {
  const TempDir dir;
  const mode_t before = ::umask(0777);
  const Result<Fd> fd = create_file(dir / "f", 0640);
  ::umask(before);
  ASSERT_TRUE(fd.has_value());
  struct stat status {};
  ASSERT_EQ(::fstat(fd->get(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0640u);
  EXPECT_EQ(::fcntl(fd->get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST(File, CreatingWhatIsThereIsRefused) {
  const TempDir dir;
  ASSERT_TRUE(create_file(dir / "f", 0600));
  EXPECT_EQ(create_file(dir / "f", 0600).error().code(), Errc::already_exists);
}

TEST(File, ALinkIsNotFollowed) {
  const TempDir dir;
  ASSERT_TRUE(create_file(dir / "f", 0600));
  ASSERT_EQ(::symlink((dir / "f").c_str(), (dir / "link").c_str()), 0);
  EXPECT_FALSE(open_nofollow(dir / "link", O_RDONLY));
  EXPECT_FALSE(open_or_create(dir / "link", 0600));
  EXPECT_TRUE(open_nofollow(dir / "f", O_RDONLY));
}

TEST(File, NoneTakesTheNumberOfAClosedStandardStream) {
  const TempDir dir;
  const int kept = ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 100);
  ::close(STDIN_FILENO);
  const Result<Fd> created = create_file(dir / "f", 0600);
  const Result<Fd> opened = open_nofollow(dir / "f", O_RDWR);
  if (kept >= 0) ::dup2(kept, STDIN_FILENO), ::close(kept);
  ASSERT_TRUE(created && opened);
  EXPECT_GT(created->get(), STDERR_FILENO);
  EXPECT_GT(opened->get(), STDERR_FILENO);
}

TEST(File, OpenOrCreateTellsWhich) {
  const TempDir dir;
  bool created = false;
  ASSERT_TRUE(open_or_create(dir / "f", 0600, &created));
  EXPECT_TRUE(created);
  ASSERT_TRUE(open_or_create(dir / "f", 0600, &created));
  EXPECT_FALSE(created);
}

TEST(File, WhatIsWrittenIsReadAndTheEndIsTold) {
  const TempDir dir;
  const Result<Fd> fd = create_file(dir / "f", 0600);
  ASSERT_TRUE(pwrite_exact(fd->get(), bytes_of("hello"), 3));
  std::vector<std::byte> eight(8), nine(9);
  ASSERT_TRUE(pread_exact(fd->get(), eight, 0));
  EXPECT_EQ(std::memcmp(eight.data(), "\0\0\0hello", 8), 0);
  EXPECT_EQ(pread_exact(fd->get(), nine, 0).error().code(), Errc::corrupt);
  EXPECT_EQ(pread_some(fd->get(), nine, 0).value(), 8u);
  EXPECT_EQ(read_file(dir / "f", 8).value().size(), 8u);
  EXPECT_EQ(read_file(dir / "f", 7).error().code(), Errc::too_large);
}

TEST(File, AllocateReservesAndGrows) {
  const TempDir dir;
  const Result<Fd> fd = create_file(dir / "f", 0600);
  ASSERT_TRUE(allocate(fd->get(), 0, 100'000));
  EXPECT_EQ(file_size(fd->get()).value(), 100'000u);
  struct stat status {};
  ASSERT_EQ(::fstat(fd->get(), &status), 0);
  EXPECT_GE(status.st_blocks * 512, 100'000);
}

TEST(File, AFileIsReplacedAsAWhole) {
  const TempDir dir;
  ASSERT_TRUE(replace_file(dir / "f", bytes_of("old and longer"), 0600));
  ASSERT_TRUE(create_file(dir / "f.tmp", 0600));  // left by who was killed
  ASSERT_TRUE(replace_file(dir / "f", bytes_of("new"), 0600));
  EXPECT_EQ(read_file(dir / "f", 100).value(), bytes_of("new"));
  EXPECT_EQ(list_directory(dir.path()).value(), std::vector<std::string>{"f"});
}

TEST(File, AFailedReplacementLeavesTheOldFile) {
  const TempDir dir;
  ASSERT_TRUE(replace_file(dir / "f", bytes_of("old"), 0600));
  ASSERT_EQ(::mkdir((dir / "f.tmp").c_str(), 0700), 0);  // nothing can be created there
  EXPECT_FALSE(replace_file(dir / "f", bytes_of("new"), 0600));
  EXPECT_EQ(read_file(dir / "f", 100).value(), bytes_of("old"));
}

TEST(File, RemovingWhatIsNotThereIsNoError) {
  const TempDir dir;
  EXPECT_TRUE(remove_file(dir / "f"));
  EXPECT_EQ(open_nofollow(dir / "f", O_RDONLY).error().code(), Errc::not_found);
}

TEST(File, TheDirectoryOfAPath) {
  EXPECT_EQ(directory_of("a/b/c"), "a/b");
  EXPECT_EQ(directory_of("/c"), "/");
  EXPECT_EQ(directory_of("c"), ".");
}

TEST(File, AMovedDescriptorIsClosedOnce) {
  const TempDir dir;
  Fd a = std::move(*create_file(dir / "f", 0600));
  const int number = a.get();
  Fd b = std::move(a);
  EXPECT_FALSE(a);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(b.get(), number);
  b.reset();
  EXPECT_EQ(::fcntl(number, F_GETFD), -1);
}

}  // namespace
}  // namespace penstock::io
