// Compaction as a running daemon does it: who reads meanwhile, groups, duplicates, and what is told.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <penstock/daemon.hpp>
#include <penstock/log.hpp>
#include <penstock/penstock.hpp>
#include <thread>

#include "tests/support/temporary_bus.hpp"

namespace penstock {
namespace {

using namespace std::chrono_literals;

constexpr int kKeys = 20;
constexpr Offset kEvents = 4'000;

Bytes bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }
std::string key_of(Offset offset) { return "key-" + std::to_string(offset % kKeys); }

class CompactionTest : public ::testing::Test {
 protected:
  // Small segments, so that there are many.
  void begin(const TopicOptions& options = {.ring_bytes = 64 << 10, .compact = true}, const char* settings = "") {
    std::ofstream(place_.path() + "/bus.toml") << "[daemon]\nsegment_bytes = \"32KiB\"\n" << settings;
    bus_.emplace(place_.open());
    ASSERT_TRUE(bus_->create_topic("state", options));
    start();
  }
  void start() {
    daemon_.emplace(Daemon::start(*bus_, {.log = [](int level, const std::string& text) {
                      if (level > 0) ADD_FAILURE() << text;
                    }}).value());
  }
  void publish(Offset from, Offset to) {
    Producer producer = bus_->producer("state").value();
    for (Offset i = from; i < to; ++i) {
      const std::string text = std::to_string(i) + std::string(150, '.'), key = key_of(i);
      ASSERT_EQ(producer.publish(bytes_of(text), {.key = key}).value(), i);
    }
    ASSERT_TRUE(producer.await_durable(to - 1, 60s));
  }
  // What stands on disk and in the ring; what was removed.
  struct Held {
    std::vector<Offset> events;
    std::uint64_t compacted = 0;
  };
  Held held() const {
    Held out;
    const auto done = Log::open(place_.path(), "state")
                          .value()
                          .scan({}, {[&](const EventView& event) {
                                       out.events.push_back(event.offset());
                                       return true;
                                     },
                                     {},
                                     [](const Damage& damage) {
                                       ADD_FAILURE() << damage.problem << " at offset " << damage.first_offset;
                                       return true;
                                     },
                                     [&](Offset, std::uint64_t count) {
                                       out.compacted += count;
                                       return true;
                                     }});
    EXPECT_TRUE(done);
    return out;
  }
  static void wait_for(const std::function<bool()>& condition, const char* what) {
    const auto deadline = std::chrono::steady_clock::now() + 60s;
    while (!condition()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << what;
      std::this_thread::sleep_for(5ms);
    }
  }
  // Of what is durable nearly all but the newest of each key went: what remains is less than a segment or two has.
  void wait_until_compacted() const {
    wait_for([this] { return held().events.size() < 600; }, "the topic is compacted");
  }
  void expect_newest_of_each_key(const std::vector<Offset>& offsets, Offset end = kEvents) const {
    for (Offset offset = end - kKeys; offset < end; ++offset)
      EXPECT_NE(std::find(offsets.begin(), offsets.end(), offset), offsets.end()) << "offset " << offset << " is gone";
    EXPECT_TRUE(std::is_sorted(offsets.begin(), offsets.end()));
    EXPECT_EQ(std::adjacent_find(offsets.begin(), offsets.end()), offsets.end());
  }
  void expect_verified() const {
    const auto reports = Log::open(place_.path(), "state").value().verify();
    ASSERT_TRUE(reports);
    for (const FileReport& report : *reports)
      EXPECT_TRUE(report.ok) << report.file << ": " << (report.problems.empty() ? "" : report.problems.front());
  }

