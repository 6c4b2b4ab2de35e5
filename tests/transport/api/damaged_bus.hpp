// A small bus at rest of which one byte after the other is changed: what becomes of it is told, never a wrong payload.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/support/scratch.hpp"
#include "tests/support/small_bus.hpp"
#include "tests/support/tree_image.hpp"

namespace penstock::test {

class DamagedBus {
 public:
  DamagedBus() {
    make_small_bus(folder_.path(), false);
    image_.emplace(folder_.path());
    whole_ = look();
    whole_groups_ = groups();
    image_->put_into(folder_.path());
  }

  // Every `stride`-th byte of all files, from this one on; how many.
  std::uint64_t flip_each(std::uint64_t stride, std::uint64_t first = 0) {
    EXPECT_FALSE(whole_.told) << "a bus that is whole";
    EXPECT_EQ(whole_.events.size(), kOrders);
    EXPECT_EQ(whole_groups_.size(), 2u);
    std::uint64_t flips = 0, next = first;
    for (FileImage& file : image_->files) {
      if (!S_ISREG(file.mode) || file.name.ends_with(".lock")) continue;
      const std::uint64_t held = file.held();
      for (; next < held; next += stride, ++flips) {
        const FileImage before = file;
        file.byte(next) ^= std::byte(1u << next / stride % 8);
        SCOPED_TRACE("byte " + std::to_string(next) + " of " + file.name);
        TreeImage::write(folder_.path() + file.name, file);
        visit(file.name.ends_with(".toml"));
        image_->put_into(folder_.path());
        file = before;
        TreeImage::write(folder_.path() + file.name, file);
        if (::testing::Test::HasFailure()) return flips;
      }
      next -= held;
    }
    return flips;
  }

 private:
  struct Seen {
    std::map<Offset, std::string> events;
    std::set<Offset> lost;
    bool told = false;  // that something is not as it should be
    friend bool operator==(const Seen&, const Seen&) = default;
  };
  std::string directory() const { return folder_ / "bus"; }

  // As dump and verify do.
  Seen look() const {
    Seen seen;
    const auto note = [&seen](const Result<std::vector<FileReport>>& reports) {
      if (!reports) seen.told = true;
      if (reports)
        for (const FileReport& report : *reports) seen.told |= !report.ok;
    };
    note(Log::verify_books(directory()));
    for (const char* topic : {"orders", "desk.dlq", "ticks"}) {
      auto log = Log::open(directory(), topic);
      if (!log) {
        seen.told = true;
        continue;
      }
      note(log->verify());
      const bool orders = std::string_view(topic) == "orders";
      const LogVisitor visitor{[&](const EventView& event) {
                                 if (orders) keep(seen.events, event.offset(), event.payload());
                                 return true;
                               },
                               {},
                               [&](const Damage& damage) {
                                 seen.told = true;
                                 for (Offset at = damage.first_offset; orders && at < damage.end_offset; ++at)
                                   seen.lost.insert(at);
                                 return true;
                               }};
      if (!log->scan({}, visitor)) seen.told = true;
    }
    return seen;
  }

  static void keep(std::map<Offset, std::string>& events, Offset offset, Bytes payload) {
    const std::string text(reinterpret_cast<const char*>(payload.data()), payload.size());
    EXPECT_EQ(text, payload_of(offset)) << "a wrong payload";
    EXPECT_TRUE(events.emplace(offset, text).second) << "offset " << offset << " comes twice";
  }

  // Where the group stands, in words; empty when that cannot be told.
  std::vector<std::string> groups() const {
    std::vector<std::string> out;
    auto bus = Bus::open(directory());
    if (!bus) return out;
    const auto topics = bus->group_topics(kGroup);
    if (!topics) return out;
    for (const GroupTopicInfo& topic : *topics)
      if (topic.topic == "orders")
        out.push_back(topic.topic + " " + std::to_string(topic.committed) + " " + std::to_string(topic.lag));
    const auto pending = bus->group_pending(kGroup);
    if (!pending) return {};
    for (const PendingInfo& event : *pending)
      out.push_back(event.state + " " + std::to_string(event.offset) + " " + event.reason);
    return out;
  }

  void visit(bool settings) const {
    const Seen seen = look();
    for (Offset offset = 0; offset < kOrders; ++offset)
      EXPECT_TRUE(seen.events.contains(offset) || seen.lost.contains(offset) || seen.told) << offset << " is lost";
    if (!seen.told) {
      EXPECT_EQ(seen.events, whole_.events);
    }
    EXPECT_TRUE(seen.lost.empty() || seen.told);
    auto bus = Bus::open(directory());
    if (!bus) {
      EXPECT_FALSE(bus.error().message().empty());
      return;
    }
    if (settings) return;
    const std::vector<std::string> stand = groups();
    EXPECT_TRUE(stand == whole_groups_ || seen.told) << "the group's place is lost, and nobody says so";
    auto reader = bus->reader("orders", StartAt::beginning());
    if (!reader) {
      EXPECT_TRUE(seen.told) << reader.error().message();
      return;
    }
    std::map<Offset, std::string> events;
    auto polled = reader->poll([&](const EventView& event) { keep(events, event.offset(), event.payload()); });
    EXPECT_TRUE(polled || seen.told);
    EXPECT_TRUE(events.size() + reader->damaged() + reader->missed() >= kOrders || !polled || seen.told);
    EXPECT_TRUE(events.size() == kOrders || reader->damaged() != 0 || !polled) << "a loss that the reader is not told";
    auto desk = bus->consumer(kGroup);
    if (!desk) return;
    for (;;) {
      auto delivery = desk->next(std::chrono::nanoseconds(0));
      if (!delivery || !*delivery) break;
      if ((*delivery)->topic() == "orders") {
        const Bytes payload = (*delivery)->payload();
        EXPECT_EQ(std::string(reinterpret_cast<const char*>(payload.data()), payload.size()),
                  payload_of((*delivery)->offset()));
      }
      static_cast<void>((*delivery)->ack());
    }
  }

  Scratch folder_;
  std::optional<TreeImage> image_;
  Seen whole_;
  std::vector<std::string> whole_groups_;
};

}  // namespace penstock::test
