#include "storage/compaction.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <map>

#include "io/file.hpp"
#include "log_builder.hpp"
#include "storage/index.hpp"
#include "storage/log_reader.hpp"
#include "storage/segment_set.hpp"
#include "storage/verify.hpp"

namespace penstock::storage {
namespace {

const std::atomic<bool> kGoOn{false};
constexpr std::uint64_t kDay = 86'400'000'000'000;

Result<bool> rename_it(const std::string& directory, std::uint64_t first, const std::string& temporary) {
  const Result<void> done = io::rename_into_place(temporary, directory + "/" + segment_name(first), false);
  EXPECT_TRUE(done.has_value());
  return true;
}

CompactionPlan plan_of(const std::string& directory, std::uint64_t now = 1'000'000) {
  SegmentSet set(directory);
  EXPECT_TRUE(set.refresh());
  return {.directory = directory,
          .segments = set.first_offsets(),
          .now_ns = now,
          .tombstones_before_ns = now > kDay ? now - kDay : 0};
}

Compacted compact_all(const std::string& directory, std::uint64_t now = 1'000'000, std::size_t keys_most = 1000) {
  CompactionPlan plan = plan_of(directory, now);
  plan.keys_most = keys_most;
  const Result<Compacted> done = compact(
      plan, [&](std::uint64_t first, const std::string& temporary) { return rename_it(directory, first, temporary); },
      kGoOn);
  EXPECT_TRUE(done.has_value()) << (done ? 0 : int(done.error().code()));
  return done.value_or(Compacted{});
}

Story story_of(const std::string& directory) {
  LogReader reader(directory);
  EXPECT_TRUE(reader.seek_start());
  return read_story(reader);
}

std::vector<std::string> payloads_of(const std::string& directory) {
  std::vector<std::string> out;
  for (const Written& event : story_of(directory).events) out.push_back(event.payload);
  return out;
}

void expect_verified(const std::string& directory) {
  const auto reports = verify_directory(directory, std::nullopt);
  ASSERT_TRUE(reports.has_value());
  for (const FileReport& report : *reports) {
    EXPECT_TRUE(report.ok) << report.file << ": " << (report.problems.empty() ? "" : report.problems.front());
  }
}

std::uint64_t blocks_of(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0);
  return std::uint64_t(status.st_blocks) * 512;
}

LogBuilder next_after(const LogBuilder& log) { return LogBuilder(log.mark().offset, log.mark().position); }

// Keyed and not, batches, aborted, pads; "a", "b" and "c" have newer events.
LogBuilder sample() {
  LogBuilder log(3, 70);
  log.event("stays").keyed("a", "a1").keyed("a", std::string(200, 'A')).aborted(2, 3);
  log.batch_of({"b1", "c1", "d1", "c2"}, {"b", "c", "d", "c"}).pad(4).keyed("a", "a3").event("stays too", 2);
  log.keyed("b", "b2").keyed("", "empty key").aborted(1, 1);
  return log;
}

TEST(NewestOfKeys, EachKeyHasItsNewestOffsetHoweverManyThereAre) {
  NewestOfKeys newest(7);
  for (std::uint64_t offset = 0; offset < 100'000; ++offset) newest.add(std::to_string(offset % 30'000), offset);
  EXPECT_EQ(newest.size(), 30'000u);
  for (std::uint64_t key = 0; key < 30'000; ++key) {
    ASSERT_EQ(newest.newest(std::to_string(key)), key + (key < 10'000 ? 90'000 : 60'000));
  }
  EXPECT_EQ(newest.newest("30000"), std::nullopt);
  newest.add("5", 3);
  EXPECT_EQ(newest.newest("5"), 90'005u);
}

TEST(Compaction, OfEachKeyTheNewestEventStaysWhereItWas) {
  const TempDir dir;
  const LogBuilder log = sample();
  log.write_sealed(dir.path());
  const Compacted done = compact_all(dir.path());
  EXPECT_EQ(done.segments, 1u);
  EXPECT_EQ(done.events, 4u);  // a1, AAA, b1, c1
  const Story story = story_of(dir.path());
  std::vector<Written> expected;
  for (const Written& event : log.events()) {
    const bool goes =
        event.payload == "a1" || event.payload[0] == 'A' || event.payload == "b1" || event.payload == "c1";
    if (!goes) expected.push_back(event);
  }
  EXPECT_EQ(story.events, expected);
  EXPECT_EQ(story.compacted, 4u + 3u);  // and the aborted
  EXPECT_TRUE(story.damages.empty());
  EXPECT_EQ(story.end.position, log.mark().position);
  EXPECT_EQ(story.end.offset, log.mark().offset);
  expect_verified(dir.path());
}

TEST(Compaction, ASecondPassOverTheSameFindsNothingToDo) {
  const TempDir dir;
  sample().write_sealed(dir.path());
  compact_all(dir.path());
  const auto bytes = read_all(dir / segment_name(3));
  EXPECT_EQ(compact_all(dir.path(), 2'000'000).segments, 0u);
  EXPECT_EQ(read_all(dir / segment_name(3)), bytes);
}

TEST(Compaction, ASegmentOfWhichNothingGoesIsOnlyMarked) {
  const TempDir dir;
  LogBuilder log;
  log.keyed("a", "1").keyed("b", "2").event("x");
  log.write_sealed(dir.path());
  const auto before = read_all(dir / segment_name(0));
  EXPECT_EQ(compact_all(dir.path(), 4'000).segments, 0u);
  const auto after = read_all(dir / segment_name(0));
  ASSERT_EQ(before.size(), after.size());
  EXPECT_TRUE(std::equal(before.begin() + layout::kPage, before.end(), after.begin() + layout::kPage));
  const Result<SegmentReader> reader = SegmentReader::open(dir / segment_name(0));
  EXPECT_EQ(reader->front().progress->compacted, 4'000u);
  EXPECT_EQ(reader->header().preamble.incompat, 0u);
  expect_verified(dir.path());
}

TEST(Compaction, WhatIsNewerInALaterSegmentCounts) {
  const TempDir dir;
  LogBuilder first;
  first.keyed("a", "a1").keyed("b", "b1").keyed("c", "c1");
  LogBuilder second = next_after(first);
  second.keyed("a", "a2").keyed("c", "c2");
  first.write_sealed(dir.path());
  EXPECT_EQ(compact_all(dir.path()).segments, 0u);
  second.write_sealed(dir.path());
  EXPECT_EQ(compact_all(dir.path()).segments, 1u);
  EXPECT_EQ(payloads_of(dir.path()), (std::vector<std::string>{"b1", "a2", "c2"}));
  LogBuilder third = next_after(second);
  third.keyed("b", "b3");
  third.write_sealed(dir.path());
  EXPECT_EQ(compact_all(dir.path()).segments, 1u);
  EXPECT_EQ(payloads_of(dir.path()), (std::vector<std::string>{"a2", "c2", "b3"}));
  expect_verified(dir.path());
}

TEST(Compaction, RunsGrowTogetherAndTheirPagesTakeNoDisk) {
  const TempDir dir;
  LogBuilder first;
  for (int i = 0; i < 20'000; ++i) first.keyed(std::to_string(i % 100), "old " + std::to_string(i));
  first.write_sealed(dir.path());
  ASSERT_GT(blocks_of(dir / segment_name(0)), 2'000'000u);
  compact_all(dir.path());
  // The newest hundred stand together, behind one run of more offsets than a batch can have.
  EXPECT_LE(blocks_of(dir / segment_name(0)), 40'000u);
  LogBuilder second = next_after(first);
  for (int i = 0; i < 100; ++i) second.keyed(std::to_string(i), "new");
  second.write_sealed(dir.path());
  compact_all(dir.path());
  EXPECT_LE(blocks_of(dir / segment_name(0)), 2 * layout::kPage);
  Result<SegmentReader> reader = SegmentReader::open(dir / segment_name(0));
  const Result<Item> run = reader->next();
  EXPECT_EQ(run->kind, ItemKind::compacted);
  EXPECT_EQ(run->count, 20'000u);
  EXPECT_EQ(reader->next()->kind, ItemKind::end);
  EXPECT_EQ(story_of(dir.path()).events, second.events());
  expect_verified(dir.path());
}

TEST(Compaction, EveryPlaceThatWasMetBeforeLeadsToTheNextEventThatStays) {
  const TempDir dir;
  const LogBuilder log = sample();
  log.write_sealed(dir.path());
  compact_all(dir.path());
  const std::vector<Written> stayed = story_of(dir.path()).events;
  for (const bool with_index : {true, false}) {
    if (!with_index) std::filesystem::remove(dir / index_name(3));
    for (const Written& event : log.events()) {
      LogReader reader(dir.path());
      ASSERT_TRUE(reader.seek(event.position, event.offset));
      std::vector<Written> expected;
      for (const Written& other : stayed)
        if (other.offset >= event.offset) expected.push_back(other);
      Story story = read_story(reader);
      EXPECT_EQ(story.events, expected) << "from offset " << event.offset;
      EXPECT_TRUE(story.damages.empty());
      ASSERT_TRUE(reader.seek_offset(event.offset));
      EXPECT_EQ(read_story(reader).events, expected);
      ASSERT_TRUE(reader.seek_time(event.time));
      story = read_story(reader);
      ASSERT_FALSE(story.events.empty());
      EXPECT_GE(story.events.front().time, event.time);
    }
  }
}

TEST(Compaction, AReaderInTheOldFileReadsOnInIt) {
  const LogBuilder log = sample();
  for (std::size_t before = 0; before <= log.events().size(); ++before) {
    const TempDir dir;
    log.write_sealed(dir.path());
    LogReader reader(dir.path(), 0, 4096);
    ASSERT_TRUE(reader.seek_start());
    std::vector<Written> seen;
    while (seen.size() < before) {
      const Result<Item> item = reader.next();
      ASSERT_TRUE(item.has_value());
      if (item->kind == ItemKind::event)
        seen.push_back({item->offset, item->position, item->record.head.time, text_of(item->record.payload)});
    }
    compact_all(dir.path());
    for (const Written& event : read_story(reader).events) seen.push_back(event);
    EXPECT_EQ(seen, log.events());
  }
}

TEST(Compaction, EveryFlippedByteOfACompactedSegmentIsNoticed) {
  const TempDir dir;
  sample().write_sealed(dir.path());
  compact_all(dir.path());
  const std::string path = dir / segment_name(3);
  const std::vector<std::byte> whole = read_all(path);
  const std::vector<Written> stayed = story_of(dir.path()).events;
  // What a claim's last line holds behind its record is not checked, nor is what a PAD holds.
  std::vector<bool> checked(whole.size(), true);
  const auto unchecked = [&](std::uint64_t from, std::uint64_t to) {
    std::fill(checked.begin() + std::ptrdiff_t(from), checked.begin() + std::ptrdiff_t(to), false);
  };
  SegmentReader reader = std::move(*SegmentReader::open(path));
  std::uint64_t before = 70;
  for (Result<Item> item = reader.next(); item->kind != ItemKind::end; item = reader.next()) {
    const std::uint64_t at = layout::segment_file_offset(70, item->position);
    if (before != item->position) unchecked(layout::segment_file_offset(70, before) + layout::kLine, at);
    before = item->next.position;
    if (item->kind == ItemKind::event)
      unchecked(at + record_size(item->record.head), layout::segment_file_offset(70, before));
  }
  for (const int flip : {0x01, 0x80, 0xff}) {
    for (std::size_t at = 0; at < whole.size(); ++at) {
      std::vector<std::byte> bytes = whole;
      bytes[at] ^= std::byte(flip);
      write_all(path, bytes);
      const Result<FileReport> report = verify_segment(path);
      ASSERT_TRUE(report.has_value());
      ASSERT_EQ(report->ok, !checked[at]) << "byte " << at << " flipped by " << flip;
      Result<SegmentReader> damaged = SegmentReader::open(path);
      ASSERT_TRUE(damaged.has_value());
      const Story story = read_story(*damaged);
      for (const Written& event : story.events)
        ASSERT_TRUE(std::find(stayed.begin(), stayed.end(), event) != stayed.end()) << "a wrong event at " << at;
      for (const Written& event : stayed) {
        const bool there = std::find(story.events.begin(), story.events.end(), event) != story.events.end();
        const bool told = std::any_of(story.damages.begin(), story.damages.end(), [&](const Item& damage) {
          return event.offset >= damage.offset && event.offset < damage.offset + damage.count;
        });
        ASSERT_TRUE(there || told) << "offset " << event.offset << " vanished after damage at " << at;
      }
    }
  }
}

TEST(Compaction, ATombstoneGoesADayAfterWhatItDeletedWasFoundGone) {
  const TempDir dir;
  LogBuilder first, second;
  first.keyed("a", "a1").keyed("b", "b1").event("");
  second = next_after(first);
  second.keyed("a", "").keyed("c", "c1");
  first.write_sealed(dir.path()), second.write_sealed(dir.path());
  const auto left = [&](std::uint64_t now) {
    compact_all(dir.path(), now);
    return payloads_of(dir.path());
  };
  const std::uint64_t began = 5 * kDay;
  // However old it is: who read "a1" a moment ago has a day to come to it.
  EXPECT_EQ(left(began), (std::vector<std::string>{"b1", "", "", "c1"}));
  EXPECT_EQ(SegmentReader::open(dir / segment_name(3))->front().progress->compacted, began + 1);
  EXPECT_EQ(left(began + kDay - 1), (std::vector<std::string>{"b1", "", "", "c1"}));
  EXPECT_EQ(left(began + kDay + 1), (std::vector<std::string>{"b1", "", "c1"}));
  EXPECT_EQ(SegmentReader::open(dir / segment_name(3))->front().progress->compacted, began);
  expect_verified(dir.path());
}

TEST(Compaction, ADeletedKeyThatComesBackStays) {
  const TempDir dir;
  LogBuilder first;
  first.keyed("a", "a1").keyed("a", "").keyed("a", "a2");
  first.write_sealed(dir.path());
  compact_all(dir.path(), kDay);
  compact_all(dir.path(), 3 * kDay);
  EXPECT_EQ(payloads_of(dir.path()), (std::vector<std::string>{"a2"}));
}

TEST(Compaction, ADamagedSegmentStaysAsItIsAndKeepsTombstonesBehindIt) {
  const TempDir dir;
  LogBuilder first;
  first.keyed("a", "a1").keyed("b", "b1").keyed("b", "b2");
  LogBuilder second = next_after(first);
  second.keyed("a", "").keyed("b", "b3").keyed("b", "b4");
  first.write_sealed(dir.path()), second.write_sealed(dir.path());
  std::vector<std::byte> bytes = read_all(dir / segment_name(0));
  bytes[layout::segment_file_offset(0, 2) + 70] ^= std::byte{1};  // in b1
  write_all(dir / segment_name(0), bytes);
  for (const std::uint64_t now : {kDay, 3 * kDay}) {
    EXPECT_EQ(compact_all(dir.path(), now).unreadable, std::vector<std::uint64_t>{0});
    EXPECT_EQ(payloads_of(dir.path()), (std::vector<std::string>{"a1", "b2", "", "b4"}));
    EXPECT_EQ(read_all(dir / segment_name(0)), bytes);
  }
}

TEST(Compaction, WithFewKeysAtATimeItGetsThereInSeveralPasses) {
  const TempDir dir;
  std::vector<std::unique_ptr<LogBuilder>> logs;
  std::map<std::string, std::string> newest;
  for (int segment = 0; segment < 6; ++segment) {
    logs.push_back(std::make_unique<LogBuilder>(
        logs.empty() ? LogBuilder() : LogBuilder(logs.back()->mark().offset, logs.back()->mark().position)));
    for (int i = 0; i < 50; ++i) {
      const std::string key = std::to_string((segment * 17 + i) % 60);
      logs.back()->keyed(key, key + " in " + std::to_string(segment));
      newest[key] = key + " in " + std::to_string(segment);
    }
    logs.back()->write_sealed(dir.path());
  }
  for (int pass = 0; pass < 6; ++pass) compact_all(dir.path(), std::uint64_t(1'000 + pass), 40);
  std::map<std::string, std::string> seen;
  for (const std::string& payload : payloads_of(dir.path()))
    EXPECT_TRUE(seen.emplace(payload.substr(0, payload.find(' ')), payload).second)
        << payload << " is not the only one";
  EXPECT_EQ(seen, newest);
  expect_verified(dir.path());
}

TEST(Compaction, ASegmentThatMayNotBeReplacedEndsThePassAndNothingIsLeftBehind) {
  const TempDir dir;
  sample().write_sealed(dir.path());
  const auto before = read_all(dir / segment_name(3));
  const auto refuse = [](std::uint64_t, const std::string&) { return Result<bool>(false); };
  ASSERT_TRUE(compact(plan_of(dir.path()), refuse, kGoOn));
  EXPECT_EQ(read_all(dir / segment_name(3)), before);
  EXPECT_EQ(io::list_directory(dir.path())->size(), 1u);
}

TEST(Compaction, ItStopsWhenToldToAndLeavesNothingBehind) {
  const TempDir dir;
  sample().write_sealed(dir.path());
  const std::atomic<bool> stop{true};
  const auto done = compact(
      plan_of(dir.path()),
      [&](std::uint64_t first, const std::string& temporary) { return rename_it(dir.path(), first, temporary); }, stop);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code(), Errc::interrupted);
  EXPECT_EQ(io::list_directory(dir.path())->size(), 1u);
}

TEST(Compaction, WhatAKilledPassLeftBehindIsRemoved) {
  const TempDir dir;
  sample().write_sealed(dir.path());
  for (const std::string& name : {segment_name(3) + ".tmp", index_name(3) + ".tmp", std::string("other.tmp")})
    write_all(dir / name, std::vector<std::byte>(3));
  remove_unfinished(dir.path());
  auto names = *io::list_directory(dir.path());
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{segment_name(3), "other.tmp"}));
}

}  // namespace
}  // namespace penstock::storage
