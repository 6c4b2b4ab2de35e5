#include "storage/segment_writer.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <filesystem>

#include "log_builder.hpp"
#include "storage/verify.hpp"

namespace penstock::storage {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

// Memory aligned as a ring is: line p of the log stands at (p mod lines) * 64.
class Ring {
 public:
  explicit Ring(const LogBuilder& log) : log_(log) {
    const std::size_t from = log.first().position % layout::kLinesPerPage * layout::kLine;
    const std::size_t bytes = (from + log.bytes().size() + layout::kPage - 1) / layout::kPage * layout::kPage;
    memory_ = static_cast<std::byte*>(std::aligned_alloc(layout::kPage, bytes));
    std::memset(memory_, 0xee, bytes);
    std::memcpy(memory_ + from, log.bytes().data(), log.bytes().size());
    start_ = memory_ + from;
  }
  ~Ring() { std::free(memory_); }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  Piece lines(std::uint64_t from, std::uint64_t to) const {
    return {start_ + (from - log_.first().position) * layout::kLine, (to - from) * layout::kLine};
  }

 private:
  const LogBuilder& log_;
  std::byte* memory_;
  std::byte* start_;
};

class SegmentWriterTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    options_ = {.directory = dir_.path(), .topic = "orders", .bus_id = 9, .topic_id = 8, .nonce = kNonce};
    options_.direct = GetParam();
  }
  std::unique_ptr<SegmentWriter> create(const LogBuilder& log) {
    auto writer = SegmentWriter::create(options_, log.first().offset, log.first().position, 0);
    EXPECT_TRUE(writer.has_value());
    return std::move(*writer);
  }
  // Plans and writes until all pieces are on disk.
  void write(SegmentWriter& writer, std::uint64_t position, std::vector<Piece> pieces, std::uint64_t now = 0) {
    while (!pieces.empty()) {
      Result<Plan> plan = writer.plan(position, pieces, now);
      ASSERT_TRUE(plan.has_value()) << int(plan.error().code());
      ASSERT_GT(plan->lines, 0u);
      if (writer.direct()) {
        EXPECT_EQ(plan->job.file_offset % layout::kPage, 0u);
        for (const iovec& piece : plan->job.pieces) {
          EXPECT_EQ(reinterpret_cast<std::uintptr_t>(piece.iov_base) % layout::kPage, 0u);
          EXPECT_EQ(piece.iov_len % layout::kPage, 0u);
        }
      }
      ASSERT_TRUE(disk_->submit(plan->job));
      std::vector<io::Completion> done;
      ASSERT_EQ(disk_->reap(done, std::chrono::seconds(10)).value(), 1u);
      ASSERT_EQ(done[0].error, 0);
      position += plan->lines;
      std::uint64_t bytes = plan->lines * layout::kLine;
      while (!pieces.empty() && bytes >= pieces[0].bytes) bytes -= pieces[0].bytes, pieces.erase(pieces.begin());
      if (!pieces.empty()) {
        if (pieces[0].data != nullptr) pieces[0].data += bytes;
        pieces[0].bytes -= bytes;
      }
    }
  }
  Story story(const LogBuilder& log) {
    Result<SegmentReader> reader = SegmentReader::open(log.path_in(dir_.path()));
    EXPECT_TRUE(reader.has_value());
    return read_story(*reader);
  }

  TempDir dir_;
  SegmentOptions options_;
  std::unique_ptr<io::Disk> disk_ = io::make_disk();
};

INSTANTIATE_TEST_SUITE_P(Modes, SegmentWriterTest, ::testing::Bool(),
                         [](const auto& param_info) { return param_info.param ? "direct" : "buffered"; });

TEST_P(SegmentWriterTest, WhatIsWrittenClaimByClaimIsReadSealedAndVerified) {
  LogBuilder log(3, 70);
  for (int i = 0; i < 60; ++i) log.event(std::string(static_cast<std::size_t>(i * 37 % 700), 'p'), i % 3 == 0 ? 1 : 0);
  const Ring ring(log);
  auto writer = create(log);
  EXPECT_TRUE(writer->empty());
  for (std::size_t i = 0; i < log.claims().size(); ++i) {
    const std::uint64_t end = i + 1 < log.claims().size() ? log.claims()[i + 1].position : log.mark().position;
    write(*writer, log.claims()[i].position, {ring.lines(log.claims()[i].position, end)});
    writer->note_claim(log.claims()[i].position, log.claims()[i].offset, 0);
  }
  ASSERT_TRUE(writer->flushed(log.mark(), 1));
  EXPECT_EQ(story(log).events, log.events());
  ASSERT_TRUE(writer->seal());
  EXPECT_EQ(story(log).events, log.events());
  const Result<FileReport> report = verify_segment(log.path_in(dir_.path()));
  EXPECT_TRUE(report->ok) << (report->problems.empty() ? "" : report->problems[0]);
  EXPECT_EQ(report->events, 60u);
  EXPECT_EQ(std::filesystem::file_size(writer->path()) % layout::kPage, 0u);
}

