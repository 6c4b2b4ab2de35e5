// A compaction is killed at every system call of it: each segment is the one of before or its whole successor, the
// newest event of each key can be read, and the next compaction ends where an undisturbed one does.
#include <fstream>

#include "io/file.hpp"
#include "log/attributes.hpp"
#include "storage/compaction.hpp"
#include "storage/log_reader.hpp"
#include "storage/segment_set.hpp"
#include "storage/verify.hpp"
#include "tests/support/scratch.hpp"
#include "tests/support/stage.hpp"

namespace penstock::test {
namespace {

namespace fs = std::filesystem;

constexpr int kKeys = 5;
const std::atomic<bool> g_go_on{false};

// Four segments or more: events of a few keys, singly and in batches, events that delete theirs, and some without any.
void make_segments(const fs::path& to) {
  const Stage stage;
  fs::create_directories(stage.path());
  std::ofstream(stage.path() + "/bus.toml") << "[daemon]\nsegment_bytes = \"8KiB\"\n";
  Bus bus = stage.open();
  ASSERT_TRUE(bus.create_topic("t", {.ring_bytes = 64 << 10}));
  Daemon daemon = Daemon::start(bus).value();
  Producer producer = bus.producer("t").value();
  Offset last = 0;
  for (std::uint64_t i = 0; i < 120; ++i) {
    const std::string key = "key-" + std::to_string(i % kKeys), text = text_of('c', i, 100);
    if (i % 10 == 4) {
      const Message batch[] = {{bytes_of(text), {.key = key}}, {bytes_of(text), {}}, {bytes_of(text), {.key = "b"}}};
      last = producer.publish_batch(batch).value() + 2;
    } else if (i % 37 == 5) {
      last = producer.publish({}, {.key = key}).value();
    } else {
      last = producer.publish(bytes_of(text), {.key = i % 11 == 0 ? std::string_view() : key}).value();
    }
  }
  ASSERT_TRUE(producer.await_durable(last, 30s));
  ASSERT_TRUE(daemon.stop());
  fs::copy(stage.path() + "/topics/t", to);
}

using Events = std::map<Offset, std::string>;  // key, then payload
struct Held {
  Events events;
  std::map<std::string, Offset> newest;  // of each key
};

Held read(const std::string& directory) {
  Held out;
  storage::LogReader reader(directory);
  EXPECT_TRUE(reader.seek_start());
  for (;;) {
    const auto item = reader.next();
    EXPECT_TRUE(item);
    if (!item || item->kind == storage::ItemKind::end) return out;
    EXPECT_NE(item->kind, storage::ItemKind::damage) << item->problem << " at offset " << item->offset;
    if (item->kind != storage::ItemKind::event) continue;
    const auto key = log::find_attribute(item->record.attributes, layout::Attribute::key);
    const auto payload = item->record.payload;
    std::string& text = out.events[item->offset];
    text = (key ? std::string(*key) : "-") + " ";
    text.append(reinterpret_cast<const char*>(payload.data()), payload.size());
    if (key) out.newest[std::string(*key)] = item->offset;
  }
}

// As the daemon does it: without its index first, then under its name.
void compact_there(const std::string& directory) {
  storage::SegmentSet segments(directory);
  if (!segments.refresh()) std::abort();
  storage::CompactionPlan plan{.directory = directory, .segments = segments.first_offsets(), .now_ns = 1'000'000};
  plan.segments.pop_back();
  const auto replace = [&](std::uint64_t first, const std::string& temporary) -> Result<bool> {
    static_cast<void>(io::remove_file(directory + "/" + storage::index_name(first)));
    if (!io::rename_into_place(temporary, directory + "/" + storage::segment_name(first), false)) std::abort();
    return true;
  };
  if (!storage::compact(plan, replace, g_go_on)) std::abort();
}

void expect_whole(const std::string& directory, const Held& before) {
  const auto reports = storage::verify_directory(directory, std::nullopt);
  ASSERT_TRUE(reports);
  for (const FileReport& report : *reports)
    EXPECT_TRUE(report.ok) << report.file << ": " << (report.problems.empty() ? "" : report.problems.front());
  const Held now = read(directory);
  EXPECT_EQ(now.newest, before.newest);
  for (const auto& [offset, text] : now.events) EXPECT_EQ(text, before.events.at(offset));
  for (const auto& [offset, text] : before.events)
    if (text.starts_with("- ")) {
      EXPECT_TRUE(now.events.contains(offset)) << "an event without a key went";
    }
}

TEST(CompactionSweep, KilledAnywhereEachSegmentIsTheOldOneOrItsWholeSuccessor) {
  const Scratch scratch;
  const std::string image = scratch / "image", work = scratch / "work";
  make_segments(image);
  const Held before = read(image);
  fs::copy(image, work);
  compact_there(work);
  const Held after = read(work);
  ASSERT_LT(after.events.size(), before.events.size() / 2);
  expect_whole(work, before);
  const auto begin_anew = [&] {
    fs::remove_all(work);
    fs::copy(image, work);
  };
  begin_anew();
  const std::uint64_t points = count_points(
      Points::changes, [] {}, [&] { compact_there(work); });
  if (points == 0) GTEST_SKIP() << "this build can't be stepped";
  sweep("killed", points, 40, [&](std::uint64_t at) {
    SCOPED_TRACE("point " + std::to_string(at));
    begin_anew();
    const Victim victim(
        Points::changes, at, SIGKILL, [] {}, [&] { compact_there(work); });
    expect_whole(work, before);
    storage::remove_unfinished(work);
    for (const auto& entry : fs::directory_iterator(work)) EXPECT_NE(entry.path().extension(), ".tmp");
    compact_there(work);
    expect_whole(work, before);
    EXPECT_EQ(read(work).events, after.events);
    return victim.reached() && !HasFailure();
  });
}

}  // namespace
}  // namespace penstock::test
