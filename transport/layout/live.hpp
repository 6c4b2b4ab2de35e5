// The bus-wide live files: live/bus (identity and counters) and live/wake (doorbells and sleepers' masks).
#pragma once

#include "layout/base.hpp"

namespace penstock::layout {

inline constexpr std::uint32_t kMaxTopics = 16384;  // topics of a bus at once
inline constexpr std::uint32_t kDoorbells = 64;     // a handle listens at doorbell (slot mod 64)

struct LiveHeader {  // live/bus
  Preamble preamble;
  char bus_path[1024];                     // the directory this live side was made for, for people and for cleaning up
  alignas(kFalseShare) Word topics_epoch;  // raised when a topic appears or goes
  Word groups_epoch;                       // raised when a group appears, goes or changes its options
  Word producer_sequence;                  // the next producer's number in generated ids
  Word handle_slots;                       // slot files below this number may exist
  alignas(kFalseShare) Word daemon_pid;    // of the daemon that holds daemon.lock, for people
  Word daemon_backend;                     // 1: io_uring, 2: pwrite, plus 256 times the errno that refused io_uring
  Word daemon_started_ns;                  // realtime
  Word ordinals[kMaxTopics / 64];          // which wake ordinals are taken; changed under the bus lock
  // [access]: the Unix groups the live side was made for, each plus 1; 0: it is one user's. Never changed.
  std::uint64_t producers_group;
  std::uint64_t consumers_group;
};
static_assert(offsetof(LiveHeader, producers_group) == 3352 && sizeof(LiveHeader) <= kPage);
inline constexpr std::size_t kLiveBytes = kPage;

// Consumers may write here; the worst they can cause is a needless wake-up.
// A sleeper reads its doorbell and sets its bit in the mask of all it waits for; who has news swaps the mask for zero,
// raises each doorbell named and wakes who sleeps on it.
struct alignas(kLine) Doorbell {
  std::atomic<std::uint32_t> count;
};
struct alignas(kLine) SleeperMask {
  Word mask;
  Word disk;  // who waits for the topic's events to be on disk, and for nothing else
};
inline constexpr std::uint32_t kBusOrdinal = 0;  // mask 0: news of topics and groups coming and going

struct WakeFile {  // live/wake
  Preamble preamble;
  Word groups_epoch;  // in place of LiveHeader's in buses with [access], where consumers make groups
  alignas(kFalseShare) Word watched_until;  // monotonic ns: so long somebody watches for the disk without sleeping
  std::byte reserved[kPage - kFalseShare - sizeof(Word)];
  Doorbell doorbells[kDoorbells];
  SleeperMask masks[kMaxTopics];
};
static_assert(sizeof(Doorbell) == kLine && sizeof(SleeperMask) == kLine);
static_assert(offsetof(WakeFile, doorbells) == kPage &&
              sizeof(WakeFile) == kPage + kDoorbells * kLine + kMaxTopics * kLine);

}  // namespace penstock::layout
