// A daemon that rests until it is rung. It sleeps for twenty seconds here when nothing is due, so whoever has news must
// ring; what no ring can tell of has its time; and what somebody died before telling is found by the next look.
#include <functional>

#include "api/group.hpp"
#include "stepped_bus.hpp"
#include "storage/segment_reader.hpp"
#include "tests/transport/io/faulty_disk.hpp"

namespace penstock::test {
namespace {

class RestTest : public ::testing::Test {
 protected:
  static constexpr std::int64_t kLong = 15'000'000'000;

  RestTest() : bus_((set_clock(1'800'000'000'000'000'000, 5'000'000'000'000), open_small(stage_))) {
    g_clock.between_looks = 10'000'000;  // a look at everything takes 10 ms
    is_true(bool(bus_.create_topic("t")));
    is_true(bool(bus_.create_topic("m", {.durability = Durability::memory, .ring_bytes = 64 << 10})));
    producer_.emplace(bus_.producer("t", {.block = 0ns}).value());
    member_.emplace(bus_.consumer("g", {"t", "m"}, {.max_attempts = 5, .backoff = {10ms}, .lease = 30s}).value());
    group_ = api::Group::open(bus_.state(), "g").value();
    place_ = api::GroupState::open(group_, "t", {}).value();
    start();
  }
  void start(std::unique_ptr<io::Disk> disk = io::make_pwrite_disk(0)) {
    rounds_.reset();
    rounds_ = open_rounds(bus_, std::move(disk));
    sleep_long();
  }
  void publish(std::string_view text = "event") {
    is_true(producer_->publish(bytes_of(std::string(text))).has_value());
  }
  Delivery take() { return std::move(*member_->next(0s).value()); }

  // What the daemon's thread does until it sleeps.
  void fall_asleep() {
    do {
      seen_ = rounds_->sleeper().read();
      wakes_at_ = work_and_rest(*rounds_);
    } while (wakes_at_ <= g_clock.monotonic);
  }
  bool rung() const { return rounds_->sleeper().read() != seen_; }
  std::int64_t left() const { return wakes_at_ - g_clock.monotonic; }
  // Until it would sleep on: wakes when it is rung or it is time, and not before.
  void live(std::chrono::nanoseconds duration) {
    const std::int64_t end = g_clock.monotonic + duration.count();
    for (;;) {
      if (rung()) fall_asleep();
      if (wakes_at_ > end) break;
      pass(std::chrono::nanoseconds(left()));
      fall_asleep();
    }
    pass(std::chrono::nanoseconds(end - g_clock.monotonic));
  }
  void sleep_long() {
    fall_asleep();
    for (int i = 0; i < 100 && left() < kLong; ++i) live(std::chrono::nanoseconds(left()));
    is_true(left() >= kLong);
  }
  std::uint64_t checkpoints() const { return place_->checkpoint_done(); }
  int letters() const {
    int out = 0;
    EXPECT_TRUE(bus_.dead_letters("g", [&](const EventView&, const DeadLetter&) { return ++out != 0; }));
    return out;
  }
  Offset first() const { return bus_.describe_topic("t")->first_offset; }
  // Each four of these end a segment.
  void fill(int segments) {
    for (int i = 0; i < 4 * segments; ++i) {
      publish(std::string(16000, 'x'));
      live(100ms);
    }
  }

