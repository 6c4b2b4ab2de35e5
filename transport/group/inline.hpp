// Small words that several of the engine's files share.
#pragma once

#include <bit>

#include "group/group_topic.hpp"

namespace penstock::group {

inline constexpr std::uint32_t kDeliveredMost = 2047;  // what a cell can count
inline constexpr std::uint32_t kFailedMost = 1023;

inline layout::CellState state_of_cell(const layout::Pair& state) { return layout::cell_of(state.low).state; }

inline layout::Pair with_cell_state(const layout::Pair& state, layout::CellState to) {
  return {(state.low & ~std::uint64_t{7}) | std::uint64_t(to), state.high};
}

// Now and a while, kept within what a time may be.
inline std::int64_t add_time(std::int64_t now, std::int64_t duration) {
  if (duration >= kNever - 1 || now >= kNever - 1 - (duration > 0 ? duration : 0)) return kNever - 1;
  return now + (duration > 0 ? duration : 0);
}

// How long ago that was; a time before all time is as old as can be.
inline std::int64_t since(std::uint64_t time, std::int64_t now) {
  std::int64_t age = 0;
  return __builtin_sub_overflow(now, std::int64_t(time), &age) ? INT64_MAX : age;
}

// Every cell that stands for an event, as of this cursor or later: TENTATIVE ones only when the cursor names them.
// The cursor is read first. An event below it that stays unsettled while this runs keeps its cell and the cell's bit,
// so it is visited; one that is taken meanwhile is not below that cursor.
template <class Visit>
void GroupTopic::for_each_real(const layout::CursorFields& seen, Visit&& visit) const {
  const std::uint32_t groups = region_.groups();
  CellView cell;
  for (std::uint32_t group = 0; group < groups; ++group) {
    for (std::uint64_t bits = control().occupied[group].load(); bits != 0; bits &= bits - 1) {
      const std::uint32_t index = group * kGroupCells + std::uint32_t(std::countr_zero(bits));
      if (!view(index, cell)) continue;
      const layout::CellState state = cell.fields.state;
      const bool real = state == layout::CellState::leased || state == layout::CellState::waiting ||
                        state == layout::CellState::queued || state == layout::CellState::dead ||
                        state == layout::CellState::acked ||
                        (state == layout::CellState::tentative && seen.cell == index);
      if (real && !visit(static_cast<const CellView&>(cell))) return;
    }
  }
}

}  // namespace penstock::group
