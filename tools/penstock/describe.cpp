// What an operator is told about topics, groups, files and the bus, as JSON; and the words for options.
#include <cstdio>

#include "tools/penstock/json.hpp"

namespace penstock::tool {
namespace {

std::vector<std::string> texts(const std::vector<std::chrono::nanoseconds>& durations) {
  std::vector<std::string> result;
  result.reserve(durations.size());
  for (const auto duration : durations) result.push_back(duration_text(duration));
  return result;
}

// A limit that is off is null, not 0.
Json limit(std::uint64_t value) { return value == 0 ? Json(nullptr) : Json(value); }
Json limit(std::chrono::nanoseconds value) { return value.count() == 0 ? Json(nullptr) : Json(duration_text(value)); }

}  // namespace

const char* name_of(Durability durability) { return durability == Durability::disk ? "disk" : "memory"; }
const char* name_of(Full full) { return full == Full::block ? "block" : full == Full::fail ? "fail" : "drop_oldest"; }
const char* name_of(Ordering ordering) {
  return ordering == Ordering::parallel ? "parallel" : ordering == Ordering::key ? "key" : "strict";
}
const char* name_of(Expired expired) { return expired == Expired::dlq ? "dlq" : "skip"; }

std::string duration_text(std::chrono::nanoseconds duration) {
  struct Unit {
    std::int64_t ns;
    const char* name;
  };
  for (const auto& [ns, name] : {Unit{86'400'000'000'000, "d"}, Unit{3'600'000'000'000, "h"}, Unit{60'000'000'000, "m"},
                                 Unit{1'000'000'000, "s"}, Unit{1'000'000, "ms"}, Unit{1'000, "us"}}) {
    if (duration.count() != 0 && duration.count() % ns == 0) return std::to_string(duration.count() / ns) + name;
  }
  return duration.count() == 0 ? "0s" : std::to_string(duration.count()) + "ns";
}

std::string size_text(std::uint64_t bytes) {
  static constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit < 5; ++unit) value /= 1024;
  char text[32];
  const bool whole = value == static_cast<double>(static_cast<std::uint64_t>(value));
  std::snprintf(text, sizeof text, whole ? "%.0f%s" : "%.1f%s", value, units[unit]);
  return text;
}

Json topic_json(const TopicInfo& info) {
  return {{"name", info.name},
          {"durability", name_of(info.options.durability)},
          {"first_offset", info.first_offset},
          {"next_offset", info.next_offset},
          {"durable_offset", info.durable_offset},
          {"ring_bytes", info.ring_bytes},
          {"shm_bytes", info.shm_bytes},
          {"disk_bytes", info.disk_bytes},
          {"producers", info.producers},
          {"readers", info.readers},
          {"full", name_of(info.options.full)},
          {"single_producer", info.options.single_producer},
          {"max_payload", limit(info.options.max_payload)},
          {"retention_bytes", limit(info.options.retention_bytes)},
          {"retention_time", limit(info.options.retention_time)},
          {"retain_unacked", info.options.retain_unacked},
          {"publish_dedupe", info.options.publish_dedupe},
          {"compact", info.options.compact},
          {"blocked_by", info.blocked_by ? Json(*info.blocked_by) : Json(nullptr)},
          {"durable_error", info.durable_error},
          {"compaction_waits_for", info.compaction_waits_for ? Json(*info.compaction_waits_for) : Json(nullptr)},
          {"retention_waits_for", info.retention_waits_for ? Json(*info.retention_waits_for) : Json(nullptr)}};
}

Json group_json(const GroupInfo& info) {
  const ConsumerOptions& o = info.options;
  return {{"group", info.group},
          {"subscriptions", info.patterns},
          {"paused", info.paused},
          {"members", info.members},
          {"redriven", info.redriven},
          {"max_attempts", o.max_attempts.value_or(5)},
          {"backoff", texts(o.backoff)},
          {"lease", duration_text(o.lease.value_or(std::chrono::seconds(30)))},
          {"ordering", name_of(o.ordering.value_or(Ordering::parallel))},
          {"max_in_flight", o.max_in_flight.value_or(256)},
          {"dedupe", o.dedupe.value_or(4096)},
          {"dedupe_age", limit(o.dedupe_age.value_or(std::chrono::nanoseconds(0)))},
          {"expired", name_of(o.expired.value_or(Expired::dlq))}};
}

Json group_topic_json(const GroupTopicInfo& info) {
  return {{"group", info.group},
          {"topic", info.topic},
          {"committed", info.committed},
          {"next_offset", info.next_offset},
          {"lag", info.lag},
          {"in_flight", info.in_flight},
          {"retrying", info.retrying},
          {"queued", info.queued},
          {"full", info.full},
          {"oldest_pending_ms", info.oldest_pending_ms},
          {"delivered", info.delivered},
          {"acked", info.acked},
          {"redelivered", info.redelivered},
          {"duplicates_skipped", info.duplicates_skipped},
          {"dead_lettered", info.dead_lettered},
          {"members", info.members},
          {"missed", info.missed},
          {"damaged", info.damaged},
          {"dead_letters_wait", info.dead_letters_wait ? Json(*info.dead_letters_wait) : Json(nullptr)},
          {"shm_bytes", info.shm_bytes}};
}

Json pending_json(const std::string& group, const PendingInfo& info) {
  return {{"group", group},
          {"topic", info.topic},
          {"offset", info.offset},
          {"state", info.state},
          {"member", info.member.empty() ? Json(nullptr) : Json(info.member)},
          {"attempts", info.attempts},
          {"delivered", info.delivered},
          {"due", info.due == Timestamp{} ? Json(nullptr) : Json(time_text(info.due))},
          {"error_class", info.error_class},
          {"reason", info.reason}};
}

Json key_json(const std::string& group, const KeyInfo& info) {
  Json object{{"group", group}, {"topic", info.topic}};
  if (!info.key)
    object["key"] = nullptr;
  else if (valid_utf8(*info.key))
    object["key"] = *info.key;
  else
    object["key_base64"] = base64(*info.key);
  object["offset"] = info.offset;
  object["state"] = info.state;
  object["attempt"] = info.attempt;
  object["behind"] = info.behind;
  object["since"] = time_text(info.since);
  return object;
}

Json file_json(const FileReport& report) {
  const bool any = report.events > 0;
  return {{"file", report.file},
          {"events", report.events},
          {"first_offset", any ? Json(report.first_offset) : Json(nullptr)},
          {"last_offset", any ? Json(report.last_offset) : Json(nullptr)},
          {"ok", report.ok},
          {"problems", report.problems}};
}

Json bus_json(const BusInfo& info) {
  return {{"path", info.path},
          {"live_path", info.live_path},
          {"shm_bytes", info.shm_bytes},
          {"disk_bytes", info.disk_bytes},
          {"topics", info.topics},
          {"groups", info.groups},
          {"handles", info.handles},
          {"daemon_pid", info.daemon_pid ? Json(*info.daemon_pid) : Json(nullptr)},
          {"backend", info.backend.empty() ? Json(nullptr) : Json(info.backend)},
          {"uring_error", info.uring_error}};
}

}  // namespace penstock::tool
