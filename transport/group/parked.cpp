// Events that wait for a moment of the wall clock, by the monotonic clock as all that waits. `parked_clock` is wall
// minus monotonic time by the slowest clock that the due time of any of them was reckoned with; 0: by none. When the
// wall clock is found ahead of that, somebody has set it, and a sweep brings all of them forward by as much. One that
// comes early by that is looked at by who takes it, and parked again; so is one that comes early since the clock was
// set back. Thus none is early, and none is late for longer than it takes to sweep.
//
// The word is lowered before and again after an event is parked, as due times are (due.hpp), so that a sweep that
// raises it in between does not pass the event over.
#include <algorithm>

#include "group/group_topic.hpp"
#include "group/inline.hpp"

namespace penstock::group {

using namespace layout;

namespace {

constexpr std::int64_t kSlack = 10'000'000;  // the clocks are not read at one moment

std::uint64_t clock_at(Instant at) {
  const std::int64_t clock = at.wall - at.now;
  return std::uint64_t(clock == 0 ? 1 : clock);
}

void lower_clock(Word& word, std::uint64_t clock) {
  std::uint64_t seen = word.load();
  while ((seen == 0 || std::int64_t(clock) < std::int64_t(seen)) && !word.compare_exchange_weak(seen, clock)) {
  }
}

}  // namespace

Result<void> GroupTopic::park_until(const Lease& lease, std::int64_t wall, Instant at) {
  lower_clock(control().parked_clock, clock_at(at));
  auto parked = park(lease, add_time(at.now, wall - at.wall));
  lower_clock(control().parked_clock, clock_at(at));
  return parked;
}

std::int64_t GroupTopic::clock_ahead(Instant at) const {
  const std::uint64_t reckoned = control().parked_clock.load();
  if (reckoned == 0) return 0;
  std::int64_t ahead = 0;
  if (__builtin_sub_overflow(std::int64_t(clock_at(at)), std::int64_t(reckoned), &ahead)) return 0;
  return ahead < kSlack ? 0 : ahead;
}

// Whoever changes the cell meanwhile says himself when it is due.
void GroupTopic::bring_forward(std::uint32_t index, const Pair& state, std::int64_t ahead, Instant at) {
  if (cell_of(state.low).failure != Failure::parked || is_due(state.high, at.now)) return;
  const Pair sooner{state.low, std::uint64_t(std::max(std::int64_t(state.high) - ahead, at.now))};
  announce(region_, index, sooner.high);
  if (cas16(&region_.cell(index).state, state, sooner)) announce(region_, index, sooner.high);
}

// All of them were brought forward from `reckoned`.
void GroupTopic::raise_clock(std::uint64_t reckoned, Instant at) {
  control().parked_clock.compare_exchange_strong(reckoned, clock_at(at));
}

}  // namespace penstock::group
