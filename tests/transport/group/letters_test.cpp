#include "shared_group.hpp"

namespace penstock::group::testing {
namespace {

using layout::CellState;
using layout::Failure;

class LettersTest : public GroupTest {};

TEST_F(LettersTest, DeadEventsAreShownWithTheirHistoryUntilTheirLetterIsWritten) {
  const Lease lease = lease_next(a_, now_);
  lease_next(a_, now_);
  ASSERT_TRUE(a_.reject(lease, now_, {"carrier", "gone"}));
  std::vector<CellView> dead;
  b_.for_each_dead([&](const CellView& cell) {
    dead.push_back(cell);
    return true;
  });
  ASSERT_EQ(dead.size(), 1u);
  EXPECT_EQ(dead[0].offset, 0u);
  EXPECT_EQ(dead[0].position, position_of(0));
  EXPECT_EQ(dead[0].fields.failure, Failure::rejected);
  EXPECT_EQ(dead[0].fields.failed, 1u);
  EXPECT_EQ(dead[0].fields.slot, 1u);
  EXPECT_EQ(b_.note(dead[0])->reason, "gone");
  EXPECT_GT(dead[0].first_failure, 0);
  ASSERT_TRUE(b_.settle_dead(dead[0].cell, dead[0].state));
  EXPECT_EQ(code_of(b_.settle_dead(dead[0].cell, dead[0].state)), Errc::stale_lease) << "once";
  EXPECT_EQ(mapping_.control().dead_lettered.load(), 1u);
  EXPECT_EQ(mapping_.control().in_flight.load(), 1u);
  EXPECT_EQ(b_.committed().offset, 1u);
}

TEST_F(LettersTest, AnOverdueEventDiesUnderItsOwnName) {
  const Lease lease = lease_next(a_, now_);
  ASSERT_TRUE(a_.reject(lease, now_, {}, Failure::overdue));
  EXPECT_EQ(mapping_.fields(lease.cell).failure, Failure::overdue);
}

TEST_F(LettersTest, SeekingKeepsTheLettersOfEventsBeforeThatPlace) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(a_.reject(lease_next(a_, now_), now_));
  const auto waiting = [&] {
    std::vector<std::uint64_t> out;
    b_.for_each_dead([&](const CellView& cell) {
      out.push_back(cell.offset);
      return true;
    });
    return out;
  };
  b_.seek({100, position_of(100)}, false);
  EXPECT_EQ(waiting(), (std::vector<std::uint64_t>{0, 1, 2}));
  b_.seek({1, position_of(1)}, true);
  EXPECT_EQ(waiting(), (std::vector<std::uint64_t>{0})) << "the others come again";
  EXPECT_EQ(lease_next(a_, now_).offset, 1u);
}

// A group's own dead-letter queue.
class RedriveTest : public ::testing::Test {
 protected:
  RedriveTest() : group_(open_view(mapping_, options_, 1, 1, true, &space_)) {}
  bool give_back(std::uint64_t letter) {
    return Redrive(group_).give_back(letter, position_of(letter), id_of(letter), now_).value();
  }

  layout::GroupOptions options_;
  Space space_;
  Mapping mapping_;
  GroupTopic group_;
  std::int64_t now_ = kStart;
};

TEST_F(RedriveTest, ALetterIsDeliveredOnceWithItsAttemptsAnew) {
  EXPECT_TRUE(give_back(40));
  EXPECT_TRUE(group_.marked(40));
  EXPECT_FALSE(group_.marked(41));
  EXPECT_FALSE(give_back(40)) << "it was given back";
  const auto lease = lease_due(group_, now_);
  ASSERT_TRUE(lease);
  EXPECT_EQ(lease->offset, 40u);
  EXPECT_EQ(lease->position, position_of(40));
  EXPECT_EQ(lease->id, id_of(40));
  EXPECT_EQ(lease->attempt(), 1u);
  EXPECT_EQ(lease->delivered(), 1u);
  ASSERT_TRUE(group_.ack(*lease, now_));
  EXPECT_FALSE(give_back(40));
  EXPECT_FALSE(lease_due(group_, now_ + kSecond));
  EXPECT_EQ(mapping_.control().redriven.load(), 1u);
  EXPECT_EQ(mapping_.control().redelivered.load(), 0u);
}

TEST_F(RedriveTest, ARedriveThatDiedBeforeItsMarkIsCompletedAndNotRepeated) {
  give_back(40);
  reinterpret_cast<layout::Word*>(mapping_.bytes().data() + layout::kMarksAt)->store(0);
  EXPECT_TRUE(give_back(40));
  EXPECT_TRUE(group_.marked(40));
  EXPECT_TRUE(lease_due(group_, now_));
  EXPECT_FALSE(lease_due(group_, now_)) << "one delivery";
}

TEST_F(RedriveTest, ASettlementSetsTheMarkThatADeadRedriveCouldNot) {
  give_back(40);
  reinterpret_cast<layout::Word*>(mapping_.bytes().data() + layout::kMarksAt)->store(0);
  ASSERT_TRUE(group_.ack(*lease_due(group_, now_), now_));
  EXPECT_TRUE(group_.marked(40));
  EXPECT_FALSE(give_back(40));
}

TEST_F(RedriveTest, ALetterThatDiesAgainStaysMarked) {
  options_.max_attempts = 1;
  give_back(40);
  const Lease lease = *lease_due(group_, now_);
  EXPECT_EQ(group_.nak(lease, now_).value(), Fate::dead);
  ASSERT_TRUE(group_.settle_dead(lease.cell, mapping_.cell(lease.cell).state));
  EXPECT_TRUE(group_.marked(40));
}

TEST_F(RedriveTest, PurgingIsAMarkAlone) {
  ASSERT_TRUE(group_.mark(7));
  EXPECT_TRUE(group_.marked(7));
  EXPECT_FALSE(give_back(7));
  EXPECT_FALSE(lease_due(group_, now_));
}

TEST_F(RedriveTest, ManyLettersAtOnce) {
  Redrive redrive(group_);
  for (std::uint64_t letter = 0; letter < 5000; ++letter) {
    ASSERT_TRUE(redrive.give_back(letter, position_of(letter), id_of(letter), now_).value());
  }
  EXPECT_FALSE(redrive.give_back(4999, position_of(4999), id_of(4999), now_).value());
  options_.max_in_flight = 0;
  std::vector<int> seen(5000, 0);
  while (const auto lease = lease_due(group_, now_)) ++seen[lease->offset];
  EXPECT_EQ(seen, std::vector<int>(5000, 1));
}

TEST_F(RedriveTest, WithoutRoomForItsMarkALetterIsNotGivenBack) {
  space_.full = true;
  EXPECT_EQ(code_of(Redrive(group_).give_back(1, position_of(1), id_of(1), now_)), Errc::no_space);
  EXPECT_EQ(code_of(group_.mark(1)), Errc::no_space);
  EXPECT_EQ(code_of(group_.mark(layout::kLettersMax)), Errc::too_many);
  space_.full = false;
  EXPECT_TRUE(give_back(1));
}

TEST_F(RedriveTest, CommittedIsTheFirstLetterInHand) {
  give_back(40);
  give_back(30);
  EXPECT_EQ(group_.committed(), (Place{30, position_of(30)}));
}

}  // namespace
}  // namespace penstock::group::testing
