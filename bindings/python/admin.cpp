// What Bus describes: values to look at.
#include "bindings/python/convert.hpp"
#include "bindings/python/module.hpp"

namespace penstock::python {

void bind_admin(py::module_& module) {
  RecordClass<TopicInfo>(module, "TopicInfo", "A topic, as it is now.")
      .field("name", &TopicInfo::name, "The topic's name.")
      .shown(
          "options", [](const TopicInfo& info) { return show_options(info.options, kTopicOptions); }, "As created.")
      .field("first_offset", &TopicInfo::first_offset, "The oldest event that can be read.")
      .field("next_offset", &TopicInfo::next_offset, "What the next event gets.")
      .field("durable_offset", &TopicInfo::durable_offset, "Everything below is on disk.")
      .field("ring_bytes", &TopicInfo::ring_bytes, "The ring in shared memory.")
      .field("shm_bytes", &TopicInfo::shm_bytes, "Shared memory that it takes, the ring included.")
      .field("disk_bytes", &TopicInfo::disk_bytes, "Its segments.")
      .field("producers", &TopicInfo::producers, "Living handles.")
      .field("readers", &TopicInfo::readers, "Living handles.")
      .field("blocked_by", &TopicInfo::blocked_by, "Who holds readers or producers up, or None.")
      .field("durable_error", &TopicInfo::durable_error, "errno of a persister that cannot go on; 0: none.")
      .field("compaction_waits_for", &TopicInfo::compaction_waits_for,
             "Which group's unsettled events keep older ones from being compacted, or None.")
      .field("retention_waits_for", &TopicInfo::retention_waits_for,
             "Which group's unsettled event keeps the oldest segment from retention, or None.");
  RecordClass<GroupInfo>(module, "GroupInfo", "A group, as it is now.")
      .field("group", &GroupInfo::group, "The group's name.")
      .field("patterns", &GroupInfo::patterns, "What it subscribes to.")
      .shown(
          "options", [](const GroupInfo& info) { return show_options(info.options, kConsumerOptions); }, "Its options.")
      .field("paused", &GroupInfo::paused, "True: its members are given nothing.")
      .field("members", &GroupInfo::members, "Living handles.")
      .field("redriven", &GroupInfo::redriven, "Dead letters given back since the group began.");
  RecordClass<GroupTopicInfo>(module, "GroupTopicInfo", "Where a group stands in one topic.")
      .field("group", &GroupTopicInfo::group, "The group's name.")
      .field("topic", &GroupTopicInfo::topic, "The topic's name.")
      .field("committed", &GroupTopicInfo::committed, "The first unsettled event.")
      .field("next_offset", &GroupTopicInfo::next_offset, "The topic's.")
      .field("lag", &GroupTopicInfo::lag, "Unsettled events.")
      .field("in_flight", &GroupTopicInfo::in_flight, "Leased now.")
      .field("retrying", &GroupTopicInfo::retrying, "Waiting for a retry, or for the daemon to dead-letter them.")
      .field("queued", &GroupTopicInfo::queued, "Ordered by key: taken, and behind an earlier event of their key.")
      .field("full", &GroupTopicInfo::full, "How often fresh events waited since no more could be unsettled at once.")
      .field("oldest_pending_ms", &GroupTopicInfo::oldest_pending_ms, "Age of the oldest unsettled event.")
      .field("delivered", &GroupTopicInfo::delivered, "Counted since the group began.")
      .field("acked", &GroupTopicInfo::acked, "Counted since the group began.")
      .field("redelivered", &GroupTopicInfo::redelivered, "Counted since the group began.")
      .field("duplicates_skipped", &GroupTopicInfo::duplicates_skipped, "Counted since the group began.")
      .field("dead_lettered", &GroupTopicInfo::dead_lettered, "Counted since the group began.")
      .field("missed", &GroupTopicInfo::missed, "Overwritten or removed before the group came to them.")
      .field("damaged", &GroupTopicInfo::damaged, "Offsets on disk that could not be read.")
      .field("members", &GroupTopicInfo::members, "Living handles.")
      .field("dead_letters_wait", &GroupTopicInfo::dead_letters_wait,
             "What keeps the daemon from moving dead letters; None: nothing.")
      .field("shm_bytes", &GroupTopicInfo::shm_bytes, "Shared memory that the group's place in the topic takes.");
  RecordClass<PendingInfo>(module, "PendingInfo", "An event that a group has not settled.")
      .field("topic", &PendingInfo::topic, "The topic's name.")
      .field("offset", &PendingInfo::offset, "Its offset there.")
      .field("state", &PendingInfo::state, "leased, waiting, queued (behind another of its key) or dead.")
      .field("member", &PendingInfo::member, "Who has it.")
      .field("attempts", &PendingInfo::attempts, "Failed so far.")
      .field("delivered", &PendingInfo::delivered, "How often it was delivered.")
      .field("due", &PendingInfo::due, "The lease's end, or when it comes back.")
      .field("error_class", &PendingInfo::error_class, "Of the last failure.")
      .field("reason", &PendingInfo::reason, "Of the last failure.");
  RecordClass<KeyInfo>(module, "KeyInfo",
                       "In a group ordered by key: a key with an unsettled event, which its later events wait for.")
      .field("topic", &KeyInfo::topic, "The topic's name.")
      .field("key", &KeyInfo::key, "The key; None when the event can no longer be read.")
      .field("offset", &KeyInfo::offset, "The event's.")
      .field("state", &KeyInfo::state, "leased or retrying.")
      .field("attempt", &KeyInfo::attempt, "Failed attempts + 1.")
      .field("behind", &KeyInfo::behind, "Events of the key that wait for it, of those the group has come to.")
      .field("since", &KeyInfo::since, "When the group took the event.");
  RecordClass<BusInfo>(module, "BusInfo", "A bus, as it is now.")
      .field("path", &BusInfo::path, "Its directory.")
      .field("live_path", &BusInfo::live_path, "Its side in shared memory.")
      .field("shm_bytes", &BusInfo::shm_bytes, "Shared memory in use.")
      .field("disk_bytes", &BusInfo::disk_bytes, "Disk in use.")
      .field("topics", &BusInfo::topics, "How many.")
      .field("groups", &BusInfo::groups, "How many.")
      .field("handles", &BusInfo::handles, "How many.")
      .field("daemon_pid", &BusInfo::daemon_pid, "None: no daemon runs.")
      .field("backend", &BusInfo::backend, "io_uring or pwrite; empty without a daemon.")
      .field("uring_error", &BusInfo::uring_error,
             "The errno for which it is not io_uring; 0: it is, or was not asked for.");
}

}  // namespace penstock::python
