// One suite over every backend.
#include "io/disk.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <numeric>

#include "faulty_disk.hpp"
#include "io/file.hpp"
#include "temp_dir.hpp"

namespace penstock::io {
namespace {

using namespace std::chrono_literals;

struct Backend {
  const char* name;
  std::unique_ptr<Disk> (*make)();
};

class DiskTest : public ::testing::TestWithParam<Backend> {
 protected:
  void SetUp() override {
    disk_ = GetParam().make();
    if (disk_ == nullptr) GTEST_SKIP() << "the kernel refuses io_uring here";
    fd_ = std::move(*create_file(dir_ / "f", 0600));
  }
  // Waits until so many jobs are done.
  std::vector<Completion> reap(std::size_t jobs) {
    std::vector<Completion> done;
    while (done.size() < jobs) {
      const Result<std::size_t> n = disk_->reap(done, 10s);
      EXPECT_TRUE(n.has_value());
      if (!n || *n == 0) break;
    }
    EXPECT_EQ(done.size(), jobs);
    return done;
  }
  Completion run(const Job& job) {
    EXPECT_TRUE(disk_->submit(job));
    const std::vector<Completion> done = reap(1);
    return done.empty() ? Completion{} : done[0];
  }
  static iovec piece(std::string& text) { return {text.data(), text.size()}; }
  std::string contents() {
    const std::vector<std::byte> bytes = read_file(dir_ / "f", 1 << 30).value();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  TempDir dir_;
  Fd fd_;
  std::unique_ptr<Disk> disk_;
};

TEST_P(DiskTest, PiecesAreWrittenOneAfterAnother) {
  std::string a = "hello, ", b, c = "world";
  const iovec pieces[] = {piece(a), piece(b), piece(c)};
  const Completion done = run({.fd = fd_.get(), .file_offset = 2, .pieces = pieces, .tag = 77});
  EXPECT_EQ(done.tag, 77u);
  EXPECT_EQ(done.error, 0);
  EXPECT_EQ(contents(), std::string("\0\0hello, world", 14));
  EXPECT_EQ(disk_->in_flight(), 0u);
}

TEST_P(DiskTest, ThePieceListMayGoOnceItIsSubmitted) {
  std::string text(100'000, 'x');
  {
    std::vector<iovec> pieces{piece(text)};
    ASSERT_TRUE(disk_->submit({.fd = fd_.get(), .pieces = pieces}));
    std::fill(pieces.begin(), pieces.end(), iovec{});
  }
  EXPECT_EQ(reap(1)[0].error, 0);
  EXPECT_EQ(contents(), text);
}

TEST_P(DiskTest, AJobWithoutPiecesFlushesAndOneWithoutAnythingIsDone) {
  EXPECT_EQ(run({.fd = fd_.get(), .tag = 1}).tag, 1u);
  EXPECT_EQ(run({.fd = fd_.get(), .flush = Flush::none, .tag = 2}).tag, 2u);
}

TEST_P(DiskTest, EachOfManyJobsIsCompletedOnce) {
  constexpr std::size_t kJobs = 1000;  // more than the backend's queue
  std::vector<std::uint64_t> values(kJobs);
  std::iota(values.begin(), values.end(), 1000);
  for (std::size_t i = 0; i < kJobs; ++i) {
    const iovec one{&values[i], sizeof values[i]};
    const Flush flush = i % 100 == 0 ? Flush::file : i % 10 == 0 ? Flush::bytes : Flush::none;
    ASSERT_TRUE(disk_->submit({fd_.get(), i * 8, {&one, 1}, flush, i}));
  }
  EXPECT_EQ(disk_->in_flight(), kJobs);
  std::vector<Completion> done = reap(kJobs);
  std::sort(done.begin(), done.end(), [](const auto& a, const auto& b) { return a.tag < b.tag; });
  for (std::size_t i = 0; i < kJobs; ++i) {
    ASSERT_EQ(done[i].tag, i);
    ASSERT_EQ(done[i].error, 0);
  }
  const std::string bytes = contents();
  ASSERT_EQ(bytes.size(), kJobs * 8);
  EXPECT_EQ(std::memcmp(bytes.data(), values.data(), bytes.size()), 0);
}

TEST_P(DiskTest, LookingWithNothingInFlightReturnsAtOnce) {
  std::vector<Completion> done;
  EXPECT_EQ(disk_->reap(done, 3600s).value(), 0u);
  EXPECT_TRUE(done.empty());
}

TEST_P(DiskTest, ARefusedWriteReportsItsErrnoAndOthersGoOn) {
  const Fd read_only = std::move(*open_nofollow(dir_ / "f", O_RDONLY));
  std::string text = "text";
  const iovec one = piece(text);
  ASSERT_TRUE(disk_->submit({read_only.get(), 0, {&one, 1}, Flush::bytes, 1}));
  ASSERT_TRUE(disk_->submit({fd_.get(), 0, {&one, 1}, Flush::bytes, 2}));
  for (const Completion& done : reap(2)) EXPECT_EQ(done.error, done.tag == 1 ? EBADF : 0);
  EXPECT_EQ(contents(), "text");
}

TEST_P(DiskTest, NoSpaceIsReported) {
  const Fd full = std::move(*open_nofollow("/dev/full", O_WRONLY));
  std::string text = "text";
  const iovec one = piece(text);
  EXPECT_EQ(run({full.get(), 0, {&one, 1}, Flush::file, 1}).error, ENOSPC);
}

TEST_P(DiskTest, AFlushThatIsRefusedIsAnError) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const Fd reading(ends[0]), writing(ends[1]);
  EXPECT_NE(run({.fd = writing.get()}).error, 0);
}

TEST_P(DiskTest, AShortWriteIsFinishedOrReportedNeverSwallowed) {
  // Beyond the limit on file sizes a write first ends short, and the rest is refused.
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small { 8192, before.rlim_max };
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  std::string text(20'000, 'x');
  const iovec one = piece(text);
  const Completion done = run({fd_.get(), 0, {&one, 1}, Flush::bytes, 5});
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old);
  EXPECT_EQ(done.error, EFBIG);
  EXPECT_EQ(contents(), std::string(8192, 'x'));
}

TEST_P(DiskTest, TooManyPiecesAreRefusedAtOnce) {
  const std::vector<iovec> pieces(kMaxPieces + 1);
  EXPECT_EQ(disk_->submit({.fd = fd_.get(), .pieces = pieces}).error().code(), Errc::invalid_argument);
  EXPECT_EQ(disk_->in_flight(), 0u);
}

TEST_P(DiskTest, DestroyingItFinishesWhatIsInFlight) {
  std::string text(1 << 20, 'y');
  const iovec one = piece(text);
  for (std::uint64_t i = 0; i < 8; ++i) ASSERT_TRUE(disk_->submit({fd_.get(), i << 20, {&one, 1}, Flush::bytes, i}));
  disk_.reset();
  EXPECT_EQ(contents(), std::string(8 << 20, 'y'));
}

INSTANTIATE_TEST_SUITE_P(Backends, DiskTest,
                         ::testing::Values(Backend{"io_uring", [] { return make_uring_disk(); }},
                                           Backend{"pwrite", [] { return make_pwrite_disk(); }},
                                           Backend{"pwrite_without_threads", [] { return make_pwrite_disk(0); }},
                                           Backend{"default_choice", [] { return make_disk(); }},
                                           Backend{"faultless_faulty",
                                                   []() -> std::unique_ptr<Disk> {
                                                     return std::make_unique<FaultyDisk>(make_pwrite_disk());
                                                   }}),
                         [](const auto& param_info) { return param_info.param.name; });

TEST(Disk, ForcedPwriteIsPwrite) { EXPECT_EQ(make_disk(true)->name(), "pwrite"); }

TEST(Disk, AFaultyDiskFailsTheJobItWasToldTo) {
  const TempDir dir;
  const Fd fd = std::move(*create_file(dir / "f", 0600));
  FaultyDisk disk(make_pwrite_disk(0));
  disk.fail(1, EIO);
  for (std::uint64_t i = 0; i < 3; ++i) ASSERT_TRUE(disk.submit({.fd = fd.get(), .tag = i}));
  std::vector<Completion> done;
  ASSERT_EQ(disk.reap(done, 1s).value(), 3u);
  for (const Completion& one : done) EXPECT_EQ(one.error, one.tag == 1 ? EIO : 0);
}

TEST(Disk, WrittenBytesAreDroppedAcrossPieces) {
  std::string a = "abc", b, c = "defg";
  iovec all[] = {{a.data(), 3}, {b.data(), 0}, {c.data(), 4}};
  std::span<iovec> left = drop_written(all, 4);
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(std::string(static_cast<char*>(left[0].iov_base), left[0].iov_len), "efg");
  EXPECT_TRUE(drop_written(left, 3).empty());
  iovec again[] = {{a.data(), 3}, {b.data(), 0}, {c.data(), 4}};
  EXPECT_EQ(drop_written(again, 3).size(), 1u);  // an empty piece would look like a write of nothing
  iovec untouched[] = {{a.data(), 3}, {c.data(), 4}};
  EXPECT_EQ(drop_written(untouched, 0).size(), 2u);
}

}  // namespace
}  // namespace penstock::io
