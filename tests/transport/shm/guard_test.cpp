#include "shm/guard.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

namespace penstock::shm {
namespace {

constexpr std::size_t kBytes = 8192;

class GuardTest : public ::testing::Test {
 protected:
  GuardTest() : file_(std::tmpfile()), fd_(::fileno(file_)) {
    EXPECT_EQ(::ftruncate(fd_, kBytes), 0);
    at_ = static_cast<volatile char*>(::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0));
  }
  ~GuardTest() override {
    ::munmap(const_cast<char*>(at_), kBytes);
    std::fclose(file_);
  }
  off_t size() const {
    struct stat info {};
    ::fstat(fd_, &info);
    return info.st_size;
  }
  void* at() const { return const_cast<char*>(at_); }
  std::FILE* file_;
  int fd_;
  volatile char* at_;
};

TEST_F(GuardTest, AFileCutShortIsMadeWholeAgain) {
  const Guard guard(at(), kBytes, fd_);
  at_[5000] = 7;
  ASSERT_EQ(::ftruncate(fd_, 0), 0);
  EXPECT_EQ(at_[5000], 0);  // what was there is gone
  at_[5000] = 8;
  EXPECT_EQ(size(), off_t(kBytes));
  char back = 0;
  ASSERT_EQ(::pread(fd_, &back, 1, 5000), 1);
  EXPECT_EQ(back, 8);  // others see it
}

TEST_F(GuardTest, WithoutTheRightToWriteThePageIsZeroesOfOurOwn) {
  const Guard guard(at(), kBytes, -1);
  at_[0] = 7;
  ASSERT_EQ(::ftruncate(fd_, 0), 0);
  at_[0] = 9;
  EXPECT_EQ(at_[0], 9);
  EXPECT_EQ(at_[4096], 0);
  EXPECT_EQ(size(), 0);
}

TEST_F(GuardTest, AFileCutAgainAndAgainStillLetsUsGoOn) {
  const Guard guard(at(), kBytes, fd_);
  for (int i = 0; i < 5000; ++i) {
    ASSERT_EQ(::ftruncate(fd_, 0), 0);
    at_[i % int(kBytes)] = char(i);
    ASSERT_EQ(at_[i % int(kBytes)], char(i));
  }
}

TEST_F(GuardTest, EachMappingIsMendedByItsOwnGuard) {
  Guard moved(at(), kBytes, fd_);
  const Guard guard = std::move(moved);
  for (int i = 0; i < 1000; ++i) Guard(reinterpret_cast<void*>(std::uintptr_t(4096) * unsigned(i + 1)), 4096, -1);
  ASSERT_EQ(::ftruncate(fd_, 0), 0);
  at_[0] = 1;
  EXPECT_EQ(size(), off_t(kBytes));
}

sigjmp_buf g_back;
void jump(int) { ::siglongjmp(g_back, 1); }

// In a process of its own, whose handler is there before the guard's.
TEST_F(GuardTest, ABusErrorElsewhereGoesToTheHandlerThereWas) {
  const auto fault_elsewhere = [this] {
    ::signal(SIGBUS, jump);
    char other[] = "/tmp/penstock-guard-XXXXXX";
    const int fd = ::mkstemp(other);
    ::unlink(other);
    auto* unguarded = static_cast<volatile char*>(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    const Guard guard(at(), kBytes, fd_);
    if (::sigsetjmp(g_back, 1) == 0)
      unguarded[0] = 1;
    else
      ::_exit(42);
    ::_exit(0);
  };
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(fault_elsewhere(), ::testing::ExitedWithCode(42), "");
}

TEST_F(GuardTest, WithoutAHandlerABusErrorElsewhereEndsTheProcess) {
  const auto fault_elsewhere = [this] {
    ::signal(SIGBUS, SIG_DFL);
    const Guard guard(at(), 4096, fd_);
    if (::ftruncate(fd_, 4096) != 0) ::_exit(1);
    at_[4096] = 1;  // of the same mapping, and not guarded
    ::_exit(0);
  };
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(fault_elsewhere(), ::testing::KilledBySignal(SIGBUS), "");
}

}  // namespace
}  // namespace penstock::shm
