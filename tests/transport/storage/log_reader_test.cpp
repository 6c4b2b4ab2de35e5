#include "storage/log_reader.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "log_builder.hpp"

namespace penstock::storage {
namespace {

Boundary end_of(const LogBuilder& log) { return {log.mark().position, log.mark().offset}; }

// Three sealed segments, one after another.
class LogReaderTest : public ::testing::Test {
 protected:
  LogReaderTest() {
    LogBuilder next(3, 70);
    for (int i = 0; i < 3; ++i) {
      next.at_time(static_cast<std::uint64_t>(1000 + i * 100))
          .event("a" + std::to_string(i))
          .event("b")
          .batch({"c", "d"});
      logs_.push_back(next);
      next = LogBuilder(next.mark().offset, next.mark().position);
    }
  }
  void write_all_sealed() {
    for (const LogBuilder& log : logs_) log.write_sealed(dir_.path());
  }
  std::vector<Written> events(std::size_t from = 0) const {
    std::vector<Written> all;
    for (std::size_t i = from; i < logs_.size(); ++i) {
      all.insert(all.end(), logs_[i].events().begin(), logs_[i].events().end());
    }
    return all;
  }
  std::string path(std::size_t i) const { return logs_[i].path_in(dir_.path()); }

  TempDir dir_;
  std::vector<LogBuilder> logs_;
};

TEST_F(LogReaderTest, AnEmptyOrMissingDirectoryHoldsNothing) {
  LogReader reader(dir_.path());
  EXPECT_EQ(reader.next()->kind, ItemKind::end);
  LogReader missing(dir_ / "nowhere");
  ASSERT_TRUE(missing.seek_start());
  EXPECT_EQ(missing.next()->kind, ItemKind::end);
}

TEST_F(LogReaderTest, SegmentsAreReadAsOneLog) {
  write_all_sealed();
  LogReader reader(dir_.path());
  const Story story = read_story(reader);
  EXPECT_EQ(story.events, events());
  EXPECT_TRUE(story.damages.empty());
}

TEST_F(LogReaderTest, EveryPlaceCanBeSought) {
  write_all_sealed();
  LogReader reader(dir_.path());
  const std::vector<Written> all = events();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::vector<Written> rest(all.begin() + static_cast<std::ptrdiff_t>(i), all.end());
    ASSERT_TRUE(reader.seek_offset(all[i].offset));
    EXPECT_EQ(read_story(reader).events, rest);
    ASSERT_TRUE(reader.seek(all[i].position, all[i].offset));
    EXPECT_EQ(read_story(reader).events, rest);
    ASSERT_TRUE(reader.seek(all[i].position + 1, all[i].offset));  // wrong, but the offset is found
    EXPECT_EQ(read_story(reader).events, rest);
  }
  ASSERT_TRUE(reader.seek_offset(0));
  EXPECT_EQ(read_story(reader).events, all);
  ASSERT_TRUE(reader.seek_offset(1000));
  EXPECT_TRUE(read_story(reader).events.empty());
}

TEST_F(LogReaderTest, TimesAreFoundAcrossSegments) {
  write_all_sealed();
  LogReader reader(dir_.path());
  for (std::size_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(reader.seek_time(1000 + i * 100));
    EXPECT_EQ(read_story(reader).events, events(i));
  }
  ASSERT_TRUE(reader.seek_time(5000));
  EXPECT_TRUE(read_story(reader).events.empty());
}

TEST_F(LogReaderTest, ItFollowsALogThatIsWrittenRolledAndSealed) {
  LogReader reader(dir_.path());
  std::vector<Written> seen;
  const auto follow = [&](const Boundary& durable) {
    reader.set_limit(durable);
    const Story story = read_story(reader);
    EXPECT_TRUE(story.damages.empty());
    EXPECT_EQ(story.end.position, durable.position);
    seen.insert(seen.end(), story.events.begin(), story.events.end());
  };
  logs_[0].write_open(dir_.path());
  follow(logs_[0].claims()[1]);
  follow(logs_[0].claims()[2]);
  // Rolled behind the reader's back: the durable end is far beyond the segment it has open.
  std::filesystem::remove(path(0));
  logs_[0].write_sealed(dir_.path());
  logs_[1].write_sealed(dir_.path());
  logs_[2].write_open(dir_.path());
  follow(logs_[2].claims()[1]);
  follow(end_of(logs_[2]));
  EXPECT_EQ(seen, events());
}

TEST_F(LogReaderTest, ASealThatHappensInPlaceIsSeen) {
  logs_[0].write_open(dir_.path());
  LogReader reader(dir_.path());
  reader.set_limit(logs_[0].claims()[1]);
  EXPECT_EQ(read_story(reader).events.size(), 1u);
  const Result<io::Fd> fd = io::open_nofollow(path(0), O_RDWR);
  ProgressWriter progress(kNonce);
  ASSERT_TRUE(seal(fd->get(), logs_[0].header(), progress, logs_[0].mark()));
  logs_[1].write_open(dir_.path());
  reader.set_limit(end_of(logs_[1]));
  const Story story = read_story(reader);
  EXPECT_TRUE(story.damages.empty());
  EXPECT_EQ(story.events.size() + 1, logs_[0].events().size() + logs_[1].events().size());
}

TEST_F(LogReaderTest, AnAbandonedSegmentEndsWhereTheNextBegins) {
  // Its last events were written, but not flushed when the disk failed; they stand again in the next segment.
  LogBuilder first(0, 0);
  first.event("a").event("b").event("c");
  const Boundary durable = first.claims()[1];
  LogBuilder second(durable.offset, durable.position);
  second.at_time(1001).event("b").event("c").event("d");
  first.write_open(dir_.path());
  second.write_open(dir_.path());
  for (const bool limited : {false, true}) {
    LogReader reader(dir_.path());
    if (limited) reader.set_limit(end_of(second));
    const Story story = read_story(reader);
    std::string text;
    for (const Written& event : story.events) text += event.payload;
    EXPECT_EQ(text, "abcd");
    EXPECT_TRUE(story.damages.empty());
  }
  // A reader that had read on in the first before the second was there goes on after what it has.
  std::filesystem::remove(second.path_in(dir_.path()));
  LogReader early(dir_.path());
  EXPECT_EQ(read_story(early).events.size(), 3u);
  second.write_open(dir_.path());
  const Story rest = read_story(early);
  ASSERT_EQ(rest.events.size(), 1u);
  EXPECT_EQ(rest.events[0].payload, "d");
}

TEST_F(LogReaderTest, WhatRetentionRemovedWhileReadingIsToldAsExpired) {
  write_all_sealed();
  LogReader reader(dir_.path());
  ASSERT_EQ(reader.next()->offset, 3u);
  std::filesystem::remove(path(0));
  std::filesystem::remove(path(1));
  const Story story = read_story(reader);
  ASSERT_EQ(story.damages.size(), 1u);
  EXPECT_EQ(story.damages[0].kind, ItemKind::expired);
  EXPECT_EQ(story.damages[0].count, 4u);
  EXPECT_EQ(story.events.size(), 3u + 4u);  // the open file is read to its end
}

TEST_F(LogReaderTest, APlaceThatRetentionRemovedIsToldAsExpired) {
  write_all_sealed();
  std::filesystem::remove(path(0));
  LogReader reader(dir_.path());
  ASSERT_TRUE(reader.seek(0, 0));
  const auto gone = reader.next();
  ASSERT_EQ(gone->kind, ItemKind::expired);
  EXPECT_EQ(gone->count, logs_[1].first().offset);
  EXPECT_EQ(gone->next.offset, logs_[1].first().offset);
  EXPECT_EQ(reader.next()->offset, logs_[1].first().offset);
}

TEST_F(LogReaderTest, AMissingMiddleSegmentIsDamage) {
  write_all_sealed();
  std::filesystem::remove(path(1));
  LogReader reader(dir_.path());
  const Story story = read_story(reader);
  ASSERT_EQ(story.damages.size(), 1u);
  EXPECT_EQ(story.damages[0].kind, ItemKind::damage);
  EXPECT_EQ(story.damages[0].offset, logs_[1].first().offset);
  EXPECT_EQ(story.damages[0].count, 4u);
  EXPECT_EQ(story.events.size(), 8u);
}

TEST_F(LogReaderTest, AHoleOfOffsetsBetweenTwoLivesIsNoDamage) {
  LogBuilder first(0, 0), second(1000, 4, kNonce + 1);
  first.event("a").event("b").write_sealed(dir_.path());
  second.event("c").write_sealed(dir_.path());
  ASSERT_EQ(end_of(first).position, 4u);
  LogReader reader(dir_.path());
  const Story story = read_story(reader);
  EXPECT_TRUE(story.damages.empty());
  EXPECT_EQ(story.events.size(), 3u);
}

TEST_F(LogReaderTest, ASegmentUnderAnothersNameIsToldAndPassed) {
  write_all_sealed();
  std::filesystem::rename(path(2), dir_ / segment_name(logs_[2].first().offset + 1));
  LogReader reader(dir_.path());
  const Story story = read_story(reader);
  EXPECT_EQ(story.events.size(), 8u);
  EXPECT_FALSE(story.damages.empty());
}

// Before, between and behind the topic's own, under a name that nobody has, and instead of one.
TEST_F(LogReaderTest, ASegmentOfAnotherTopicIsToldAndHidesNothing) {
  write_all_sealed();
  const std::uint64_t third = logs_[2].first().offset;
  for (const std::uint64_t name : {std::uint64_t{0}, third - 1, third + 1, std::uint64_t{1000}, third}) {
    LogBuilder foreign(name, 30);
    foreign.of_topic(kTopicId + 1).event("not of this topic").event("nor this");
    const std::vector<std::byte> own = name == third ? read_all(path(2)) : std::vector<std::byte>();
    if (!own.empty()) std::filesystem::remove(path(2));
    foreign.write_sealed(dir_.path());
    const std::vector<Written> expected = [&] {
      std::vector<Written> all = events();
      if (name == third) all.resize(8);
      return all;
    }();
    LogReader reader(dir_.path(), kTopicId);
    const Story story = read_story(reader);
    EXPECT_EQ(story.events, expected) << name;
    ASSERT_EQ(story.damages.size(), 1u) << name;
    EXPECT_STREQ(story.damages[0].problem, "the segment is another topic's");
    for (const Written& event : expected) {
      ASSERT_TRUE(reader.seek_offset(event.offset));
      EXPECT_EQ(reader.next()->offset, event.offset) << name;
      ASSERT_TRUE(reader.seek(event.position, event.offset));
      EXPECT_EQ(reader.next()->offset, event.offset) << name;
    }
    EXPECT_EQ(reader.offset_back(logs_[2].mark().offset, 6), third - (name == third ? 6 : 2)) << name;
    std::filesystem::remove(foreign.path_in(dir_.path()));
    if (!own.empty()) write_all(path(2), own);
  }
}

TEST_F(LogReaderTest, ASegmentWithoutAHeaderIsToldOnceAndPassed) {
  write_all_sealed();
  for (const std::size_t broken : {std::size_t{1}, std::size_t{0}, std::size_t{2}}) {
    const std::vector<std::byte> whole = read_all(path(broken));
    std::vector<std::byte> bytes = whole;
    for (const std::uint64_t at : layout::kHeaderAt) bytes[at] ^= std::byte{1};
    write_all(path(broken), bytes);
    LogReader reader(dir_.path());
    const Story story = read_story(reader);
    EXPECT_EQ(story.events.size(), 8u) << broken;
    ASSERT_EQ(story.damages.size(), 1u) << broken;
    EXPECT_EQ(story.damages[0].offset, logs_[broken].first().offset);
    EXPECT_TRUE(read_story(reader).damages.empty());
    write_all(path(broken), whole);
  }
}

}  // namespace
}  // namespace penstock::storage
