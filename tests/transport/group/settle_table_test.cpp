// The table of settlements: for a lease and whatever its cell has become, what each operation answers and makes of the
// cell. Every combination is tried, and exactly one row must speak for each.
#include <functional>

#include "shared_group.hpp"

namespace penstock::group::testing {
namespace {

using layout::CellState;

enum class Is { held, fetched, taken_again, of_another_event, waiting, queued, dead, acked, free, tentative };
// What a member does with its lease, what becomes of it without the member, and what the daemon does.
enum class Op {
  begin,
  ack,
  ack_admitted,
  ack_through,
  nak,
  last_nak,
  reject,
  release,
  park,
  duplicate,
  overdue,
  extend,
  runs_out,
  member_dies,
  last_member_dies,
  settle_dead
};

constexpr Is kAllStates[] = {Is::held, Is::fetched, Is::taken_again, Is::of_another_event, Is::waiting, Is::queued,
                             Is::dead, Is::acked,   Is::free,        Is::tentative};
constexpr Op kAllOps[] = {Op::begin,      Op::ack_through,  Op::runs_out,  Op::member_dies, Op::last_member_dies,
                          Op::ack,        Op::ack_admitted, Op::nak,       Op::last_nak,    Op::reject,
                          Op::release,    Op::park,         Op::duplicate, Op::overdue,     Op::extend,
                          Op::settle_dead};

struct Row {
  const char* label;
  std::function<bool(Is, Op)> applies;
  Errc answer;
  std::optional<CellState> becomes;  // nothing: the cell's pair is untouched
  std::uint32_t failed = 0;          // failed attempts counted
};

bool held(Is is) { return is == Is::held || is == Is::fetched; }
bool executed(Is is) { return is == Is::held || is == Is::taken_again || is == Is::of_another_event; }
bool is_sweep(Op op) { return op == Op::runs_out || op == Op::member_dies || op == Op::last_member_dies; }
bool is_settlement(Op op) { return op != Op::settle_dead && !is_sweep(op); }

const std::vector<Row> kTable = {
    {"a fetched lease begins", [](Is is, Op op) { return is == Is::fetched && op == Op::begin; }, Errc::ok,
     CellState::leased},
    {"what has begun has begun", [](Is is, Op op) { return is == Is::held && op == Op::begin; }, Errc::ok,
     std::nullopt},
    {"a held lease is acked", [](Is is, Op op) { return held(is) && op == Op::ack; }, Errc::ok, CellState::free},
    {"a held lease is acked, and its id remembered", [](Is is, Op op) { return held(is) && op == Op::ack_admitted; },
     Errc::ok, CellState::free},
    {"what is executed is acked with what comes after it",
     [](Is is, Op op) { return is == Is::held && op == Op::ack_through; }, Errc::ok, CellState::free},
    {"acking through leaves what is not executed by this member",
     [](Is is, Op op) { return is != Is::held && is != Is::taken_again && op == Op::ack_through; }, Errc::ok,
     std::nullopt},
    {"acking through needs no lease in hand",
     [](Is is, Op op) { return is == Is::taken_again && op == Op::ack_through; }, Errc::ok, CellState::free},
    {"a failure with attempts left waits", [](Is is, Op op) { return held(is) && op == Op::nak; }, Errc::ok,
     CellState::waiting, 1},
    {"the last failure kills", [](Is is, Op op) { return held(is) && op == Op::last_nak; }, Errc::ok, CellState::dead,
     1},
    {"a rejected event dies", [](Is is, Op op) { return held(is) && op == Op::reject; }, Errc::ok, CellState::dead, 1},
    {"a released event waits", [](Is is, Op op) { return held(is) && op == Op::release; }, Errc::ok,
     CellState::waiting},
    {"a parked event waits", [](Is is, Op op) { return held(is) && op == Op::park; }, Errc::ok, CellState::waiting},
    {"a duplicate is settled", [](Is is, Op op) { return held(is) && op == Op::duplicate; }, Errc::ok, CellState::free},
    {"an overdue event is settled", [](Is is, Op op) { return held(is) && op == Op::overdue; }, Errc::ok,
     CellState::free},
    {"an extended lease stays a lease", [](Is is, Op op) { return held(is) && op == Op::extend; }, Errc::ok,
     CellState::leased},
    {"a lease that is no longer held settles nothing",
     [](Is is, Op op) { return !held(is) && is_settlement(op) && op != Op::ack_through; }, Errc::stale_lease,
     std::nullopt},
    {"a lease that runs out failed", [](Is is, Op op) { return is == Is::held && op == Op::runs_out; }, Errc::ok,
     CellState::waiting, 1},
    {"what a member died of failed", [](Is is, Op op) { return executed(is) && op == Op::member_dies; }, Errc::ok,
     CellState::waiting, 1},
    {"the last death kills", [](Is is, Op op) { return executed(is) && op == Op::last_member_dies; }, Errc::ok,
     CellState::dead, 1},
    {"what was only fetched comes back uncounted",
     [](Is is, Op op) { return (is == Is::fetched || is == Is::tentative) && is_sweep(op); }, Errc::ok,
     CellState::waiting},
    {"who has it now, or another event there, has more time",
     [](Is is, Op op) { return (is == Is::taken_again || is == Is::of_another_event) && op == Op::runs_out; }, Errc::ok,
     std::nullopt},
    {"a queued event whose turn has come waits", [](Is is, Op op) { return is == Is::queued && is_sweep(op); },
     Errc::ok, CellState::waiting},
    {"an ack cut short is finished", [](Is is, Op op) { return is == Is::acked && is_sweep(op); }, Errc::ok,
     CellState::free},
    {"what nobody executes is no sweep's",
     [](Is is, Op op) { return (is == Is::waiting || is == Is::dead || is == Is::free) && is_sweep(op); }, Errc::ok,
     std::nullopt},
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
      case Is::fetched:
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
        cell.state.low = (lease.state.low & ~7ull) | std::uint64_t(CellState::tentative);
        break;
    }
  }

  Errc apply(Lease lease, Op op) {
    switch (op) {
      case Op::begin:
        return code_of(a_.begin(lease));
      case Op::ack_through:
        return code_of(a_.ack_through(lease.offset, now_));
      case Op::runs_out:
        b_.sweep(lease.end(), kNobodyIsDead);
        return Errc::ok;
      case Op::last_member_dies:
        options_.max_attempts = 1;
        [[fallthrough]];
      case Op::member_dies:
        b_.sweep(now_, dead(1));
        return Errc::ok;
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
  const bool begun = is != Is::fetched && is != Is::tentative;
  const Lease lease = begun ? lease_next(a_, now_) : take_next(a_, now_).lease;
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
    if (row.becomes && *row.becomes != CellState::free) {
      EXPECT_EQ(layout::cell_of(after.low).failed - layout::cell_of(before.low).failed, row.failed);
    }
    const bool flies = held(is) || executed(is) || is == Is::tentative;
    const bool left_flight = flies && row.becomes && *row.becomes != CellState::leased;
    EXPECT_EQ(mapping_.control().in_flight.load(), flying - (left_flight ? 1 : 0));
    // A lease is good for one settlement.
    if (held(is) && is_settlement(op) && op != Op::ack_through && op != Op::begin) {
      EXPECT_EQ(apply(lease, op), Errc::stale_lease);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, SettleTableRow,
                         ::testing::Combine(::testing::ValuesIn(kAllStates), ::testing::ValuesIn(kAllOps)));

}  // namespace
}  // namespace penstock::group::testing
