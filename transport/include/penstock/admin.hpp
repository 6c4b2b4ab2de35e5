// What operators ask of a bus: descriptions, changes, dead letters. Any thread; each call stands for itself.
#pragma once

#include <functional>
#include <penstock/options.hpp>

namespace penstock {

// A topic as it is now.
struct TopicInfo {
  std::string name;
  TopicOptions options;
  Offset first_offset = 0;    // the oldest that can be read
  Offset next_offset = 0;     // what the next event gets
  Offset durable_offset = 0;  // everything below is on disk
  std::uint64_t ring_bytes = 0;
  std::uint64_t shm_bytes = 0;  // that its live file takes, the ring included
  std::uint64_t disk_bytes = 0;
  std::uint32_t producers = 0;  // living handles
  std::uint32_t readers = 0;    // living handles
  // Who holds an open claim that readers wait for ("slot 3, pid 77"), or which reader or group holds producers up.
  std::optional<std::string> blocked_by;
  int durable_error = 0;  // errno of a persister that cannot go on
  // Which group's unsettled events keep older ones from being compacted.
  std::optional<std::string> compaction_waits_for{};
  // Which group's unsettled event keeps the oldest segment, though retention would give it up.
  std::optional<std::string> retention_waits_for{};
};

// A group and its options.
struct GroupInfo {
  std::string group;
  std::vector<std::string> patterns;
  ConsumerOptions options;
  bool paused = false;
  std::uint32_t members = 0;   // living handles
  std::uint64_t redriven = 0;  // dead letters given back since the group began
};

// Where a group is in a topic. The counts of deliveries begin with the group.
struct GroupTopicInfo {
  std::string group;
  std::string topic;
  Offset committed = 0;         // the first unsettled event
  Offset next_offset = 0;       // the topic's
  std::uint64_t lag = 0;        // unsettled events
  std::uint64_t in_flight = 0;  // leased
  std::uint64_t retrying = 0;   // waiting for a retry, or for the daemon to move them to the DLQ
  std::uint64_t queued = 0;     // ordered by key: taken, and behind an earlier event of their key
  std::uint64_t full = 0;       // how often fresh events had to wait since as many were unsettled as a group can hold
  std::int64_t oldest_pending_ms = 0;  // since the oldest unsettled event was published; 0: all is settled
  std::uint64_t delivered = 0, acked = 0, redelivered = 0, duplicates_skipped = 0, dead_lettered = 0;
  std::uint64_t missed = 0;   // overwritten or removed before the group came to them
  std::uint64_t damaged = 0;  // offsets on disk that could not be read
  std::uint32_t members = 0;  // living handles, of the whole group
  // What keeps the daemon from moving dead letters; they are kept meanwhile, and count as retrying.
  std::optional<std::string> dead_letters_wait{};
  std::uint64_t shm_bytes = 0;  // that the group's place in the topic takes
};

// An event that a group took and has not settled.
struct PendingInfo {
  std::string topic;
  Offset offset = 0;
  std::string state;                // leased, waiting, queued (behind another of its key), dead
  std::string member;               // who has it, or had it last: "slot 12, pid 3456"
  std::uint32_t attempts = 0;       // failed so far
  std::uint32_t delivered = 0;      // times handed out
  Timestamp due{};                  // the lease's end, or when it comes back
  std::string error_class, reason;  // of the last failure
};

// In a group ordered by key: a key with an unsettled event, which its later events wait for.
struct KeyInfo {
  std::string topic;
  std::optional<std::string> key;  // nothing when the event can no longer be read
  Offset offset = 0;               // the event's
  std::string state;               // leased, retrying
  std::uint32_t attempt = 1;       // failed attempts + 1
  std::uint64_t behind = 0;        // events of the key that wait for it, of those the group has come to
  Timestamp since{};               // when the group took the event
};

// A bus as it is now.
struct BusInfo {
  std::string path;
  std::string live_path;
  std::uint64_t shm_bytes = 0;
  std::uint64_t disk_bytes = 0;
  std::uint32_t topics = 0, groups = 0, handles = 0;  // handles: the living
  std::optional<std::uint32_t> daemon_pid;            // nothing: no daemon runs
  std::string backend;                                // io_uring or pwrite; empty without a daemon
  int uring_error = 0;  // the errno for which it is not io_uring; 0: it is, or pwrite was asked for
};

// Which letters an operator means; each that is set must fit.
struct RedriveFilter {
  std::optional<Offset> offset;  // the DLQ's own
  std::optional<std::string> key;
  std::optional<std::string> error_class;
  std::optional<Timestamp> since;  // last failure at or after
};

}  // namespace penstock
