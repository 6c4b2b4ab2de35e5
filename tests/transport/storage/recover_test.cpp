#include "storage/recover.hpp"

#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "log_builder.hpp"
#include "storage/log_reader.hpp"
#include "storage/order_check.hpp"
#include "storage/segment_set.hpp"
#include "storage/verify.hpp"

namespace penstock::storage {
namespace {

TEST(RecoveryTable, ExactlyOneRowMatchesEachCombinationOfFacts) {
  std::set<RecoveryCase> met;
  int combinations = 0;
  for (int header = 0; header < 4; ++header) {
    for (int mark = 0; mark < 3; ++mark) {
      for (int bits = 0; bits < 16; ++bits) {
        const RecoveryFacts facts{HeaderFact(header), MarkFact(mark),  (bits & 1) != 0,
                                  (bits & 2) != 0,    (bits & 4) != 0, (bits & 8) != 0};
        const auto rows = recovery_table();
        const auto matching =
            std::count_if(rows.begin(), rows.end(), [&](const auto& row) { return row.matches(facts); });
        ASSERT_EQ(matching, 1) << "header " << header << " mark " << mark << " bits " << bits;
        met.insert(recovery_case(facts));
        ++combinations;
      }
    }
  }
  EXPECT_EQ(combinations, 192);
  EXPECT_EQ(met.size(), kRecoveryCases);  // and no row is without a combination
}

layout::TopicMeta meta_of(std::uint64_t bound) {
  layout::TopicMeta meta{};
  meta.offset_bound = bound;
  return meta;
}
layout::TopicMeta clean_meta(std::uint64_t offset, std::uint64_t position) {
  layout::TopicMeta meta = meta_of(offset + 5000);
  meta.clean = 1;
  meta.next_offset = offset;
  meta.next_position = position;
  return meta;
}

class RecoverTest : public ::testing::Test {
 protected:
  RecoverTest() {
    log_.event("a").event(std::string(100, 'b'), 1).batch({"c", "d", "e"}).aborted(2, 4).pad(3).event("f");
  }
  Recovered recover(const std::optional<layout::TopicMeta>& meta = meta_of(0), const RecoverOptions& options = {}) {
    Result<Recovered> result = recover_topic(dir_.path(), meta, false, options);
    EXPECT_TRUE(result.has_value());
    OrderCheck order(dir_.path(), meta ? meta->topic_id : 0);
    while (!order.done())
      for (std::string& problem : order.step(1)) result->problems.push_back(std::move(problem));
    return std::move(*result);
  }
  std::string path() const { return log_.path_in(dir_.path()); }
  Story story() {
    LogReader reader(dir_.path());
    return read_story(reader);
  }
  void flip(const std::string& file, std::size_t at) {
    std::vector<std::byte> bytes = read_all(file);
    bytes.at(at) ^= std::byte{1};
    write_all(file, bytes);
  }
  std::vector<std::pair<std::string, std::vector<std::byte>>> files() const {
    std::vector<std::pair<std::string, std::vector<std::byte>>> all;
    for (const auto& entry : std::filesystem::directory_iterator(dir_.path())) {
      all.emplace_back(entry.path().string(), read_all(entry.path().string()));
    }
    std::sort(all.begin(), all.end());
    return all;
  }

