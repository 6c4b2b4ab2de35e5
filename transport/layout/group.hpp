// The shared state of one topic of one consumer group: live/groups/<group>/<topic>, and the options all its topics
// share: live/groups/<group>/@group.
//
// Every unsettled event below the cursor has a cell; an event below the cursor without a cell is settled. The file is
// sparse: its regions stand at fixed places and are allocated in full, chunk by chunk, before anybody touches them; the
// first two pages when it is made. Zeroes are a valid state: nothing allocated, nothing due, not started.
// Who may change what when is told in transport/group/PROTOCOL.md.
#pragma once

#include "layout/base.hpp"
#include "layout/record.hpp"

namespace penstock::layout {

enum class Ordering : std::uint8_t { parallel = 0, key = 1, strict = 2 };
enum class Expired : std::uint8_t { dlq = 0, skip = 1 };

inline constexpr std::size_t kBackoffSteps = 16;
inline constexpr std::size_t kPatternBytes = 2560;

// What belongs to the group as a whole. Changed under the bus lock; `version` is raised after each change.
struct GroupOptions {
  std::uint32_t max_attempts = 5;
  std::uint32_t max_in_flight = 256;
  std::uint32_t dedupe = 4096;  // ids remembered for each topic; 0: off
  std::uint32_t backoff_count = 4;
  std::uint64_t dedupe_age_ns = 0;  // 0: no bound by age
  std::uint64_t lease_ns = 30'000'000'000;
  std::uint64_t backoff_ns[kBackoffSteps] = {100'000'000, 1'000'000'000, 5'000'000'000, 30'000'000'000};
  Ordering ordering = Ordering::parallel;
  Expired expired = Expired::dlq;
  std::uint8_t paused = 0;
  std::uint8_t reserved[5] = {};
  friend bool operator==(const GroupOptions&, const GroupOptions&) = default;
};
static_assert(sizeof(GroupOptions) == 32 + 8 * kBackoffSteps + 8);

struct GroupFile {  // live/groups/<group>/@group
  Preamble preamble;
  Word version;
  Word deleted;
  std::uint64_t group_id;  // random; a group deleted and made again has another
  std::uint64_t reserved0;
  GroupOptions options;
  Name name;
  std::uint32_t pattern_count;
  std::uint32_t reserved1;
  char patterns[kPatternBytes];  // NUL-terminated one after another: topic names and patterns
};
static_assert(sizeof(GroupFile) <= kPage);

// A cell's word: what becomes of one event.
enum class CellState : std::uint8_t {
  free = 0,
  tentative = 1,  // its owner's to fill; stands for an event only while the cursor names this cell
  leased = 2,     // a member has it, and executes it if `executing`; `time` is the lease's end
  waiting = 3,    // to be delivered again; `time` is when
  dead = 4,       // waits for the daemon to move it to the dead-letter queue; `time` is since when
  acked = 5,      // settled; its id is still to be remembered by the dedupe window, and anybody may do that
  queued = 6,     // taken, never to be delivered before the event it stands behind in its key's lane is settled
};
// Why the last delivery failed; what a dead letter's disposition says.
enum class Failure : std::uint8_t {
  none = 0,
  nak = 1,       // the handler said so; a note may hold its reason
  expired = 2,   // the lease ran out
  crash = 3,     // the member died while executing it
  dropped = 4,   // the delivery was dropped unsettled
  rejected = 5,  // to the dead-letter queue at once
  parked = 6,    // not a failure: a copy with the same id is in flight
  overdue = 7,   // its time to live was over
};
struct CellFields {
  CellState state = CellState::free;
  std::uint32_t slot = 0;         // the member's handle
  std::uint32_t incarnation = 0;  //
  std::uint32_t delivered = 0;    // times handed out, the current one included; stays at 2047
  std::uint32_t failed = 0;       // failed attempts; stays at 1023
  Failure failure = Failure::none;
  std::uint32_t offset_low = 0;  // the event's offset, low 12 bits: a word belongs to its event
  bool executing = false;        // of a lease: a handler has it, so that its member's death counts as an attempt
};
constexpr std::uint64_t pack(const CellFields& f) {
  return std::uint64_t(f.state) | std::uint64_t(f.slot & 0xfff) << 3 | std::uint64_t(f.incarnation & 0xfff) << 15 |
         std::uint64_t(f.delivered & 0x7ff) << 27 | std::uint64_t(f.executing) << 38 |
         std::uint64_t(f.failed & 0x3ff) << 39 | std::uint64_t(f.failure) << 49 |
         std::uint64_t(f.offset_low & 0xfff) << 52;
}
constexpr CellFields cell_of(std::uint64_t word) {
  return {CellState(word & 7),
          std::uint32_t(word >> 3 & 0xfff),
          std::uint32_t(word >> 15 & 0xfff),
          std::uint32_t(word >> 27 & 0x7ff),
          std::uint32_t(word >> 39 & 0x3ff),
          Failure(word >> 49 & 7),
          std::uint32_t(word >> 52 & 0xfff),
          (word >> 38 & 1) != 0};
}
static_assert(pack(cell_of(0xfedcba9876543212ull)) == 0xfedcba9876543212ull);

// The state is changed by 16-byte compare-and-swap alone; the rest is written by a TENTATIVE cell's owner, except the
// failures' times. A lease's end is never given twice by one member, so that {word, time} names one lease for ever.
struct alignas(kLine) Cell {
  Pair state;          // {word, time}
  Word offset;         // the event's offset in its topic
  Word position;       // the event's line
  Word id_low;         // the event's id
  Word id_high;        //
  Word first_failure;  // a failure_stamp
  Word last_failure;   // a failure_stamp
};
static_assert(sizeof(Cell) == kLine);

// When an event failed: nanoseconds since the epoch to a multiple of 4096, and the event's offset, low 12 bits, so that
// a writer whose lease ran out long ago cannot date another event's failure. Time 0: none yet.
constexpr std::uint64_t failure_stamp(std::int64_t wall_ns, std::uint64_t offset) {
  return (std::uint64_t(wall_ns) & ~std::uint64_t{0xfff}) | (offset & 0xfff);
}
constexpr std::int64_t failure_time(std::uint64_t stamp) { return std::int64_t(stamp & ~std::uint64_t{0xfff}); }

// What a handler said of a failure; two alternate by the parity of the delivery, so that a late writer whose lease ran
// out cannot tear its successor's. Trusted only when the checksum holds.
struct Note {
  Word checksum;  // XXH3-64 of what follows, seeded with the event's offset
  std::uint32_t delivered;
  std::uint32_t pid;
  std::uint16_t class_size;
  std::uint16_t reason_size;
  std::uint32_t reserved;
  char text[488];  // class, then reason
};
static_assert(sizeof(Note) == 512);

// The group's cursor: the next event nobody has taken, and the cell of the event taken last, for as long as that cell
// holds it. The one word that says whether a TENTATIVE cell stands for an event.
inline constexpr std::uint32_t kNoCell = 0xfffff;
inline constexpr std::uint64_t k52 = (1ull << 52) - 1;
struct CursorFields {
  std::uint64_t position = 0;    // 56 bits
  std::uint64_t offset = 0;      // 52 bits
  std::uint32_t cell = kNoCell;  // 20 bits; kNoCell: none
  friend bool operator==(const CursorFields&, const CursorFields&) = default;
};
constexpr Pair pack(const CursorFields& c) {
  const std::uint64_t low_cell = c.cell & 0xff;
  const std::uint64_t high_cell = c.cell >> 8 & 0xfff;
  return {(c.position & k56) | low_cell << 56, (c.offset & k52) | high_cell << 52};
}
constexpr CursorFields cursor_of(const Pair& p) {
  return {p.low & k56, p.high & k52, std::uint32_t(p.low >> 56) | std::uint32_t(p.high >> 52) << 8};
}
static_assert(pack(cursor_of({0xfedcba9876543210ull, 0x0123456789abcdefull})) ==
              Pair{0xfedcba9876543210ull, 0x0123456789abcdefull});

// The dedupe window: buckets of 64 entries; an id lives in the bucket its low word names.
enum class EntryState : std::uint8_t {
  free = 0,
  reserved = 1,   // its owner's to write the id into: nobody else touches it while the owner lives
  tentative = 2,  // the id is there; its owner looks whether it is the only one. `time` is its lease's end
  pending = 3,    // the event in this cell holds the id, for as long as the cell holds that event
  done = 4,       // processed; `time` is when
};
struct EntryFields {
  EntryState state = EntryState::free;
  std::uint32_t slot = 0;
  std::uint32_t incarnation = 0;
  std::uint32_t cell = kNoCell;
};
constexpr std::uint64_t pack(const EntryFields& f) {
  return std::uint64_t(f.state) | std::uint64_t(f.slot & 0xfff) << 3 | std::uint64_t(f.incarnation & 0xfff) << 15 |
         std::uint64_t(f.cell & 0xfffff) << 27;
}
constexpr EntryFields entry_of(std::uint64_t word) {
  return {EntryState(word & 7), std::uint32_t(word >> 3 & 0xfff), std::uint32_t(word >> 15 & 0xfff),
          std::uint32_t(word >> 27 & 0xfffff)};
}
constexpr std::uint64_t pack_done(std::uint64_t sequence) { return std::uint64_t(EntryState::done) | sequence << 3; }
constexpr std::uint64_t done_sequence(std::uint64_t word) { return word >> 3; }

struct alignas(32) DedupeEntry {
  Pair control;  // {word, time}: EntryFields, or pack_done
  Word id_low;
  Word id_high;
};
static_assert(sizeof(DedupeEntry) == 32);
inline constexpr std::uint32_t kBucketEntries = 64;
inline constexpr std::uint32_t kDedupeMax = 1u << 22;  // ids a window can remember

// Key order. A lane is the unsettled events of one key, one behind another. The lane table has an entry for the last of
// each, found by the key's hash: 17 bits name a bucket, the other 47 are the entry's tag. An entry says nothing once
// its event is settled, so nobody ever clears one. When a bucket has no room for one more lane, two become one, with
// tag 0.
inline constexpr std::uint32_t kLaneBuckets = 1u << 17;
inline constexpr std::uint32_t kLaneBucketEntries = 8;
inline constexpr std::uint32_t kLaneEntries = kLaneBuckets * kLaneBucketEntries;
inline constexpr std::uint64_t k40 = (1ull << 40) - 1;
inline constexpr std::uint64_t kLaneTag = (1ull << 47) - 1;
inline constexpr std::uint64_t kSharedLane = 0;  // the tag of a lane of several keys
struct LaneEntryFields {
  std::uint64_t offset = 0;  // the event's, low 40 bits
  std::uint32_t cell = 0;    // its cell, 20 bits
  std::uint32_t stamp = 0;   // 21 bits of the time of its taking: a value that is replaced never comes back
  std::uint64_t tag = 0;     //
};
constexpr Pair pack(const LaneEntryFields& f) {
  const std::uint64_t stamp = f.stamp & 0x1fffff;
  return {(f.offset & k40) | std::uint64_t(f.cell & 0xfffff) << 40 | (stamp & 0xf) << 60,
          (f.tag & kLaneTag) | stamp >> 4 << 47};
}
constexpr LaneEntryFields lane_entry_of(const Pair& p) {
  return {p.low & k40, std::uint32_t(p.low >> 40 & 0xfffff), std::uint32_t(p.low >> 60 | p.high >> 47 << 4),
          p.high & kLaneTag};
}
static_assert(pack(lane_entry_of({0xfedcba9876543210ull, 0x0123456789abcdefull})) ==
              Pair{0xfedcba9876543210ull, 0x0123456789abcdefull});
static_assert(sizeof(Pair) * kLaneBucketEntries == kFalseShare);
constexpr std::uint32_t lane_bucket_of(std::uint64_t key) { return std::uint32_t(key >> 47); }
constexpr std::uint64_t lane_tag_of(std::uint64_t key) { return (key & kLaneTag) == 0 ? 1 : key & kLaneTag; }

// Beside each cell: where its event stands in its lane. Written by a TENTATIVE cell's owner, `next` by anybody.
struct alignas(kLine) Lane {
  Word key;            // the key's hash; 0: the event has none, or nobody cares, and the rest means nothing
  Word place;          // lane_place: the entry of the table that becomes this event's
  Word replaced_low;   // that entry, as it was before; when the place says `waits`, it names the event to wait for
  Word replaced_high;  //
  Word next;           // the cell of the event behind this one, plus 1; a hint: 0, or wrong, costs a moment
  Word taken;          // when the event was taken, wall, for people
  Word reserved[2];
};
static_assert(sizeof(Lane) == kLine);
struct LanePlace {
  std::uint32_t entry = 0;
  bool waits = false;
  bool shared = false;  // the entry's tag becomes kSharedLane
};
constexpr std::uint64_t pack(const LanePlace& p) {
  return std::uint64_t{p.entry} | std::uint64_t{p.waits} << 32 | std::uint64_t{p.shared} << 33;
}
constexpr LanePlace lane_place_of(std::uint64_t word) {
  return {std::uint32_t(word & (kLaneEntries - 1)), (word >> 32 & 1) != 0, (word >> 33 & 1) != 0};
}

inline constexpr std::uint32_t kCellsMax = 1u << 19;      // unsettled events of a group in one topic
inline constexpr std::uint64_t kLettersMax = 1ull << 26;  // dead letters that can be marked redriven or purged

struct GroupTopicHeader {
  Preamble preamble;
  std::uint64_t topic_id;
  std::uint64_t group_id;
  std::uint64_t dedupe_entries;  // a power of two, 4 or more times the window; 0: dedupe off
  std::uint64_t reserved;
  Name group;
  Name topic;
};

struct GroupTopicControl {
  GroupTopicHeader header;
  std::byte reserved0[kPage - sizeof(GroupTopicHeader)];