TEST_P(SegmentWriterTest, ALargeRunGoesStraightFromThePagesAndTheNextNeedNotWaitForIt) {
  LogBuilder log(0, 5);
  log.event(std::string(3 << 20, 'L')).event("after");
  const Ring ring(log);
  auto writer = create(log);
  const std::uint64_t end = log.mark().position;
  const Piece all = ring.lines(5, end);
  const Result<Plan> most = writer->plan(5, {&all, 1}, 0);
  ASSERT_TRUE(most.has_value());
  EXPECT_TRUE(most->ends_block);
  EXPECT_GT(most->lines + layout::kPage / layout::kLine, end - 5);  // all but what begins a block
  EXPECT_LE(most->job.pieces.size(), 2u);                           // a begun block, the pages
  const Piece left = ring.lines(5 + most->lines, end);
  const Result<Plan> rest = writer->plan(5 + most->lines, {&left, 1}, 0);
  ASSERT_TRUE(rest.has_value());
  EXPECT_FALSE(rest->ends_block);
  for (const auto* plan : {&*rest, &*most}) ASSERT_TRUE(disk_->submit(plan->job));  // the later one first
  std::vector<io::Completion> done;
  while (disk_->in_flight() > 0) ASSERT_TRUE(disk_->reap(done, std::chrono::seconds(10)));
  for (const io::Completion& one : done) EXPECT_EQ(one.error, 0);
  ASSERT_TRUE(writer->flushed(log.mark(), 0));
  ASSERT_TRUE(writer->seal());
  EXPECT_EQ(story(log).events, log.events());
}

TEST_P(SegmentWriterTest, TheNameOfASegmentThatHoldsNothingIsTakenOver) {
  LogBuilder log(0, 5);
  log.event("text");
  const Ring ring(log);
  const Piece all = ring.lines(5, log.mark().position);
  ASSERT_TRUE(create(log)->plan(5, {&all, 1}, 0));  // and never written
  auto again = SegmentWriter::create(options_, 0, 5, 0);
  ASSERT_TRUE(again.has_value());
  write(**again, 5, {all});
  ASSERT_TRUE((*again)->flushed(log.mark(), 0));
  ASSERT_TRUE((*again)->seal());
  EXPECT_EQ(story(log).events, log.events());
}

