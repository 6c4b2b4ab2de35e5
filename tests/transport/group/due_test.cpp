#include "group/due.hpp"

#include "shared_group.hpp"

namespace penstock::group::testing {
namespace {

using layout::CellState;

class DueTest : public ::testing::Test {
 protected:
  DueTest() : region_(Region::open(mapping_.bytes(), [](std::size_t, std::size_t) { return true; }).value()) {
    mapping_.control().cells_allocated.store(128);
  }
  void put(std::uint32_t cell, CellState state, std::int64_t time) {
    mapping_.cell(cell).state = {std::uint64_t(state), std::uint64_t(time)};
    mapping_.control().occupied[cell / 64].fetch_or(1ull << cell % 64);
  }
  std::uint64_t group(std::uint32_t number) { return mapping_.control().due[number].load(); }
  std::uint64_t all() { return mapping_.control().next_due.load(); }

  Mapping mapping_;
  Region region_;
  RaiseMarks marks_{Member{5, 6}};
};

TEST_F(DueTest, ANewFileIsDueUntilSomebodyHasLooked) {
  EXPECT_TRUE(is_due(all(), 1));
  raise_group(region_, 0, marks_.next(), 1, layout::kNoCell);
  raise_group(region_, 1, marks_.next(), 1, layout::kNoCell);
  raise_all(region_, marks_.next());
  EXPECT_EQ(all(), std::uint64_t(kNever));
}

TEST_F(DueTest, RaisingFindsTheEarliestTimeOfWhatIsAlive) {
  put(3, CellState::leased, 500);
  put(4, CellState::waiting, 400);
  put(5, CellState::dead, 100);
  put(6, CellState::free, 50);
  put(70, CellState::waiting, 300);
  raise_group(region_, 0, marks_.next(), 10, layout::kNoCell);
  raise_group(region_, 1, marks_.next(), 10, layout::kNoCell);
  raise_all(region_, marks_.next());
  EXPECT_EQ(group(0), 400u);
  EXPECT_EQ(group(1), 300u);
  EXPECT_EQ(all(), 300u);
}

TEST_F(DueTest, AnnouncingLowersAndNeverRaises) {
  raise_group(region_, 0, marks_.next(), 1, layout::kNoCell);
  raise_group(region_, 1, marks_.next(), 1, layout::kNoCell);
  raise_all(region_, marks_.next());
  announce(region_, 5, 900);
  announce(region_, 5, 1000);
  EXPECT_EQ(group(0), 900u);
  EXPECT_EQ(all(), 900u);
  announce(region_, 100, 800);
  EXPECT_EQ(group(0), 900u);
  EXPECT_EQ(group(1), 800u);
  EXPECT_EQ(all(), 800u);
}

TEST_F(DueTest, ARaiserThatDiedLeavesTheWordDue) {
  mapping_.control().due[0].store(marks_.next());
  EXPECT_TRUE(is_due(group(0), 0));
  raise_group(region_, 0, marks_.next(), 1, layout::kNoCell);
  EXPECT_EQ(group(0), std::uint64_t(kNever));
}

TEST_F(DueTest, AWriterThatMeetsAMarkMakesTheRaiseFail) {
  const std::uint64_t mark = marks_.next();
  mapping_.control().due[0].store(mark);  // a raiser has begun
  announce(region_, 5, 900);
  EXPECT_EQ(group(0), mark | kDueDirty);
  std::uint64_t expected = mark;  // the raiser's last step
  EXPECT_FALSE(mapping_.control().due[0].compare_exchange_strong(expected, 5000));
  EXPECT_TRUE(is_due(group(0), 0));
}

TEST_F(DueTest, TwoRaisersNeverShareAMark) {
  RaiseMarks other{Member{5, 7}}, another{Member{6, 6}};
  const std::uint64_t first = marks_.next();
  EXPECT_NE(first, marks_.next());
  EXPECT_NE(first, other.next());
  EXPECT_NE(first, another.next());
  EXPECT_EQ(first & kDueDirty, 0u);
}

TEST_F(DueTest, AGroupThatIsBeingRaisedKeepsTheWholeDue) {
  raise_group(region_, 0, marks_.next(), 1, layout::kNoCell);
  mapping_.control().due[1].store(marks_.next());
  raise_all(region_, marks_.next());
  EXPECT_TRUE(is_due(all(), 0));
}

TEST_F(DueTest, ATimeThatCannotBeIsDueAtOnce) {
  EXPECT_EQ(bound_of(~0ull), 0u);
  EXPECT_EQ(bound_of(std::uint64_t(kNever)), std::uint64_t(kNever));
  put(3, CellState::waiting, -5);
  raise_group(region_, 0, marks_.next(), 10, layout::kNoCell);
  EXPECT_TRUE(is_due(group(0), 10));
}

}  // namespace
}  // namespace penstock::group::testing