  TempDir dir_;
  LogBuilder log_{3, 70};
};

TEST_F(RecoverTest, AnEmptyDirectoryBeginsALog) {
  const Recovered out = recover(std::nullopt);
  EXPECT_EQ(out.found, RecoveryCase::nothing);
  EXPECT_EQ(out.offsets, OffsetCase::new_topic);
  EXPECT_EQ(out.next_offset, 0u);
  EXPECT_TRUE(out.problems.empty());
  EXPECT_TRUE(recover_topic(dir_ / "nowhere", std::nullopt, false, {}).has_value());
}

TEST_F(RecoverTest, ASegmentOfAnotherTopicIsToldAndLeftAndTheLastOfItsOwnIsSealed) {
  for (const std::uint64_t name : {std::uint64_t{0}, log_.first().offset + 1, std::uint64_t{1000}}) {
    log_.write_open(dir_.path());
    LogBuilder foreign(name, 30);
    foreign.of_topic(kTopicId + 1).event("x").write_open(dir_.path());
    const auto left = read_all(foreign.path_in(dir_.path()));
    layout::TopicMeta meta = meta_of(0);
    meta.topic_id = kTopicId;
    const Recovered out = recover(meta);
    EXPECT_EQ(out.found, RecoveryCase::open_clean) << name;
    EXPECT_EQ(out.log_offset, log_.mark().offset) << name;
    EXPECT_GE(out.next_position, log_.mark().position);
    ASSERT_EQ(out.problems.size(), 1u) << name;
    EXPECT_NE(out.problems[0].find(segment_name(name)), std::string::npos) << out.problems[0];
    EXPECT_EQ(read_all(foreign.path_in(dir_.path())), left);
    EXPECT_TRUE(verify_segment(path())->ok);
    std::filesystem::remove(foreign.path_in(dir_.path()));
    std::filesystem::remove(path());
  }
}

// Counted, not timed: segments opened, and bytes read by this process.
TEST_F(RecoverTest, ALongPastIsNotLookedAt) {
  const auto bytes_read = [] {
    std::ifstream io("/proc/self/io");
    std::string word;
    std::uint64_t bytes = 0;
    io >> word >> bytes;
    return bytes;
  };
  std::map<int, std::uint64_t> opens, bytes;
  for (const int segments : {2, 200}) {
    const TempDir dir;
    LogBuilder log;
    for (int i = 0; i < segments; ++i, log = LogBuilder(log.mark().offset, log.mark().position)) {
      log.event(std::string(1000, 'x'));
      if (i + 1 < segments)
        log.write_sealed(dir.path());
      else
        log.write_open(dir.path());
    }
    const io::Fd watch(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    ASSERT_GE(::inotify_add_watch(watch.get(), dir.path().c_str(), IN_OPEN), 0);
    const std::uint64_t before = bytes_read();
    ASSERT_EQ(recover_topic(dir.path(), meta_of(0), false, {})->found, RecoveryCase::open_clean);
    bytes[segments] = bytes_read() - before;
    alignas(inotify_event) char buffer[1 << 16];
    for (ssize_t n; (n = ::read(watch.get(), buffer, sizeof buffer)) > 0;) {
      for (ssize_t at = 0; at < n; ++opens[segments])
        at += ssize_t(sizeof(inotify_event) + reinterpret_cast<const inotify_event*>(buffer + at)->len);
    }
  }
  EXPECT_GT(opens[2], 0u);
  EXPECT_EQ(opens[2], opens[200]);
  EXPECT_LT(bytes[200], bytes[2] + 3 * layout::kPage);  // the last ones begin at different places in a page
}

TEST_F(RecoverTest, WhatIsMissingInALongPastIsToldStepByStep) {
  LogBuilder log;
  std::vector<std::string> paths;
  for (int i = 0; i < 10; ++i, log = LogBuilder(log.mark().offset, log.mark().position)) {
    log.event("x").write_sealed(dir_.path());
    paths.push_back(log.path_in(dir_.path()));
  }
  std::filesystem::remove(paths[4]);
  OrderCheck order(dir_.path(), kTopicId);
  EXPECT_TRUE(order.step(4).empty());
  EXPECT_FALSE(order.done());
  std::filesystem::remove(paths[7]);  // retention's doing, as far as anybody knows: it is no news
  const auto problems = order.step(100);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0], "offsets 4 to 4 are missing: a segment before 00000000000000000005.seg is gone");
  EXPECT_TRUE(order.done());
}

TEST_F(RecoverTest, ASegmentThatWasNotClosedIsSealedWhereItEnds) {
  log_.write_open(dir_.path());
  const Recovered out = recover();
  EXPECT_EQ(out.found, RecoveryCase::open_clean);
  EXPECT_EQ(out.log_offset, log_.mark().offset);
  EXPECT_EQ(out.next_position, log_.mark().position);
  EXPECT_TRUE(out.problems.empty());
  const Result<FileReport> report = verify_segment(path());
  EXPECT_TRUE(report->ok) << (report->problems.empty() ? "" : report->problems[0]);
  Result<SegmentReader> reader = SegmentReader::open(path());
  EXPECT_TRUE(reader->sealed());
  EXPECT_EQ(reader->front().progress->events, log_.events().size());
  EXPECT_EQ(story().events, log_.events());
}

TEST_F(RecoverTest, AFullSegmentBeforeTheLastThatWasNotSealedYetIs) {
  log_.write_open(dir_.path());
  LogBuilder next(log_.mark().offset, log_.mark().position);
  next.event("x").write_open(dir_.path());
  EXPECT_TRUE(recover().problems.empty());
  for (const LogBuilder* log : {&log_, &next}) {
    EXPECT_TRUE(SegmentReader::open(log->path_in(dir_.path()))->sealed());
    EXPECT_TRUE(verify_segment(log->path_in(dir_.path()))->ok);
  }
}

TEST_F(RecoverTest, ADamagedSegmentBeforeTheLastIsNotCut) {
  log_.write_open(dir_.path());
  flip(path(), layout::segment_file_offset(70, 70) + layout::kLine + 8);  // the first payload
  LogBuilder next(log_.mark().offset, log_.mark().position);
  next.event("x").write_open(dir_.path());
  const std::vector<std::byte> before = read_all(path());
  static_cast<void>(recover());
  EXPECT_EQ(read_all(path()), before);
  EXPECT_EQ(story().events.size(), log_.events().size());  // one is lost, one is new
}

TEST_F(RecoverTest, ATailTornAtAnyByteIsCutAtTheLastWholeClaimAndSealed) {
  log_.write_open(dir_.path());
  const std::vector<std::byte> whole = read_all(path());
  const std::size_t records = layout::segment_file_offset(70, 70);
  for (std::size_t kept = 0; kept <= log_.bytes().size(); ++kept) {
    std::vector<std::byte> bytes = whole;
    // What came after reached the disk out of order, or is another sector's garbage.
    std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(records + kept), bytes.end(),
              std::byte(kept % 2 == 0 ? 0 : 0xa5));
    write_all(path(), bytes);
    const Recovered out = recover();
    ASSERT_TRUE(out.problems.empty()) << kept << ": " << out.problems[0];
    if (out.found == RecoveryCase::nothing) {  // nothing of the first claim: the file is no more
      ASSERT_FALSE(std::filesystem::exists(path()));
      ASSERT_LT(kept, 64u + 8 + 1);
      continue;
    }
    ASSERT_TRUE(out.found == RecoveryCase::open_clean || out.found == RecoveryCase::open_torn) << kept;
    const Result<FileReport> report = verify_segment(path());
    ASSERT_TRUE(report->ok) << kept << ": " << report->problems[0];
    const Story read = story();
    ASSERT_TRUE(read.damages.empty());
    for (std::size_t i = 0; i < read.events.size(); ++i) ASSERT_EQ(read.events[i], log_.events()[i]) << kept;
    ASSERT_EQ(read.end.offset, out.log_offset);
    for (std::size_t i = 0; i + 1 < log_.claims().size(); ++i) {
      if ((log_.claims()[i + 1].position - 70) * layout::kLine <= kept) {
        ASSERT_GE(out.next_position, log_.claims()[i + 1].position) << kept;
      }
    }
  }
}