  Stage stage_;
  Bus bus_;
  std::optional<Producer> producer_;
  std::optional<Consumer> member_;
  std::shared_ptr<api::Group> group_;
  std::shared_ptr<api::GroupState> place_;
  std::unique_ptr<daemon::Rounds> rounds_;
  std::uint32_t seen_ = 0;
  std::int64_t wakes_at_ = 0;
};

TEST_F(RestTest, WithNothingToDoItSleepsUntilItsNextLook) {
  EXPECT_FALSE(rung());
  EXPECT_LE(left(), 30'000'000'000);
  g_clock.between_looks = 1'000'000'000;
  live(30s);
  EXPECT_LE(left(), 30'000'000'000) << "whatever a look takes";
  EXPECT_FALSE(rung());
}

// --- Who has news rings.

class NewsTest : public RestTest, public ::testing::WithParamInterface<int> {
 public:
  struct Case {
    std::string name;
    std::function<void(NewsTest&)> before, act;
  };
  static const std::vector<Case>& cases();
  std::optional<Delivery> held_;
};

const std::vector<NewsTest::Case>& NewsTest::cases() {
  using Me = NewsTest;
  const auto nothing = [](Me&) {};
  const auto event = [](Me& me) { me.publish(); };
  const auto lease = [](Me& me) { me.publish(), me.held_.emplace(me.take()); };
  const auto letter = [](Me& me) {
    me.publish();
    ASSERT_TRUE(me.take().reject());
  };
  static const std::vector<Case> all = {
      {"AnEvent", nothing, [](Me& me) { me.publish(); }},
      {"ABatch", nothing,
       [](Me& me) {
         const std::string text = "event";
         const std::vector<Message> messages(3, Message{.payload = bytes_of(text)});
         ASSERT_TRUE(me.producer_->publish_batch(messages));
       }},
      {"AClaim", nothing, [](Me& me) { ASSERT_TRUE(me.producer_->claim(8)->commit()); }},
      {"ATake", event, [](Me& me) { me.held_.emplace(me.take()); }},
      {"AnAck", lease, [](Me& me) { ASSERT_TRUE(me.held_->ack()); }},
      {"ANak", lease, [](Me& me) { ASSERT_TRUE(me.held_->nak({.delay = 1h})); }},
      {"AReject", lease, [](Me& me) { ASSERT_TRUE(me.held_->reject()); }},
      {"ARelease", lease, [](Me& me) { ASSERT_TRUE(me.held_->release()); }},
      {"ADrop", lease, [](Me& me) { me.held_.reset(); }},
      {"AnAckOfAll", lease, [](Me& me) { ASSERT_TRUE(me.member_->ack_through("t", 0)); }},
      {"APoll", event,
       [](Me& me) {
         const auto handle = [&me](const EventView&) {
           EXPECT_TRUE(me.rung()) << "of the lease";
           me.live(1s);
           EXPECT_FALSE(me.rung());
           return Settle::ack();
         };
         ASSERT_EQ(me.member_->poll(handle, 1).value(), 1u);
       }},
      {"AMemberThatGoes",
       [](Me& me) {
         me.publish();
         ASSERT_TRUE(me.member_->wait(0s).value());
       },
       [](Me& me) { me.member_.reset(); }},
      {"AWaitForACheckpoint", letter, [](Me& me) { ASSERT_FALSE(me.member_->await_settled(0s)); }},
      {"ASeek", event, [](Me& me) { ASSERT_TRUE(me.bus_.seek_group("g", StartAt::end())); }},
      {"ARedrive", letter, [](Me& me) { ASSERT_TRUE(me.bus_.redrive("g", 0)); }},
      {"APurge", letter, [](Me& me) { ASSERT_TRUE(me.bus_.purge("g", 0)); }},
      {"ATopic", nothing, [](Me& me) { ASSERT_TRUE(me.bus_.create_topic("new")); }},
      {"ADeletedTopic", nothing, [](Me& me) { ASSERT_TRUE(me.bus_.delete_topic("t")); }},
      {"AGroup", nothing, [](Me& me) { ASSERT_TRUE(me.bus_.consumer("new", {"t"})); }},
      {"ADeletedGroup", nothing, [](Me& me) { ASSERT_TRUE(me.bus_.delete_group("g")); }},
      {"APause", nothing, [](Me& me) { ASSERT_TRUE(me.bus_.pause_group("g", true)); }},
      {"ARetention", nothing, [](Me& me) { ASSERT_TRUE(me.bus_.set_retention("t", 100'000, 0ns)); }},
      {"ACompaction", nothing, [](Me& me) { ASSERT_TRUE(me.bus_.set_compaction("t", true)); }},
  };
  return all;
}

TEST_P(NewsTest, Rings) {
  const Case& news = cases()[std::size_t(GetParam())];
  news.before(*this);
  live(1s);  // a lease that is out is asked about four times a second
  ASSERT_FALSE(rung());
  news.act(*this);
  EXPECT_TRUE(rung()) << news.name;
  live(1s);
}

INSTANTIATE_TEST_SUITE_P(All, NewsTest, ::testing::Range(0, int(NewsTest::cases().size())),
                         [](const auto& one) { return NewsTest::cases()[std::size_t(one.param)].name; });

TEST_F(RestTest, ACompactionRingsWhenItWantsTheDaemon) {
  ASSERT_TRUE(bus_.delete_group("g"));
  ASSERT_TRUE(bus_.set_compaction("t", true));
  live(1s);
  const std::string payload(16000, 'x');
  for (int i = 0; i < 16; ++i) {
    ASSERT_TRUE(producer_->publish(bytes_of(payload), {.key = "the same"}));
    live(100ms);
  }
  live(2s);  // then a pass has begun
  const auto deadline = std::chrono::steady_clock::now() + 10s;
  const std::string first = bus_.state()->topic_directory("t") + "/" + storage::segment_name(0);
  const auto compacted = [&first] {
    auto segment = storage::SegmentReader::open(first, layout::kPage);
    return segment && segment->front().progress->compacted != 0;
  };
  while (!compacted() && std::chrono::steady_clock::now() < deadline)
    if (rung()) fall_asleep();
  EXPECT_TRUE(compacted());
}

// Who commits before the daemon listens does not ring; a round after that finds it.
TEST_F(RestTest, WhatComesWhileItLiesDownIsFound) {
  ASSERT_FALSE(rounds_->work(g_clock.monotonic));
  const auto before = bus_.describe_topic("t")->durable_offset;
  place_->changed();  // takes the bit
  publish();
  Delivery held = take();
  ASSERT_TRUE(held.ack());
  const std::uint64_t saved = checkpoints();
  fall_asleep();
  EXPECT_EQ(bus_.describe_topic("t")->durable_offset, before + 1);
  EXPECT_LE(left(), 100'000'000);
  live(100ms);
  EXPECT_EQ(checkpoints(), saved + 1);
}

// Also who acts between two of its looks, at any of them: he saw no bit, or rang.
TEST_F(RestTest, WhatComesBetweenItsLooksIsSaved) {
  bool acted = true;
  int looks = 0;
  for (; acted; ++looks) {
    publish();
    Delivery held = take();
    live(1s);
    place_->changed();  // so that it lies down anew
    const std::uint64_t before = checkpoints();
    acted = false;
    g_turn = {looks, [&] { acted = held.ack().has_value(); }};
    fall_asleep();
    g_turn = {};
    if (!acted) break;
    live(100ms);
    EXPECT_EQ(checkpoints(), before + 1) << "at look " << looks;
  }
  EXPECT_GT(looks, 2);
}

// --- What is saved when.

TEST_F(RestTest, WhatChangesIsSavedWithinATenthOfASecond) {
  publish();
  live(1s);
  for (int i = 0; i < 3; ++i) {
    publish();
    Delivery held = take();
    live(1s);
    const std::uint64_t before = checkpoints();
    ASSERT_TRUE(held.ack());
    live(100ms);
    EXPECT_EQ(checkpoints(), before + 1);
    live(1s);
    EXPECT_EQ(checkpoints(), before + 1) << "once";
  }
}

TEST_F(RestTest, OfManyChangesOneRings) {
  for (int i = 0; i < 10; ++i) publish();
  live(10s);
  ASSERT_TRUE(take().ack());
  ASSERT_TRUE(rung());
  fall_asleep();
  for (int i = 0; i < 9; ++i) ASSERT_TRUE(take().ack());
  EXPECT_FALSE(rung()) << "a checkpoint is coming anyway";
  const std::uint64_t before = checkpoints();
  live(100ms);
  EXPECT_EQ(checkpoints(), before + 1);
}

TEST_F(RestTest, ADaemonThatStartsWritesNoCheckpointThatIsThere) {
  publish();
  ASSERT_TRUE(take().ack());
  live(1s);
  const std::uint64_t before = checkpoints();
  start();
  EXPECT_EQ(checkpoints(), before);
  rounds_.reset();
  jump(24h);
  start();
  EXPECT_EQ(checkpoints(), before + 1) << "it tells the time of retries by the clock that was set";
}

TEST_F(RestTest, AMemoryTopicsSettlementsAreAwaitedAndNotWritten) {
  Producer producer = bus_.producer("m").value();
  ASSERT_TRUE(producer.publish(bytes_of("event")));
  ASSERT_TRUE(take().ack());
  EXPECT_FALSE(member_->await_settled(0s)) << "the daemon was not asked before";
  live(1s);
  EXPECT_TRUE(member_->await_settled(0s));
  const auto saved = group_->place().checkpoint(*bus_.state(), "m").read();
  ASSERT_FALSE(saved);
  EXPECT_EQ(saved.error().code(), Errc::not_found);
}

TEST_F(RestTest, APurgedLetterStaysPurgedAfterAReboot) {
  publish();
  ASSERT_TRUE(take().reject());
  live(1s);
  ASSERT_TRUE(bus_.purge("g", 0));
  live(200ms);
  place_.reset(), group_.reset(), member_.reset(), producer_.reset(), rounds_.reset();
  reboot(stage_);
  bus_ = stage_.open();
  EXPECT_EQ(letters(), 0);
}

// --- What has its time.

TEST_F(RestTest, ALeaseOfAMemberThatIsGoneComesBackThroughTheDaemon) {
  publish();
  Delivery held = take();
  live(1s);
  EXPECT_LE(left(), 250'000'000);
  live(30s);
  EXPECT_EQ(bus_.group_topics("g")->back().in_flight, 0u);
  EXPECT_EQ(held.ack().error().code(), Errc::stale_lease);
}

TEST_F(RestTest, AnEventIsALetterAtOnceAfterItsLastLeaseRanOut) {
  publish();
  Delivery held = take();
  for (int i = 0; i < 5; ++i) {
    live(31s);
    if (i < 4) held = take();
  }
  EXPECT_EQ(letters(), 1);
  EXPECT_EQ(bus_.describe_topic("g.dlq")->durable_offset, 1u);
}

TEST_F(RestTest, AnOpenClaimIsLookedAtTenTimesASecond) {
  auto claim = producer_->claim(8);
  publish();
  live(1s);
  EXPECT_LE(left(), 100'000'000);
  ASSERT_TRUE(claim->commit());
  live(1s);
  EXPECT_EQ(bus_.describe_topic("t")->durable_offset, 2u);
}

TEST_F(RestTest, ADiskThatRefusedIsAskedAgain) {
  auto disk = std::make_unique<io::FaultyDisk>(io::make_pwrite_disk(0));
  for (const std::size_t job : {0, 1}) disk->fail(job, EIO);
  start(std::move(disk));
  publish();
  fall_asleep();
  EXPECT_EQ(bus_.describe_topic("t")->durable_error, EIO);
  live(700ms);
  EXPECT_EQ(bus_.describe_topic("t")->durable_error, 0);
  EXPECT_EQ(bus_.describe_topic("t")->durable_offset, 1u);
}

TEST_F(RestTest, SegmentsGoWhenTheirTimeIsOver) {
  fill(3);
  ASSERT_TRUE(bus_.set_retention("t", 0, 10s));
  fall_asleep();
  ASSERT_EQ(first(), 0u);
  live(11s);
  EXPECT_GT(first(), 0u);
}

TEST_F(RestTest, AShorterRetentionIsHeardOf) {
  fill(4);
  sleep_long();
  ASSERT_EQ(first(), 0u);
  ASSERT_TRUE(bus_.set_retention("t", 100'000, 0ns));
  live(0s);
  EXPECT_GT(first(), 0u);
}

TEST_F(RestTest, AGroupThatRetentionMovesOnIsSaved) {
  publish();
  ASSERT_TRUE(take().ack());
  fill(5);
  sleep_long();
  ASSERT_TRUE(bus_.set_retention("t", 100'000, 0ns));
  live(0s);
  ASSERT_GT(first(), 0u);
  const std::uint64_t before = checkpoints();
  live(100ms);
  EXPECT_EQ(checkpoints(), before + 1);
}

TEST_F(RestTest, SizeIsHeldToWhileEventsCome) {
  ASSERT_TRUE(bus_.set_retention("t", 200'000, 0ns));
  fill(6);
  live(2s);
  EXPECT_GT(first(), 0u);
}

TEST_F(RestTest, AClockThatIsSetBringsACheckpointOfPlacesThatRest) {
  publish();
  ASSERT_TRUE(take().nak({.delay = 1h}));
  sleep_long();
  const std::uint64_t before = checkpoints();
  EXPECT_FALSE(rounds_->clock_set(g_clock.monotonic));
  jump(24h);
  EXPECT_TRUE(rounds_->clock_set(g_clock.monotonic));
  fall_asleep();  // who looks at the clock wakes
  live(100ms);
  EXPECT_EQ(checkpoints(), before + 1);
  live(1s);
  EXPECT_EQ(checkpoints(), before + 1);
}

// --- Somebody died between his change and the ring.

TEST_F(RestTest, WhatNobodyRangForIsFoundByTheNextLook) {
  publish();
  Delivery held = take();
  const auto member = std::exchange(member_, std::nullopt);
  live(1s);
  const std::uint64_t before = checkpoints();
  const std::uint64_t keepers = place_->keepers().exchange(0);
  ASSERT_TRUE(held.reject());
  place_->keepers().store(keepers);
  ASSERT_FALSE(rung());
  live(30s);
  EXPECT_GT(checkpoints(), before);
  EXPECT_EQ(letters(), 1);
}

TEST_F(RestTest, WhoAsksForTheDiskAgainAndAgainRingsForOneWhoDied) {
  auto topic = api::Topic::open(bus_.state(), "t", true).value();
  ASSERT_NE(topic->mask().exchange(0), 0u);  // and here he died
  publish();
  ASSERT_FALSE(rung());
  for (int i = 0; i < 4; ++i) {  // each call shorter than the time after which one that waits would ring
    EXPECT_FALSE(producer_->await_durable(0, 0ns));
    pass(50ms);
  }
  EXPECT_TRUE(rung());
  live(1s);
  EXPECT_TRUE(producer_->await_durable(0, 0ns));
}

TEST_F(RestTest, ATopicOfSomebodyWhoDiedIsFoundByTheNextLook) {
  shm::Mask& mask = bus_.state()->live.mask(layout::kBusOrdinal);
  const std::uint64_t sleepers = mask.exchange(0);
  const std::uint64_t epoch = bus_.state()->live.header()->topics_epoch.load();
  ASSERT_TRUE(bus_.create_topic("new"));
  bus_.state()->live.header()->topics_epoch.store(epoch);
  mask.store(sleepers);
  ASSERT_FALSE(rung());
  Producer producer = bus_.producer("new").value();
  live(30s);
  ASSERT_TRUE(producer.publish(bytes_of("event")));
  live(1s);
  EXPECT_EQ(bus_.describe_topic("new")->durable_offset, 1u);
}

TEST_F(RestTest, ARetentionWhoseWriterDiedIsReadAgain) {
  fill(4);
  ASSERT_TRUE(bus_.set_retention("t", 1 << 30, 0ns));
  live(0s);
  auto topic = api::Topic::open(bus_.state(), "t", true).value();
  topic->writable()->meta_version.fetch_or(1);  // and is being changed again
  bus_.state()->announce_topics();
  live(1s);
  auto meta = api::read_topic_meta(*bus_.state(), "t").value();
  meta.options.retention_bytes = 100'000;
  ASSERT_TRUE(api::write_topic_meta(*bus_.state(), meta, false));  // and here he died
  ASSERT_FALSE(rung());
  live(30s);
  EXPECT_GT(first(), 0u);
}

}  // namespace
}  // namespace penstock::test
