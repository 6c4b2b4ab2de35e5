#include "storage/segment_reader.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "log_builder.hpp"
#include "storage/verify.hpp"

namespace penstock::storage {
namespace {

// A bit of everything: small, large, batch, aborted, pad, stale bytes in a claim's spare lines.
LogBuilder sample(std::uint64_t first_offset = 3, std::uint64_t first_position = 70) {
  LogBuilder log(first_offset, first_position);
  log.event("first").event(std::string(200, 'b'), 2).aborted(2, 3).batch({"x", std::string(90, 'y'), "z"});
  log.pad(4).event("").event("last");
  return log;
}

SegmentReader open(const std::string& path) {
  Result<SegmentReader> reader = SegmentReader::open(path);
  EXPECT_TRUE(reader.has_value());
  return std::move(*reader);
}

bool contains(const std::vector<Written>& all, const Written& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

TEST(SegmentReader, EverythingWrittenIsReadInOrder) {
  const TempDir dir;
  const LogBuilder log = sample();
  log.write_sealed(dir.path());
  SegmentReader reader = open(log.path_in(dir.path()));
  const Story story = read_story(reader);
  EXPECT_EQ(story.events, log.events());
  EXPECT_EQ(story.aborted, 2u);
  EXPECT_TRUE(story.damages.empty());
  EXPECT_EQ(story.end.position, log.mark().position);
  EXPECT_EQ(story.end.offset, log.mark().offset);
}

TEST(SegmentReader, RecordsLargerThanTheWindowAreRead) {
  const TempDir dir;
  LogBuilder log;
  log.event(std::string(50'000, 'a')).event("small").event(std::string(9'000, 'c')).write_sealed(dir.path());
  Result<SegmentReader> reader = SegmentReader::open(log.path_in(dir.path()), 4096);
  EXPECT_EQ(read_story(*reader).events, log.events());
}

TEST(SegmentReader, AnUnsealedSegmentIsReadAsFarAsRecordsHold) {
  const TempDir dir;
  const LogBuilder log = sample();
  log.write_open(dir.path());
  SegmentReader reader = open(log.path_in(dir.path()));
  const Story story = read_story(reader);
  EXPECT_EQ(story.events, log.events());
  EXPECT_TRUE(story.damages.empty());
}

TEST(SegmentReader, NothingPastTheLimitIsRead) {
  const TempDir dir;
  const LogBuilder log = sample();
  log.write_open(dir.path());
  SegmentReader reader = open(log.path_in(dir.path()));
  for (const Boundary& claim : log.claims()) {
    reader.set_limit(claim);
    reader.seek_start();
    const Story story = read_story(reader);
    EXPECT_EQ(story.end.position, claim.position);
    for (const Written& event : story.events) EXPECT_LT(event.position, claim.position);
    EXPECT_TRUE(story.damages.empty());
  }
}

TEST(SegmentReader, ItGoesOnWhenTheLimitMoves) {
  const TempDir dir;
  const LogBuilder log = sample();
  log.write_open(dir.path());
  SegmentReader reader = open(log.path_in(dir.path()));
  std::vector<Written> events;
  std::vector<Boundary> limits = log.claims();
  limits.push_back({log.mark().position, log.mark().offset});
  for (const Boundary& limit : limits) {
    reader.set_limit(limit);
    for (const Written& event : read_story(reader).events) events.push_back(event);
  }
  EXPECT_EQ(events, log.events());
}

// The property of all damage: what is handed over was written, in order; what is missing was told.
void expect_told(const LogBuilder& log, const Story& story, std::size_t at) {
  std::uint64_t next = 0;
  for (const Written& event : story.events) {
    ASSERT_TRUE(contains(log.events(), event)) << "a wrong event after damage at " << at;
    ASSERT_GE(event.offset, next) << at;
    next = event.offset + 1;
  }
  for (const Written& event : log.events()) {
    if (contains(story.events, event)) continue;
    const bool told = std::any_of(story.damages.begin(), story.damages.end(), [&](const Item& damage) {
      return event.offset >= damage.offset && event.offset < damage.offset + damage.count;
    });
    ASSERT_TRUE(told) << "offset " << event.offset << " vanished after damage at " << at;
  }
}

TEST(SegmentReader, EveryFlippedByteOfASealedSegmentIsToldAndNoWrongEventIsRead) {
  const TempDir dir;
  const LogBuilder log = sample();
  log.write_sealed(dir.path());
  const std::string path = log.path_in(dir.path());
  const std::vector<std::byte> whole = read_all(path);
  const std::size_t records = layout::segment_file_offset(70, 70);
  for (const int flip : {0x01, 0x80, 0xff}) {
    for (std::size_t at = 0; at < whole.size(); ++at) {
      std::vector<std::byte> bytes = whole;
      bytes[at] ^= std::byte(flip);
      write_all(path, bytes);
      SegmentReader reader = open(path);
      const Story story = read_story(reader);
      expect_told(log, story, at);
      const bool spare = at >= records && at < records + log.bytes().size() && !log.meaningful(at - records);
      const Result<FileReport> report = verify_segment(path);
      ASSERT_TRUE(report.has_value());
      ASSERT_EQ(report->ok, spare) << "byte " << at << " flipped by " << flip;
      if (spare) {
        ASSERT_EQ(story.events, log.events()) << at;
      }
      // One damaged byte costs at most the claim it stands in.
      ASSERT_GE(story.events.size() + 3, log.events().size()) << at;
    }
  }
}

TEST(SegmentReader, EveryFlippedByteBelowTheMarkOfAnOpenSegmentIsTold) {
  const TempDir dir;
  const LogBuilder log = sample();
  const Mark mark = log.mark();
  log.write_open(dir.path(), &mark);
  const std::string path = log.path_in(dir.path());
  const std::vector<std::byte> whole = read_all(path);
  const std::size_t records = layout::segment_file_offset(70, 70);
  for (std::size_t i = 0; i < log.bytes().size(); ++i) {
    std::vector<std::byte> bytes = whole;
    bytes[records + i] ^= std::byte{0x40};
    write_all(path, bytes);
    SegmentReader reader = open(path);
    const Story story = read_story(reader);
    expect_told(log, story, i);
    ASSERT_EQ(story.damages.empty(), !log.meaningful(i)) << i;
  }
}

TEST(SegmentReader, ATornTailEndsAtTheLastWholeClaimWhereverItIsTorn) {
  const TempDir dir;
  const LogBuilder log = sample();
  log.write_open(dir.path());
  const std::string path = log.path_in(dir.path());
  const std::vector<std::byte> whole = read_all(path);
  const std::size_t records = layout::segment_file_offset(70, 70);
  for (std::size_t kept = 0; kept <= log.bytes().size(); ++kept) {
    std::vector<std::byte> bytes = whole;
    std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(records + kept), bytes.end(), std::byte{0});
    write_all(path, bytes);
    SegmentReader reader = open(path);
    const Story story = read_story(reader);
    ASSERT_TRUE(story.damages.empty()) << kept;
    // Whole claims only: a batch of which a part is missing is absent.
    ASSERT_LE(story.events.size(), log.events().size());
    for (std::size_t i = 0; i < story.events.size(); ++i) ASSERT_EQ(story.events[i], log.events()[i]) << kept;
    const bool at_a_claim = story.end.position == log.mark().position ||
                            std::any_of(log.claims().begin(), log.claims().end(),
                                        [&](const Boundary& claim) { return claim.position == story.end.position; });
    ASSERT_TRUE(at_a_claim) << kept;
    // No claim that is there as a whole is lost.
    for (std::size_t i = 0; i + 1 < log.claims().size(); ++i) {
      if ((log.claims()[i + 1].position - 70) * layout::kLine <= kept) {
        ASSERT_GE(story.end.position, log.claims()[i + 1].position) << kept;
      }
    }
  }
}

TEST(SegmentReader, AFileCutAnywhereIsToldAndNothingCrashes) {
  const TempDir dir;
  const LogBuilder log = sample();
  log.write_sealed(dir.path());
  const std::string path = log.path_in(dir.path());
  const std::vector<std::byte> whole = read_all(path);
  for (std::size_t size = 0; size < whole.size(); size += size < 1600 || size > 4000 ? 1 : 64) {
    write_all(path, {whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)});
    Result<SegmentReader> reader = SegmentReader::open(path);
    const Result<FileReport> report = verify_segment(path);
    ASSERT_TRUE(report.has_value());
    const std::size_t end = layout::segment_file_offset(70, log.mark().position);
    if (size < end - 64) {
      ASSERT_FALSE(report->ok) << size;
    }
    if (!reader) {
      ASSERT_EQ(reader.error().code(), Errc::corrupt);
      continue;
    }
    const Story story = read_story(*reader);
    if (reader->sealed()) expect_told(log, story, size);
  }
}

TEST(SegmentReader, StaleRecordsOfAnEarlierLapAreNotTakenForEvents) {
  const TempDir dir;
  // Lines 1.. of the claim's spare hold records of this life with smaller offsets, whole ones.
  LogBuilder earlier(0);
  earlier.event("stale one").event("stale two");
  LogBuilder log(100, 0);
  log.event("fresh", 6).event("next");
  log.write_sealed(dir.path());
  const std::string path = log.path_in(dir.path());
  std::vector<std::byte> bytes = read_all(path);
  std::memcpy(bytes.data() + layout::kPage + 128, earlier.bytes().data(), earlier.bytes().size());
  bytes[layout::kPage + 66] ^= std::byte{1};  // "fresh" is damaged: the next record is looked for
  write_all(path, bytes);
  SegmentReader reader = open(path);
  const Story story = read_story(reader);
  ASSERT_EQ(story.events.size(), 1u);
  EXPECT_EQ(story.events[0].payload, "next");
  ASSERT_EQ(story.damages.size(), 1u);
  EXPECT_EQ(story.damages[0].offset, 100u);
  EXPECT_EQ(story.damages[0].count, 1u);
}

TEST(SegmentReader, ARecordOfAnOffsetThatCannotBeThereIsNotTakenForOne) {
  const TempDir dir;
  LogBuilder elsewhere(108);  // whole and of this life, but eight offsets on after five lines
  elsewhere.event("copied");
  LogBuilder log(100, 0);
  log.event("fresh", 6).event("next");
  log.write_sealed(dir.path());
  const std::string path = log.path_in(dir.path());
  std::vector<std::byte> bytes = read_all(path);
  std::memcpy(bytes.data() + layout::kPage + 5 * 64, elsewhere.bytes().data(), elsewhere.bytes().size());
  bytes[layout::kPage + 66] ^= std::byte{1};
  write_all(path, bytes);
  SegmentReader reader = open(path);
  const Story story = read_story(reader);
  ASSERT_EQ(story.events.size(), 1u);
  EXPECT_EQ(story.events[0].payload, "next");
}

TEST(SegmentReader, InnerRecordsUnderADamagedHeadAreNotEvents) {
  const TempDir dir;
  LogBuilder log;
  log.event("a").batch({"b", "c", "d"}).event("e").write_sealed(dir.path());
  const std::string path = log.path_in(dir.path());
  std::vector<std::byte> bytes = read_all(path);
  bytes[layout::kPage + log.claims()[1].position * 64 + 64] ^= std::byte{1};
  write_all(path, bytes);
  SegmentReader reader = open(path);
  const Story story = read_story(reader);
  ASSERT_EQ(story.events.size(), 2u);
  EXPECT_EQ(story.events[1].payload, "e");
  EXPECT_EQ(story.damages.at(0).count, 3u);
}

TEST(SegmentReader, WithoutAnyMarkAllThatHoldsIsReadAroundTheDamage) {
  const TempDir dir;
  const LogBuilder log = sample();
  log.write_open(dir.path());
  const std::string path = log.path_in(dir.path());
  std::vector<std::byte> bytes = read_all(path);
  bytes[layout::kProgressAt[0]] ^= std::byte{1};
  bytes[layout::kProgressAt[1]] ^= std::byte{1};
  bytes[layout::segment_file_offset(70, log.claims()[1].position) + 66] ^= std::byte{1};
  write_all(path, bytes);
  SegmentReader reader = open(path);
  const Story story = read_story(reader);
  EXPECT_EQ(story.events.size(), log.events().size() - 1);
  EXPECT_EQ(story.damages.size(), 1u);
}

TEST(SegmentReader, SeekGoesToAnyEventAlsoWithinABatch) {
  const TempDir dir;
  const LogBuilder log = sample();
  log.write_sealed(dir.path());
  SegmentReader reader = open(log.path_in(dir.path()));
  for (std::size_t i = 0; i < log.events().size(); ++i) {
    const Written& event = log.events()[i];
    ASSERT_TRUE(reader.seek(event.position, event.offset)) << i;
    const std::vector<Written> rest(log.events().begin() + static_cast<std::ptrdiff_t>(i), log.events().end());
    EXPECT_EQ(read_story(reader).events, rest);
    EXPECT_EQ(reader.seek(event.position, event.offset + 1).error().code(), Errc::corrupt);
    EXPECT_EQ(reader.seek(event.position + 1, event.offset).error().code(), Errc::corrupt);
  }
  EXPECT_TRUE(reader.seek(log.mark().position, log.mark().offset));
  EXPECT_EQ(reader.next()->kind, ItemKind::end);
  EXPECT_FALSE(reader.seek(1ull << 50, 3));
  EXPECT_FALSE(reader.seek(0, 0));
}

TEST(SegmentReader, SeekRefusesAnInnerRecordWhoseHeadDoesNotCount) {
  const TempDir dir;
  LogBuilder log;
  log.batch({"b", "c"}).write_sealed(dir.path());
  const std::string path = log.path_in(dir.path());
  std::vector<std::byte> bytes = read_all(path);
  Head head = load_head(bytes.data() + layout::kPage);
  head = aborted_head(head);
  std::memcpy(bytes.data() + layout::kPage, &head, sizeof head);
  write_all(path, bytes);
  SegmentReader reader = open(path);
  EXPECT_EQ(reader.seek(2, 1).error().code(), Errc::corrupt);
}

TEST(SegmentReader, SeekOffsetFindsTheFirstItemThatEndsAfterIt) {
  const TempDir dir;
  const LogBuilder log = sample();
  log.write_sealed(dir.path());
  SegmentReader reader = open(log.path_in(dir.path()));
  for (std::uint64_t offset = 0; offset < log.mark().offset + 2; ++offset) {
    ASSERT_TRUE(reader.seek_offset(offset));
    std::vector<Written> rest;
    for (const Written& event : log.events()) {
      if (event.offset >= offset) rest.push_back(event);
    }
    EXPECT_EQ(read_story(reader).events, rest) << offset;
  }
}

TEST(SegmentReader, SeekTimeFindsTheFirstEventOfThatTimeThoughTimesJumpBack) {
  const TempDir dir;
  LogBuilder log;
  log.at_time(100).event("a").at_time(300).event("b").at_time(200).event("c").at_time(400).event("d");
  log.write_sealed(dir.path());
  SegmentReader reader = open(log.path_in(dir.path()));
  const auto first = [&](std::uint64_t time) {
    EXPECT_TRUE(reader.seek_time(time));
    const Story story = read_story(reader);
    return story.events.empty() ? std::string("-") : story.events[0].payload;
  };
  EXPECT_EQ(first(0), "a");
  EXPECT_EQ(first(101), "b");
  EXPECT_EQ(first(200), "b");
  EXPECT_EQ(first(301), "d");
  EXPECT_EQ(first(401), "-");
}

}  // namespace
}  // namespace penstock::storage
