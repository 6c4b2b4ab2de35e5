// Where the group is in its topic: opening, starting, skipping, seeking.
#include <algorithm>

#include "group/group_topic.hpp"
#include "group/inline.hpp"
#include "layout/record.hpp"

namespace penstock::group {

using namespace layout;

Result<GroupTopic> GroupTopic::open(std::span<std::byte> mapping, Setup setup) {
  if (setup.options == nullptr) return tl::unexpected(Error(Errc::invalid_argument));
  auto region = Region::open(mapping, setup.allocate);
  if (!region) return tl::unexpected(region.error());
  return GroupTopic(std::move(*region), std::move(setup));
}

GroupTopic::GroupTopic(Region region, Setup setup)
    : region_(std::move(region)),
      setup_(std::move(setup)),
      raise_marks_(setup_.member),
      random_((std::uint64_t(setup_.member.slot) << 32 | setup_.member.incarnation) * 0x9E3779B97F4A7C15ull + 1) {}

std::uint64_t GroupTopic::random() {  // splitmix64
  std::uint64_t x = random_ += 0x9E3779B97F4A7C15ull;
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ x >> 27) * 0x94D049BB133111EBull;
  return x ^ x >> 31;
}

// A cursor of a new file is all zero, which no started one ever is: that would name a cell for the event before 0.
bool GroupTopic::started() const { return load16_halves(&control().cursor) != Pair{}; }

void GroupTopic::start(Place place) {
  cas16(&control().cursor, Pair{}, pack(CursorFields{place.position, place.offset, kNoCell}));
  control().started.store(1);
}

CursorFields GroupTopic::cursor() const {
  const Pair raw = load16_halves(&control().cursor);
  return raw == Pair{} ? CursorFields{} : cursor_of(raw);
}

bool GroupTopic::skip(const CursorFields& seen, Place to, Skip why) {
  if (to.offset < seen.offset || to.offset > k52 || to.position < seen.position || to.position > k56) return false;
  if (!confirm(seen)) return false;
  if (!cas16(&control().cursor, pack(seen), pack(CursorFields{to.position, to.offset, kNoCell}))) return false;
  if (why == Skip::expired) count(control().expired_skipped);
  if (why == Skip::duplicate) count(control().duplicates);
  return true;
}

// The cursor first, then the cells: who dies in between leaves events that come again, none that never come. A cell
// that changed since it was seen may be an event taken after the seek, so it is left alone. Ids are forgotten before
// the cursor moves, or a seek that is repeated after a death would find it moved already and keep them; and once more
// behind it, for what was settled in between.
void GroupTopic::seek(Place to, bool forget_ids) {
  // Every id that was done is then further back than any window reaches.
  const auto forget = [&] {
    if (forget_ids) control().dedupe_sequence.fetch_add(std::uint64_t{kDedupeMax} + 1);
  };
  forget();
  std::vector<CellView> cells;
  for (;;) {
    const CursorFields seen = cursor();
    if (!confirm(seen)) continue;
    cells.clear();
    for_each_real(seen, [&](const CellView& cell) {
      cells.push_back(cell);
      return true;
    });
    const Pair from = started() ? pack(seen) : Pair{};
    if (cas16(&control().cursor, from, pack(CursorFields{to.position, to.offset, kNoCell}))) break;
  }
  control().started.store(1);
  forget();
  // The last one first, so that no event's turn comes when the one before it is gone.
  std::sort(cells.begin(), cells.end(), [](const CellView& a, const CellView& b) { return a.offset > b.offset; });
  for (const CellView& cell : cells) {
    // A letter that waits to be moved is kept; an event that comes again gets a new one should it fail again.
    if (cell.fields.state == CellState::dead && cell.offset < to.offset) continue;
    if (!free_cell(cell.cell, cell.state)) continue;
    if (cell.fields.state == CellState::leased) control().in_flight.fetch_sub(1);
    if (cell.fields.state == CellState::queued) control().queued.fetch_sub(1);
  }
}

}  // namespace penstock::group
