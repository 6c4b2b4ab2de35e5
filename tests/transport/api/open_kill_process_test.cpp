// What makes, opens and removes buses, topics, groups and handles is killed at every store and system call of it. Who
// comes next completes it or undoes it: the same command succeeds, the name works, and once it is deleted nothing of it
// is left in shared memory or on disk.
#include <algorithm>
#include <fstream>
#include <set>

#include "api/topic.hpp"
#include "layout/live.hpp"
#include "tests/support/stage.hpp"

namespace penstock::test {
namespace {

namespace fs = std::filesystem;
using Outcome = Result<void>;

struct Plan {
  const char* name;
  Durability durability;
  std::function<void(const Stage&)> prepare;
  std::function<Outcome(const std::string& path)> act;
  std::set<Errc> done{};  // what a second one answers when the first had done all but say so
};

constexpr TopicOptions kMemory{.durability = Durability::memory, .ring_bytes = 64 << 10};
constexpr TopicOptions kDurable{.durability = Durability::disk, .ring_bytes = 64 << 10};

template <class T>
Outcome said(const Result<T>& result) {
  if (result) return {};
  return tl::unexpected(result.error());
}

void nothing(const Stage&) {}
// Of two Unix groups that need not exist: root is in all of them.
template <void (*kPrepare)(const Stage&)>
void shared(const Stage& stage) {
  fs::create_directories(stage.path());
  std::ofstream(stage.path() + "/bus.toml") << "[access]\nproducers = \"61001\"\nconsumers = \"61002\"\n";
  kPrepare(stage);
}
void a_bus(const Stage& stage) { stage.open(); }
void a_bus_of_an_earlier_boot(const Stage& stage) {
  Bus bus = stage.open();
  ASSERT_TRUE(bus.create_topic("t", kDurable));
  fs::remove_all(stage.live_path());
}
template <const TopicOptions& kOptions>
void a_topic(const Stage& stage) {
  ASSERT_TRUE(stage.open().create_topic("t", kOptions));
}
// With a group that has a checkpoint, and a segment.
void a_used_topic(const Stage& stage) {
  a_topic<kDurable>(stage);
  Bus bus = stage.open();
  Producer producer = bus.producer("t").value();
  const Offset offset = producer.publish(bytes_of(text_of('b', 0, 100))).value();
  Daemon daemon = Daemon::start(bus).value();
  Consumer member = bus.consumer("g", {"t"}).value();
  ASSERT_TRUE(member.next(5s).value()->ack());
  ASSERT_TRUE(producer.await_durable(offset, 10s));
  ASSERT_TRUE(daemon.stop());
}
// Slots of the dead, one of them with an open claim that its intent alone explains.
void slots_of_the_dead(const Stage& stage) {
  a_topic<kMemory>(stage);
  std::optional<Producer> producer;
  const auto open = [&] { producer.emplace(stage.open().producer("t").value()); };
  const auto publish = [&] { static_cast<void>(producer->publish(bytes_of(text_of('d', 0, 100)))); };
  for (const std::uint64_t at : {4u, 5u}) Victim(Points::changes, at, SIGKILL, open, publish);
}

Outcome open_bus(const std::string& path) { return said(Bus::open(path)); }
template <const TopicOptions& kOptions>
Outcome create_topic(const std::string& path) {
  return Bus::open(path).and_then([](Bus bus) { return bus.create_topic("t", kOptions); });
}
Outcome delete_topic(const std::string& path) {
  return Bus::open(path).and_then([](Bus bus) { return bus.delete_topic("t"); });
}
Outcome delete_group(const std::string& path) {
  return Bus::open(path).and_then([](Bus bus) { return bus.delete_group("g"); });
}
Outcome open_producer(const std::string& path) {
  return Bus::open(path).and_then([](Bus bus) { return said(bus.producer("t", {.create = false})); });
}
Outcome open_reader(const std::string& path) {
  return Bus::open(path).and_then([](Bus bus) { return said(bus.reader("t", StartAt::beginning())); });
}
Outcome join_group(const std::string& path) {
  return Bus::open(path).and_then([](Bus bus) { return said(bus.consumer("g", {"t"})); });
}
Outcome change_group(const std::string& path) {
  return Bus::open(path).and_then([](Bus bus) { return bus.set_group("g", {"t", "u"}, {.max_attempts = 7}); });
}
Outcome unload(const std::string& path) { return Bus::unload(path); }
Outcome remove_bus(const std::string& path) { return Bus::remove(path); }

const std::vector<Plan>& plans() {
  using enum Durability;
  static const std::vector<Plan> all = {
      {"OpenNewBus", memory, nothing, open_bus},
      {"OpenAfterABoot", disk, a_bus_of_an_earlier_boot, open_bus},
      {"OpenTopicAfterABoot", disk, a_bus_of_an_earlier_boot, open_producer},
      {"CreateMemoryTopic", memory, a_bus, create_topic<kMemory>, {Errc::already_exists}},
      {"CreateDurableTopic", disk, a_bus, create_topic<kDurable>, {Errc::already_exists}},
      {"OpenProducer", memory, a_topic<kMemory>, open_producer},
      {"OpenProducerInASlotOfTheDead", memory, slots_of_the_dead, open_producer},
      {"OpenReader", memory, a_topic<kMemory>, open_reader},
      {"JoinNewGroup", memory, a_topic<kMemory>, join_group},
      {"ChangeGroup", disk, a_used_topic, change_group},
      {"DeleteMemoryTopic", memory, a_topic<kMemory>, delete_topic, {Errc::not_found}},
      {"DeleteUsedTopic", disk, a_used_topic, delete_topic, {Errc::not_found}},
      {"DeleteGroup", disk, a_used_topic, delete_group, {Errc::not_found}},
      {"OpenNewSharedBus", memory, shared<nothing>, open_bus},
      {"OpenProducerOfASharedBus", memory, shared<a_topic<kMemory>>, open_producer},
      {"JoinNewSharedGroup", memory, shared<a_topic<kMemory>>, join_group},
      {"ChangeSharedGroup", disk, shared<a_used_topic>, change_group},
      {"DeleteUsedSharedTopic", disk, shared<a_used_topic>, delete_topic, {Errc::not_found}},
      {"DeleteSharedGroup", disk, shared<a_used_topic>, delete_group, {Errc::not_found}},
      {"Unload", disk, a_used_topic, unload, {Errc::not_found}},
      {"Remove", disk, a_used_topic, remove_bus, {Errc::not_found}},
  };
  return all;
}

// Everything below a directory but what stays for the next: the slots of handles, and the lock of daemons.
std::set<std::string> tree(const fs::path& top) {
  std::set<std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(top)) {
    const std::string name = entry.path().lexically_relative(top).string();
    const bool slot = name.starts_with("handles/") && name.find_first_not_of("0123456789", 8) == std::string::npos;
    if (!slot && name != "daemon.lock") out.insert(name);
  }
  return out;
}

std::string listed(const std::set<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += name + "\n";
  return out;
}

class OpenerSweep : public ::testing::TestWithParam<std::size_t> {
 protected:
  const Plan& plan() const { return plans()[GetParam()]; }

