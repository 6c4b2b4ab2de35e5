// What a member's death, a deletion, a power cut and a queue that cannot be written do to settlements.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <penstock/daemon.hpp>

#include "tests/support/small_bus.hpp"
#include "tests/support/temporary_bus.hpp"

namespace penstock::test {
namespace {

using namespace std::chrono_literals;

struct Settlements : testing::Test {
  TemporaryBus at;

  void publish(Bus& bus, int events, std::string_view topic = "orders") {
    Producer producer = good(bus.producer(topic));
    for (int i = 0; i < events; ++i) good(producer.publish(bytes_of("event")));
  }
  // A process that joins, does this and is killed.
  template <class Call>
  void die(Call&& call) {
    const pid_t child = ::fork();
    if (child == 0) {
      {
        Bus bus = at.open();
        Consumer desk = good(bus.consumer("desk", {"orders"}));
        call(desk);
      }
      ::_exit(1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
  }
  GroupTopicInfo info(Bus& bus, std::string_view topic = "orders") {
    for (const GroupTopicInfo& one : good(bus.group_topics("desk")))
      if (one.topic == topic) return one;
    return {};
  }
  template <class Done>
  void until(Done&& done) {
    const auto deadline = std::chrono::steady_clock::now() + 30s;
    while (!done() && std::chrono::steady_clock::now() < deadline) ::usleep(2000);
    EXPECT_TRUE(done());
  }
};

TEST_F(Settlements, OnlyWhatADeadMemberWasExecutingCountsAnAttempt) {
  Bus bus = at.open();
  publish(bus, 1);
  die([](Consumer& desk) {
    if (good(desk.wait(30s))) ::raise(SIGKILL);  // fetched for a next() that never comes
  });
  die([](Consumer& desk) {
    const auto delivery = good(desk.next(30s));
    if (delivery && delivery->attempt() == 1) ::raise(SIGKILL);
  });
  Consumer desk = good(bus.consumer("desk"));
  auto delivery = good(desk.next(30s));
  ASSERT_TRUE(delivery);
  EXPECT_EQ(delivery->attempt(), 2u);
  EXPECT_EQ(info(bus).delivered, 2u);
  EXPECT_EQ(info(bus).redelivered, 1u);
}

TEST_F(Settlements, AFetchedLeaseThatRanOutIsTakenAnew) {
  Bus bus = at.open();
  publish(bus, 1);
  ConsumerOptions options;
  options.lease = 20ms;
  Consumer slow = good(bus.consumer("desk", {"orders"}, options)), quick = good(bus.consumer("desk"));
  ASSERT_TRUE(good(slow.wait(30s)));
  auto delivery = good(quick.next(30s));
  ASSERT_TRUE(delivery);
  EXPECT_EQ(delivery->attempt(), 1u) << "no handler had it before";
  EXPECT_FALSE(good(slow.next(0s)));
  EXPECT_TRUE(delivery->extend(30s));
  EXPECT_TRUE(delivery->ack());
}

TEST_F(Settlements, AckThroughAcksWhatThisMemberHoldsUpToAnOffset) {
  Bus bus = at.open();
  publish(bus, 6);
  Consumer one = good(bus.consumer("desk", {"orders"})), two = good(bus.consumer("desk"));
  std::vector<Delivery> ours;
  for (int i = 0; i < 2; ++i) ours.push_back(std::move(*good(one.next(30s))));
  auto theirs = good(two.next(30s));
  ASSERT_TRUE(theirs);
  for (int i = 0; i < 2; ++i) ours.push_back(std::move(*good(one.next(30s))));
  ASSERT_TRUE(ours[0].nak({.delay = 1h}));
  EXPECT_EQ(good(one.ack_through("orders", 3)), 2u) << "1 and 3: 0 waits, 2 is another's, 4 comes later";
  EXPECT_EQ(ours[1].ack().error().code(), Errc::stale_lease);
  EXPECT_TRUE(theirs->ack());
  EXPECT_EQ(info(bus).committed, 0u);
  EXPECT_EQ(info(bus).acked, 3u);
  EXPECT_TRUE(ours[3].ack());
  EXPECT_EQ(good(one.ack_through("orders", 9)), 0u);
  EXPECT_EQ(one.ack_through("nothing", 9).error().code(), Errc::not_found);
}

TEST_F(Settlements, AckThroughTeachesTheDedupeWindow) {
  Bus bus = at.open();
  Producer producer = good(bus.producer("orders"));
  Consumer desk = good(bus.consumer("desk", {"orders"}));
  good(producer.publish(bytes_of("event"), {.id = "same"}));
  const auto delivery = good(desk.next(30s));
  EXPECT_EQ(good(desk.ack_through("orders", 0)), 1u);
  good(producer.publish(bytes_of("event"), {.id = "same"}));
  EXPECT_FALSE(good(desk.next(0s)));
  EXPECT_EQ(info(bus).duplicates_skipped, 1u);
}

TEST_F(Settlements, NothingIsSettledOfAGroupOrATopicThatIsGone) {
  Bus bus = at.open();
  publish(bus, 5);
  publish(bus, 5, "other");
  Consumer desk = good(bus.consumer("desk", {"orders"})), shelf = good(bus.consumer("shelf", {"other"}));
  std::vector<Delivery> group_gone, topic_gone;
  for (int i = 0; i < 5; ++i) group_gone.push_back(std::move(*good(desk.next(30s))));
  for (int i = 0; i < 5; ++i) topic_gone.push_back(std::move(*good(shelf.next(30s))));
  good(bus.delete_group("desk"));
  good(bus.delete_topic("other"));
  for (auto* all : {&group_gone, &topic_gone}) {
    const auto code = [](const Result<void>& result) { return result ? Errc::ok : result.error().code(); };
    EXPECT_EQ(code((*all)[0].ack()), Errc::deleted);
    EXPECT_EQ(code((*all)[1].nak()), Errc::deleted);
    EXPECT_EQ(code((*all)[2].reject()), Errc::deleted);
    EXPECT_EQ(code((*all)[3].release()), Errc::deleted);
    EXPECT_EQ(code((*all)[4].extend(1s)), Errc::deleted);
  }
}

// The live side goes as in a reboot.
TEST_F(Settlements, WhatWasAwaitedSurvivesAPowerCut) {
  {
    Bus bus = at.open();
    publish(bus, 3);
    Consumer desk = good(bus.consumer("desk", {"orders"}));
    EXPECT_EQ(desk.await_settled(0s).error().code(), Errc::no_daemon);
    Daemon daemon = good(Daemon::start(bus, {}));
    for (int i = 0; i < 2; ++i) {
      good(good(desk.next(30s))->ack());
      good(desk.await_settled(30s));
    }
    good(desk.await_settled(30s));
    const std::string kept = at.path() + ".kept";
    std::filesystem::remove_all(kept);
    std::filesystem::copy(at.path(), kept,
                          std::filesystem::copy_options::recursive | std::filesystem::copy_options::skip_symlinks);
    good(daemon.stop());
    bus = good(Bus::open(kept));
    Consumer again = good(bus.consumer("desk"));
    const auto next = good(again.next(30s));
    ASSERT_TRUE(next);
    EXPECT_EQ(next->offset(), 2u);
  }
  std::filesystem::remove_all(std::filesystem::read_symlink(at.path() + ".kept/live"));
  std::filesystem::remove_all(at.path() + ".kept");
}

TEST_F(Settlements, DeadLettersThatCannotBeMovedStayPendingAndSayWhy) {
  Bus bus = at.open();
  publish(bus, 1);
  Consumer desk = good(bus.consumer("desk", {"orders"}));
  good(good(desk.next(30s))->reject({.error_class = "class", .reason = "reason"}));
  EXPECT_NE(info(bus).dead_letters_wait.value_or("").find("penstockd"), std::string::npos);
  // A file where the queue would be.
  std::ofstream(at.path() + "/topics/desk.dlq") << "x";
  Daemon daemon = good(Daemon::start(bus, {}));
  until([&] { return info(bus).dead_letters_wait.value_or("").find("desk.dlq") != std::string::npos; });
  EXPECT_EQ(info(bus).retrying, 1u);
  EXPECT_EQ(info(bus).lag, 1u);
  std::filesystem::remove(at.path() + "/topics/desk.dlq");
  until([&] { return info(bus).lag == 0; });
  EXPECT_FALSE(info(bus).dead_letters_wait);
  int letters = 0;
  good(bus.dead_letters("desk", [&](const EventView&, const DeadLetter& letter) {
    EXPECT_EQ(letter.reason, "reason");
    return ++letters > 0;
  }));
  EXPECT_EQ(letters, 1);
  good(daemon.stop());
}

}  // namespace
}  // namespace penstock::test