TEST_F(RecoverTest, RecoveringAgainChangesNothing) {
  log_.write_open(dir_.path());
  flip(path(), layout::segment_file_offset(70, log_.claims().back().position) + 64);
  recover();
  const auto once = files();
  const Recovered again = recover();
  EXPECT_EQ(again.found, RecoveryCase::sealed_whole);
  EXPECT_EQ(again.log_offset, log_.mark().offset - 1);
  EXPECT_EQ(files(), once);
}

TEST_F(RecoverTest, LookingOnlyChangesNothing) {
  log_.write_open(dir_.path());
  const auto before = files();
  const Recovered out = recover(meta_of(0), {.change = false});
  EXPECT_EQ(out.found, RecoveryCase::open_clean);
  EXPECT_EQ(files(), before);
}

TEST_F(RecoverTest, KilledBetweenTheStepsOfSealingItIsDoneAgain) {
  log_.write_open(dir_.path());
  recover();
  const std::vector<std::byte> sealed = read_all(path());
  // Truncated but not marked; marked in one slot; the second slot torn.
  for (int step = 0; step < 3; ++step) {
    std::vector<std::byte> bytes = sealed;
    std::filesystem::remove(path());
    LogBuilder fresh = log_;
    fresh.write_open(dir_.path());
    const std::vector<std::byte> open = read_all(path());
    const auto take = [&](std::uint64_t slot) {
      std::copy_n(open.begin() + static_cast<std::ptrdiff_t>(layout::kProgressAt[slot]), layout::kSector,
                  bytes.begin() + static_cast<std::ptrdiff_t>(layout::kProgressAt[slot]));
    };
    if (step == 0) take(0), take(1);
    if (step == 1) take(1);
    if (step == 2) bytes[layout::kProgressAt[1] + 17] ^= std::byte{1};
    write_all(path(), bytes);
    const Recovered out = recover();
    EXPECT_TRUE(out.problems.empty());
    EXPECT_EQ(out.log_offset, log_.mark().offset);
    const Result<FileReport> report = verify_segment(path());
    EXPECT_TRUE(report->ok) << step << ": " << (report->problems.empty() ? "" : report->problems[0]);
  }
}

