// Making a topic's segments sound again: after a reboot, or when a daemon takes over from one that died. Whoever calls
// it holds the bus's lock. Killed anywhere, it is simply run again. Nothing but the end of the log is looked at,
// however many segments there are (OrderCheck looks at the others), or changed: the torn tail of the last is cut,
// synced and sealed, so that what comes after goes into a new segment; the one before it is sealed, should that have
// been left to do. What is broken stays where it is and is told.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <penstock/error.hpp>
#include <span>
#include <string>
#include <vector>

#include "layout/segment.hpp"
#include "storage/segment_reader.hpp"

namespace penstock::storage {

// What is found of the last segment. Every combination has exactly one case; see the table in recover_table.cpp.
enum class HeaderFact : std::uint8_t { no_segment, blank, damaged, good };
enum class MarkFact : std::uint8_t { none, open, sealed };
struct RecoveryFacts {
  HeaderFact header = HeaderFact::no_segment;
  MarkFact mark = MarkFact::none;
  bool covers = false;     // the file reaches to its mark
  bool reached = true;     // a running topic only: records hold up to what it knows to be durable
  bool holds_any = false;  // there are records
  bool torn = false;       // after the last whole claim the file is not zero
};

enum class RecoveryCase : std::uint8_t {
  nothing,       // no segments: the log begins
  never_born,    // a file without a header, left by who died while making it: removed, and the one before is looked at
  header_lost,   // neither copy of the header holds: kept, told, its offsets passed over
  marks_lost,    // neither mark holds, which no crash can do: kept as it is, told; read as far as records hold
  sealed_whole,  // nothing to do
  sealed_short,  // sealed, but the file ends before: kept, told
  open_short,    // the file ends before what was flushed: kept, told
  open_unreachable,  // a running topic knows more to be durable than the file has: kept, told
  open_empty,        // made, but nothing came into it: removed, so that its name is free
  open_clean,        // not closed: sealed where it ends
  open_torn,         // a write was cut short: the tail is cut and it is sealed
};
inline constexpr std::size_t kRecoveryCases = 11;

struct RecoveryRow {
  RecoveryCase result;
  const char* label;
  // The facts that lead here; an empty optional: whatever it is.
  std::optional<HeaderFact> header;
  std::optional<MarkFact> mark;
  std::optional<bool> covers, reached, holds_any, torn;
  bool matches(const RecoveryFacts& facts) const;
};
std::span<const RecoveryRow> recovery_table();
RecoveryCase recovery_case(const RecoveryFacts& facts);

// Where offsets go on, from what the log holds and what topic.meta says.
enum class OffsetCase : std::uint8_t {
  from_log,       // stopped cleanly, and meta and log agree
  from_meta,      // stopped cleanly; a memory topic's log is not on disk
  log_is_short,   // stopped cleanly further on than the log reaches: told, goes on where it stopped
  meta_is_stale,  // the log reaches further than meta says, which no clean stop leaves: told
  from_bound,     // not stopped cleanly: at the bound, a hole of offsets that were perhaps given
  meta_lost,      // no copy of meta holds and there is a log: told, goes on far ahead
  new_topic,      // neither
};
inline constexpr std::uint64_t kMetaLostJump = 1ull << 32;

struct Recovered {
  RecoveryCase found = RecoveryCase::nothing;
  OffsetCase offsets = OffsetCase::new_topic;
  std::uint64_t log_offset = 0;  // where the log on disk ends
  std::uint64_t log_position = 0;
  std::uint64_t next_offset = 0;  // where the topic goes on
  std::uint64_t next_position = 0;
  std::uint64_t cut_bytes = 0;  // of a torn tail
  std::vector<std::string> problems;
};

struct RecoverOptions {
  // A topic that still runs in shared memory: what it knows to be on disk. What the file holds past it is cut, since
  // the ring holds it too.
  std::optional<Boundary> durable;
  std::uint64_t bus_id = 0;
  mode_t mode = 0600;
  bool change = true;  // false: only look
};

// `directory`: topics/<topic>. With `meta` empty, topic.meta was not found or could not be read (`meta_corrupt`).
Result<Recovered> recover_topic(const std::string& directory, const std::optional<layout::TopicMeta>& meta,
                                bool meta_corrupt, const RecoverOptions& options);

}  // namespace penstock::storage
