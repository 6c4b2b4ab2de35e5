// Looking at a group without changing anything.
#include <algorithm>

#include "group/group_topic.hpp"
#include "group/inline.hpp"

namespace penstock::group {

using namespace layout;

// Never later than the truth: the cursor is read first, so an event that is unsettled when this returns was either not
// below that cursor, or had its cell then and has it still, and for_each_real visits it. An event whose state is ACKED
// is settled.
Place GroupTopic::committed() const {
  const CursorFields seen = cursor();
  Place first{seen.offset, seen.position};
  bool any = started();
  for_each_real(seen, [&](const CellView& cell) {
    if (cell.fields.state == CellState::acked) return true;
    if (!any || cell.offset < first.offset) first = {cell.offset, cell.position};
    any = true;
    return true;
  });
  return first;
}

void GroupTopic::for_each_pending(const std::function<bool(const CellView&)>& visit) const {
  for_each_real(cursor(), [&](const CellView& cell) { return cell.fields.state == CellState::acked || visit(cell); });
}

Info GroupTopic::info() const {
  Info info;
  info.cursor = cursor();
  info.started = started();
  for_each_real(info.cursor, [&](const CellView& cell) {
    switch (cell.fields.state) {
      case CellState::waiting:
        ++info.waiting;
        break;
      case CellState::queued:
        ++info.queued;
        break;
      case CellState::dead:
        ++info.dead;
        break;
      case CellState::acked:
        return true;
      default:
        ++info.in_flight;
        break;
    }
    if (!info.oldest || cell.offset < info.oldest->offset) info.oldest = Place{cell.offset, cell.position};
    if (cell.first_failure != 0 && (info.oldest_failure == 0 || cell.first_failure < info.oldest_failure)) {
      info.oldest_failure = cell.first_failure;
    }
    return true;
  });
  info.committed = {info.cursor.offset, info.cursor.position};
  const bool behind = info.oldest && (!info.started || info.oldest->offset < info.committed.offset);
  if (behind) info.committed = *info.oldest;
  const GroupTopicControl& words = control();
  info.delivered = words.delivered.load();
  info.acked = words.acked.load();
  info.redelivered = words.redelivered.load();
  info.duplicates = words.duplicates.load();
  info.dead_lettered = words.dead_lettered.load();
  info.redriven = words.redriven.load();
  info.expired_skipped = words.expired_skipped.load();
  info.full = words.full.load();
  return info;
}

}  // namespace penstock::group
