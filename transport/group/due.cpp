#include "group/due.hpp"

#include <algorithm>
#include <bit>

namespace penstock::group {

using namespace layout;

void lower(Word& word, std::uint64_t time) {
  std::uint64_t seen = word.load();
  for (;;) {
    if ((seen & kDueMark) != 0) {
      if ((seen & kDueDirty) != 0 || word.compare_exchange_weak(seen, seen | kDueDirty)) return;
    } else {
      if (seen <= time || word.compare_exchange_weak(seen, time)) return;
    }
  }
}

void announce(const Region& region, std::uint32_t cell, std::uint64_t time) {
  lower(region.control().due[cell / kGroupCells], bound_of(time));
  lower(region.control().next_due, bound_of(time));
}

void raise_group(const Region& region, std::uint32_t group, std::uint64_t mark, std::int64_t now, std::uint32_t named) {
  Word& word = region.control().due[group];
  std::uint64_t seen = word.load();
  if (!word.compare_exchange_strong(seen, mark)) return;  // somebody else is at it, or made it earlier
  std::uint64_t earliest = std::uint64_t(kNever);
  for (std::uint64_t bits = region.control().occupied[group].load(); bits != 0; bits &= bits - 1) {
    const std::uint32_t index = group * kGroupCells + std::uint32_t(std::countr_zero(bits));
    const Pair pair = load16_guess(&region.cell(index).state);
    const std::uint64_t time = bound_of(pair.high);
    const CellState state = cell_of(pair.low).state;
    const bool counts = state == CellState::leased || state == CellState::waiting ||
                        (state == CellState::tentative && (!is_due(time, now) || index == named));
    if (counts) earliest = std::min(earliest, time);
    if (state == CellState::acked) earliest = 0;  // somebody has to finish it
  }
  word.compare_exchange_strong(mark, earliest);
}

void raise_all(const Region& region, std::uint64_t mark) {
  GroupTopicControl& control = region.control();
  std::uint64_t seen = control.next_due.load();
  if (!control.next_due.compare_exchange_strong(seen, mark)) return;
  std::uint64_t earliest = std::uint64_t(kNever);
  const std::uint32_t groups = region.groups();
  for (std::uint32_t group = 0; group < groups; ++group) {
    earliest = std::min(earliest, bound_of(control.due[group].load()));
  }
  control.next_due.compare_exchange_strong(mark, earliest);
}

}  // namespace penstock::group