  test::TemporaryBus place_;
  std::optional<Bus> bus_;
  std::optional<Daemon> daemon_;
};

TEST_F(CompactionTest, TheNewestOfEachKeyStaysAndTheDiskIsGivenBack) {
  begin();
  publish(0, kEvents);
  wait_until_compacted();
  const Held now = held();
  expect_newest_of_each_key(now.events);
  EXPECT_EQ(now.events.size() + now.compacted, kEvents);
  // Of more than a MiB; the small segments' first pages are a good part of what is left.
  wait_for([this] { return bus_->describe_topic("state")->disk_bytes < 700u << 10; }, "the disk is given back");
  expect_verified();
  publish(kEvents, kEvents + 10);  // offsets go on
}

TEST_F(CompactionTest, AReaderThatStandsInWhatGoesReadsOnWithoutAGapOrDamage) {
  begin();
  publish(0, kEvents);
  Reader reader = bus_->reader("state", StartAt::beginning(), {.lossy = true}).value();
  std::vector<Offset> seen;
  const auto read = [&](std::size_t most) {
    return reader.poll([&](const EventView& event) { seen.push_back(event.offset()); }, most).value();
  };
  while (seen.size() < 7) read(1);
  wait_until_compacted();
  wait_for([&] { return read(64), seen.back() == kEvents - 1; }, "the reader comes to the end");
  expect_newest_of_each_key(seen);
  EXPECT_EQ(reader.missed(), 0u);
  EXPECT_EQ(reader.damaged(), 0u);
}

TEST_F(CompactionTest, AGroupThatLagsKeepsItWaitingAndLosesNothing) {
  begin();
  Consumer member = bus_->consumer("view", {"state"}).value();
  publish(0, kEvents);
  std::vector<Offset> seen;
  std::optional<Delivery> late;
  for (int i = 0; i < 3; ++i) {
    auto delivery = member.next(10s).value();
    ASSERT_TRUE(delivery);
    seen.push_back(delivery->offset());
    if (i == 1)
      late.emplace(std::move(*delivery));  // unsettled for long
    else
      ASSERT_TRUE(delivery->ack());
  }
  wait_for([this] { return bus_->describe_topic("state")->compaction_waits_for.has_value(); }, "it is told");
  EXPECT_EQ(*bus_->describe_topic("state")->compaction_waits_for, "group view, whose first unsettled event is 1");
  while (seen.size() < kEvents) {
    auto delivery = member.next(10s).value();
    ASSERT_TRUE(delivery) << "after " << seen.size();
    seen.push_back(delivery->offset());
    ASSERT_TRUE(delivery->ack());
  }
  for (Offset i = 0; i < kEvents; ++i) ASSERT_EQ(seen[i], i);
  EXPECT_EQ(held().events.size(), kEvents);  // for the one that is not settled
  ASSERT_TRUE(late->ack());
  wait_until_compacted();
  EXPECT_EQ(bus_->describe_topic("state")->compaction_waits_for, std::nullopt);
  // A group that comes later builds the same from less.
  Consumer second = bus_->consumer("second", {"state"}).value();
  std::map<std::string, Offset> newest;
  while (newest.empty() || newest[key_of(kEvents - 1)] != kEvents - 1) {
    auto delivery = second.next(10s).value();
    ASSERT_TRUE(delivery);
    newest[std::string(*delivery->event().view().key())] = delivery->offset();
    ASSERT_TRUE(delivery->ack());
  }
  ASSERT_EQ(newest.size(), std::size_t{kKeys});
  for (const auto& [key, offset] : newest) EXPECT_GE(offset, kEvents - kKeys);
  EXPECT_EQ(bus_->group_topics("second")->front().damaged, 0u);
}

TEST_F(CompactionTest, WhatThePublisherComparesIdsWithStays) {
  begin({.ring_bytes = 64 << 10, .publish_dedupe = 3'000, .compact = true});
  Producer producer = bus_->producer("state").value();
  const std::string text(150, '.');
  for (Offset i = 0; i < kEvents; ++i) {
    const std::string id = "id-" + std::to_string(i), key = key_of(i);
    ASSERT_TRUE(producer.publish(bytes_of(text), {.id = id, .key = key}));
  }
  ASSERT_TRUE(producer.await_durable(kEvents - 1, 60s));
  wait_for([this] { return held().compacted != 0; }, "it is compacted");
  const Held now = held();
  for (Offset offset = kEvents - 3'000; offset < kEvents; ++offset)
    ASSERT_TRUE(std::binary_search(now.events.begin(), now.events.end(), offset)) << offset;
  Producer fresh = bus_->producer("state").value();
  EXPECT_EQ(fresh.publish(bytes_of(text), {.id = "id-1500", .key = "key-0"}).value(), 1'500u);
  EXPECT_TRUE(fresh.last_duplicate());
}

TEST_F(CompactionTest, AKeyThatWasDeletedGoesWithItsTombstone) {
  begin({.ring_bytes = 64 << 10, .compact = true}, "tombstones = \"1ms\"\n");
  Producer producer = bus_->producer("state").value();
  ASSERT_TRUE(producer.publish(bytes_of("value"), {.key = "gone"}));
  const Offset deleted = producer.publish({}, {.key = "gone"}).value();
  publish(2, kEvents);
  wait_for(
      [&] {
        const Held now = held();
        return !std::binary_search(now.events.begin(), now.events.end(), deleted);
      },
      "the tombstone goes");
  EXPECT_NE(held().events.front(), 0u);
  expect_verified();
}

TEST_F(CompactionTest, ItIsTurnedOnAndOff) {
  begin({.ring_bytes = 64 << 10});
  publish(0, kEvents);
  ASSERT_TRUE(bus_->set_compaction("state", true));
  EXPECT_TRUE(bus_->describe_topic("state")->options.compact);
  wait_until_compacted();
  ASSERT_TRUE(bus_->set_compaction("state", false));
  EXPECT_FALSE(bus_->describe_topic("state")->options.compact);
}

TEST_F(CompactionTest, WhatHasNoSegmentsOrIsADeadLetterQueueIsRefusedAndSaysWhy) {
  bus_.emplace(place_.open());
  const TopicOptions memory{.durability = Durability::memory, .ring_bytes = 64 << 10, .compact = true};
  const auto refused = bus_->create_topic("ticks", memory);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Errc::invalid_argument);
  EXPECT_NE(refused.error().message().find("only topics on disk are compacted"), std::string::npos);
  ASSERT_TRUE(bus_->create_topic("ticks", {.durability = Durability::memory, .ring_bytes = 64 << 10}));
  EXPECT_FALSE(bus_->set_compaction("ticks", true));
  EXPECT_FALSE(bus_->create_topic("group.dlq", {.ring_bytes = 64 << 10, .compact = true}));
}

TEST_F(CompactionTest, RetentionAndCompactionTogetherLeaveAWholeLog) {
  begin({.ring_bytes = 64 << 10, .retention_bytes = 400 << 10, .compact = true});
  for (Offset at = 0; at < 5 * kEvents; at += kEvents) publish(at, at + kEvents);
  wait_until_compacted();
  expect_newest_of_each_key(held().events, 5 * kEvents);
  expect_verified();
  // Nothing that was removed has come back: no file is older than the first that can be read.
  const Offset first = bus_->describe_topic("state")->first_offset;
  for (const auto& entry : std::filesystem::directory_iterator(place_.path() + "/topics/state"))
    if (entry.path().extension() == ".seg") {
      EXPECT_GE(std::stoull(entry.path().stem()), first);
    }
}

TEST_F(CompactionTest, ADaemonThatStopsInTheMiddleIsFollowedByOneThatGoesOn) {
  begin();
  for (int round = 0; round < 4; ++round) {
    publish(Offset(round) * 1'000, Offset(round + 1) * 1'000);
    ASSERT_TRUE(daemon_->stop());
    start();
  }
  wait_until_compacted();
  expect_newest_of_each_key(held().events);
  expect_verified();
}

}  // namespace
}  // namespace penstock
