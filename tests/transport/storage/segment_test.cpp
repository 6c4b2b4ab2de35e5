#include "storage/segment.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cstring>

#include "io/file.hpp"
#include "log/checksum.hpp"
#include "log_builder.hpp"

namespace penstock::storage {
namespace {

Front front_of(const std::string& path) {
  const Result<io::Fd> fd = io::open_nofollow(path, O_RDONLY);
  EXPECT_TRUE(fd.has_value());
  Result<Front> front = read_front(fd->get());
  EXPECT_TRUE(front.has_value());
  return std::move(*front);
}

TEST(Segment, NamesSortByOffsetAndAreReadBack) {
  EXPECT_EQ(segment_name(42), "00000000000000000042.seg");
  EXPECT_EQ(index_name(42), "00000000000000000042.idx");
  for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{42}, ~std::uint64_t{0}}) {
    EXPECT_EQ(offset_in_name(segment_name(offset)), offset);
    EXPECT_EQ(offset_in_name(index_name(offset), ".idx"), offset);
  }
  for (const char* name : {"", ".seg", "1.seg", "00000000000000000042.idx", "0000000000000000004x.seg",
                           "00000000000000000042.seg.tmp", "99999999999999999999.seg"}) {
    EXPECT_EQ(offset_in_name(name), std::nullopt) << name;
  }
}

TEST(Segment, ANewFrontHoldsEverythingTwice) {
  const TempDir dir;
  LogBuilder log(7, 130);
  log.write_open(dir.path());
  const Front front = front_of(log.path_in(dir.path()));
  ASSERT_TRUE(front.header && front.progress);
  EXPECT_EQ(front.header->first_offset, 7u);
  EXPECT_EQ(front.header->first_position, 130u);
  EXPECT_STREQ(front.header->topic.text, "orders");
  EXPECT_EQ(front.progress->position, 130u);
  EXPECT_EQ(front.progress->sealed, 0u);
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(front.header_good[std::size_t(i)] && front.progress_good[std::size_t(i)]);
  EXPECT_TRUE(front.rest_zero && front.headers_equal && front.marks_equal);
}

TEST(Segment, OneDamagedCopyOfAnythingIsOutlived) {
  const TempDir dir;
  LogBuilder log(7, 130);
  log.event("x").write_sealed(dir.path());
  const std::string path = log.path_in(dir.path());
  const std::vector<std::byte> whole = read_all(path);
  for (std::size_t at = 0; at < layout::kPage; ++at) {
    std::vector<std::byte> bytes = whole;
    bytes[at] ^= std::byte{0x10};
    write_all(path, bytes);
    const Front front = front_of(path);
    ASSERT_TRUE(front.header && front.progress) << at;
    ASSERT_EQ(front.header->first_offset, 7u);
    ASSERT_EQ(front.progress->sealed, 1u);
    ASSERT_EQ(front.progress->position, log.mark().position);
    const bool seen = !front.header_good[0] || !front.header_good[1] || !front.progress_good[0] ||
                      !front.progress_good[1] || !front.rest_zero;
    ASSERT_TRUE(seen) << at;
  }
}

TEST(Segment, TheNewestMarkCountsAndTheOtherSlotIsWrittenNext) {
  const TempDir dir;
  LogBuilder log;
  log.event("x").event("y").write_open(dir.path());
  const std::string path = log.path_in(dir.path());
  const Result<io::Fd> fd = io::open_nofollow(path, O_RDWR);
  ProgressWriter progress(front_of(path));
  ASSERT_TRUE(progress.write(fd->get(), {2, 1, 1, 1000}, false));
  EXPECT_EQ(front_of(path).progress->position, 2u);
  ASSERT_TRUE(progress.write(fd->get(), {4, 2, 2, 1001}, false));
  EXPECT_EQ(front_of(path).progress->position, 4u);
  // The newest slot torn: the one before holds.
  std::vector<std::byte> bytes = read_all(path);
  bytes[layout::kProgressAt[std::size_t(front_of(path).progress_slot)] + 20] ^= std::byte{1};
  write_all(path, bytes);
  EXPECT_EQ(front_of(path).progress->position, 2u);
}

TEST(Segment, AMarkBeyondAllPositionsDoesNotCount) {
  const TempDir dir;
  LogBuilder log;
  log.event("x").write_open(dir.path());
  const std::string path = log.path_in(dir.path());
  const Result<io::Fd> fd = io::open_nofollow(path, O_RDWR);
  ProgressWriter progress(front_of(path));
  // In bytes this comes round to the file's beginning.
  ASSERT_TRUE(progress.write(fd->get(), {1ull << 58, 1, 1, 1000}, false));
  EXPECT_EQ(front_of(path).progress->position, 0u);
}

TEST(Segment, SealingCutsWhatComesAfterAndSaysSoTwice) {
  const TempDir dir;
  LogBuilder log;
  log.event("keep").event("cut").event("cut too");
  log.write_open(dir.path());
  const std::string path = log.path_in(dir.path());
  const Result<io::Fd> fd = io::open_nofollow(path, O_RDWR);
  ProgressWriter progress(kNonce);
  ASSERT_TRUE(seal(fd->get(), log.header(), progress, {2, 1, 1, 1000}));
  const Front front = front_of(path);
  EXPECT_TRUE(front.slot_sealed[0] && front.slot_sealed[1] && front.marks_equal);
  const std::vector<std::byte> bytes = read_all(path);
  ASSERT_EQ(bytes.size(), 2 * layout::kPage);
  for (std::size_t at = layout::kPage + 128; at < bytes.size(); ++at) ASSERT_EQ(bytes[at], std::byte{0}) << at;
}

TEST(Segment, AWholeHeaderOfAnotherVersionIsIncompatible) {
  const TempDir dir;
  LogBuilder log;
  log.write_open(dir.path());
  const std::string path = log.path_in(dir.path());
  layout::SegmentHeader header = log.header();
  header.preamble.version = layout::kLayoutVersion + 1;
  header.preamble.checksum = 0;
  header.preamble.checksum = log::hash64(&header, sizeof header);
  std::vector<std::byte> bytes = read_all(path);
  for (const std::uint64_t at : layout::kHeaderAt) std::memcpy(bytes.data() + at, &header, sizeof header);
  write_all(path, bytes);
  EXPECT_TRUE(front_of(path).incompatible);
  EXPECT_EQ(SegmentReader::open(path).error().code(), Errc::incompatible);
}

}  // namespace
}  // namespace penstock::storage
