// Dead letters: the group's events that turned dead, and giving letters back from its dead-letter queue.
#include "group/group_topic.hpp"
#include "group/inline.hpp"
#include "group/marks.hpp"
#include "group/notes.hpp"

namespace penstock::group {

using namespace layout;

void GroupTopic::for_each_dead(const std::function<bool(const CellView&)>& visit) const {
  for_each_real(cursor(), [&](const CellView& cell) { return cell.fields.state != CellState::dead || visit(cell); });
}

std::optional<NoteCopy> GroupTopic::note(const CellView& cell) const {
  return read_note(region_, cell.cell, cell.fields, cell.offset);
}

Result<void> GroupTopic::settle_dead(std::uint32_t index, const Pair& state) {
  CellView cell;
  if (index >= region_.cells() || state_of_cell(state) != CellState::dead || !view(index, cell) ||
      cell.state != state) {
    return tl::unexpected(Error(Errc::stale_lease));
  }
  if (setup_.marks) {
    if (auto set = group::mark(region_, cell.offset); !set) return set;
  }
  // The id is not done: a later copy is processed. Who dies before forgetting it leaves an entry that names a free
  // cell, which holds nothing either.
  const Held held = held_by(region_, index, cell.id);
  if (!free_cell(index, state)) return tl::unexpected(Error(Errc::stale_lease));
  forget(held);
  count(control().dead_lettered);
  return {};
}

bool GroupTopic::marked(std::uint64_t letter) const { return group::marked(region_, letter); }
Result<void> GroupTopic::mark(std::uint64_t letter) { return group::mark(region_, letter); }

Redrive::Redrive(GroupTopic& letters) : letters_(letters) {
  letters_.for_each_real(letters_.cursor(), [this](const CellView& cell) {
    held_.insert(cell.offset);
    return true;
  });
}

// Cell first, then mark: who dies in between leaves a letter that will be delivered, and that the next redrive finds by
// its cell, or, if it was settled meanwhile, by the mark that its settlement set.
Result<bool> Redrive::give_back(std::uint64_t letter, std::uint64_t position, const Id128& id, Instant at) {
  GroupTopic& group = letters_;
  // Room for the mark before anything else, so that no settlement of the event can fail for want of it.
  if (auto room = group.region_.grow_letters(letter); !room) return tl::unexpected(room.error());
  if (group.marked(letter)) return false;
  if (!held_.contains(letter)) {
    Pair tentative;
    const auto index = group.acquire(letter, 0, tentative, group.lease_end(at.now, 0));
    if (!index) return tl::unexpected(index.error());
    group.fill(*index, letter, position, id, {}, at.wall);  // letters have no order
    Pair waiting = with_cell_state(tentative, CellState::waiting);
    waiting.high = bound_of(std::uint64_t(at.now));
    announce(group.region_, *index, waiting.high);
    if (!cas16(&group.region_.cell(*index).state, tentative, waiting)) return tl::unexpected(Error(Errc::corrupt));
    announce(group.region_, *index, waiting.high);
    held_.insert(letter);
    group.count(group.control().redriven);
  }
  if (auto set = group.mark(letter); !set) return tl::unexpected(set.error());
  return true;
}

}  // namespace penstock::group
