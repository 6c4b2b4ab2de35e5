// Settling leases. Each settlement is one compare-and-swap of the cell from exactly the lease's state; what is written
// before it is harmless when it fails, and what comes after can be done by anybody. See PROTOCOL.md.
#include <algorithm>

#include "group/backoff.hpp"
#include "group/group_topic.hpp"
#include "group/inline.hpp"
#include "group/marks.hpp"
#include "group/notes.hpp"
#include "layout/probe.hpp"

namespace penstock::group {

using namespace layout;

namespace {

// How a lease was settled, as tracers are told.
enum How { kAcked, kFailed, kRejected, kReleased, kDuplicate, kOverdue };

tl::unexpected<Error> stale() { return tl::unexpected(Error(Errc::stale_lease)); }

// Only the same event's stamps are touched: another event's, in the same cell later, differ in their low bits.
void stamp_failure(Cell& cell, std::uint32_t offset_low, std::int64_t wall) {
  const std::uint64_t stamp = failure_stamp(wall, offset_low);
  std::uint64_t never = failure_stamp(0, offset_low);
  cell.first_failure.compare_exchange_strong(never, stamp);
  std::uint64_t last = cell.last_failure.load();
  while ((last & 0xfff) == offset_low && !cell.last_failure.compare_exchange_weak(last, stamp)) {
  }
}

}  // namespace

bool GroupTopic::holds(const Lease& lease) const {
  return lease.cell < region_.cells() && state_of_cell(lease.state) == CellState::leased &&
         load16_guess(&region_.cell(lease.cell).state) == lease.state;
}

// Frees the cell of a lease. In a view of letters the mark comes first: who dies in between leaves a marked letter that
// is delivered once more, never an unmarked one that is given back a second time.
Result<void> GroupTopic::settle_free(const Lease& lease) {
  if (!holds(lease)) return stale();
  if (setup_.marks) {
    if (auto set = group::mark(region_, lease.offset); !set) return set;
  }
  const bool ordered = region_.has_lanes();
  std::uint32_t next = ordered ? behind(region_, lease.cell) : kNoCell;
  if (!free_cell(lease.cell, lease.state)) return stale();
  control().in_flight.fetch_sub(1);
  if (!ordered) return {};
  // Somebody may have come to stand behind it since.
  if (next == kNoCell) next = behind(region_, lease.cell);
  pass_on(next, true);
  return {};
}

// The event's lane has nobody before it any more.
bool GroupTopic::its_turn(std::uint32_t index, const Pair& state) const {
  return state_of_cell(state) == CellState::queued && !stands(region_, read_lane(region_, index).replaced);
}

// The event in front of this cell's was settled by us. We are likely to ask for work next, and then nobody has to
// search for it; but should we not, it is found by others' sweeps. One is enough: the rest is for whoever asks first.
void GroupTopic::pass_on(std::uint32_t next, bool to_us) {
  if (next >= region_.cells()) return;
  const Pair state = load16_guess(&region_.cell(next).state);
  if (!its_turn(next, state)) return;
  if (to_us && ready_ == kNoCell)
    ready_ = next;
  else
    promoted_ += promote(next, state) ? 1 : 0;
}

// A QUEUED event whose turn has come waits to be taken by anybody.
bool GroupTopic::promote(std::uint32_t index, const Pair& state) {
  CellFields fields = cell_of(state.low);
  fields.state = CellState::waiting;
  announce(region_, index, 0);
  if (!cas16(&region_.cell(index).state, state, {pack(fields), 0})) return false;
  announce(region_, index, 0);
  control().queued.fetch_sub(1);
  return true;
}

Result<void> GroupTopic::ack(const Lease& lease, Instant at) {
  if (!lease.admitted) {
    const auto freed = settle_free(lease);
    if (!freed) return freed;
    count(control().acked);
    PENSTOCK_PROBE4(settle, setup_.group, setup_.topic, lease.offset, kAcked);
    return {};
  }
  if (!holds(lease)) return stale();
  const Pair acked = with_cell_state(lease.state, CellState::acked);
  if (!cas16(&region_.cell(lease.cell).state, lease.state, acked)) return stale();
  control().in_flight.fetch_sub(1);
  count(control().acked);
  PENSTOCK_PROBE4(settle, setup_.group, setup_.topic, lease.offset, kAcked);
  const std::uint32_t next = behind(region_, lease.cell);
  finish_ack(lease.cell, acked, at);
  pass_on(next, true);
  return {};
}

// The event is settled; its id has to be remembered before the cell is free. Anybody may do this: everything in it is a
// compare-and-swap from what was seen, and the cell's id stands still for as long as the cell is in this state.
void GroupTopic::finish_ack(std::uint32_t index, const Pair& state, Instant at) {
  CellView cell;
  if (!view(index, cell) || cell.state != state) return;
  remember(region_, index, cell.id, at);
  if (setup_.marks && !group::mark(region_, cell.offset)) return;  // no room: tried again by the next sweep
  announce(region_, index, 0);                                     // should we die here, the cell is found
  free_cell(index, state);
}

// What every failure does. Nothing: the cell isn't in this state any more.
std::optional<Fate> GroupTopic::fail(std::uint32_t index, const Pair& state, Failure why, std::int64_t due,
                                     std::uint32_t max_attempts, Instant at) {
  Cell& cell = region_.cell(index);
  CellFields fields = cell_of(state.low);
  fields.failed = std::min(fields.failed + 1, kFailedMost);
  fields.failure = why;
  fields.executing = false;
  const bool dead = fields.failed >= std::min(max_attempts, kFailedMost);
  fields.state = dead ? CellState::dead : CellState::waiting;
  stamp_failure(cell, fields.offset_low, at.wall);
  if (!dead) announce(region_, index, std::uint64_t(due));
  if (!cas16(&cell.state, state, {pack(fields), std::uint64_t(dead ? at.now : due)})) return std::nullopt;
  control().in_flight.fetch_sub(1);
  if (dead) {
    control().dead_waiting.fetch_add(1);
    pass_on(behind(region_, index), false);
    return Fate::dead;
  }
  announce(region_, index, std::uint64_t(due));
  return Fate::waiting;
}

// A lease that ran out (expired), or whose member died (crash). No handler is at fault before it has the event.
bool GroupTopic::take_back(std::uint32_t index, const Pair& state, Failure why, Instant at) {
  const CellFields fields = cell_of(state.low);
  if (!fields.executing) return put_back(index, state, fields.failure, at.now);
  const std::int64_t delay = why == Failure::crash ? 0 : backoff_delay(options(), fields.failed + 1, random());
  return fail(index, state, why, add_time(at.now, delay), options().max_attempts, at).has_value();
}

// Comes back without a failure; and as if it had not been handed out, unless a handler had it.
bool GroupTopic::put_back(std::uint32_t index, const Pair& state, Failure why, std::int64_t due) {
  CellFields fields = cell_of(state.low);
  fields.state = CellState::waiting;
  fields.failure = why;
  if (!fields.executing && fields.delivered != 0) --fields.delivered;
  fields.executing = false;
  // One that lies beyond all time waits for ever; it is not due at once.
  const Pair waiting{pack(fields), std::uint64_t(std::clamp<std::int64_t>(due, 0, kNever - 1))};
  announce(region_, index, waiting.high);
  if (!cas16(&region_.cell(index).state, state, waiting)) return false;
  announce(region_, index, waiting.high);
  control().in_flight.fetch_sub(1);
  return true;
}

// What a handler has to say is there before the failure is settled. False: the lease is not held any more.
bool GroupTopic::say(const Lease& lease, const NoteText& text) {
  if (!holds(lease)) return false;
  if (text.error_class.empty() && text.reason.empty()) return true;
  const ReadyNote note(region_, lease, setup_.pid, text);
  // Making room may have taken longer than the lease, and the cell may be another event's, with words of its own.
  if (!holds(lease)) return false;
  note.write();
  return true;
}

Result<Fate> GroupTopic::nak(const Lease& lease, Instant at, const NoteText& text, std::optional<std::int64_t> delay,
                             Failure why) {
  if (!say(lease, text)) return stale();
  if (!delay) delay = backoff_delay(options(), lease.attempt(), random());
  const auto fate = fail(lease.cell, lease.state, why, add_time(at.now, *delay), options().max_attempts, at);
  if (!fate) return stale();
  PENSTOCK_PROBE4(settle, setup_.group, setup_.topic, lease.offset, kFailed);
  return *fate;
}

Result<void> GroupTopic::reject(const Lease& lease, Instant at, const NoteText& text, Failure why) {
  if (!say(lease, text)) return stale();
  if (!fail(lease.cell, lease.state, why, at.now, 0, at)) return stale();
  PENSTOCK_PROBE4(settle, setup_.group, setup_.topic, lease.offset, kRejected);
  return {};
}

Result<void> GroupTopic::release(const Lease& lease, Instant at) {
  if (!holds(lease)) return stale();
  if (!put_back(lease.cell, lease.state, cell_of(lease.state.low).failure, at.now)) return stale();
  PENSTOCK_PROBE4(settle, setup_.group, setup_.topic, lease.offset, kReleased);
  return {};
}

Result<void> GroupTopic::park(const Lease& lease, std::int64_t due) {
  if (!holds(lease) || !put_back(lease.cell, lease.state, Failure::parked, due)) return stale();
  return {};
}

Result<void> GroupTopic::settle_duplicate(const Lease& lease) {
  const auto freed = settle_free(lease);
  if (!freed) return freed;
  count(control().duplicates);
  PENSTOCK_PROBE4(settle, setup_.group, setup_.topic, lease.offset, kDuplicate);
  return {};
}

Result<void> GroupTopic::settle_overdue(const Lease& lease) {
  const auto freed = settle_free(lease);
  if (!freed) return freed;
  count(control().expired_skipped);
  PENSTOCK_PROBE4(settle, setup_.group, setup_.topic, lease.offset, kOverdue);
  return {};
}

Result<Lease> GroupTopic::extend(const Lease& lease, Instant at, std::int64_t duration) {
  if (!holds(lease)) return stale();
  Lease longer = lease;
  longer.state.high = std::uint64_t(lease_end(at.now, duration));
  announce(region_, lease.cell, longer.state.high);
  if (!cas16(&region_.cell(lease.cell).state, lease.state, longer.state)) return stale();
  announce(region_, lease.cell, longer.state.high);
  return longer;
}

Result<std::uint64_t> GroupTopic::ack_through(std::uint64_t offset, Instant at) {
  std::vector<Lease> leases;
  for_each_pending([&](const CellView& cell) {
    const bool ours = cell.fields.state == CellState::leased && cell.fields.executing &&
                      Member{cell.fields.slot, cell.fields.incarnation} == setup_.member;
    if (!ours || cell.offset > offset) return true;
    const bool admitted = held_by(region_, cell.cell, cell.id).entry != nullptr;
    leases.push_back({cell.cell, cell.state, cell.offset, cell.position, cell.id, admitted});
    return true;
  });
  std::sort(leases.begin(), leases.end(), [](const Lease& a, const Lease& b) { return a.offset < b.offset; });
  std::uint64_t acked = 0;
  for (const Lease& lease : leases) {
    const auto done = ack(lease, at);
    if (done) ++acked;
    if (!done && done.error().code() != Errc::stale_lease) return tl::unexpected(done.error());
  }
  return acked;
}

// The cell, in this state, becomes a lease that a handler has.
bool GroupTopic::become(Lease& lease, const Pair& from) {
  CellFields fields = cell_of(lease.state.low);
  fields.executing = true;
  const Pair begun{pack(fields), lease.state.high};
  if (!cas16(&region_.cell(lease.cell).state, from, begun)) return false;
  lease.state = begun;
  count(control().delivered);
  if (fields.delivered > 1) count(control().redelivered);
  PENSTOCK_PROBE3(deliver, setup_.group, setup_.topic, lease.offset);
  return true;
}

Result<void> GroupTopic::begin(Lease& lease) {
  if (!holds(lease)) return stale();
  if (cell_of(lease.state.low).executing || become(lease, lease.state)) return {};
  return stale();
}

Result<Admit> GroupTopic::admit(Lease& lease, Instant at) {
  if (!holds(lease)) return stale();
  auto answer = group::admit(region_, setup_.member, lease, at, window());
  lease.admitted = answer && *answer == Admit::admitted && window().ids != 0 && region_.buckets() != 0;
  return answer;
}

bool GroupTopic::remembered(const Id128& id, Instant at) const { return group::remembered(region_, id, at, window()); }

}  // namespace penstock::group
