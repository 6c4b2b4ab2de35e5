// The words in which a group's engine is spoken to.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "layout/atomic16.hpp"
#include "layout/group.hpp"

namespace penstock::group {

// A moment, in nanoseconds. Leases and backoffs run by `now`, a clock that all members share and that never jumps while
// the shared memory lives; what people and disks see is told by `wall`, nanoseconds since the epoch. They may be the
// same clock.
struct Instant {
  std::int64_t now = 0;
  std::int64_t wall = 0;
  constexpr Instant(std::int64_t both) : now(both), wall(both) {}
  constexpr Instant(std::int64_t now_ns, std::int64_t wall_ns) : now(now_ns), wall(wall_ns) {}
};

// Times in shared memory stay below this; it means never.
inline constexpr std::int64_t kNever = (std::int64_t{1} << 62) - 1;

// A handle, and which of its lives.
struct Member {
  std::uint32_t slot = 0;
  std::uint32_t incarnation = 0;
  friend bool operator==(const Member&, const Member&) = default;
};

struct Place {
  std::uint64_t offset = 0;
  std::uint64_t position = 0;
  friend bool operator==(const Place&, const Place&) = default;
};

// The next event at or after the cursor, as the caller found it in the log, and where the cursor goes on from there.
// Offsets between the cursor and the event are settled with it: they are aborted, or gaps.
struct Fresh {
  std::uint64_t offset = 0;
  std::uint64_t position = 0;
  std::uint64_t next_offset = 0;
  std::uint64_t next_position = 0;
  layout::Id128 id;
  std::uint64_t key = 0;  // hash of the event's key: events with the same are delivered one after another; 0: no order
};

// One delivery of one event to one member: good for one settlement, and only while the cell's state is still this one.
struct Lease {
  std::uint32_t cell = layout::kNoCell;
  layout::Pair state;
  std::uint64_t offset = 0;
  std::uint64_t position = 0;
  layout::Id128 id;
  bool admitted = false;  // the dedupe window has let it through, and must learn of its success

  std::uint32_t delivered() const { return layout::cell_of(state.low).delivered; }
  std::uint32_t attempt() const { return layout::cell_of(state.low).failed + 1; }
  std::int64_t end() const { return std::int64_t(state.high); }
  bool executing() const { return layout::cell_of(state.low).executing; }
};

enum class Outcome : std::uint8_t {
  lease,    // yours: settle it
  nothing,  // nothing is due
  moved,    // somebody moved the cursor: read it again, and the log from there
  capped,   // as many leases as the group may have at a time: wait for a settlement
  queued,   // the event was taken, and waits for an earlier one of its key: go on with the next
  full,     // no cell is left for one more unsettled event: wait for a settlement
};
struct Taken {
  Outcome outcome = Outcome::nothing;
  Lease lease{};  // when outcome is lease
};

// What became of an event that failed.
enum class Fate : std::uint8_t { waiting, dead };

enum class Admit : std::uint8_t {
  admitted,   // process it
  duplicate,  // processed before: settle it as a duplicate
  busy,       // a copy is in flight: park it and ask again later
};

// What a handler says of a failure, and what is left of it.
struct NoteText {
  std::string_view error_class{};
  std::string_view reason{};
};
struct NoteCopy {
  std::string error_class;
  std::string reason;
  std::uint32_t pid = 0;
  std::uint32_t delivered = 0;  // of which delivery it speaks
};

// A cell as it was at one moment.
struct CellView {
  std::uint32_t cell = layout::kNoCell;
  layout::Pair state;
  layout::CellFields fields;
  std::uint64_t offset = 0;
  std::uint64_t position = 0;
  layout::Id128 id;
  std::int64_t first_failure = 0;  // wall; 0: none
  std::int64_t last_failure = 0;
  std::uint64_t key = 0;   // in a group ordered by key: hash of the event's; 0: none
  std::int64_t taken = 0;  // with a key: when it was taken, wall

  std::int64_t time() const { return std::int64_t(state.high); }
};

}  // namespace penstock::group
