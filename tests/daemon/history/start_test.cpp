// A bus with a long past starts as one without: what recovery looks at is counted in recover_test.cpp; here a bus is
// started over such a past. HISTORY_SEGMENTS makes it longer, of 64 MiB each, over HISTORY_TOPICS topics, and then it
// tells times; HISTORY_COLD=1 empties the page cache before, which takes root.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <penstock/log.hpp>
#include <thread>

#include "history.hpp"
#include "storage/index.hpp"
#include "storage/segment_reader.hpp"
#include "tests/support/small_bus.hpp"
#include "tests/support/temporary_bus.hpp"

namespace penstock::test {
namespace {

using namespace std::chrono_literals;

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

std::string name_of(std::uint64_t topic) { return "log" + std::to_string(topic); }

void make_bus(const std::string& path, std::uint64_t topics, const Past& past) {
  {
    Bus bus = good(Bus::open(path));
    for (std::uint64_t i = 0; i < topics; ++i) good(bus.create_topic(name_of(i), {.ring_bytes = 64 << 10}));
  }
  good(Bus::unload(path));
  for (std::uint64_t i = 0; i < topics; ++i) write_past(path, name_of(i), past);
}

TEST(LongPast, IsGoneOnFromAndWhole) {
  const std::uint64_t segments = from_environment("HISTORY_SEGMENTS", 0);
  const std::uint64_t topics = from_environment("HISTORY_TOPICS", 2);
  const Past past = segments == 0 ? Past{100, 64 << 10} : Past{segments / topics, 64 << 20};
  const TemporaryBus at;
  make_bus(at.path(), topics, past);
  if (std::getenv("HISTORY_COLD") != nullptr) {
    ::sync();
    std::ofstream("/proc/sys/vm/drop_caches") << "3";
  }
  const auto begin = std::chrono::steady_clock::now();
  const auto tell = [&](const char* what) {
    const std::chrono::duration<double, std::milli> passed = std::chrono::steady_clock::now() - begin;
    if (segments != 0) std::printf("%s after %.1f ms\n", what, passed.count());
  };
  {
    Bus bus = good(Bus::open(at.path()));
    EXPECT_EQ(good(bus.describe_topic(name_of(0))).next_offset, past.segments);
    tell("the first topic described");
    Daemon daemon = good(Daemon::start(bus));
    for (std::uint64_t i = 0; i < topics; ++i) {
      Producer producer = good(bus.producer(name_of(i)));
      const Offset offset = good(producer.publish(bytes_of("new")));
      EXPECT_EQ(offset, past.segments);
      good(producer.await_durable(offset, 60s));
    }
    tell("an event of each topic on disk");
    good(daemon.stop());
  }
  if (segments != 0) return;
  for (std::uint64_t i = 0; i < topics; ++i) {
    std::uint64_t events = 0;
    for (const FileReport& report : good(good(Log::open(at.path(), name_of(i))).verify())) {
      EXPECT_TRUE(report.ok) << report.file << ": " << report.problems.front();
      events += report.events;
    }
    EXPECT_EQ(events, past.segments + 1);
  }
}

TEST(LongPast, IndexesThatAreMissingOrWrongAreMadeAnew) {
  const TemporaryBus at;
  make_bus(at.path(), 1, {20, 64 << 10});
  const std::string directory = at.path() + "/topics/" + name_of(0);
  ASSERT_TRUE(std::filesystem::remove(directory + "/" + storage::index_name(7)));
  std::filesystem::resize_file(directory + "/" + storage::index_name(12), 30);
  Bus bus = good(Bus::open(at.path()));
  Daemon daemon = good(Daemon::start(bus));
  for (const Offset first : {7, 12}) {
    const auto segment = good(storage::SegmentReader::open(directory + "/" + storage::segment_name(first)));
    const auto whole = [&] { return storage::read_index(directory, segment.header()).has_value(); };
    for (const auto deadline = std::chrono::steady_clock::now() + 60s;
         !whole() && std::chrono::steady_clock::now() < deadline;)
      std::this_thread::sleep_for(1ms);
    EXPECT_TRUE(whole()) << first;
  }
  good(daemon.stop());
}

TEST(LongPast, ASegmentMissingInItIsToldByTheDaemon) {
  const TemporaryBus at;
  make_bus(at.path(), 1, {100, 64 << 10});
  const std::string segment = at.path() + "/topics/" + name_of(0) + "/" + storage::segment_name(40);
  ASSERT_TRUE(std::filesystem::remove(segment));
  std::mutex mutex;
  std::string told;
  DaemonOptions options;
  options.log = [&](int, const std::string& text) {
    const std::lock_guard lock(mutex);
    told += text + "\n";
  };
  Bus bus = good(Bus::open(at.path()));
  Daemon daemon = good(Daemon::start(bus, options));
  const std::string expected = "topic log0: offsets 40 to 40 are missing: a segment before";
  const auto found = [&] {
    const std::lock_guard lock(mutex);
    return told.find(expected) != std::string::npos;
  };
  for (const auto deadline = std::chrono::steady_clock::now() + 60s;
       !found() && std::chrono::steady_clock::now() < deadline;)
    std::this_thread::sleep_for(1ms);
  EXPECT_TRUE(found()) << told;
  good(daemon.stop());
}

}  // namespace
}  // namespace penstock::test
