// Writing a checkpoint while everybody works on. The order in which things are read is what makes it whole:
//   Marks before cells: a mark that is in the snapshot was set after its letter got a cell, so either the cell is in
//   the snapshot too, or the letter was settled. The other way round a letter could be marked as given back and have no
//   cell. The cursor before the cells: an event below it that stays unsettled has its cell throughout and is seen; what
//   is taken meanwhile isn't below it, and is fresh again in the snapshot, so its cell is left out. Cells before ids:
//   an event that is settled in the snapshot was settled before the ids were read, and its id, which is remembered
//   before its cell is free, is among them; or its cell was seen as ACKED, and then the snapshot remembers it. The
//   other way round a processed id could be forgotten.
//   Of a key's events the first that the snapshot has must be unsettled when all cells have been read, or one could be
//   in it though a later one of its key was settled, and would come again after it.
#include "group/snapshot.hpp"

#include <algorithm>
#include <unordered_map>

#include "group/group_topic.hpp"
#include "group/inline.hpp"
#include "group/notes.hpp"

namespace penstock::group {

using namespace layout;

namespace {

// What the snapshot holds of a cell.
struct Written {
  Id128 id;
  bool acked = false;
  std::uint64_t number = 0;  // its place in the snapshot, when it isn't acked
};
using CellsWritten = std::unordered_map<std::uint32_t, Written>;

std::uint64_t write_marks(const Region& region, SnapshotWriter& writer) {
  const std::uint64_t words = region.letters() / 64;
  std::uint64_t zeroes = 0;  // trailing ones are not written
  std::uint64_t written = 0;
  for (std::uint64_t i = 0; i < words; ++i) {
    const Word* word = region.marks(i * 64);
    const std::uint64_t bits = word == nullptr ? 0 : word->load();
    if (bits == 0) {
      ++zeroes;
      continue;
    }
    for (; zeroes > 0; --zeroes, ++written) writer.put(std::uint64_t{0});
    writer.put(bits);
    ++written;
  }
  return written;
}

void write_cell(SnapshotWriter& writer, const CellView& cell, const std::optional<NoteCopy>& note, Instant at) {
  SnapshotCell out;
  out.word = cell.state.low;
  const std::int64_t time = std::int64_t(bound_of(cell.state.high));
  out.left = time > at.now ? time - at.now : 0;
  out.due = add_time(at.wall, out.left);
  out.offset = cell.offset;
  out.position = cell.position;
  out.id_low = cell.id.low;
  out.id_high = cell.id.high;
  out.first_failure = cell.first_failure;
  out.last_failure = cell.last_failure;
  out.key = cell.key;
  out.taken = cell.taken;
  if (note) {
    out.pid = note->pid;
    out.note_delivered = note->delivered;
    out.class_size = std::uint16_t(note->error_class.size());
    out.reason_size = std::uint16_t(note->reason.size());
  }
  writer.put(out);
  if (!note) return;
  writer.bytes(note->error_class.data(), note->error_class.size());
  writer.bytes(note->reason.data(), note->reason.size());
}

// An entry and its id as they were together. False: it doesn't hold still, somebody is scribbling on it.
bool read_entry(DedupeEntry& entry, Pair& control, Id128& id) {
  control = load16_guess(&entry.control);
  for (int round = 0; round < 1000; ++round) {
    id = {entry.id_low.load(), entry.id_high.load()};
    const Pair again = load16_guess(&entry.control);
    if (again == control) return true;
    control = again;
  }
  return false;
}

// Ids that were done, and those of events in the snapshot. What is only being admitted asks again after a restore.
void write_ids(const Region& region, SnapshotWriter& writer, const CellsWritten& cells, Instant at,
               SnapshotHeader& header) {
  if (!region.has_dedupe()) return;
  for (std::uint64_t i = 0; i < region.buckets() * kBucketEntries; ++i) {
    Pair control;
    Id128 id;
    if (!read_entry(region.bucket(i / kBucketEntries)[i % kBucketEntries], control, id)) continue;
    const EntryFields fields = entry_of(control.low);
    SnapshotId out{id.low, id.high};
    if (fields.state == EntryState::done) {
      out.sequence = done_sequence(control.low);
      out.value = std::max<std::int64_t>(since(control.high, at.now), 0);
    } else if (fields.state == EntryState::pending) {
      const auto cell = cells.find(fields.cell);
      if (cell == cells.end() || cell->second.id != id) continue;
      if (cell->second.acked) {
        out.sequence = region.control().dedupe_sequence.load() + 1;
      } else {
        out.value = std::int64_t(cell->second.number);
      }
    } else {
      continue;
    }
    header.dedupe_sequence = std::max(header.dedupe_sequence, out.sequence);
    writer.put(out);
    ++header.ids;
  }
}

}  // namespace

// Leaves out, or takes as they are now, the first events of each key that were settled meanwhile. What comes after one
// that is unsettled still is unsettled, too.
void GroupTopic::look_again(std::vector<CellView>& found) const {
  const auto first_plain =
      std::partition(found.begin(), found.end(), [](const CellView& cell) { return cell.key != 0; });
  std::sort(found.begin(), first_plain,
            [](const CellView& a, const CellView& b) { return a.key != b.key ? a.key < b.key : a.offset < b.offset; });
  std::uint64_t done = 0;  // the key whose first unsettled event was found
  auto kept = found.begin();
  for (auto cell = found.begin(); cell != found.end(); ++cell) {
    if (cell < first_plain && cell->key != done && cell->fields.state != CellState::acked) {
      CellView now;
      const bool there = view(cell->cell, now) && (now.state == cell->state || now.offset == cell->offset);
      // One that is TENTATIVE, and was not as it is now, is another event's.
      if (!there || (now.fields.state == CellState::tentative && now.state != cell->state)) continue;
      *cell = now;
      if (now.fields.state != CellState::dead && now.fields.state != CellState::acked) done = now.key;
    }
    *kept++ = *cell;
  }
  found.erase(kept, found.end());
}

void GroupTopic::snapshot(std::vector<std::byte>& out, Instant at) const {
  out.clear();
  SnapshotWriter writer(out);
  SnapshotHeader header;
  writer.put(header);
  if (setup_.marks) header.mark_words = write_marks(region_, writer);

  const CursorFields seen = cursor();
  header.started = started() ? 1 : 0;
  header.wall = at.wall;
  header.offset = seen.offset;
  header.position = seen.position;
  std::vector<CellView> found;
  for_each_real(seen, [&](const CellView& cell) {
    const bool taken_since = !setup_.marks && cell.offset >= seen.offset;
    if (!taken_since || cell.fields.state == CellState::acked) found.push_back(cell);
    return true;
  });
  look_again(found);
  CellsWritten cells;
  for (const CellView& cell : found) {
    const bool acked = cell.fields.state == CellState::acked;
    cells.emplace(cell.cell, Written{cell.id, acked, header.cells});
    if (acked) continue;
    ++header.cells;
    write_cell(writer, cell, note(cell), at);
  }
  write_ids(region_, writer, cells, at, header);

  const GroupTopicControl& words = control();
  header.dedupe_sequence = std::max(header.dedupe_sequence, words.dedupe_sequence.load());
  header.delivered = words.delivered.load();
  header.acked = words.acked.load();
  header.redelivered = words.redelivered.load();
  header.duplicates = words.duplicates.load();
  header.dead_lettered = words.dead_lettered.load();
  header.redriven = words.redriven.load();
  header.expired_skipped = words.expired_skipped.load();
  std::memcpy(out.data(), &header, sizeof header);
}

}  // namespace penstock::group