  // The name works: a topic of it takes, keeps and gives events, whether it was there before or not.
  void works(Bus& bus) {
    const TopicOptions& options = plan().durability == Durability::disk ? kDurable : kMemory;
    if (auto made = bus.create_topic("t", options); !made) {
      ASSERT_EQ(made.error().code(), Errc::already_exists) << made.error().message();
    }
    auto producer = bus.producer("t", {.create = false, .block = 0ns});
    ASSERT_TRUE(producer) << producer.error().message();
    const auto offset = producer->publish(bytes_of(text_of('a', 0, 100)));
    ASSERT_TRUE(offset) << offset.error().message();
    const auto seen = read_all(bus, "t");
    ASSERT_FALSE(seen.empty());
    EXPECT_TRUE(seen.back() == (Seen{*offset, 'a', 0}));
    auto member = bus.consumer("g");
    if (!member && member.error().code() == Errc::not_found) member = bus.consumer("g", {"t"});
    ASSERT_TRUE(member) << member.error().message();
    bool given = false;
    for (int look = 0; look < 256 && !given; ++look) {
      auto delivery = member->next(0s);
      ASSERT_TRUE(delivery) << delivery.error().message();
      if (!*delivery) continue;
      given = (*delivery)->offset() == *offset;
      EXPECT_TRUE((*delivery)->ack());
    }
    EXPECT_TRUE(given) << "the group is not given the event";
  }

  // What is left when all was deleted.
  std::string residue(const Stage& stage) {
    {
      Bus bus = stage.open();
      works(bus);
      if (HasFailure()) return {};
      EXPECT_TRUE(bus.delete_group("g"));
      EXPECT_TRUE(bus.delete_topic("t"));
      EXPECT_TRUE(bus.topics()->empty());
      EXPECT_TRUE(bus.groups()->empty());
    }
    return "shared memory:\n" + listed(tree(stage.live_path())) + "disk:\n" + listed(tree(stage.path()));
  }

  void swept(const std::function<void(const Stage&)>& next) {
    if (std::string_view(plan().name).find("Shared") != std::string_view::npos && ::geteuid() != 0)
      GTEST_SKIP() << "gives files to other Unix groups: as root alone";
    const auto act_in = [this](const Stage& stage) {
      return [this, &stage] {
        if (!plan().act(stage.path())) std::abort();
      };
    };
    std::string clean;
    std::uint64_t points = 0;
    {
      Stage stage;
      plan().prepare(stage);
      points = count_points(
          Points::changes, [] {}, act_in(stage));
      if (points == 0) GTEST_SKIP() << "this build can't be stepped";
      clean = residue(stage);
    }
    sweep("killed", points, 12, [&](std::uint64_t at) {
      SCOPED_TRACE("point " + std::to_string(at));
      Stage stage;
      plan().prepare(stage);
      const Victim victim(
          Points::changes, at, SIGKILL, [] {}, act_in(stage));
      next(stage);
      EXPECT_EQ(residue(stage), clean);
      return victim.reached() && !HasFailure();
    });
  }
};

TEST_P(OpenerSweep, KilledAnywhereTheNextOneCompletesOrUndoesIt) {
  swept([this](const Stage& stage) {
    const auto again = plan().act(stage.path());
    EXPECT_TRUE(again || plan().done.contains(again.error().code())) << again.error().message();
  });
}

TEST_P(OpenerSweep, KilledAnywhereTheNameWorks) {
  swept([](const Stage&) {});
}

INSTANTIATE_TEST_SUITE_P(At, OpenerSweep, ::testing::Range(std::size_t{0}, plans().size()),
                         [](const auto& plan) { return plans()[plan.param].name; });

}  // namespace
}  // namespace penstock::test