TEST_F(RecoverTest, ABreakBelowTheMarkIsKeptAndReadersPassIt) {
  const Mark mark = log_.mark();
  log_.write_open(dir_.path(), &mark);
  flip(path(), layout::segment_file_offset(70, log_.claims()[1].position) + 80);
  const Recovered out = recover();
  EXPECT_EQ(out.log_offset, mark.offset);
  EXPECT_EQ(out.cut_bytes, 0u);
  const Story read = story();
  EXPECT_EQ(read.events.size() + 1, log_.events().size());
  EXPECT_EQ(read.damages.size(), 1u);
  EXPECT_FALSE(verify_segment(path())->ok);
}

TEST_F(RecoverTest, AFileCutBelowItsMarkIsToldEveryTimeAndKept) {
  for (const bool sealed : {false, true}) {
    std::filesystem::remove(path());
    const Mark mark = log_.mark();
    if (sealed)
      log_.write_sealed(dir_.path());
    else
      log_.write_open(dir_.path(), &mark);
    std::filesystem::resize_file(path(), layout::segment_file_offset(70, log_.claims()[2].position));
    const auto before = files();
    for (int i = 0; i < 2; ++i) {
      const Recovered out = recover();
      EXPECT_EQ(out.found, sealed ? RecoveryCase::sealed_short : RecoveryCase::open_short);
      EXPECT_EQ(out.problems.size(), 1u);
      EXPECT_EQ(out.log_offset, mark.offset);  // what was given is not given again
      EXPECT_EQ(files(), before);
    }
    const Story read = story();
    EXPECT_EQ(read.events.size(), 2u);
    EXPECT_EQ(read.damages.size(), 1u);
  }
}

TEST_F(RecoverTest, FilesThatWereNeverFinishedAreRemovedAndTheOneBeforeIsLookedAt) {
  log_.write_open(dir_.path());
  const std::uint64_t next = log_.mark().offset;
  for (const std::size_t size : {std::size_t{0}, std::size_t{100}, std::size_t{300'000}}) {
    write_all(dir_ / segment_name(next), std::vector<std::byte>(size));
    write_all(dir_ / (segment_name(next) + ".tmp"), std::vector<std::byte>(5));
    const Recovered out = recover();
    EXPECT_EQ(out.log_offset, next);
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir_.path()), {}), 1);
  }
}

