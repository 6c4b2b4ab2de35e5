// penstock doctor, of groups: who does not consume, what fails, what was given up on.
#include <algorithm>

#include "tools/penstock/doctor.hpp"
#include "tools/penstock/format.hpp"
#include "tools/penstock/json.hpp"
#include "tools/penstock/output.hpp"

namespace penstock::tool {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kLettersLookedAt = 10'000;  // of a storm of them more is not needed to tell what it is

std::string why(const std::string& error_class, const std::string& reason) {
  return escaped(error_class.empty() ? "no class" : error_class) + (reason.empty() ? "" : ": " + escaped(reason));
}

// What waits, and since when, of one group.
struct Waiting {
  std::uint64_t events = 0, retrying = 0, in_flight = 0;
  std::int64_t oldest_ms = 0;
};

std::string text(const Waiting& waiting) {
  return std::to_string(waiting.events) + " events wait, the oldest for " + std::to_string(waiting.oldest_ms / 1000) +
         " s";
}

// Nothing of a group that gets on: one that is only behind for a moment is no finding.
void add_stopped(const GroupInfo& group, const Waiting& waiting, std::vector<Finding>& findings) {
  if (waiting.events == 0) return;
  const std::string check = "group " + group.group;
  if (group.paused) {
    findings.push_back({check, false, "paused; " + text(waiting), "penstock group resume " + group.group});
  } else if (group.members == 0) {
    findings.push_back({check, false, "no member; " + text(waiting), "start the service that consumes as this group"});
  } else if (const auto lease = group.options.lease.value_or(30s);
             std::chrono::milliseconds(waiting.oldest_ms) > std::max<std::chrono::nanoseconds>(2 * lease, 1min)) {
    findings.push_back({check, false, text(waiting) + ", " + std::to_string(waiting.in_flight) + " with members",
                        "its " + std::to_string(group.members) +
                            " members hang, fail or are too few: penstock group "
                            "pending " +
                            group.group + " names them and their reasons"});
  }
}

void add_failing(const Bus& bus, const std::string& name, std::vector<Finding>& findings) {
  const auto pending = bus.group_pending(name);
  if (!pending) return;
  std::uint64_t count = 0;
  const PendingInfo* last = nullptr;
  for (const PendingInfo& event : *pending)
    if (event.attempts > 0) ++count, last = &event;
  if (last == nullptr) return;
  findings.push_back(
      {"group " + name, false,
       std::to_string(count) + " events fail again and again, one of them with " + why(last->error_class, last->reason),
       "penstock group pending " + name + " has all reasons; mend what the handlers meet"});
}

void add_letters(const Bus& bus, const std::string& name, std::vector<Finding>& findings) {
  std::uint64_t count = 0;
  DeadLetter last;
  const auto visited = bus.dead_letters(name, [&](const EventView&, const DeadLetter& letter) {
    last = letter;
    return ++count < kLettersLookedAt;
  });
  if (!visited && visited.error().code() != Errc::not_found)
    findings.push_back({"dlq " + name, false, "cannot be looked at", visited.error().message()});
  if (count == 0) return;
  findings.push_back({"dlq " + name, false,
                      (count == kLettersLookedAt ? "at least " : "") + std::to_string(count) +
                          " dead letters, one of " + time_text(last.last_failure) + " with " +
                          why(last.error_class, last.reason),
                      "penstock dlq show " + name + "; mend the cause, then penstock dlq redrive " + name +
                          " --dry-run, and without"});
}

}  // namespace

void add_groups(const Bus& bus, std::vector<Finding>& findings) {
  const auto names = bus.groups();
  if (!names) findings.push_back({"groups", false, "cannot be looked at", names.error().message()});
  if (!names) return;
  for (const std::string& name : *names) {
    const auto group = bus.describe_group(name);
    const auto topics = group ? bus.group_topics(name) : tl::unexpected(group.error());
    if (!topics) {
      if (topics.error().code() != Errc::not_found)  // deleted meanwhile
        findings.push_back({"group " + name, false, "cannot be looked at", topics.error().message()});
      continue;
    }
    Waiting waiting;
    for (const GroupTopicInfo& topic : *topics) {
      waiting.events += topic.lag;
      waiting.retrying += topic.retrying;
      waiting.in_flight += topic.in_flight;
      waiting.oldest_ms = std::max(waiting.oldest_ms, topic.oldest_pending_ms);
      if (topic.dead_letters_wait)
        findings.push_back(
            {"group " + name, false, "dead letters of " + topic.topic + " wait", *topic.dead_letters_wait});
    }
    add_stopped(*group, waiting, findings);
    if (waiting.retrying > 0) add_failing(bus, name, findings);
    add_letters(bus, name, findings);
  }
}

}  // namespace penstock::tool
