// The life of a cell from free to free, and the cursor's hold on the cell it names. See PROTOCOL.md.
#include <bit>

#include "group/group_topic.hpp"
#include "group/inline.hpp"

namespace penstock::group {

using namespace layout;

namespace {

constexpr std::uint32_t kStaleMost =
    4096;                          // cells looked at for one whose bit is set though it is free, before growing
constexpr int kViewRounds = 1000;  // a cell that changes more often while it is read is being scribbled on

bool bit_set(const Word& word, std::uint32_t cell) { return (word.load() >> cell % kGroupCells & 1) != 0; }

void set_bit(Word& word, std::uint32_t cell) {
  if (!bit_set(word, cell)) word.fetch_or(std::uint64_t{1} << cell % kGroupCells);
}

}  // namespace

// The cursor, as `seen`, names a cell: if that is still TENTATIVE it stands for an event, and has to be in its lane,
// and LEASED or QUEUED, before the cursor may name another. False: the cursor is not as seen any more.
bool GroupTopic::confirm(const CursorFields& seen) {
  if (seen.cell >= region_.cells()) return true;
  Cell& cell = region_.cell(seen.cell);
  for (;;) {
    const Pair state = load16_guess(&cell.state);
    if (state_of_cell(state) != CellState::tentative) return true;
    const LanePlan plan = region_.has_lanes() ? read_lane(region_, seen.cell) : LanePlan{};
    const LaneStep step(region_, plan, seen.cell, cell.offset.load(), std::int64_t(state.high));
    // First the cell, then the cursor: as the cursor never returns to a value, it named the cell already when the cell
    // was read, and this state is the one that stands for the event. A later life of the cell has another lease's end.
    if (load16_guess(&control().cursor) != pack(seen)) return false;
    if (settle_in(seen.cell, state, plan, step)) return true;
  }
}

// The event in this TENTATIVE cell is taken: first its lane learns of it, for as soon as the cell is not TENTATIVE any
// more the next event may be taken. False: the cell isn't in this state any more.
bool GroupTopic::settle_in(std::uint32_t index, const Pair& tentative, const LanePlan& plan, const LaneStep& step) {
  step.act();
  const CellState to = plan.waits() ? CellState::queued : CellState::leased;
  return cas16(&region_.cell(index).state, tentative, with_cell_state(tentative, to));
}

bool GroupTopic::names(std::uint32_t cell) const { return cursor().cell == cell; }

// No lease of this member ends at the same time as another: {word, time} then names one lease for ever.
std::int64_t GroupTopic::lease_end(std::int64_t now, std::int64_t duration) {
  const std::int64_t end = add_time(now, duration);
  last_end_ = end > last_end_ ? end : last_end_ + 1;
  return last_end_;
}

bool GroupTopic::try_acquire(std::uint32_t index, const Pair& desired) {
  Cell& cell = region_.cell(index);
  const Pair seen = load16_guess(&cell.state);
  if (state_of_cell(seen) != CellState::free) return false;
  Word& bits = control().occupied[index / kGroupCells];
  // Bit and due time before, so that a death right after leaves nothing hidden; and after, because a cleaner may have
  // cleared the bit, or a raiser raised the time, before the cell was ours. While it is ours neither can.
  set_bit(bits, index);
  announce(region_, index, desired.high);
  if (!cas16(&cell.state, seen, desired)) return false;
  set_bit(bits, index);
  announce(region_, index, desired.high);
  return true;
}

// Clear bits first: nearly always a free cell. Then set bits, up to `stale_most` of them: cells are freed without
// clearing their bits, which is left to sweeps.
std::optional<std::uint32_t> GroupTopic::find_free(const Pair& desired, std::uint32_t stale_most) {
  const std::uint32_t groups = region_.groups();
  const int shift = int(setup_.member.slot * 8 % kGroupCells);  // members begin at different cells
  for (const bool stale : {false, true}) {
    std::uint32_t looked = 0;
    for (std::uint32_t i = 0; i < groups && looked < stale_most; ++i) {
      const std::uint32_t group = (search_group_ + i) % groups;
      const std::uint64_t bits = control().occupied[group].load();
      for (std::uint64_t left = std::rotr(stale ? bits : ~bits, shift); left != 0; left &= left - 1) {
        const std::uint32_t index = group * kGroupCells + (std::countr_zero(left) + unsigned(shift)) % kGroupCells;
        looked += stale ? 1 : 0;
        if (!try_acquire(index, desired)) continue;
        search_group_ = group;
        return index;
      }
    }
  }
  return std::nullopt;
}

// A cell of our own, TENTATIVE. `state`: what it is now.
Result<std::uint32_t> GroupTopic::acquire(std::uint64_t offset, std::uint32_t delivered, Pair& state,
                                          std::int64_t end) {
  CellFields fields;
  fields.state = CellState::tentative;
  fields.slot = setup_.member.slot;
  fields.incarnation = setup_.member.incarnation;
  fields.delivered = delivered;
  fields.offset_low = std::uint32_t(offset & 0xfff);
  state = {pack(fields), std::uint64_t(end)};
  while (spares_ > 0) {
    const std::uint32_t index = spare_[--spares_];
    if (index < region_.cells() && try_acquire(index, state)) return index;
  }
  for (;;) {
    const bool last = region_.cells() >= kCellsMax;
    if (const auto index = find_free(state, last ? kCellsMax : kStaleMost)) return *index;
    if (const auto grown = region_.grow_cells(); !grown) {
      // Before giving up, every cell.
      if (const auto index = find_free(state, kCellsMax)) return *index;
      return tl::unexpected(grown.error());
    }
    search_group_ = region_.groups() - 1;
  }
}

// False: there is no room for its lane.
bool GroupTopic::fill(std::uint32_t index, std::uint64_t offset, std::uint64_t position, const Id128& id,
                      const LanePlan& plan, std::int64_t wall) {
  Cell& cell = region_.cell(index);
  const std::uint64_t never_failed = failure_stamp(0, offset);
  cell.offset.store(offset, std::memory_order_relaxed);
  cell.position.store(position, std::memory_order_relaxed);
  cell.id_low.store(id.low, std::memory_order_relaxed);
  cell.id_high.store(id.high, std::memory_order_relaxed);
  cell.first_failure.store(never_failed, std::memory_order_relaxed);
  cell.last_failure.store(never_failed, std::memory_order_release);
  return (plan.key == 0 && !region_.has_lanes()) || write_lane(region_, index, plan, wall);
}

// A TENTATIVE cell of ours that the cursor never named.
void GroupTopic::abandon(std::uint32_t index, const Pair& state) {
  if (cas16(&region_.cell(index).state, state, Pair{}) && spares_ < spare_.size()) spare_[spares_++] = index;
}

// The cursor lets go of a cell that is about to be freed: while a cell is free, or another's, the cursor never names
// it. False: the cell isn't in this state any more.
bool GroupTopic::unname(std::uint32_t index, const Pair& state) {
  for (;;) {
    // A torn value can't hide that the cell is named: if it was named throughout, the value isn't torn; if not, it was
    // let go meanwhile and won't be named again in this life.
    const Pair raw = load16_guess(&control().cursor);
    CursorFields fields = cursor_of(raw);
    if (raw == Pair{} || fields.cell != index) return true;
    // First the cursor, then the cell: the cell was ours while the cursor had this value, and as long as it has it the
    // cell can be nobody else's.
    if (load16_guess(&region_.cell(index).state) != state) return false;
    fields.cell = kNoCell;
    if (cas16(&control().cursor, raw, pack(fields))) return true;
  }
}

bool GroupTopic::free_cell(std::uint32_t index, const Pair& state) {
  if (!unname(index, state) || !cas16(&region_.cell(index).state, state, Pair{})) return false;
  if (spares_ < spare_.size()) spare_[spares_++] = index;
  return true;
}

// Clears the bits of a group of 64 when all their cells are free, each while holding the cell: so no bit of a cell that
// holds an event is ever clear, not even for the moment in which its cleaner dies.
void GroupTopic::clean(std::uint32_t group) {
  Word& word = control().occupied[group];
  const std::uint64_t bits = word.load();
  for (std::uint64_t left = bits; left != 0; left &= left - 1) {
    const std::uint32_t index = group * kGroupCells + std::uint32_t(std::countr_zero(left));
    if (state_of_cell(load16_guess(&region_.cell(index).state)) != CellState::free) return;
  }
  CellFields fields;
  fields.state = CellState::tentative;
  fields.slot = setup_.member.slot;
  fields.incarnation = setup_.member.incarnation;
  for (std::uint64_t left = bits; left != 0; left &= left - 1) {
    const std::uint32_t index = group * kGroupCells + std::uint32_t(std::countr_zero(left));
    Cell& cell = region_.cell(index);
    const Pair seen = load16_guess(&cell.state);
    const Pair mine{pack(fields), std::uint64_t(kNever)};
    if (state_of_cell(seen) != CellState::free || !cas16(&cell.state, seen, mine)) continue;
    word.fetch_and(~(std::uint64_t{1} << index % kGroupCells));
    cas16(&cell.state, mine, Pair{});
  }
}

// A cell as it was at one moment. False: it is free.
bool GroupTopic::view(std::uint32_t index, CellView& out) const {
  const Cell& cell = region_.cell(index);
  out.cell = index;
  out.state = load16_guess(&cell.state);
  for (int round = 0; round < kViewRounds; ++round) {
    out.fields = cell_of(out.state.low);
    if (out.fields.state == CellState::free) return false;
    out.offset = cell.offset.load();
    out.position = cell.position.load();
    out.id = {cell.id_low.load(), cell.id_high.load()};
    out.first_failure = failure_time(cell.first_failure.load());
    out.last_failure = failure_time(cell.last_failure.load());
    const Lane* const lane = region_.lane(index, false);
    out.key = lane == nullptr ? 0 : lane->key.load();
    out.taken = out.key == 0 ? 0 : std::int64_t(lane->taken.load());
    const Pair again = load16_guess(&cell.state);
    if (again == out.state) break;
    out.state = again;
  }
  return true;
}

}  // namespace penstock::group