  alignas(kFalseShare) Pair cursor;           // CursorFields
  alignas(kFalseShare) Word cells_allocated;  // cells below this number may be touched
  Word notes_allocated;                       // notes of cells below this number may be touched
  Word dedupe_allocated;                      // 1: the dedupe window may be touched
  Word letters_allocated;                     // marks of letters below this number may be touched
  Word started;                               // 1: the cursor stands at the group's starting point
  // Checkpoints have numbers. One that was begun after a settlement has it, and is on disk once `done` says so.
  Word checkpoint_asked;  // somebody waits for this one, or a later one
  Word checkpoint_begun;  // the last one whose state was read
  Word checkpoint_done;   // the last one on disk
  Word checkpoint_error;  // errno of the last one, when it could not be written
  Word letters_error;     // Errc of what keeps the daemon from moving dead letters; 0: nothing
  // Read at each request for work, written seldom.
  alignas(kFalseShare) Word next_due;  // no cell's `time` is earlier; see group/due.hpp
  Word dead_waiting;                   // raised when a cell turns dead: the daemon has a letter to move
  Word sleepers;                       // doorbell mask of members that wait for redeliveries
  Word keepers;                        // doorbell mask of a daemon that sleeps until something changes here
  Word saved;                          // of the checkpoint written last: what the daemon knows its state by,
  Word saved_clock;                    // and the wall clock then, less the monotonic one
  // Written at each delivery and settlement, all on one line.
  alignas(kFalseShare) Word in_flight;  // leases, about: counted again by each sweep
  Word dedupe_sequence;                 // ids done so far
  Word delivered;                       // counters, for people
  Word acked;
  Word redelivered;
  Word duplicates;
  Word dead_lettered;
  Word redriven;
  Word expired_skipped;
  Word missed;   // events that were overwritten or removed before the group came to them
  Word damaged;  // offsets on disk that could not be read
  Word queued;   // events that stand behind another of their key, about: never too few while a sweep is needed
  Word full;     // how often there was no cell for a fresh event, so that the cursor waited
  std::byte reserved2[kFalseShare - 13 * sizeof(Word)];
  alignas(kFalseShare) Word lanes_allocated;  // lanes of cells below this number may be touched
  Word parked_clock;                          // the clock by which parked events' times were reckoned; group/parked.cpp
  std::byte reserved3[kFalseShare - 2 * sizeof(Word)];
  Word lane_pages[kLaneEntries * sizeof(Pair) / kPage / 64];  // a bit a page of the lane table: it may be touched
  std::byte reserved1[kPage - 5 * kFalseShare - kLaneEntries * sizeof(Pair) / kPage / 8];

