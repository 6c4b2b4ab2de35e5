// Stepping through a group's members, and what must hold of a group's memory between any two of their steps.
#pragma once

#include "shared_group.hpp"
#include "tests/support/stepped.hpp"

namespace penstock::group::testing {

using test::Stepped;

// Every lease and every waiting event is covered by the words that say when the next one is due.
inline void expect_bounds(const Mapping& mapping) {
  const layout::GroupTopicControl& control = mapping.control();
  const std::uint64_t cells = control.cells_allocated.load();
  for (std::uint32_t index = 0; index < cells; ++index) {
    const layout::CellState state = mapping.state(index);
    if (state != layout::CellState::leased && state != layout::CellState::waiting) continue;
    const std::int64_t time = std::int64_t(mapping.cell(index).state.high);
    EXPECT_TRUE(is_due(control.due[index / kGroupCells].load(), time)) << "cell " << index << " and its group's word";
    EXPECT_TRUE(is_due(control.next_due.load(), time)) << "cell " << index << " and the word over all";
  }
}

}  // namespace penstock::group::testing
