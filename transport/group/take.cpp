// Taking events: fresh ones at the cursor, and those whose retry is due. See PROTOCOL.md.
#include <algorithm>
#include <bit>

#include "group/group_topic.hpp"
#include "group/inline.hpp"

namespace penstock::group {

using namespace layout;

namespace {
constexpr std::int64_t kRecountEvery = 5'000'000;  // a capped member counts again at most so often
}

// The counter may have lost count when a member died; a group must not stay capped by leases that nobody has.
bool GroupTopic::capped(Instant at) {
  const std::uint32_t cap = options().max_in_flight;
  if (cap == 0) return false;
  const auto over = [&] { return std::int64_t(control().in_flight.load(std::memory_order_relaxed)) >= cap; };
  if (!over()) return false;
  if (recounted_ <= at.now && at.now - kRecountEvery < recounted_) return true;
  recounted_ = at.now;
  recount();
  recount();
  return over();
}

Lease GroupTopic::lease_of(std::uint32_t index, const Pair& state) const {
  const Cell& cell = region_.cell(index);
  Lease lease;
  lease.cell = index;
  lease.state = state;
  lease.offset = cell.offset.load(std::memory_order_relaxed);
  lease.position = cell.position.load(std::memory_order_relaxed);
  lease.id = {cell.id_low.load(std::memory_order_relaxed), cell.id_high.load(std::memory_order_relaxed)};
  return lease;
}

// Every cell is in use: nothing is lost by waiting until one is settled, and looking for it costs. No answer: the first
// cell is still to come, and there is no room for it.
std::optional<Taken> GroupTopic::no_cell(const Error& why, Instant at) {
  const bool all_in_use = region_.cells() != 0 && (why.code() == Errc::too_many || why.code() == Errc::no_space);
  if (!all_in_use) return std::nullopt;
  count(control().full);
  full_until_ = add_time(at.now, kRecountEvery);
  return Taken{Outcome::full};
}

Result<Taken> GroupTopic::take_fresh(const CursorFields& seen, const Fresh& event, Instant at, bool execute) {
  const bool ordered = seen.offset <= event.offset && event.offset < event.next_offset && event.next_offset <= k52 &&
                       seen.position <= event.position && event.position <= event.next_position &&
                       event.next_position <= k56;
  if (!ordered || !started()) return tl::unexpected(Error(Errc::invalid_argument));
  if (!confirm(seen)) return Taken{Outcome::moved};
  if (capped(at)) return Taken{Outcome::capped};
  if (spares_ == 0 && at.now < full_until_ && full_until_ - kRecountEvery <= at.now) return Taken{Outcome::full};

  LanePlan plan;
  if (event.key != 0) {
    // Nobody takes another event before us, or our step at the cursor fails: so what we find here stays so.
    auto found = plan_lane(region_, event.key);
    if (!found) return tl::unexpected(found.error());
    plan = *found;
  }
  Pair tentative;
  const std::int64_t end = lease_end(at.now, std::int64_t(options().lease_ns));
  const auto index = acquire(event.offset, plan.waits() ? 0 : 1, tentative, end);
  if (!index) {
    if (const auto wait = no_cell(index.error(), at)) return *wait;
    return tl::unexpected(index.error());
  }
  Word& counter = plan.waits() ? control().queued : control().in_flight;
  const std::int64_t others = std::int64_t(counter.fetch_add(1));
  const auto give_up = [&](Outcome outcome) {
    counter.fetch_sub(1);
    abandon(*index, tentative);
    return Taken{outcome};
  };
  if (!plan.waits() && options().max_in_flight != 0 && others >= options().max_in_flight)
    return give_up(Outcome::capped);
  if (!fill(*index, event.offset, event.position, event.id, plan, at.wall)) {
    give_up(Outcome::full);
    return tl::unexpected(Error(Errc::no_space));
  }

  CursorFields from = seen;
  const Pair to = pack(CursorFields{event.next_position, event.next_offset, *index});
  while (!cas16(&control().cursor, pack(from), to)) {
    // The cursor may only have let go of its cell; then the event is still there to be taken.
    const CursorFields now = cursor();
    if (now.offset != seen.offset || now.position != seen.position || !started()) return give_up(Outcome::moved);
    if (confirm(now)) from = now;
  }
  // The event is ours. Whoever moves the cursor next would do this for us.
  Lease lease{*index, with_cell_state(tentative, CellState::leased), event.offset, event.position, event.id};
  if (plan.key == 0) {
    if (!execute || !become(lease, tentative)) cas16(&region_.cell(*index).state, tentative, lease.state);
  } else {
    settle_in(*index, tentative, plan, LaneStep(region_, plan, *index, event.offset, end));
    if (plan.waits()) return queue(*index, plan);
  }
  announce(region_, *index, lease.state.high);
  return Taken{Outcome::lease, lease};
}

// Whoever settles the event before looks for who is behind it, and then it is his to pass on. We look once more after
// we have told: if it was settled before he could know of us, we see that here.
Taken GroupTopic::queue(std::uint32_t index, const LanePlan& plan) {
  if (stands(region_, plan.replaced)) hint_lane(region_, plan, index);
  if (!stands(region_, plan.replaced)) pass_on(index, true);
  return Taken{Outcome::queued};
}

std::int64_t GroupTopic::next_due() const {
  return ready_ != kNoCell ? 0 : std::int64_t(bound_of(control().next_due.load()));
}

// The event whose turn came when we settled the one before it, if nobody else was faster.
std::optional<Taken> GroupTopic::take_ready(Instant at) {
  const std::uint32_t index = ready_;
  if (index >= region_.cells()) return std::nullopt;
  const Pair state = load16_guess(&region_.cell(index).state);
  const bool ours = its_turn(index, state);
  if (ours && capped(at)) return Taken{Outcome::capped};
  ready_ = kNoCell;
  if (!ours) return std::nullopt;
  const auto lease = take_cell(index, state, at);
  if (!lease) return std::nullopt;  // capped just now, or somebody else's; a sweep would find it
  Taken taken{Outcome::lease};
  taken.lease = *lease;
  return taken;
}

Result<Taken> GroupTopic::take_due(Instant at) {
  if (const auto ready = take_ready(at)) return *ready;
  if (!is_due(control().next_due.load(), at.now)) return Taken{Outcome::nothing};
  const bool full = capped(at);
  // A capped member looks all the same, for leases that ran out are what may be in the way; but not each time.
  if (full && full_looked_ <= at.now && at.now - kRecountEvery < full_looked_) return Taken{Outcome::capped};
  if (full) full_looked_ = at.now;
  const std::uint32_t groups = region_.groups();
  for (std::uint32_t i = 0; i < groups; ++i) {
    const std::uint32_t group = (due_group_ + i) % groups;
    if (!is_due(control().due[group].load(), at.now)) continue;
    if (auto lease = take_in_group(group, at, !full)) {
      due_group_ = group;
      Taken taken{Outcome::lease};
      taken.lease = *lease;
      return taken;
    }
    raise_group(region_, group, raise_marks_.next(), at.now, cursor().cell);
  }
  raise_all(region_, raise_marks_.next());
  return Taken{full ? Outcome::capped : Outcome::nothing};
}

std::optional<Lease> GroupTopic::take_in_group(std::uint32_t group, Instant at, bool may_take) {
  for (std::uint64_t bits = control().occupied[group].load(); bits != 0; bits &= bits - 1) {
    const std::uint32_t index = group * kGroupCells + std::uint32_t(std::countr_zero(bits));
    const Pair state = load16_guess(&region_.cell(index).state);
    switch (state_of_cell(state)) {
      case CellState::waiting:
        if (!may_take || !is_due(state.high, at.now)) break;
        if (auto lease = take_cell(index, state, at)) return lease;
        break;
      case CellState::tentative:
        // A taker that was stopped before its last step: from now on its lease can run out.
        if (is_due(state.high, at.now)) {
          const CursorFields seen = cursor();
          if (seen.cell == index) confirm(seen);
        }
        break;
      case CellState::leased:
        if (is_due(state.high, at.now)) take_back(index, state, Failure::expired, at);
        break;
      case CellState::acked:
        finish_ack(index, state, at);
        break;
      case CellState::free:
      case CellState::dead:
      case CellState::queued:
        break;
    }
  }
  return std::nullopt;
}

// A cell that is due, or whose turn has come.
std::optional<Lease> GroupTopic::take_cell(std::uint32_t index, const Pair& state, Instant at) {
  CellFields fields = cell_of(state.low);
  const bool queued = fields.state == CellState::queued;
  fields.state = CellState::leased;
  fields.slot = setup_.member.slot;
  fields.incarnation = setup_.member.incarnation;
  fields.delivered = std::min(fields.delivered + 1, kDeliveredMost);
  const Pair leased{pack(fields), std::uint64_t(lease_end(at.now, std::int64_t(options().lease_ns)))};

  const std::int64_t others = std::int64_t(control().in_flight.fetch_add(1));
  announce(region_, index, leased.high);
  const bool over = options().max_in_flight != 0 && others >= options().max_in_flight;
  if (over || !cas16(&region_.cell(index).state, state, leased)) {
    control().in_flight.fetch_sub(1);
    return std::nullopt;
  }
  if (queued) control().queued.fetch_sub(1);
  announce(region_, index, leased.high);
  const Lease lease = lease_of(index, leased);
  // Stopped here for so long that the lease ran out: what was read may be another event's.
  if (!holds(lease)) return std::nullopt;
  return lease;
}

}  // namespace penstock::group