TEST_F(RecoverTest, ASegmentIntoWhichNothingCameIsRemoved) {
  log_.write_sealed(dir_.path());
  LogBuilder empty(log_.mark().offset + 50, log_.mark().position, kNonce + 1);
  empty.write_open(dir_.path());
  const Recovered out = recover();
  EXPECT_EQ(out.found, RecoveryCase::sealed_whole);
  EXPECT_FALSE(std::filesystem::exists(empty.path_in(dir_.path())));
  EXPECT_EQ(out.next_position, log_.mark().position);
}

TEST_F(RecoverTest, ASegmentMadeBeforeTheLastOfTheOneBeforeWasWrittenIsForgotten) {
  log_.write_open(dir_.path());
  LogBuilder empty(log_.mark().offset + 3, log_.mark().position + 20);
  empty.write_open(dir_.path());
  const Recovered out = recover();
  EXPECT_EQ(out.found, RecoveryCase::open_clean);
  EXPECT_EQ(out.next_position, log_.mark().position);
  const Recovered again = recover(meta_of(0), {.durable = Boundary{out.next_position, 1 << 20}});
  EXPECT_TRUE(again.problems.empty());
}

TEST_F(RecoverTest, ALostHeaderIsToldAndItsPlaceNotGivenAgain) {
  log_.write_sealed(dir_.path());
  LogBuilder second(log_.mark().offset, log_.mark().position);
  second.event("x").event("y").write_open(dir_.path());
  const std::string file = second.path_in(dir_.path());
  flip(file, 0);
  EXPECT_TRUE(recover(meta_of(0), {.change = false}).problems.empty());  // the copy holds
  flip(file, layout::kHeaderAt[1]);
  const auto before = files();
  const Recovered out = recover(meta_of(900));
  EXPECT_EQ(out.found, RecoveryCase::header_lost);
  EXPECT_EQ(out.problems.size(), 1u);
  EXPECT_EQ(out.next_offset, 900u);
  EXPECT_GE(out.next_position, second.mark().position);
  EXPECT_EQ(files(), before);
}

TEST_F(RecoverTest, LostMarksAreToldAndNothingIsCut) {
  log_.write_open(dir_.path());
  flip(path(), layout::kProgressAt[0]);
  flip(path(), layout::kProgressAt[1]);
  flip(path(), layout::segment_file_offset(70, log_.claims()[1].position) + 80);
  const auto before = files();
  const Recovered out = recover();
  EXPECT_EQ(out.found, RecoveryCase::marks_lost);
  EXPECT_EQ(out.problems.size(), 1u);
  EXPECT_EQ(out.log_offset, log_.mark().offset);
  EXPECT_EQ(files(), before);
}

TEST_F(RecoverTest, AMissingMiddleSegmentIsAProblemAndAHoleBetweenLivesIsNone) {
  log_.write_sealed(dir_.path());
  LogBuilder life(5000, log_.mark().position, kNonce + 1);
  life.event("x").write_sealed(dir_.path());
  EXPECT_TRUE(recover().problems.empty());
  LogBuilder more(life.mark().offset + 7, life.mark().position + 20, kNonce + 1);
  more.event("y").write_sealed(dir_.path());
  EXPECT_EQ(recover().problems.size(), 1u);
}

TEST_F(RecoverTest, ARunningTopicKeepsUpToItsDurableEndAndNoFurther) {
  log_.write_open(dir_.path());
  const Boundary durable = log_.claims()[3];
  const Recovered out = recover(meta_of(0), {.durable = durable});
  EXPECT_EQ(out.log_offset, durable.offset);
  EXPECT_EQ(out.next_position, durable.position);
  EXPECT_TRUE(out.problems.empty());
  EXPECT_EQ(story().end.position, durable.position);
  EXPECT_TRUE(verify_segment(path())->ok);
}

TEST_F(RecoverTest, ARunningTopicWhoseFileLostWhatWasDurableIsTold) {
  log_.write_open(dir_.path());
  flip(path(), layout::segment_file_offset(70, log_.claims()[1].position) + 80);
  const auto before = files();
  const Boundary durable{log_.mark().position, log_.mark().offset};
  const Recovered out = recover(meta_of(0), {.durable = durable});
  EXPECT_EQ(out.found, RecoveryCase::open_unreachable);
  EXPECT_EQ(out.problems.size(), 1u);
  EXPECT_EQ(out.log_offset, durable.offset);
  EXPECT_EQ(out.next_position, durable.position);
  EXPECT_EQ(files(), before);
}

