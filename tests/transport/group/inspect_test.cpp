#include "shared_group.hpp"

namespace penstock::group::testing {
namespace {

using layout::CellState;

class InspectTest : public GroupTest {};

TEST_F(InspectTest, CommittedIsTheFirstUnsettledEvent) {
  EXPECT_EQ(a_.committed(), (Place{0, position_of(0)}));
  const Lease l0 = lease_next(a_, now_), l1 = lease_next(a_, now_), l2 = lease_next(a_, now_);
  EXPECT_EQ(a_.committed(), (Place{0, position_of(0)}));
  ASSERT_TRUE(a_.ack(l1, now_));
  EXPECT_EQ(a_.committed(), (Place{0, position_of(0)}));
  ASSERT_TRUE(a_.ack(l0, now_));
  EXPECT_EQ(a_.committed(), (Place{2, position_of(2)}));
  ASSERT_TRUE(a_.nak(l2, now_));
  EXPECT_EQ(a_.committed(), (Place{2, position_of(2)}));
  ASSERT_TRUE(a_.ack(*lease_due(a_, now_ + kSecond), now_));
  EXPECT_EQ(a_.committed(), (Place{3, position_of(3)}));
}

TEST_F(InspectTest, AnEventJustTakenCountsAndOneOnlyAboutToBeTakenDoesNot) {
  const Lease lease = lease_next(a_, now_);
  mapping_.cell(lease.cell).state.low = (lease.state.low & ~7ull) | std::uint64_t(CellState::tentative);
  EXPECT_EQ(a_.committed().offset, 0u);
  EXPECT_EQ(a_.info().in_flight, 1u);
  // The same cell, not named by the cursor.
  mapping_.control().cursor = pack(layout::CursorFields{position_of(1), 1, layout::kNoCell});
  EXPECT_EQ(a_.committed().offset, 1u);
  EXPECT_EQ(a_.info().in_flight, 0u);
}

TEST_F(InspectTest, InfoTellsWhatBecameOfEverything) {
  for (int i = 0; i < 6; ++i) lease_next(a_, now_);
  std::vector<Lease> leases;
  a_.for_each_pending([&](const CellView& cell) {
    Lease lease;
    lease.cell = cell.cell;
    lease.state = cell.state;
    lease.offset = cell.offset;
    leases.push_back(lease);
    return true;
  });
  ASSERT_EQ(leases.size(), 6u);
  const auto at = [&](std::uint64_t offset) {
    for (const Lease& lease : leases) {
      if (lease.offset == offset) return lease;
    }
    return Lease{};
  };
  ASSERT_TRUE(a_.ack(at(0), now_));
  ASSERT_TRUE(a_.nak(at(1), now_));
  ASSERT_TRUE(a_.nak(at(2), now_));
  ASSERT_TRUE(a_.reject(at(3), now_));
  const Info info = b_.info();
  EXPECT_TRUE(info.started);
  EXPECT_EQ(info.cursor.offset, 6u);
  EXPECT_EQ(info.in_flight, 2u);
  EXPECT_EQ(info.waiting, 2u);
  EXPECT_EQ(info.dead, 1u);
  EXPECT_EQ(info.delivered, 6u);
  EXPECT_EQ(info.acked, 1u);
  EXPECT_EQ(info.committed.offset, 1u);
  ASSERT_TRUE(info.oldest);
  EXPECT_EQ(*info.oldest, (Place{1, position_of(1)}));
  EXPECT_NEAR(double(info.oldest_failure), double(now_), 4096);
}

TEST_F(InspectTest, SeekingSettlesWhatHasACellAndStartsFromThere) {
  const Lease lease = lease_next(a_, now_);
  ASSERT_TRUE(a_.nak(lease_next(a_, now_), now_));
  b_.seek({100, position_of(100)}, false);
  EXPECT_EQ(b_.committed(), (Place{100, position_of(100)}));
  EXPECT_EQ(code_of(a_.ack(lease, now_)), Errc::stale_lease);
  EXPECT_EQ(mapping_.control().in_flight.load(), 0u);
  EXPECT_EQ(lease_next(a_, now_).offset, 100u);
  b_.seek({5, position_of(5)}, false);
  EXPECT_EQ(lease_next(a_, now_).offset, 5u);
}

TEST(RegionTest, AForeignOrBrokenFileIsRefused) {
  layout::GroupOptions options;
  Mapping mapping(64);
  group::Setup setup;
  setup.options = &options;
  const auto opened = [&] { return code_of(GroupTopic::open(mapping.bytes(), setup)); };
  EXPECT_EQ(opened(), Errc::ok);
  auto& header = mapping.control().header;
  header.preamble.magic ^= 1;
  EXPECT_EQ(opened(), Errc::incompatible);
  header.preamble.magic ^= 1;
  header.preamble.version = 99;
  EXPECT_EQ(opened(), Errc::incompatible);
  header.preamble.version = layout::kLayoutVersion;
  header.preamble.incompat = 4;
  EXPECT_EQ(opened(), Errc::incompatible);
  header.preamble.incompat = 0;
  for (std::uint64_t entries : {1ull, 65ull, 1ull << 20, 1ull << 60}) {
    header.dedupe_entries = entries;
    EXPECT_EQ(opened(), Errc::corrupt) << entries;
  }
  header.dedupe_entries = 256;
  EXPECT_EQ(opened(), Errc::ok);
  EXPECT_EQ(code_of(GroupTopic::open(mapping.bytes().first(layout::kGroupTopicBytes - 1), setup)), Errc::corrupt);
  setup.options = nullptr;
  EXPECT_EQ(opened(), Errc::invalid_argument);
}

TEST(RegionTest, AWindowsTableIsFourTimesItsIds) {
  EXPECT_EQ(dedupe_entries_for(0), 0u);
  EXPECT_EQ(dedupe_entries_for(1), 64u);
  EXPECT_EQ(dedupe_entries_for(4096), 16384u);
  EXPECT_EQ(dedupe_entries_for(5000), 32768u);
  EXPECT_EQ(dedupe_entries_for(~0ull), std::uint64_t{layout::kDedupeMax} * 4);
}

TEST(RegionTest, LookingWritesNothing) {
  layout::GroupOptions options;
  Mapping mapping(64);
  GroupTopic group = open_view(mapping, options);
  group.start({0, position_of(0)});
  options.max_attempts = 1;
  Lease lease = lease_next(group, kStart);
  ASSERT_TRUE(group.admit(lease, kStart));
  ASSERT_TRUE(group.nak(lease, kStart, {"class", "reason"}));
  lease_next(group, kStart);
  ASSERT_EQ(mprotect(mapping.bytes().data(), mapping.bytes().size(), PROT_READ), 0);
  EXPECT_EQ(group.committed().offset, 0u);
  EXPECT_EQ(group.info().dead, 1u);
  group.for_each_dead([&](const CellView& cell) { return group.note(cell).has_value(); });
  group.for_each_pending([](const CellView&) { return true; });
  std::vector<std::byte> bytes;
  group.snapshot(bytes, kStart);
  EXPECT_FALSE(group.remembered({1, 2}, kStart));
}

}  // namespace
}  // namespace penstock::group::testing