  Word occupied[kCellsMax / 64];  // a cell that holds an event has its bit set; a set bit alone means nothing
  Word due[kCellsMax / 64];       // for 64 cells each: none of their `time`s is earlier; see group/due.hpp
};
static_assert(offsetof(GroupTopicControl, cursor) == kPage);
inline constexpr std::size_t kCellsAt = 2 * kPage + 2 * (kCellsMax / 8);
static_assert(sizeof(GroupTopicControl) == kCellsAt && kCellsAt % kPage == 0);
inline constexpr std::size_t kMarksAt = kCellsAt + std::size_t{kCellsMax} * sizeof(Cell);
inline constexpr std::size_t kNotesAt = kMarksAt + kLettersMax / 8;
inline constexpr std::size_t kLanesAt = kNotesAt + std::size_t{kCellsMax} * 2 * sizeof(Note);
inline constexpr std::size_t kLaneTableAt = kLanesAt + std::size_t{kCellsMax} * sizeof(Lane);
inline constexpr std::size_t kDedupeAt = kLaneTableAt + std::size_t{kLaneEntries} * sizeof(Pair);
// The file's length without the dedupe window; the window adds dedupe_entries * sizeof(DedupeEntry).
inline constexpr std::size_t kGroupTopicBytes = kDedupeAt;

}  // namespace penstock::layout
