// Topics that refuse an id they have: through the front door, by several producers at once, over deaths and restarts.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <penstock/daemon.hpp>
#include <penstock/penstock.hpp>
#include <set>
#include <thread>

#include "tests/support/temporary_bus.hpp"

namespace penstock::test {
namespace {

using namespace std::chrono_literals;

struct PublishDedupe : testing::TestWithParam<Durability> {
  TemporaryBus at;
  Bus bus = at.open();

  void create(std::uint32_t window) {
    const auto made =
        bus.create_topic("log", {.durability = GetParam(), .ring_bytes = 1 << 20, .publish_dedupe = window});
    ASSERT_TRUE(made) << made.error().message();
  }
  static Bytes bytes(std::string_view text) { return std::as_bytes(std::span(text)); }
  std::vector<std::string> ids() {
    std::vector<std::string> out;
    auto reader = bus.reader("log", StartAt::beginning()).value();
    while (auto event = reader.next(0ms).value()) out.emplace_back(event->id_text().value_or("-"));
    return out;
  }
};

INSTANTIATE_TEST_SUITE_P(Topics, PublishDedupe, testing::Values(Durability::memory, Durability::disk),
                         [](const auto& name) { return name.param == Durability::memory ? "memory" : "disk"; });

TEST_P(PublishDedupe, AnIdThatIsThereAnswersWithItsOffset) {
  create(100);
  auto first = bus.producer("log").value(), second = bus.producer("log").value();
  EXPECT_EQ(first.publish(bytes("a"), {.id = "one"}).value(), 0u);
  EXPECT_FALSE(first.last_duplicate());
  EXPECT_EQ(second.publish(bytes("b"), {.id = "two"}).value(), 1u);
  EXPECT_EQ(second.publish(bytes("c"), {.id = "one"}).value(), 0u);
  EXPECT_TRUE(second.last_duplicate());
  EXPECT_EQ(first.publish(bytes("d"), {.id = "two"}).value(), 1u);
  EXPECT_EQ(first.publish(bytes("e")).value(), 2u);  // without an id there is nothing to refuse
  EXPECT_FALSE(first.last_duplicate());
  EXPECT_EQ(ids(), (std::vector<std::string>{"one", "two", "-"}));
}

// A producer that comes later reads what is there; so does one after the shared memory is gone.
TEST_P(PublishDedupe, WhoComesLaterRefusesTheSame) {
  create(1000);
  for (int i = 0; i < 500; ++i) bus.producer("log").value().publish(bytes("x"), {.id = std::to_string(i)}).value();
  auto late = bus.producer("log").value();
  for (int i = 0; i < 500; ++i) {
    EXPECT_EQ(late.publish(bytes("y"), {.id = std::to_string(i)}).value(), Offset(i));
    EXPECT_TRUE(late.last_duplicate());
  }
}

TEST_P(PublishDedupe, TheWindowIsTheNewestEvents) {
  create(3);
  auto producer = bus.producer("log").value();
  for (const char* id : {"a", "b", "c"}) producer.publish(bytes("x"), {.id = id}).value();
  EXPECT_EQ(producer.publish(bytes("x"), {.id = "a"}).value(), 0u);  // the third newest
  EXPECT_EQ(producer.publish(bytes("x"), {.id = "d"}).value(), 3u);
  EXPECT_EQ(producer.publish(bytes("x"), {.id = "a"}).value(), 4u);  // the fourth: forgotten
  EXPECT_EQ(producer.publish(bytes("x"), {.id = "a"}).value(), 4u);  // and known again from there on
  auto other = bus.producer("log").value();
  EXPECT_EQ(other.publish(bytes("x"), {.id = "a"}).value(), 4u);
  EXPECT_EQ(other.publish(bytes("x"), {.id = "b"}).value(), 5u);
}

// Offsets go on behind a hole then; the window and the places counted from the end do not see it.
TEST(PublishDedupeAfterAPowerCut, RefusesWhatIsOnDisk) {
  const auto bytes = [](std::string_view text) { return std::as_bytes(std::span(text)); };
  TemporaryBus at;
  ASSERT_TRUE(at.open().create_topic("log", {.ring_bytes = 1 << 20, .publish_dedupe = 8}));
  Offset hole = 0;
  for (int life = 0; life < 3; ++life) {
    {
      Bus bus = at.open();
      Daemon daemon = Daemon::start(bus).value();
      auto producer = bus.producer("log").value();
      const std::string first = std::to_string(2 * life), second = std::to_string(2 * life + 1);
      const Offset offset = producer.publish(bytes("x"), {.id = first}).value();
      ASSERT_TRUE(life == 0 || offset > hole + 2);
      hole = producer.publish(bytes("x"), {.id = second}).value();
      for (int id = 0; id < 2 * life + 2; ++id) {
        producer.publish(bytes("x"), {.id = std::to_string(id)}).value();
        ASSERT_TRUE(producer.last_duplicate()) << id << " in life " << life;
      }
      ASSERT_TRUE(producer.await_durable(hole, 30s));
      ASSERT_TRUE(daemon.stop());  // the producer lives: where the log ends is not written down
    }
    at.lose_live_side();
  }
  Bus bus = at.open();
  for (const int count : {1, 2, 3, 4, 5, 6, 7}) {
    auto reader = bus.reader("log", StartAt::last(std::uint64_t(count))).value();
    int seen = 0;
    while (reader.next(0ms).value()) ++seen;
    EXPECT_EQ(seen, std::min(count, 6));
    EXPECT_EQ(reader.missed(), 0u);
  }
  // Eight events on, the oldest are forgotten, counted without the holes.
  auto producer = bus.producer("log").value();
  for (const char* id : {"a", "b"}) producer.publish(bytes("x"), {.id = id}).value();
  producer.publish(bytes("x"), {.id = "0"}).value();
  EXPECT_TRUE(producer.last_duplicate());
  producer.publish(bytes("x"), {.id = "c"}).value();
  producer.publish(bytes("x"), {.id = "0"}).value();
  EXPECT_FALSE(producer.last_duplicate());
}

// Only what is committed answers for an id.
TEST_P(PublishDedupe, AnOpenClaimIsWaitedForAndAnAbortedOneForgotten) {
  create(100);
  auto holder = bus.producer("log").value(), other = bus.producer("log", {.block = 20ms}).value();
  std::optional<Claim> open = holder.claim(8, {.id = "held"}).value();
  // Another id does not wait for it.
  EXPECT_EQ(other.publish(bytes("x"), {.id = "free"}).value(), 1u);
  auto refused = other.publish(bytes("x"), {.id = "held"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Errc::timed_out);
  open->abort();
  EXPECT_EQ(other.publish(bytes("x"), {.id = "held"}).value(), 2u);
  EXPECT_FALSE(other.last_duplicate());
  EXPECT_EQ(holder.publish(bytes("x"), {.id = "held"}).value(), 2u);
  EXPECT_TRUE(holder.last_duplicate());
}

TEST_P(PublishDedupe, TheDeadsOpenClaimDoesNotHoldItsId) {
  create(100);
  const pid_t child = ::fork();
  if (child == 0) {
    auto own = Bus::open(at.path());
    auto producer = own->producer("log");
    auto claim = producer->claim(8, {.id = "mine"});
    ::_exit(claim ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_EQ(status, 0);
  auto producer = bus.producer("log").value();
  EXPECT_EQ(producer.publish(bytes("x"), {.id = "mine"}).value(), 1u);
  EXPECT_FALSE(producer.last_duplicate());
}

TEST_P(PublishDedupe, ABatchWithAKnownIdPublishesNothing) {
  create(100);
  auto producer = bus.producer("log").value();
  producer.publish(bytes("x"), {.id = "b"}).value();
  const std::vector<Message> known{{bytes("1"), {.id = "a"}}, {bytes("2"), {.id = "b"}}};
  const std::vector<Message> twice{{bytes("1"), {.id = "c"}}, {bytes("2"), {.id = "c"}}};
  const std::vector<Message> fresh{{bytes("1"), {.id = "d"}}, {bytes("2"), {}}, {bytes("3"), {}}};
  EXPECT_EQ(producer.publish_batch(known).error().code(), Errc::duplicate);
  EXPECT_EQ(producer.publish_batch(twice).error().code(), Errc::duplicate);
  EXPECT_EQ(producer.publish_batch(fresh).value(), 1u);
  EXPECT_EQ(producer.publish(bytes("x"), {.id = "d"}).value(), 1u);
}

// Four producers publish the same thousand ids in different orders: each id once, and every answer names that one.
TEST_P(PublishDedupe, OfManyAtOnceOneWins) {
  constexpr int kProducers = 4, kIds = 1000;
  create(100'000);
  std::vector<std::vector<Offset>> answers(kProducers, std::vector<Offset>(kIds));
  std::vector<std::thread> threads;
  for (int p = 0; p < kProducers; ++p)
    threads.emplace_back([&, p] {
      auto producer = bus.producer("log").value();
      for (int i = 0; i < kIds; ++i) {
        const int id = (i * std::array{1, 3, 7, 9}[std::size_t(p)] + p * 17) % kIds;  // each in an order of its own
        answers[p][std::size_t(id)] = producer.publish(bytes("x"), {.id = std::to_string(id)}).value();
      }
    });
  for (auto& thread : threads) thread.join();
  const auto all = ids();
  EXPECT_EQ(std::set<std::string>(all.begin(), all.end()).size(), std::size_t(kIds));
  EXPECT_EQ(all.size(), std::size_t(kIds));
  for (const auto& mine : answers)
    for (int id = 0; id < kIds; ++id) ASSERT_EQ(all.at(mine[std::size_t(id)]), std::to_string(id));
}

}  // namespace
}  // namespace penstock::test
