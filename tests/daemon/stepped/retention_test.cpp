// What retention leaves: events that a group has taken and not settled, and, where the topic says so, all that a group
// has not acked. And what who stands in the part that goes is told.
#include <algorithm>

#include "api/hold.hpp"
#include "stepped_bus.hpp"

namespace penstock::test {
namespace {

constexpr int kSegment = 3;  // events of 16,000 bytes in a segment of 64 KiB
constexpr Offset kEvents = 8 * kSegment;

std::string text_at(Offset offset) { return std::string(16'000, char('a' + offset % 26)); }

class KeptTest : public ::testing::Test {
 protected:
  KeptTest() : bus_((set_clock(1'800'000'000'000'000'000, 5'000'000'000'000), open_small(stage_))) {
    is_true(bool(bus_.create_topic("t")));
    member_.emplace(bus_.consumer("g", {"t"}, options_).value());
    rounds_ = open_rounds(bus_);
  }
  void publish(Offset count, const PublishOptions& options = {}) {
    Producer producer = bus_.producer("t", {.block = 0ns}).value();
    for (Offset i = 0; i < count; ++i) {
      const Offset offset = bus_.describe_topic("t")->next_offset;
      is_true(producer.publish(bytes_of(text_at(offset)), options).value() == offset);
      step(*rounds_, 2);
    }
  }
  std::optional<Delivery> next() {
    auto delivery = member_->next(0s).value();
    if (delivery) {
      EXPECT_EQ(text_of(delivery->payload()), text_at(delivery->offset()));
    }
    return delivery;
  }
  // All that comes is acked; the deliveries of these offsets are given back.
  std::vector<Delivery> ack_all_but(const std::vector<Offset>& but) {
    std::vector<Delivery> out;
    while (auto delivery = next()) {
      if (std::find(but.begin(), but.end(), delivery->offset()) != but.end())
        out.push_back(std::move(*delivery));
      else
        is_true(bool(delivery->ack()));
    }
    return out;
  }
  static std::string text_of(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
  void rounds() { step(*rounds_, 24); }
  Offset first() { return bus_.describe_topic("t")->first_offset; }
  std::optional<std::string> waits_for() { return bus_.describe_topic("t")->retention_waits_for; }
  void bound_by_bytes() { is_true(bool(bus_.set_retention("t", 1, 0ns))); }
  void restart_machine() {
    member_.reset();
    rounds_.reset();
    reboot(stage_);
    bus_ = stage_.open();
    member_.emplace(bus_.consumer("g").value());
    rounds_ = open_rounds(bus_);
  }
  void expect_kept_for(Offset offset) {
    EXPECT_EQ(first(), 0u);
    EXPECT_EQ(waits_for(), "group g, whose first unsettled event is " + std::to_string(offset));
  }
  void expect_let_go() {
    rounds();
    EXPECT_GE(first(), Offset{3 * kSegment});
    EXPECT_EQ(waits_for(), std::nullopt);
  }

  Stage stage_;
  Bus bus_;
  ConsumerOptions options_{.max_attempts = 3, .lease = 100h};
  std::optional<Consumer> member_;
  std::unique_ptr<daemon::Rounds> rounds_;
};

// --- What was taken, under each bound.

class TakenTest : public KeptTest, public ::testing::WithParamInterface<bool> {
 protected:
  void bound() {
    if (GetParam()) return bound_by_bytes();
    is_true(bool(bus_.set_retention("t", 0, 1h)));
    pass(2h);
  }
};

TEST_P(TakenTest, WhatWaitsForItsRetryStaysUntilItIsSettled) {
  publish(kEvents);
  for (Delivery& failed : ack_all_but({1})) ASSERT_TRUE(failed.nak({.delay = 5h}));
  bound();
  rounds();
  expect_kept_for(1);
  pass(5h);
  auto again = next();
  ASSERT_TRUE(again);
  EXPECT_EQ(again->offset(), 1u);
  EXPECT_EQ(again->attempt(), 2u);
  rounds();
  expect_kept_for(1);
  ASSERT_TRUE(again->ack());
  expect_let_go();
}

TEST_P(TakenTest, WhatIsLeasedStays) {
  publish(kEvents);
  auto leased = ack_all_but({kSegment - 1});
  ASSERT_EQ(leased.size(), 1u);
  bound();
  rounds();
  expect_kept_for(kSegment - 1);
  ASSERT_TRUE(leased.front().ack());
  expect_let_go();
}

TEST_P(TakenTest, SegmentsBeforeTheOneThatIsNeededGo) {
  publish(kEvents);
  auto leased = ack_all_but({kSegment});
  bound();
  rounds();
  EXPECT_EQ(first(), Offset{kSegment});
  EXPECT_EQ(waits_for(), "group g, whose first unsettled event is " + std::to_string(kSegment));
}

TEST_P(TakenTest, WhatIsDelayedStaysUntilItsTime) {
  publish(1, {.deliver_at = Timestamp(std::chrono::nanoseconds(g_clock.wall) + 10h)});
  publish(kEvents - 1);
  ack_all_but({});
  bound();
  rounds();
  expect_kept_for(0);
  pass(10h);
  auto at_last = next();
  ASSERT_TRUE(at_last);
  ASSERT_TRUE(at_last->ack());
  expect_let_go();
}

TEST_P(TakenTest, WhatADeadLetterIsMadeOfStaysUntilTheLetterIsOnDisk) {
  publish(kEvents);
  auto leased = ack_all_but({1});
  rounds();
  rounds_.reset();
  bound();
  ASSERT_TRUE(leased.front().reject({.reason = "no"}));
  rounds_ = open_rounds(bus_, std::make_unique<StuckDisk>());
  rounds();
  ASSERT_EQ(bus_.group_topics("g")->front().dead_lettered, 1u) << "the letter is in the ring";
  EXPECT_EQ(first(), 0u) << "and would be lost with it";
  rounds_.reset();
  rounds_ = open_rounds(bus_);
  expect_let_go();
  int letters = 0;
  ASSERT_TRUE(bus_.dead_letters("g", [&](const EventView& event, const DeadLetter& letter) {
    EXPECT_EQ(text_of(event.payload()), text_at(1));
    EXPECT_EQ(letter.reason, "no");
    return ++letters != 0;
  }));
  EXPECT_EQ(letters, 1);
}

TEST_P(TakenTest, WhatWaitsStaysThoughTheMachineStartsAnew) {
  publish(kEvents);
  for (Delivery& failed : ack_all_but({1})) ASSERT_TRUE(failed.nak({.delay = 50h}));
  rounds();
  restart_machine();
  bound();
  rounds();
  expect_kept_for(1);
  pass(50h);
  auto again = next();
  ASSERT_TRUE(again);
  ASSERT_TRUE(again->ack());
  expect_let_go();
}

TEST_P(TakenTest, FreshEventsGoAndAreCounted) {
  publish(kEvents);
  ASSERT_TRUE(next()->ack());
  bound();
  expect_let_go();
  const Offset gone = first();
  auto delivery = next();
  ASSERT_TRUE(delivery);
  EXPECT_EQ(delivery->offset(), gone);
  EXPECT_EQ(bus_.group_topics("g")->front().missed, gone - 1);
}

TEST_P(TakenTest, ByChoiceWhatIsNotAckedStays) {
  publish(kEvents);
  ASSERT_TRUE(next()->ack());
  ASSERT_TRUE(bus_.set_retain_unacked("t", true));
  bound();
  rounds();
  expect_kept_for(1);
  EXPECT_TRUE(bus_.describe_topic("t")->options.retain_unacked);
  ack_all_but({});
  expect_let_go();
  EXPECT_EQ(bus_.group_topics("g")->front().missed, 0u);
}

INSTANTIATE_TEST_SUITE_P(By, TakenTest, ::testing::Values(true, false),
                         [](const auto& it) { return it.param ? "Bytes" : "Age"; });

// --- The choice, and how a hold is ended.

class ChoiceTest : public KeptTest {
 protected:
  ChoiceTest() {
    is_true(bool(bus_.set_retain_unacked("t", true)));
    publish(kEvents);
    bound_by_bytes();
  }
};

TEST_F(ChoiceTest, AGroupThatHasNotBegunKeepsEverything) {
  rounds();
  EXPECT_EQ(first(), 0u);
  EXPECT_EQ(waits_for(), "group g, which has not begun");
}

TEST_F(ChoiceTest, AForgottenGroupKeepsTheLogUntilItIsDeleted) {
  ASSERT_TRUE(next()->ack());
  rounds();
  restart_machine();
  member_.reset();
  rounds();
  expect_kept_for(1);
  ASSERT_TRUE(bus_.delete_group("g"));
  expect_let_go();
}

TEST_F(ChoiceTest, AGroupThatSeeksToTheEndKeepsNothing) {
  rounds();
  ASSERT_EQ(first(), 0u);
  ASSERT_TRUE(bus_.seek_group("g", StartAt::end()));
  expect_let_go();
}

TEST_F(ChoiceTest, TheSlowestOfTwoGroupsIsNamed) {
  Consumer other = bus_.consumer("h", {"**"}).value();
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(other.next(0s).value()->ack());
  ack_all_but({});
  rounds();
  EXPECT_EQ(waits_for(), "group h, whose first unsettled event is 2");
}

TEST_F(ChoiceTest, ItIsTakenBack) {
  rounds();
  ASSERT_EQ(first(), 0u);
  ASSERT_TRUE(bus_.set_retain_unacked("t", false));
  EXPECT_FALSE(bus_.describe_topic("t")->options.retain_unacked);
  expect_let_go();
}

TEST_F(ChoiceTest, ItIsTheTopicsFromTheBeginningAndOverARestart) {
  ASSERT_TRUE(bus_.create_topic("u", {.ring_bytes = 64 << 10, .retain_unacked = true}));
  restart_machine();
  EXPECT_TRUE(bus_.describe_topic("u")->options.retain_unacked);
  EXPECT_FALSE(bus_.describe_topic("u")->options.compact);
  ASSERT_TRUE(bus_.set_compaction("u", true));
  ASSERT_TRUE(bus_.set_retain_unacked("u", false));
  EXPECT_TRUE(bus_.describe_topic("u")->options.compact);
}

TEST_F(KeptTest, ASeekLetsGoOfWhatWaitsThoughTheCursorIsThereAlready) {
  publish(kEvents);
  for (Delivery& failed : ack_all_but({1})) ASSERT_TRUE(failed.nak({.delay = 50h}));
  bound_by_bytes();
  rounds();
  expect_kept_for(1);
  ASSERT_TRUE(bus_.seek_group("g", StartAt::end()));
  expect_let_go();
}

TEST_F(KeptTest, AGroupThatDoesNotWantTheTopicAnyMoreKeepsNothing) {
  publish(kEvents);
  const auto leased = ack_all_but({1});
  bound_by_bytes();
  rounds();
  expect_kept_for(1);
  ASSERT_TRUE(bus_.set_group("g", {"other"}, {}));
  expect_let_go();
}

TEST_F(KeptTest, LettersThatWereGivenBackKeepTheirQueue) {
  publish(1);
  ASSERT_TRUE(next()->reject());
  rounds();
  ASSERT_TRUE(bus_.redrive("g", 0));
  rounds();
  const auto state = bus_.state();
  EXPECT_EQ(api::hold_of(state, "g.dlq", api::Need::pending, true).offset, 0u);
  ASSERT_TRUE(next()->ack());
  rounds();
  EXPECT_EQ(api::hold_of(state, "g.dlq", api::Need::pending, true).offset, ~Offset{0});
}

TEST_F(KeptTest, NothingGoesWhileTheTopicsBooksCannotBeRead) {
  publish(kEvents);
  auto leased = ack_all_but({1});
  bound_by_bytes();
  rounds();
  expect_kept_for(1);
  const std::string meta = stage_.path() + "/topics/t/topic.meta.", kept = stage_.path() + "/kept.";
  for (const std::string copy : {"a", "b"}) {
    std::filesystem::copy_file(meta + copy, kept + copy);
    std::ofstream(meta + copy) << "what stood here is not here any more";
  }
  const auto topic = api::Topic::open(bus_.state(), "t", true).value();
  topic->writable()->meta_version.fetch_add(2);  // it may have been the bound that was changed
  ASSERT_TRUE(leased.front().ack());
  rounds();
  EXPECT_EQ(first(), 0u);
  for (const std::string copy : {"a", "b"})
    std::filesystem::copy_file(kept + copy, meta + copy, std::filesystem::copy_options::overwrite_existing);
  topic->writable()->meta_version.fetch_add(2);
  bus_.state()->announce_topics();
  expect_let_go();
}

// --- What a power cut would bring back.

TEST_F(KeptTest, WhatACheckpointSaysIsUnsettledStaysUntilAnotherIsWritten) {
  publish(kEvents);
  auto leased = ack_all_but({1});
  rounds_.reset();
  rounds_ = std::move(*daemon::Rounds::open(bus_.state(), {.checkpoint_every = 1h}, io::make_pwrite_disk(0)));
  rounds();
  ASSERT_TRUE(leased.front().ack());
  bound_by_bytes();
  rounds();
  EXPECT_EQ(first(), 0u);
  leased.clear();
  restart_machine();
  const auto again = next();
  ASSERT_TRUE(again) << "the power cut took its settlement back";
  EXPECT_EQ(again->offset(), 1u);
}

TEST_F(KeptTest, ACheckpointThatCannotBeReadKeepsEverythingUntilTheGroupGetsAPlace) {
  publish(kEvents);
  for (Delivery& failed : ack_all_but({1})) ASSERT_TRUE(failed.nak({.delay = 50h}));
  rounds();
  member_.reset();
  rounds_.reset();
  reboot(stage_);
  for (const char* copy : {"a", "b"})
    std::ofstream(stage_.path() + "/groups/g/t.state." + copy) << "what stood here is not here any more";
  bus_ = stage_.open();
  rounds_ = open_rounds(bus_);
  bound_by_bytes();
  rounds();
  EXPECT_EQ(first(), 0u);
  EXPECT_EQ(waits_for(), "group g, whose checkpoint cannot be read");
  ASSERT_TRUE(bus_.seek_group("g", StartAt::end()));
  expect_let_go();
}

// --- Who stands in what goes.

// Reads so many events, then retention takes all it may, then it reads to the end.
class GoesUnderAReaderTest : public KeptTest, public ::testing::WithParamInterface<int> {};

TEST_P(GoesUnderAReaderTest, EachEventIsReadRightOrCountedAsMissed) {
  publish(kEvents);
  Reader reader = bus_.reader("t", StartAt::beginning()).value();
  std::vector<Offset> seen;
  const auto read = [&](std::size_t most) {
    return reader
        .poll(
            [&](const EventView& event) {
              EXPECT_EQ(text_of(event.payload()), text_at(event.offset()));
              seen.push_back(event.offset());
            },
            most)
        .value();
  };
  for (int i = 0; i < GetParam(); ++i) ASSERT_EQ(read(1), 1u);
  bound_by_bytes();
  expect_let_go();
  const Offset kept = first();
  while (read(64) != 0) {
  }
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_EQ(seen.back(), kEvents - 1);
  EXPECT_EQ(seen.size() + reader.missed(), kEvents);
  EXPECT_EQ(reader.damaged(), 0u);
  EXPECT_GE(seen.size(), std::size_t(GetParam()) + kEvents - kept);
}

// Not begun, in the middle, right before the border, on it, behind it.
INSTANTIATE_TEST_SUITE_P(After, GoesUnderAReaderTest,
                         ::testing::Values(0, 1, kSegment - 1, kSegment, kSegment + 1, 2 * kSegment));

class GoesUnderAGroupTest : public KeptTest, public ::testing::WithParamInterface<int> {};

TEST_P(GoesUnderAGroupTest, EachEventComesOnceOrIsCountedAsMissed) {
  publish(kEvents);
  std::uint64_t seen = 0;
  for (; seen < std::uint64_t(GetParam()); ++seen) ASSERT_TRUE(next()->ack());
  bound_by_bytes();
  expect_let_go();
  const Offset kept = first();
  for (Offset expected = kept;; ++expected, ++seen) {
    auto delivery = next();
    if (!delivery) break;
    ASSERT_EQ(delivery->offset(), expected);
    ASSERT_TRUE(delivery->ack());
  }
  const GroupTopicInfo info = bus_.group_topics("g")->front();
  // A group that had not begun begins with what there is.
  EXPECT_EQ(seen + info.missed, GetParam() == 0 ? kEvents - kept : kEvents);
  EXPECT_EQ(info.lag, 0u);
  EXPECT_EQ(info.damaged, 0u);
}

INSTANTIATE_TEST_SUITE_P(After, GoesUnderAGroupTest,
                         ::testing::Values(0, 1, kSegment - 1, kSegment, kSegment + 1, 2 * kSegment));

TEST_F(KeptTest, WhatTheRingStillHoldsStaysOnDiskToo) {
  publish(kEvents);
  ack_all_but({});
  bound_by_bytes();
  rounds();
  // A ring of 64 KiB holds the last four events.
  EXPECT_LE(first(), kEvents - 4);
}

}  // namespace
}  // namespace penstock::test
