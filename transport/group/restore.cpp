// Reading a checkpoint into a new file. Nobody else sees the file, and after any error it is thrown away: so there is
// no order to keep, but every size and number is looked at before it is used.
#include <algorithm>

#include "group/group_topic.hpp"
#include "group/inline.hpp"
#include "group/notes.hpp"
#include "group/snapshot.hpp"

namespace penstock::group {

using namespace layout;

namespace {

tl::unexpected<Error> corrupt() { return tl::unexpected(Error(Errc::corrupt)); }

Result<SnapshotHeader> read_header(SnapshotReader& reader) {
  SnapshotHeader header;
  if (!reader.get(header) || header.magic != kMagicSnapshot) return corrupt();
  if (header.version != kSnapshotVersion) return tl::unexpected(Error(Errc::incompatible, header.version));
  if (header.offset > k52 || header.position > k56) return corrupt();
  if (header.mark_words > kLettersMax / 64 || header.mark_words * sizeof(std::uint64_t) > reader.left())
    return corrupt();
  if (header.cells > kCellsMax) return corrupt();
  return header;
}

bool read_cell(SnapshotReader& reader, SnapshotCell& cell, NoteText& note) {
  return reader.get(cell) && reader.text(note.error_class, cell.class_size) &&
         reader.text(note.reason, cell.reason_size);
}

Result<void> read_marks(const Region& region, SnapshotReader& reader, std::uint64_t words) {
  for (std::uint64_t i = 0; i < words; ++i) {
    std::uint64_t bits = 0;
    if (!reader.get(bits)) return corrupt();
    if (bits == 0) continue;
    if (auto room = region.grow_letters(i * 64); !room) return room;
    region.marks(i * 64)->store(bits);
  }
  return {};
}

// Leases come back at once and uncounted; what waits keeps waiting, but no longer than was left of it. What waits for
// the wall clock, which may have been set since, is looked at anew. What was queued finds out by its lane whether it
// still is.
bool state_after(const SnapshotCell& in, Instant at, Pair& state) {
  CellFields fields = cell_of(in.word);
  fields.offset_low = std::uint32_t(in.offset & 0xfff);
  std::int64_t left = std::clamp<std::int64_t>(in.left, 0, kNever);
  switch (fields.state) {
    case CellState::tentative:
    case CellState::leased:
    case CellState::queued:
      if (!fields.executing && fields.delivered != 0) --fields.delivered;
      fields.executing = false;
      fields.state = CellState::waiting;
      left = 0;
      break;
    case CellState::waiting:
      left = std::clamp<std::int64_t>(in.due > at.wall ? in.due - at.wall : 0, 0, left);
      if (fields.failure == Failure::parked) left = 0;
      break;
    case CellState::dead:
      left = 0;
      break;
    default:
      return false;
  }
  state = {pack(fields), std::uint64_t(add_time(at.now, left))};
  return true;
}

struct Read {
  SnapshotCell cell;
  NoteText note;
  Pair state;
  std::uint64_t number = 0;  // its place in the snapshot
};

// Its place in its lane, if its key has an order: events come in the order of their offsets.
Result<void> write_lane_of(const Region& region, std::uint32_t index, const Read& in, Pair& state) {
  CellFields fields = cell_of(state.low);
  if (in.cell.key == 0 || fields.state == CellState::dead) return {};
  const auto plan = plan_lane(region, in.cell.key);
  if (!plan) return tl::unexpected(plan.error());
  if (!write_lane(region, index, *plan, in.cell.taken)) return tl::unexpected(Error(Errc::no_space));
  LaneStep(region, *plan, index, in.cell.offset, std::int64_t(in.number)).act();
  if (!plan->waits()) return {};
  fields.state = CellState::queued;
  state.low = pack(fields);
  hint_lane(region, *plan, index);
  region.control().queued.fetch_add(1);
  return {};
}

Result<void> write_cell(const Region& region, std::uint32_t index, const Read& read) {
  const SnapshotCell& in = read.cell;
  Pair state = read.state;
  if (auto lane = write_lane_of(region, index, read, state); !lane) return lane;
  Cell& cell = region.cell(index);
  cell.offset.store(in.offset);
  cell.position.store(in.position);
  cell.id_low.store(in.id_low);
  cell.id_high.store(in.id_high);
  cell.first_failure.store(failure_stamp(in.first_failure, in.offset));
  cell.last_failure.store(failure_stamp(in.last_failure, in.offset));
  cas16(&cell.state, load16_guess(&cell.state), state);
  region.control().occupied[index / kGroupCells].fetch_or(std::uint64_t{1} << index % kGroupCells);
  if (in.note_delivered == 0) return {};
  // As its writer wrote it; a note for which there is no room is left out.
  CellFields fields = cell_of(state.low);
  fields.delivered = in.note_delivered & kDeliveredMost;
  Lease lease;
  lease.cell = index;
  lease.state = {pack(fields), 0};
  lease.offset = in.offset;
  ReadyNote(region, lease, in.pid, read.note).write();
  return {};
}

// Done ids and pending ones go to their buckets, whose number may be another than when the snapshot was taken; the
// oldest done ones make room.
void place_id(const Region& region, const SnapshotId& id, const Pair& control) {
  DedupeEntry* place = nullptr;
  DedupeEntry* bucket = region.bucket(id.low & (region.buckets() - 1));
  for (std::uint32_t i = 0; i < kBucketEntries; ++i) {
    const Pair there = load16_guess(&bucket[i].control);
    const EntryState state = entry_of(there.low).state;
    if (state == EntryState::free) {
      place = &bucket[i];
      break;
    }
    if (state != EntryState::done) continue;
    const bool older = place == nullptr || done_sequence(there.low) < done_sequence(load16_guess(&place->control).low);
    if (older) place = &bucket[i];
  }
  if (place == nullptr) return;
  place->id_low.store(id.low);
  place->id_high.store(id.high);
  cas16(&place->control, load16_guess(&place->control), control);
}

// `restored`: where each of the snapshot's cells is now.
Result<void> read_ids(const Region& region, SnapshotReader& reader, std::uint64_t ids,
                      const std::vector<std::uint32_t>& restored, std::int64_t elapsed, Instant at) {
  if (ids * sizeof(SnapshotId) != reader.left() || ids > reader.left()) return corrupt();
  if (ids == 0 || region.buckets() == 0) return {};
  if (auto room = region.allocate_dedupe(); !room) return room;
  for (std::uint64_t i = 0; i < ids; ++i) {
    SnapshotId id;
    if (!reader.get(id)) return corrupt();
    if (id.sequence != 0) {
      const std::int64_t age = std::clamp<std::int64_t>(id.value, 0, kNever) + elapsed;
      place_id(region, id, {pack_done(id.sequence), std::uint64_t(at.now - age)});
    } else if (id.value >= 0 && std::uint64_t(id.value) < restored.size() &&
               restored[std::size_t(id.value)] != kNoCell) {
      const EntryFields fields{EntryState::pending, 0, 0, restored[std::size_t(id.value)]};
      place_id(region, id, {pack(fields), 0});
    }
  }
  return {};
}

}  // namespace

Result<SavedPlaces> saved_places(std::span<const std::byte> bytes) {
  SnapshotReader reader(bytes);
  const auto header = read_header(reader);
  if (!header) return tl::unexpected(header.error());
  std::string_view marks;
  if (!reader.text(marks, header->mark_words * sizeof(std::uint64_t))) return corrupt();
  SavedPlaces out{header->started != 0, {header->offset, header->position}, {}};
  for (std::uint64_t i = 0; i < header->cells; ++i) {
    SnapshotCell cell;
    NoteText note;
    if (!read_cell(reader, cell, note)) return corrupt();
    out.pending = std::min(out.pending.value_or(cell.offset), cell.offset);
  }
  return out;
}

Result<void> GroupTopic::restore(std::span<const std::byte> bytes, Place end, Instant at, const Lost& lost) {
  if (started() || region_.cells() != 0) return tl::unexpected(Error(Errc::already_exists));
  SnapshotReader reader(bytes);
  const auto found = read_header(reader);
  if (!found) return tl::unexpected(found.error());
  const SnapshotHeader& header = *found;
  if (auto read = read_marks(region_, reader, header.mark_words); !read) return read;

  const bool ahead = header.offset > end.offset;
  Place place = ahead ? end : Place{header.offset, header.position};
  if (const auto next = lost && !ahead ? lost(header.offset) : std::nullopt) place = *next;
  const std::uint64_t beyond = setup_.marks ? end.offset : place.offset;  // events there are fresh, or not in the log
  std::vector<std::uint32_t> restored;
  std::vector<Read> cells;
  restored.reserve(header.cells);
  cells.reserve(header.cells);
  for (std::uint64_t i = 0; i < header.cells; ++i) {
    Read in;
    if (!read_cell(reader, in.cell, in.note) || !state_after(in.cell, at, in.state)) return corrupt();
    in.number = i;
    restored.push_back(kNoCell);
    if (in.cell.offset < beyond && !(lost && lost(in.cell.offset))) cells.push_back(in);
  }
  std::stable_sort(cells.begin(), cells.end(),
                   [](const Read& a, const Read& b) { return a.cell.offset < b.cell.offset; });
  std::uint32_t used = 0;
  for (const Read& in : cells) {
    while (used >= region_.cells()) {
      if (auto grown = region_.grow_cells(); !grown) return grown;
    }
    restored[in.number] = used;
    if (auto written = write_cell(region_, used++, in); !written) return written;
    if (state_of_cell(in.state) == CellState::dead) control().dead_waiting.fetch_add(1);
  }
  const std::int64_t elapsed = header.wall >= 0 && at.wall > header.wall ? at.wall - header.wall : 0;
  if (auto read = read_ids(region_, reader, header.ids, restored, elapsed, at); !read) return read;

  GroupTopicControl& words = control();
  words.dedupe_sequence.store(header.dedupe_sequence);
  words.delivered.store(header.delivered);
  words.acked.store(header.acked);
  words.redelivered.store(header.redelivered);
  words.duplicates.store(header.duplicates);
  words.dead_lettered.store(header.dead_lettered);
  words.redriven.store(header.redriven);
  words.expired_skipped.store(header.expired_skipped);
  if (header.started != 0) start(place);
  return {};
}

}  // namespace penstock::group
