// The round that looks at every cell: brings back what ran out or whose owner died, frees what the dead left, and mends
// the counters and bounds that a death may have left wrong.
#include <algorithm>
#include <bit>
#include <unordered_map>

#include "group/group_topic.hpp"
#include "group/inline.hpp"

namespace penstock::group {

using namespace layout;

namespace {
constexpr std::size_t kAskedMost = 4096;  // owners asked about in a sweep: scribbled cells name any number
constexpr std::uint32_t kThorough = 256;  // every so many sweeps: cells without a bit, and the whole dedupe window
constexpr std::uint32_t kQueuedMost = 1u << 14;  // queued events that a sweep looks at, about
}  // namespace

Sweep GroupTopic::sweep(Instant at, const IsDead& asked) {
  // Proofs of death may be costly, and many cells have the same owner.
  std::unordered_map<std::uint32_t, bool> known;
  const IsDead is_dead = [&](std::uint32_t slot, std::uint32_t incarnation) {
    if (Member{slot, incarnation} == setup_.member) return false;
    if (slot == setup_.member.slot) return true;  // the slot is ours now
    const std::uint32_t who = slot << 12 | incarnation;
    if (const auto found = known.find(who); found != known.end()) return found->second;
    if (known.size() >= kAskedMost) return false;  // no proof; the next sweep asks again
    return known[who] = asked && asked(slot, incarnation);
  };

  Sweep result;
  const std::uint64_t reckoned = control().parked_clock.load();
  result.ahead = clock_ahead(at);
  // A dead member's half-taken cell may have no bit; it stands for nothing, and is found by the thorough rounds.
  const bool thorough = sweeps_++ % kThorough == 0;
  const std::uint32_t groups = region_.groups();
  for (std::uint32_t group = 0; group < groups; ++group) {
    std::uint64_t bits = control().occupied[group].load();
    for (std::uint64_t left = thorough ? ~std::uint64_t{0} : bits; left != 0; left &= left - 1) {
      sweep_cell(group * kGroupCells + std::uint32_t(std::countr_zero(left)), at, is_dead, result);
    }
    if (bits != 0) clean(group);
  }
  if (result.ahead != 0) raise_clock(reckoned, at);
  if (thorough) free_all_reserved(region_, is_dead);
  recount();
  return result;
}

void GroupTopic::sweep_cell(std::uint32_t index, Instant at, const IsDead& is_dead, Sweep& result) {
  Cell& cell = region_.cell(index);
  const auto due_at = [&](std::uint64_t time) {
    if (is_due(time, at.now)) ++result.due;
    result.next_due = std::min(result.next_due, std::int64_t(bound_of(time)));
    announce(region_, index, time);  // for whoever changed the cell and died before he said so
  };
  for (;;) {
    const Pair state = load16_guess(&cell.state);
    const CellFields fields = cell_of(state.low);
    switch (fields.state) {
      case CellState::free:
        return;
      case CellState::tentative: {
        // First the proof, then the cursor: the dead don't move it any more. The state read before both can't come
        // again, so whatever happened to the cell since makes the compare-and-swap fail.
        const bool dead = is_dead(fields.slot, fields.incarnation);
        const CursorFields seen = cursor();
        if (seen.cell == index && (dead || is_due(state.high, at.now))) {
          confirm(seen);
          continue;
        }
        if (seen.cell == index) return due_at(state.high);
        if (!dead) return;
        if (!cas16(&cell.state, state, Pair{})) continue;
        ++result.freed;
        return;
      }
      case CellState::leased: {
        const bool dead = is_dead(fields.slot, fields.incarnation);
        if (!dead && !is_due(state.high, at.now)) return due_at(state.high);
        const Id128 id{cell.id_low.load(), cell.id_high.load()};
        if (!take_back(index, state, dead ? Failure::crash : Failure::expired, at)) continue;
        if (dead) free_reserved(region_, id, is_dead);
        ++(!fields.executing ? result.returned : dead ? result.crashed : result.expired);
        continue;  // to see what it has become
      }
      case CellState::waiting:
        if (result.ahead != 0) bring_forward(index, state, result.ahead, at);
        return due_at(load16_guess(&cell.state).high);
      case CellState::queued:
        // Who settled the event before it died, or never asked for work again.
        if (index % queued_parts() != sweeps_ % queued_parts() || !its_turn(index, state)) return;
        if (promote(index, state)) ++result.promoted;
        return;
      case CellState::dead:
        ++result.dead;
        return;
      case CellState::acked:
        finish_ack(index, state, at);
        return;
    }
    // No state at all: scribbled on, and nobody's.
    if (cas16(&cell.state, state, Pair{})) ++result.freed;
    return;
  }
}

// How many sweeps it takes to look at all that is queued: each is three lines of memory away from its answer.
std::uint32_t GroupTopic::queued_parts() const {
  return 1 + std::uint32_t(std::min<std::uint64_t>(control().queued.load(), kCellsMax) / kQueuedMost);
}

bool GroupTopic::wants_sweep() const {
  return control().in_flight.load(std::memory_order_relaxed) != 0 ||
         control().queued.load(std::memory_order_relaxed) != 0;
}

// Deaths between a cell's change and the counter's leave the counter off by as many, for good; leases that come and go
// while we count make it seem off for a moment. What two counts in a row agree on is taken as the former.
void GroupTopic::recount() {
  const std::uint64_t said = control().in_flight.load(), queued_said = control().queued.load();
  std::uint64_t leases = 0, queued = 0;
  const std::uint32_t groups = region_.groups();
  for (std::uint32_t group = 0; group < groups; ++group) {
    for (std::uint64_t bits = control().occupied[group].load(); bits != 0; bits &= bits - 1) {
      const std::uint32_t index = group * kGroupCells + std::uint32_t(std::countr_zero(bits));
      const CellFields fields = cell_of(load16_low(&region_.cell(index).state));
      const bool tentative = fields.state == CellState::tentative;
      if (fields.state == CellState::queued || (tentative && fields.delivered == 0)) ++queued;
      if (fields.state == CellState::leased || (tentative && fields.delivered != 0)) ++leases;
    }
  }
  const auto mend = [](Word& word, std::int64_t drift, std::int64_t& before) {
    if (drift != 0 && drift == before) {
      word.fetch_add(std::uint64_t(drift));
      before = 0;
    } else {
      before = drift;
    }
  };
  mend(control().in_flight, std::int64_t(leases - said), drift_);
  mend(control().queued, std::int64_t(queued - queued_said), queued_drift_);
}

}  // namespace penstock::group