TEST_F(RecoverTest, ARunningTopicsSegmentThatWasCutToNothingIsToldAndKept) {
  log_.write_sealed(dir_.path());
  LogBuilder second(log_.mark().offset, log_.mark().position, kNonce + 1);
  second.event("x");
  const RecoverOptions options{.durable = Boundary{second.mark().position, second.mark().offset}};
  for (const std::size_t size : {std::size_t{0}, std::size_t{8192}}) {
    write_all(second.path_in(dir_.path()), std::vector<std::byte>(size));
    const auto before = files();
    const Recovered out = recover(meta_of(0), options);
    EXPECT_EQ(out.found, RecoveryCase::header_lost);
    EXPECT_FALSE(out.problems.empty());
    EXPECT_EQ(out.log_offset, second.mark().offset);
    EXPECT_EQ(files(), before);
  }
}

TEST_F(RecoverTest, ARunningTopicWithoutItsSegmentIsTold) {
  const Recovered out = recover(meta_of(0), {.durable = Boundary{50, 20}});
  EXPECT_EQ(out.problems.size(), 1u);
  EXPECT_EQ(out.log_offset, 20u);
  EXPECT_EQ(out.log_position, 50u);
  EXPECT_EQ(out.next_position, 50u);
}

TEST_F(RecoverTest, OffsetsGoOnWhereNoneWasEverGiven) {
  log_.write_sealed(dir_.path());
  const Mark end = log_.mark();
  const auto run = [&](const std::optional<layout::TopicMeta>& meta, bool corrupt = false) {
    return *recover_topic(dir_.path(), meta, corrupt, {});
  };
  Recovered out = run(clean_meta(end.offset, end.position));
  EXPECT_EQ(out.offsets, OffsetCase::from_log);
  EXPECT_EQ(out.next_offset, end.offset);

  out = run(meta_of(end.offset + 1000));
  EXPECT_EQ(out.offsets, OffsetCase::from_bound);
  EXPECT_EQ(out.next_offset, end.offset + 1000);
  EXPECT_EQ(run(meta_of(0)).next_offset, end.offset);

  out = run(clean_meta(end.offset + 10, end.position));  // a life without events, after a hole
  EXPECT_EQ(out.offsets, OffsetCase::from_meta);
  EXPECT_EQ(out.next_offset, end.offset + 10);
  EXPECT_TRUE(out.problems.empty());

  out = run(clean_meta(end.offset + 10, end.position + 30));
  EXPECT_EQ(out.offsets, OffsetCase::log_is_short);
  EXPECT_EQ(out.next_offset, end.offset + 10);
  EXPECT_EQ(out.next_position, end.position + 30);
  EXPECT_EQ(out.problems.size(), 1u);

  out = run(clean_meta(end.offset - 1, end.position - 2));
  EXPECT_EQ(out.offsets, OffsetCase::meta_is_stale);
  EXPECT_GE(out.next_offset, end.offset);
  EXPECT_EQ(out.problems.size(), 1u);

  for (const bool corrupt : {false, true}) {
    out = run(std::nullopt, corrupt);
    EXPECT_EQ(out.offsets, OffsetCase::meta_lost);
    EXPECT_GE(out.next_offset, end.offset + kMetaLostJump);
    EXPECT_EQ(out.problems.size(), 1u);
  }
}

TEST_F(RecoverTest, AMemoryTopicGoesOnFromItsMeta) {
  layout::TopicMeta meta = clean_meta(77, 500);
  meta.options.durability = layout::Durability::memory;
  const Recovered out = recover(meta);
  EXPECT_EQ(out.next_offset, 77u);
  EXPECT_EQ(out.next_position, 500u);
  EXPECT_TRUE(out.problems.empty());
}

}  // namespace
}  // namespace penstock::storage
