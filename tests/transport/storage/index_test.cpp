#include "storage/index.hpp"

#include <gtest/gtest.h>

#include "log_builder.hpp"

namespace penstock::storage {
namespace {

class IndexTest : public ::testing::Test {
 protected:
  IndexTest() : log_(5, 10) {
    for (int i = 0; i < 300; ++i) log_.event(std::string(2000, 'x'));
    log_.write_sealed(dir_.path());
  }
  TempDir dir_;
  LogBuilder log_;
};

TEST_F(IndexTest, ARebuiltIndexNamesAClaimAboutEvery64KiB) {
  const auto entries = rebuild_index(dir_.path(), 5, 0600);
  ASSERT_TRUE(entries.has_value());
  EXPECT_EQ(entries->size(), 10u);  // an event has 33 lines, so every 32nd has an entry
  std::uint64_t latest = 0;
  std::size_t at = 0;
  for (const Written& event : log_.events()) {
    if (at < entries->size() && (*entries)[at].offset == event.offset) {
      EXPECT_EQ((*entries)[at].position, event.position);
      EXPECT_EQ((*entries)[at].time_ns, latest);
      ++at;
    }
    latest = std::max(latest, event.time);
  }
  EXPECT_EQ(at, entries->size());
  const auto again = read_index(dir_.path(), log_.header());
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->size(), entries->size());
}

TEST_F(IndexTest, SeekingWithTheIndexFindsWhatSeekingWithoutItFinds) {
  for (const bool indexed : {false, true}) {
    if (indexed) {
      ASSERT_TRUE(rebuild_index(dir_.path(), 5, 0600));
    }
    Result<SegmentReader> reader = SegmentReader::open(log_.path_in(dir_.path()));
    for (const Written& event : log_.events()) {
      ASSERT_TRUE(reader->seek_offset(event.offset));
      ASSERT_EQ(reader->next()->position, event.position);
      ASSERT_TRUE(reader->seek_time(event.time));
      ASSERT_EQ(reader->next()->offset, event.offset);
    }
  }
}

TEST_F(IndexTest, AnyFlippedByteMakesItCorrupt) {
  ASSERT_TRUE(rebuild_index(dir_.path(), 5, 0600));
  const std::string path = dir_ / index_name(5);
  const std::vector<std::byte> whole = read_all(path);
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::vector<std::byte> bytes = whole;
    bytes[at] ^= std::byte{2};
    write_all(path, bytes);
    ASSERT_EQ(read_index(dir_.path(), log_.header()).error().code(), Errc::corrupt) << at;
  }
  for (std::size_t size = 0; size < whole.size(); ++size) {
    write_all(path, {whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)});
    ASSERT_FALSE(read_index(dir_.path(), log_.header())) << size;
  }
}

TEST_F(IndexTest, AnIndexThatLiesCostsTimeNotTruth) {
  // Whole, but its entries name lines where no such claim stands.
  std::vector<layout::IndexEntry> entries{{5, 10, 0}, {100, 2000, 1}, {200, 5000, 2}};
  ASSERT_TRUE(write_index(dir_.path(), log_.header(), entries, 0600, false));
  Result<SegmentReader> reader = SegmentReader::open(log_.path_in(dir_.path()));
  for (const Written& event : log_.events()) {
    ASSERT_TRUE(reader->seek_offset(event.offset));
    ASSERT_EQ(reader->next()->position, event.position);
  }
}

TEST_F(IndexTest, AnIndexOfAnotherLifeIsCorrupt) {
  ASSERT_TRUE(rebuild_index(dir_.path(), 5, 0600));
  layout::SegmentHeader other = log_.header();
  other.nonce ^= 1;
  EXPECT_EQ(read_index(dir_.path(), other).error().code(), Errc::corrupt);
}

}  // namespace
}  // namespace penstock::storage