TEST_P(SegmentWriterTest, TheJobAfterAMarkFlushesIt) {
  LogBuilder log(0, 0);
  log.event("one").event("two");
  const Ring ring(log);
  auto writer = create(log);
  const Piece first = ring.lines(0, 2), second = ring.lines(2, 4), third = ring.lines(4, 6);
  EXPECT_EQ(writer->plan(0, {&first, 1}, 0)->job.flush, io::Flush::bytes);
  ASSERT_TRUE(writer->flushed({2, 1, 1, 1000}, 2'000'000'000));
  EXPECT_EQ(writer->plan(2, {&second, 1}, 0)->job.flush, io::Flush::file);
  EXPECT_EQ(writer->plan(4, {&third, 1}, 0)->job.flush, io::Flush::bytes);
}

TEST_P(SegmentWriterTest, PiecesFromAnywhereAndZerosAreGatheredIntoWholeBlocks) {
  // A dead owner's claim: a rewritten head from elsewhere, then zeros for its body; around it lines of the ring.
  LogBuilder log(0, 0);
  log.event("before").aborted(1, 5000).event("after");
  const Ring ring(log);
  const std::uint64_t dead = log.claims()[1].position;
  const std::uint64_t end = log.claims()[2].position;
  std::vector<std::byte> head(log.bytes().begin() + static_cast<std::ptrdiff_t>(dead * 64),
                              log.bytes().begin() + static_cast<std::ptrdiff_t>(dead * 64 + 64));
  auto writer = create(log);
  write(
      *writer, 0,
      {ring.lines(0, dead), {head.data(), 64}, {nullptr, (end - dead - 1) * 64}, ring.lines(end, log.mark().position)});
  ASSERT_TRUE(writer->flushed(log.mark(), 0));
  ASSERT_TRUE(writer->seal());
  const Story read = story(log);
  EXPECT_EQ(read.events, log.events());
  EXPECT_EQ(read.aborted, 1u);
  const std::vector<std::byte> bytes = read_all(log.path_in(dir_.path()));
  EXPECT_EQ(std::memcmp(bytes.data() + layout::kPage, log.bytes().data(), log.bytes().size()), 0);
}

TEST_P(SegmentWriterTest, UnalignedMemoryIsCopiedAJobAtATime) {
  LogBuilder log;
  log.event(std::string(500'000, 'u'));
  std::vector<std::byte> elsewhere(log.bytes().size() + 128);
  std::memcpy(elsewhere.data() + 64, log.bytes().data(), log.bytes().size());
  auto writer = create(log);
  const bool aligned = reinterpret_cast<std::uintptr_t>(elsewhere.data() + 64) % layout::kPage == 0;
  ASSERT_FALSE(aligned);
  write(*writer, 0, {{elsewhere.data() + 64, log.bytes().size()}});
  ASSERT_TRUE(writer->flushed(log.mark(), 0));
  ASSERT_TRUE(writer->seal());
  EXPECT_EQ(story(log).events, log.events());
}

TEST_P(SegmentWriterTest, TheRingsLinesMayBeReusedOnceTheyAreFlushed) {
  LogBuilder log;
  log.event("one").event("two").event("three");
  auto writer = create(log);
  for (std::size_t i = 0; i < 3; ++i) {
    const Ring ring(log);  // gone, with all before it, when the next is written
    const std::uint64_t end = i < 2 ? log.claims()[i + 1].position : log.mark().position;
    write(*writer, log.claims()[i].position, {ring.lines(log.claims()[i].position, end)});
  }
  ASSERT_TRUE(writer->flushed(log.mark(), 0));
  EXPECT_EQ(story(log).events, log.events());
}

TEST_P(SegmentWriterTest, APlanMustBeginWhereTheLastOneEnded) {
  LogBuilder log;
  log.event("one");
  const Ring ring(log);
  auto writer = create(log);
  const Piece piece = ring.lines(0, 2);
  EXPECT_FALSE(writer->plan(1, {&piece, 1}, 0));
  EXPECT_FALSE(writer->plan(0, {}, 0));
  const Piece odd{piece.data, 65};
  EXPECT_FALSE(writer->plan(0, {&odd, 1}, 0));
  EXPECT_TRUE(writer->plan(0, {&piece, 1}, 0));
  EXPECT_FALSE(writer->plan(0, {&piece, 1}, 0));
}

TEST_P(SegmentWriterTest, AClaimThatDoesNotFitBelongsInTheNextSegment) {
  options_.segment_bytes = 1 << 20;
  LogBuilder log(0, 10);
  auto writer = create(log);
  EXPECT_TRUE(writer->fits(10, layout::kMaxClaimLines));  // alone it has a segment of its own
  EXPECT_TRUE(writer->fits(11, 1000));
  const std::uint64_t lines = ((1 << 20) - layout::kPage) / layout::kLine;
  EXPECT_TRUE(writer->fits(11, lines - 11));
  EXPECT_FALSE(writer->fits(11, lines - 10));
}

TEST_P(SegmentWriterTest, TheMarkIsWrittenAboutOnceASecond) {
  LogBuilder log;
  log.event("one").event("two").event("three");
  log.write_sealed(dir_.path());
  std::filesystem::remove(log.path_in(dir_.path()));
  auto writer = create(log);
  const auto marked = [&] {
    Result<SegmentReader> reader = SegmentReader::open(log.path_in(dir_.path()));
    return reader->front().progress->position;
  };
  ASSERT_TRUE(writer->flushed({2, 1, 1, 1000}, kSecond / 2));
  EXPECT_EQ(marked(), 0u);
  ASSERT_TRUE(writer->flushed({4, 2, 2, 1001}, kSecond));
  EXPECT_EQ(marked(), 4u);
  ASSERT_TRUE(writer->flushed({6, 3, 3, 1002}, kSecond + 5));
  EXPECT_EQ(marked(), 4u);
  ASSERT_TRUE(writer->write_mark(2 * kSecond));  // the topic fell silent
  EXPECT_EQ(marked(), 6u);
}

TEST_P(SegmentWriterTest, AbandoningKeepsWhatIsDurableAndCutsTheRest) {
  LogBuilder log;
  log.event("durable").event("failed");
  const Ring ring(log);
  auto writer = create(log);
  write(*writer, 0, {ring.lines(0, log.claims()[1].position)});
  ASSERT_TRUE(writer->flushed({log.claims()[1].position, 1, 1, 1000}, 0));
  write(*writer, log.claims()[1].position, {ring.lines(log.claims()[1].position, log.mark().position)});
  writer->abandon();
  const Story read = story(log);
  ASSERT_EQ(read.events.size(), 1u);
  EXPECT_EQ(read.end.position, log.claims()[1].position);
  EXPECT_TRUE(verify_segment(log.path_in(dir_.path()))->ok);
}

TEST_P(SegmentWriterTest, AbandoningWithNothingDurableLeavesNoFile) {
  LogBuilder log;
  auto writer = create(log);
  writer->abandon();
  EXPECT_TRUE(std::filesystem::is_empty(dir_.path()));
}

TEST_P(SegmentWriterTest, NoSpaceWhileGrowingChangesNothingAndGoesOnLater) {
  LogBuilder log;
  log.event(std::string(1 << 20, 's')).event("after");
  const Ring ring(log);
  auto writer = create(log);
  const std::uint64_t before = writer->file_bytes();
  struct rlimit old {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small { before, old.rlim_max };
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const Piece all = ring.lines(0, log.mark().position);
  const Result<Plan> refused = writer->plan(0, {&all, 1}, 0);
  ::setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, handler);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().detail(), std::uint32_t{EFBIG});
  EXPECT_EQ(writer->file_bytes(), before);
  EXPECT_EQ(writer->planned(), 0u);
  write(*writer, 0, {all});
  ASSERT_TRUE(writer->flushed(log.mark(), 0));
  EXPECT_EQ(story(log).events, log.events());
}

TEST_P(SegmentWriterTest, TheFileGrowsInLargerStepsWhileTheyAreQuickWithinTheSegmentsSize) {
  options_.segment_bytes = 4 << 20;
  LogBuilder log;
  for (int i = 0; i < 60; ++i) log.event(std::string(60'000, 'g'));
  const Ring ring(log);
  auto writer = create(log);
  EXPECT_EQ(writer->file_bytes(), 256u << 10);
  std::vector<std::uint64_t> sizes{writer->file_bytes()};
  for (std::size_t i = 0; i < log.claims().size(); ++i) {
    const std::uint64_t end = i + 1 < log.claims().size() ? log.claims()[i + 1].position : log.mark().position;
    write(*writer, log.claims()[i].position, {ring.lines(log.claims()[i].position, end)});
    if (writer->file_bytes() != sizes.back()) sizes.push_back(writer->file_bytes());
  }
  EXPECT_EQ(sizes, (std::vector<std::uint64_t>{256 << 10, 1280 << 10, 4 << 20}));
  struct stat status {};
  ASSERT_EQ(::stat(writer->path().c_str(), &status), 0);
  EXPECT_GE(status.st_blocks * 512, 4 << 20);
  EXPECT_EQ(writer->next_step(2'000'000'000), 4u << 20);
  EXPECT_EQ(writer->next_step(70'000'000'000), 1u << 20);  // that took a minute
  options_.step = writer->next_step(0);
  EXPECT_EQ(create(LogBuilder(7, 70))->file_bytes(), 4u << 20);  // the next one is allocated whole
}

TEST_P(SegmentWriterTest, ItHasTheModeAskedForAndNoTemporaryStays) {
  options_.mode = 0640;
  LogBuilder log;
  auto writer = create(log);
  struct stat status {};
  ASSERT_EQ(::stat(writer->path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0640u);
  EXPECT_FALSE(std::filesystem::exists(writer->path() + ".tmp"));
  options_.directory = dir_ / "nowhere";
  EXPECT_EQ(SegmentWriter::create(options_, 0, 0, 0).error().code(), Errc::not_found);
}

}  // namespace
}  // namespace penstock::storage
