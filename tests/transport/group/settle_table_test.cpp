// The table of settlements: for a lease and whatever its cell has become, what each operation answers and makes of the
// cell. Every combination is tried, and exactly one row must speak for each.
#include <functional>

#include "shared_group.hpp"

namespace penstock::group::testing {
namespace {

using layout::CellState;

enum class Is { held, taken_again, of_another_event, waiting, queued, dead, acked, free, tentative };
enum class Op { ack, ack_admitted, nak, last_nak, reject, release, park, duplicate, overdue, extend, settle_dead };

constexpr Is kAllStates[] = {Is::held,  Is::taken_again, Is::of_another_event, Is::waiting, Is::queued, Is::dead,
                             Is::acked, Is::free,        Is::tentative};
constexpr Op kAllOps[] = {Op::ack,  Op::ack_admitted, Op::nak,     Op::last_nak, Op::reject,     Op::release,
                          Op::park, Op::duplicate,    Op::overdue, Op::extend,   Op::settle_dead};

struct Row {
  const char* label;
  std::function<bool(Is, Op)> applies;
  Errc answer;
  std::optional<CellState> becomes;  // nothing: the cell's pair is untouched
};

bool is_settlement(Op op) { return op != Op::settle_dead; }

const std::vector<Row> kTable = {
    {"a held lease is acked", [](Is is, Op op) { return is == Is::held && op == Op::ack; }, Errc::ok, CellState::free},
    {"a held lease is acked, and its id remembered",
     [](Is is, Op op) { return is == Is::held && op == Op::ack_admitted; }, Errc::ok, CellState::free},
    {"a failure with attempts left waits", [](Is is, Op op) { return is == Is::held && op == Op::nak; }, Errc::ok,
     CellState::waiting},
    {"the last failure kills", [](Is is, Op op) { return is == Is::held && op == Op::last_nak; }, Errc::ok,
     CellState::dead},
    {"a rejected event dies", [](Is is, Op op) { return is == Is::held && op == Op::reject; }, Errc::ok,
     CellState::dead},
    {"a released event waits", [](Is is, Op op) { return is == Is::held && op == Op::release; }, Errc::ok,
     CellState::waiting},
    {"a parked event waits", [](Is is, Op op) { return is == Is::held && op == Op::park; }, Errc::ok,
     CellState::waiting},
    {"a duplicate is settled", [](Is is, Op op) { return is == Is::held && op == Op::duplicate; }, Errc::ok,
     CellState::free},
    {"an overdue event is settled", [](Is is, Op op) { return is == Is::held && op == Op::overdue; }, Errc::ok,
     CellState::free},
    {"an extended lease stays a lease", [](Is is, Op op) { return is == Is::held && op == Op::extend; }, Errc::ok,
     CellState::leased},
    {"a lease that is no longer held settles nothing", [](Is is, Op op) { return is != Is::held && is_settlement(op); },
     Errc::stale_lease, std::nullopt},
    {"a dead event is settled when its letter was written",
     [](Is is, Op op) { return is == Is::dead && op == Op::settle_dead; }, Errc::ok, CellState::free},
    {"what is not dead has no letter", [](Is is, Op op) { return is != Is::dead && op == Op::settle_dead; },
     Errc::stale_lease, std::nullopt},
};

class SettleTable : public GroupTest {
 protected:
  SettleTable() : GroupTest(64) {}

  // Brings the cell of a lease on event 0 into a state.
  void make(const Lease& lease, Is is) {
    layout::Cell& cell = mapping_.cell(lease.cell);
    const auto store = [&](CellState state) { cell.state.low = (cell.state.low & ~7ull) | std::uint64_t(state); };
    switch (is) {
      case Is::held:
        break;
      case Is::taken_again:
        ASSERT_TRUE(a_.release(lease, now_));
        ASSERT_TRUE(lease_due(a_, now_));  // the same member, at the same moment
        break;
      case Is::of_another_event:
        ASSERT_TRUE(a_.ack(lease, now_));
        ASSERT_EQ(lease_next(a_, now_).cell, lease.cell);
        break;
      case Is::waiting:
        ASSERT_TRUE(a_.nak(lease, now_));
        break;
      case Is::queued:
        store(CellState::queued);
        break;
      case Is::dead:
        ASSERT_TRUE(a_.reject(lease, now_));
        break;
      case Is::acked:
        store(CellState::acked);
        break;
      case Is::free:
        ASSERT_TRUE(a_.ack(lease, now_));
        break;
      case Is::tentative:
        store(CellState::tentative);
        break;
    }
  }

  Errc apply(Lease lease, Op op) {
    switch (op) {
      case Op::ack:
        return code_of(a_.ack(lease, now_));
      case Op::ack_admitted:
        lease.admitted = true;
        return code_of(a_.ack(lease, now_));
      case Op::nak:
        return code_of(a_.nak(lease, now_, {"class", "reason"}));
      case Op::last_nak:
        options_.max_attempts = 1;
        return code_of(a_.nak(lease, now_));
      case Op::reject:
        return code_of(a_.reject(lease, now_));
      case Op::release:
        return code_of(a_.release(lease, now_));
      case Op::park:
        return code_of(a_.park(lease, now_ + kMs));
      case Op::duplicate:
        return code_of(a_.settle_duplicate(lease));
      case Op::overdue:
        return code_of(a_.settle_overdue(lease));
      case Op::extend:
        return code_of(a_.extend(lease, now_, kSecond));
      case Op::settle_dead: {
        layout::Pair state = mapping_.cell(lease.cell).state;
        return code_of(a_.settle_dead(lease.cell, state));
      }
    }
    return Errc::ok;
  }
};

TEST_F(SettleTable, ExactlyOneRowSpeaksForEachStateAndOperation) {
  for (const Is is : kAllStates) {
    for (const Op op : kAllOps) {
      int rows = 0;
      for (const Row& row : kTable) rows += row.applies(is, op) ? 1 : 0;
      EXPECT_EQ(rows, 1) << "state " << int(is) << ", operation " << int(op);
    }
  }
}

class SettleTableRow : public SettleTable, public ::testing::WithParamInterface<std::tuple<Is, Op>> {};

TEST_P(SettleTableRow, HoldsInSharedMemory) {
  const auto [is, op] = GetParam();
  const Lease lease = lease_next(a_, now_);
  make(lease, is);
  const layout::Pair before = mapping_.cell(lease.cell).state;
  const std::uint64_t flying = mapping_.control().in_flight.load();
  for (const Row& row : kTable) {
    if (!row.applies(is, op)) continue;
    SCOPED_TRACE(row.label);
    EXPECT_EQ(apply(lease, op), row.answer);
    const layout::Pair after = mapping_.cell(lease.cell).state;
    if (row.becomes) {
      EXPECT_EQ(mapping_.state(lease.cell), *row.becomes);
      EXPECT_NE(after, before);
    } else {
      EXPECT_EQ(after, before);
    }
    const bool left_flight = is == Is::held && row.answer == Errc::ok && op != Op::extend;
    EXPECT_EQ(mapping_.control().in_flight.load(), flying - (left_flight ? 1 : 0));
    // A lease is good for one settlement.
    if (is == Is::held && is_settlement(op)) {
      EXPECT_EQ(apply(lease, op), Errc::stale_lease);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, SettleTableRow,
                         ::testing::Combine(::testing::ValuesIn(kAllStates), ::testing::ValuesIn(kAllOps)));

}  // namespace
}  // namespace penstock::group::testing
