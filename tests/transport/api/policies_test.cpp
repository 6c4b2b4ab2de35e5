// What a full ring means, and who may publish: through the front door, on memory topics of 64 KiB.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <ctime>
#include <penstock/penstock.hpp>

#include "api/state.hpp"
#include "tests/support/temporary_bus.hpp"

namespace penstock::test {
namespace {

using namespace std::chrono_literals;

struct Policies : testing::Test {
  TemporaryBus at;
  Bus bus = at.open();

  void create(Full full, bool single = false) {
    ASSERT_TRUE(bus.create_topic(
        "log", {.durability = Durability::memory, .ring_bytes = 64 << 10, .full = full, .single_producer = single}));
  }
  static Bytes number(const std::uint64_t& value) { return std::as_bytes(std::span(&value, 1)); }
  static std::uint64_t number(const EventView& event) {
    std::uint64_t out = 0;
    std::memcpy(&out, event.payload().data(), sizeof out);
    return out;
  }
  // Publishes until the ring is full; the number of events that fitted.
  static std::uint64_t fill(Producer& producer, Errc expected) {
    for (std::uint64_t i = 0; i < 100'000; ++i) {
      auto done = producer.publish(number(i));
      if (done) continue;
      EXPECT_EQ(done.error().code(), expected) << done.error().message();
      return i;
    }
    ADD_FAILURE() << "the ring is never full";
    return 0;
  }
};

TEST_F(Policies, ABlockedProducerGivesUpAtItsDeadlineAndSaysWhoHoldsTheRing) {
  create(Full::block);
  Reader reader = bus.reader("log", StartAt::beginning()).value();
  Producer producer = bus.producer("log", {.block = 20ms}).value();
  const std::uint64_t fitted = fill(producer, Errc::full);
  EXPECT_GE(fitted, 800u);
  auto refused = producer.publish(number(fitted));
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("reader"), std::string::npos) << refused.error().message();
  // Nothing of the refused event is there, and reading makes room again.
  std::uint64_t expected = 0;
  while (reader.poll([&](const EventView& event) { EXPECT_EQ(number(event), expected++); }).value() != 0) {
  }
  EXPECT_EQ(expected, fitted);
  EXPECT_TRUE(producer.publish(number(fitted)));
}

// Who published may have died before it rang the daemon, which sleeps until somebody does. Here a sleeper stands for
// the daemon.
TEST_F(Policies, WhoWaitsForTheDiskRingsTheDaemonAgain) {
  ASSERT_TRUE(bus.create_topic("log", {.ring_bytes = 64 << 10}));
  Producer producer = bus.producer("log", {.block = 300ms}).value();
  const api::StatePtr& state = bus.state();
  const shm::Sleeper daemon = state->live.sleeper(layout::kDoorbells - 1);
  const auto lie_down = [&] {
    const std::uint32_t seen = daemon.read();
    daemon.listen(state->live.mask(layout::kBusOrdinal));
    return seen;
  };
  ASSERT_TRUE(producer.publish(number(1)));
  std::uint32_t seen = lie_down();
  EXPECT_FALSE(producer.await_durable(0, 300ms));
  EXPECT_NE(daemon.read(), seen);
  seen = lie_down();
  fill(producer, Errc::no_daemon);
  EXPECT_NE(daemon.read(), seen);
}

TEST_F(Policies, AProducerThatShallFailDoesSoAtOnce) {
  create(Full::fail);
  Reader reader = bus.reader("log", StartAt::beginning()).value();
  Producer producer = bus.producer("log", {.block = 1h}).value();
  EXPECT_GE(fill(producer, Errc::full), 800u);
}

// However far the producer ran ahead, what is read and what is told as missed add up, and order stays.
TEST_F(Policies, DroppingTheOldestTellsExactlyHowManyWereMissed) {
  create(Full::drop_oldest);
  Producer producer = bus.producer("log").value();
  Reader reader = bus.reader("log", StartAt::beginning()).value();
  std::uint64_t published = 0, read = 0;
  std::int64_t newest = -1;
  for (const std::uint64_t burst : {10u, 5'000u, 1u, 900u, 1'100u, 30'000u, 7u}) {
    for (std::uint64_t i = 0; i < burst; ++i) ASSERT_TRUE(producer.publish(number(published++)));
    while (reader
               .poll([&](const EventView& event) {
                 EXPECT_GT(std::int64_t(number(event)), newest);
                 EXPECT_EQ(number(event), event.offset());
                 newest = std::int64_t(number(event));
                 ++read;
               })
               .value() != 0) {
    }
    ASSERT_EQ(read + reader.missed(), published);
    ASSERT_EQ(newest, std::int64_t(published) - 1);
  }
  EXPECT_GT(reader.missed(), 20'000u);
}

TEST_F(Policies, DroppingTheOldestNeverPassesAnOpenClaimOfTheLiving) {
  create(Full::drop_oldest);
  Producer holder = bus.producer("log").value(), other = bus.producer("log", {.block = 20ms}).value();
  std::optional<Claim> claim = holder.claim(64).value();
  std::memset(claim->payload().data(), 'x', 64);
  EXPECT_GE(fill(other, Errc::full), 800u);
  for (const std::byte byte : claim->payload()) ASSERT_EQ(byte, std::byte{'x'});
  ASSERT_TRUE(claim->commit());
  EXPECT_TRUE(other.publish(number(0)));
}

// Claims are settled in any order; readers see them in the order of their offsets, once all before them are settled.
// A producer that published alone for laps knows where its claims ended; another's it does not know.
TEST_F(Policies, WhoPublishedAloneLooksForTheClaimsOfWhoCame) {
  create(Full::drop_oldest);
  Producer first = bus.producer("log", {.block = 20ms}).value();
  for (std::uint64_t i = 0; i < 5000; ++i) ASSERT_TRUE(first.publish(number(i)));
  {
    Producer second = bus.producer("log").value();
    Claim open = second.claim(8).value();
    fill(first, Errc::full);
    const std::uint64_t mark = 4711;
    std::memcpy(open.payload().data(), &mark, sizeof mark);
    const Offset offset = open.commit().value();
    Reader reader = bus.reader("log", StartAt::offset(offset)).value();
    EXPECT_EQ(number(reader.next(1s).value().value().view()), mark);
    open = second.claim(8).value();
    fill(first, Errc::full);
  }
  for (std::uint64_t i = 0; i < 5000; ++i) ASSERT_TRUE(first.publish(number(i)));
  // What the oldest event that is there is, readers agree on with who made room.
  Reader reader = bus.reader("log", StartAt::beginning()).value();
  std::uint64_t next = 0, seen = 0;
  while (reader
             .poll([&](const EventView& event) {
               if (seen++ != 0) {
                 EXPECT_EQ(number(event), next);
               }
               next = number(event) + 1;
             })
             .value() != 0) {
  }
  EXPECT_EQ(next, 5000u);
  EXPECT_GE(seen, 800u * 3 / 4);
}

TEST_F(Policies, ManyClaimsOfOneProducerAreOpenAtOnce) {
  create(Full::block);
  Producer producer = bus.producer("log").value();
  Reader reader = bus.reader("log", StartAt::beginning()).value();
  std::vector<Claim> claims;
  for (std::uint64_t i = 0; i < 100; ++i) {
    claims.push_back(producer.claim(sizeof i).value());
    std::memcpy(claims.back().payload().data(), &i, sizeof i);
  }
  std::vector<std::uint64_t> seen;
  const auto read = [&] {
    while (reader.poll([&](const EventView& event) { seen.push_back(number(event)); }).value() != 0) {
    }
  };
  for (std::size_t i = 99; i > 0; --i) {
    if (i % 10 == 5)
      claims[i].abort();
    else
      ASSERT_TRUE(claims[i].commit());
    read();
    ASSERT_TRUE(seen.empty());
  }
  ASSERT_TRUE(claims[0].commit());
  read();
  std::vector<std::uint64_t> expected;
  for (std::uint64_t i = 0; i < 100; ++i)
    if (i % 10 != 5) expected.push_back(i);
  EXPECT_EQ(seen, expected);
}

TEST_F(Policies, ASecondProducerOfASingleProducerTopicIsRefusedUntilTheFirstIsGone) {
  create(Full::block, true);
  std::optional<Producer> first = bus.producer("log").value();
  auto second = bus.producer("log");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Errc::busy);
  ASSERT_TRUE(first->publish(number(0)));
  first.reset();
  auto third = bus.producer("log");
  ASSERT_TRUE(third) << third.error().message();
  EXPECT_EQ(third->publish(number(1)).value(), 1u);
}

// The owner dies with one event committed and one claim open: its next owner goes on behind both, and readers get what
// was committed.
TEST_F(Policies, ASingleProducerTopicIsTakenOverFromTheDead) {
  create(Full::block, true);
  const pid_t child = ::fork();
  if (child == 0) {
    auto own = Bus::open(at.path());
    auto producer = own->producer("log");
    static_cast<void>(producer->publish(number(0)));
    auto claim = producer->claim(300);
    ::_exit(claim ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_EQ(status, 0);
  Producer producer = bus.producer("log").value();
  EXPECT_EQ(producer.publish(number(2)).value(), 2u);
  Reader reader = bus.reader("log", StartAt::beginning()).value();
  std::vector<std::uint64_t> seen;
  while (auto event = reader.next(0ms).value()) seen.push_back(number(event->view()));
  EXPECT_EQ(seen, (std::vector<std::uint64_t>{0, 2}));
}

// A handle is the process's that made it. The child says so and does no harm; the parent's goes on.
TEST_F(Policies, AHandleUsedInAForkedChildIsAnError) {
  create(Full::block);
  Producer producer = bus.producer("log").value();
  Reader reader = bus.reader("log", StartAt::beginning()).value();
  Consumer consumer = bus.consumer("group", {"log"}).value();
  ASSERT_TRUE(producer.publish(number(0)));
  std::optional<Delivery> delivery = consumer.next(10s).value();
  ASSERT_TRUE(delivery);
  const pid_t child = ::fork();
  if (child == 0) {
    if (const auto acked = delivery->ack(); acked || acked.error().code() != Errc::forked) ::_exit(2);
    delivery.reset();
    if (const auto another = bus.producer("log"); another || another.error().code() != Errc::forked) ::_exit(3);
    if (const auto told = bus.describe_topic("log"); told || told.error().code() != Errc::forked) ::_exit(4);
    const auto published = producer.publish(number(9));
    const auto polled = reader.poll([](const EventView&) {});
    const auto next = consumer.next(0ms);
    const bool refused = !published && published.error().code() == Errc::forked && !polled &&
                         polled.error().code() == Errc::forked && !next && next.error().code() == Errc::forked;
    ::_exit(refused ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(delivery->ack());
  EXPECT_EQ(producer.publish(number(1)).value(), 1u);
  const auto ignore = [](const EventView&) {};
  EXPECT_EQ(reader.poll(ignore).value(), 2u);
}

// A poll right after a publish has the event, also where a PAD or an aborted claim stands before it.
TEST_F(Policies, APollFindsWhatWasPublishedBeforeIt) {
  create(Full::block);
  Producer producer = bus.producer("log").value();
  Reader reader = bus.reader("log", StartAt::beginning()).value();
  const std::vector<std::byte> payload(200);
  for (int i = 0; i < 2'000; ++i) {
    ASSERT_EQ(reader.poll([](const EventView&) {}).value(), 0u);
    if (i % 3 == 0) producer.claim(100).value().abort();
    producer.publish(payload).value();
    ASSERT_EQ(reader.poll([](const EventView&) {}).value(), 1u) << i;
  }
}

// One wait for many topics, some of which come later.
TEST_F(Policies, OneWaitIsForAllTopicsOfAPattern) {
  Reader reader = bus.reader("ticks.*", StartAt::beginning()).value();
  for (int i = 0; i < 30; ++i) {
    Producer producer = bus.producer("ticks.t" + std::to_string(i)).value();
    ASSERT_TRUE(producer.publish(number(std::uint64_t(i))));
    auto event = reader.next(10s).value();
    ASSERT_TRUE(event);
    EXPECT_EQ(event->topic(), "ticks.t" + std::to_string(i));
  }
}

// Processor time, not the clock on the wall: who waits for half a second uses next to none.
TEST_F(Policies, WhoWaitsUsesNoProcessor) {
  create(Full::block);
  Reader reader = bus.reader("log", StartAt::end()).value();
  const std::clock_t before = std::clock();
  EXPECT_FALSE(reader.wait(500ms).value());
  EXPECT_LT(double(std::clock() - before) / CLOCKS_PER_SEC, 0.1);
}

}  // namespace
}  // namespace penstock::test
