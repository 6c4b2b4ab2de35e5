// Many topics, groups and members at once, through the front door: nobody is forgotten. Small numbers of what
// bench/scale.cpp and bench/groups.cpp measure.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <penstock/penstock.hpp>

#include "shm/fd.hpp"
#include "tests/support/temporary_bus.hpp"

namespace penstock::test {
namespace {

using namespace std::chrono_literals;

const TopicOptions kSmall{.durability = Durability::memory, .ring_bytes = 64 << 10};

struct Scale : testing::Test {
  TemporaryBus at;
  Bus bus = at.open();

  static Bytes number(const std::uint64_t& value) { return std::as_bytes(std::span(&value, 1)); }
  static std::uint64_t number(const EventView& event) {
    std::uint64_t out = 0;
    std::memcpy(&out, event.payload().data(), sizeof out);
    return out;
  }
};

TEST_F(Scale, AMemberOfManyTopicsGetsEachEventOnceAndABusyTopicStarvesNone) {
  constexpr std::uint64_t kTopics = 200, kBusy = 400;
  for (std::uint64_t i = 0; i < kTopics; ++i) ASSERT_TRUE(bus.create_topic("many.t" + std::to_string(i), kSmall));
  Consumer member = bus.consumer("g", {"**"}).value();
  for (std::uint64_t i = 0; i < kTopics; ++i) {
    Producer producer = bus.producer("many.t" + std::to_string(i)).value();
    for (std::uint64_t n = 0; n < (i == 7 ? kBusy : 2); ++n) ASSERT_TRUE(producer.publish(number(n)));
  }
  std::map<std::string, std::uint64_t> next;
  std::uint64_t taken = 0;
  while (member
             .poll(
                 [&](const EventView& event) {
                   EXPECT_EQ(number(event), next[std::string(event.topic())]++);
                   ++taken;
                   return Settle::ack();
                 },
                 64)
             .value() != 0) {
  }
  EXPECT_EQ(taken, 2 * (kTopics - 1) + kBusy);
  EXPECT_EQ(next.size(), kTopics);
  EXPECT_EQ(next["many.t7"], kBusy);
  // A topic that comes later is found.
  ASSERT_TRUE(bus.create_topic("later", kSmall));
  Producer later = bus.producer("later").value();
  ASSERT_TRUE(later.publish(number(0)));
  auto delivery = member.next(10s).value();
  ASSERT_TRUE(delivery);
  EXPECT_EQ(delivery->event().topic(), "later");
  EXPECT_TRUE(delivery->ack());
}

TEST_F(Scale, ManyGroupsHoldAMemoryTopicAndEachGetsAllOfIt) {
  constexpr std::uint64_t kGroups = 100, kEvents = 3000;  // several laps
  ASSERT_TRUE(bus.create_topic("log", kSmall));
  std::vector<Consumer> members;
  std::vector<std::uint64_t> next, first;
  const auto join = [&](std::uint64_t from) {
    auto member = bus.consumer("g" + std::to_string(members.size()), {"log"});
    ASSERT_TRUE(member) << member.error().message();
    members.push_back(std::move(*member));
    first.push_back(from);
    next.push_back(~0ull);
  };
  for (std::uint64_t i = 0; i < kGroups; ++i) join(0);
  Producer producer = bus.producer("log", {.block = 0ms}).value();
  const auto drain = [&] {
    for (std::size_t i = 0; i < members.size(); ++i) {
      const auto take = [&](const EventView& event) {
        if (next[i] == ~0ull) next[i] = number(event);
        EXPECT_EQ(number(event), next[i]++) << "group " << i;
        return Settle::ack();
      };
      while (members[i].poll(take, 1024).value() != 0) {
      }
    }
  };
  for (std::uint64_t i = 0; i < kEvents; ++i) {
    while (!producer.publish(number(i))) drain();
    // One that comes while the producer is at it holds it like the others.
    if (i == kEvents / 2) join(i);
  }
  drain();
  for (std::size_t i = 0; i < members.size(); ++i) EXPECT_EQ(next[i], kEvents) << "group " << i;
}

TEST_F(Scale, ManyMembersShareAGroup) {
  constexpr std::uint64_t kMembers = 256, kEvents = 2560;
  ASSERT_TRUE(bus.create_topic("work", {.durability = Durability::memory, .ring_bytes = 1 << 20}));
  std::vector<Consumer> members;
  for (std::uint64_t i = 0; i < kMembers; ++i) members.push_back(bus.consumer("g", {"work"}).value());
  Producer producer = bus.producer("work").value();
  for (std::uint64_t i = 0; i < kEvents; ++i) ASSERT_TRUE(producer.publish(number(i)));
  std::vector<std::uint64_t> seen(kEvents, 0);
  for (std::uint64_t left = kEvents; left != 0;) {
    std::uint64_t handled = 0;
    for (Consumer& member : members)
      handled += member
                     .poll(
                         [&](const EventView& event) {
                           ++seen[number(event)];
                           return Settle::ack();
                         },
                         3)
                     .value();
    ASSERT_NE(handled, 0u);
    left -= handled;
  }
  EXPECT_EQ(std::count(seen.begin(), seen.end(), 1u), std::ptrdiff_t(kEvents));
}

TEST(Limits, TheMessageNamesTheLimitAndTheRemedy) {
  const auto says = [](const Error& error, const char* text) {
    return error.code() == Errc::too_many && error.message().find(text) != std::string::npos;
  };
  EXPECT_TRUE(says(shm::from_errno(EMFILE), "ulimit -n"));
  EXPECT_TRUE(says(shm::from_errno(ENFILE), "fs.file-max"));
  EXPECT_TRUE(says(Error(Errc::too_many, ENOMEM, std::uint16_t(shm::Limit::mappings)), "sysctl -w vm.max_map_count"));
  EXPECT_TRUE(says(Error(Errc::too_many, 4095, std::uint16_t(shm::Limit::handles)), "4095 handles"));
}

}  // namespace
}  // namespace penstock::test
