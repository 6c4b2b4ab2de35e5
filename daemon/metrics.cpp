#include "daemon/metrics.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <penstock/log.hpp>
#include <vector>

namespace penstock::daemon {
namespace {

// Counted for one answer: other questions are answered in between.
constexpr std::size_t kLettersAtOnce = 200'000;

// A metric of things of one kind. A name that ends in _total only grows: a counter, else a gauge.
template <class Thing>
struct Family {
  const char* name;
  const char* help;
  std::optional<std::string> (*value)(const Thing&);  // nothing: this thing has no such value
};

struct OfDaemon {
  double uptime = 0;
  std::uint64_t refused = 0;
  bool ready = false;
  std::optional<BusInfo> bus;
};

using Value = std::optional<std::string>;

Value number(std::uint64_t value) { return std::to_string(value); }
Value flag(bool value) { return value ? "1" : "0"; }
Value seconds(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%.3f", value);
  return text;
}
bool durable(const TopicInfo& topic) { return topic.options.durability == Durability::disk; }

constexpr Family<TopicInfo> kTopics[] = {
    {"penstock_topic_next_offset", "The offset that the next event gets; it never goes down",
     [](const TopicInfo& t) { return number(t.next_offset); }},
    {"penstock_topic_durable_offset", "Events below this offset are on disk",
     [](const TopicInfo& t) { return durable(t) ? number(t.durable_offset) : Value(); }},
    {"penstock_topic_first_offset", "The oldest offset that can be read",
     [](const TopicInfo& t) { return number(t.first_offset); }},
    {"penstock_topic_ring_bytes", "The ring in shared memory", [](const TopicInfo& t) { return number(t.ring_bytes); }},
    {"penstock_topic_disk_bytes", "The topic's segments and indexes on disk",
     [](const TopicInfo& t) { return number(t.disk_bytes); }},
    {"penstock_topic_producers", "Producers that live", [](const TopicInfo& t) { return number(t.producers); }},
    {"penstock_topic_readers", "Readers without a group that live",
     [](const TopicInfo& t) { return number(t.readers); }},
    {"penstock_topic_blocked", "1 while an open claim holds readers up, or somebody behind holds producers up",
     [](const TopicInfo& t) { return flag(t.blocked_by.has_value()); }},
    {"penstock_topic_durable_error", "The errno for which nothing more comes to disk; 0: it does",
     [](const TopicInfo& t) { return number(std::uint64_t(t.durable_error)); }},
};

constexpr Family<Metrics::GroupTopic> kGroupTopics[] = {
    {"penstock_group_lag", "Events that the group has not settled",
     [](const Metrics::GroupTopic& g) { return number(g.info.lag); }},
    {"penstock_group_in_flight", "Deliveries out with members",
     [](const Metrics::GroupTopic& g) { return number(g.info.in_flight); }},
    {"penstock_group_retrying", "Events that wait for a retry, or to be moved to the dead-letter queue",
     [](const Metrics::GroupTopic& g) { return number(g.info.retrying); }},
    {"penstock_group_queued", "Events taken that wait for an earlier one of their key",
     [](const Metrics::GroupTopic& g) { return number(g.info.queued); }},
    {"penstock_group_oldest_pending_seconds", "Age of the oldest unsettled event; 0: there is none",
     [](const Metrics::GroupTopic& g) { return seconds(double(g.info.oldest_pending_ms) / 1000); }},
    {"penstock_group_dead_letters_waiting", "1 while events that failed for good cannot be moved to the DLQ",
     [](const Metrics::GroupTopic& g) { return flag(g.info.dead_letters_wait.has_value()); }},
    {"penstock_group_checkpoint_error", "The errno for which the group's state does not come to disk; 0: it does",
     [](const Metrics::GroupTopic& g) { return number(std::uint64_t(g.checkpoint_error)); }},
    {"penstock_group_delivered_total", "Deliveries, again and again included",
     [](const Metrics::GroupTopic& g) { return number(g.info.delivered); }},
    {"penstock_group_acked_total", "Events processed",
     [](const Metrics::GroupTopic& g) { return number(g.info.acked); }},
    {"penstock_group_redelivered_total", "Deliveries of events that were delivered before",
     [](const Metrics::GroupTopic& g) { return number(g.info.redelivered); }},
    {"penstock_group_duplicates_skipped_total", "Events whose id had been processed",
     [](const Metrics::GroupTopic& g) { return number(g.info.duplicates_skipped); }},
    {"penstock_group_dead_lettered_total", "Events moved to the dead-letter queue",
     [](const Metrics::GroupTopic& g) { return number(g.info.dead_lettered); }},
    {"penstock_group_missed_total", "Events that were gone before the group came to them",
     [](const Metrics::GroupTopic& g) { return number(g.info.missed); }},
    {"penstock_group_damaged_total", "Offsets on disk that could not be read",
     [](const Metrics::GroupTopic& g) { return number(g.info.damaged); }},
    {"penstock_group_full_total", "How often fresh events waited since the group holds as many unsettled as it can",
     [](const Metrics::GroupTopic& g) { return number(g.info.full); }},
};

constexpr Family<Metrics::Group> kGroups[] = {
    {"penstock_group_members", "Members that live", [](const Metrics::Group& g) { return number(g.info.members); }},
    {"penstock_group_paused", "1 while the group is paused",
     [](const Metrics::Group& g) { return flag(g.info.paused); }},
    {"penstock_dlq_letters", "Dead letters that are neither redriven nor purged",
     [](const Metrics::Group& g) { return g.letters ? number(*g.letters) : Value(); }},
    {"penstock_dlq_redriven_total", "Dead letters given back to the group",
     [](const Metrics::Group& g) { return number(g.info.redriven); }},
};

constexpr Family<OfDaemon> kDaemon[] = {
    {"penstock_uptime_seconds", "Since the program was started", [](const OfDaemon& d) { return seconds(d.uptime); }},
    {"penstock_ready", "1 while what is published and settled comes to disk",
     [](const OfDaemon& d) { return flag(d.ready); }},
    {"penstock_describe_failures_total", "Topics and groups left out of an answer, since they could not be described",
     [](const OfDaemon& d) { return number(d.refused); }},
    {"penstock_shm_bytes", "Shared memory that the bus takes",
     [](const OfDaemon& d) { return d.bus ? number(d.bus->shm_bytes) : Value(); }},
    {"penstock_disk_bytes", "Disk that the bus takes",
     [](const OfDaemon& d) { return d.bus ? number(d.bus->disk_bytes) : Value(); }},
    {"penstock_handles", "Producers, consumers, readers and daemons that live",
     [](const OfDaemon& d) { return d.bus ? number(d.bus->handles) : Value(); }},
};

class Text {
 public:
  // `labels` gives a thing's, with the braces; families without a value are left out.
  template <class Thing, std::size_t N, class Labels>
  void add(const Family<Thing> (&families)[N], const std::vector<Thing>& things, Labels labels) {
    for (const Family<Thing>& family : families) {
      bool begun = false;
      for (const Thing& thing : things) {
        const Value value = family.value(thing);
        if (!value) continue;
        if (!begun) begin(family.name, family.help);
        begun = true;
        out_ += family.name + labels(thing) + ' ' + *value + '\n';
      }
    }
  }
  void add_info(const char* name, const char* help, const std::string& labels) {
    begin(name, help);
    out_ += name + labels + " 1\n";
  }
  std::string take() { return std::move(out_); }

 private:
  void begin(const std::string& name, const char* help) {
    out_ += "# HELP " + name + ' ' + help + "\n# TYPE " + name + (name.ends_with("_total") ? " counter\n" : " gauge\n");
  }
  std::string out_;
};

std::string labels_of(std::initializer_list<std::pair<const char*, std::string_view>> labels) {
  std::string out;
  for (const auto& [name, value] : labels)
    out += (out.empty() ? "{" : ",") + std::string(name) + "=\"" + label_text(value) + '"';
  return out + '}';
}

}  // namespace

std::string label_text(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out;
}

std::optional<std::uint64_t> Metrics::letters_of(const Bus& bus, const std::shared_ptr<api::Group>& group) {
  const std::string& dlq = group->dlq();
  const auto topic = bus.describe_topic(dlq);
  if (!topic) {
    letters_.erase(group->name());
    return std::nullopt;
  }
  Letters& letters = letters_[group->name()];
  if (letters.first != topic->first_offset || letters.next > topic->next_offset)
    letters = {topic->first_offset, topic->first_offset, 0};
  if (letters.next < topic->next_offset) {
    const auto log = Log::open(bus.directory(), dlq);
    std::size_t left = kLettersAtOnce;
    const LogVisitor count{.event = [&](const EventView& it) {
      ++letters.events;
      letters.next = it.offset() + 1;
      return --left != 0;
    }};
    if (!log || !log->scan({.from = StartAt::offset(letters.next)}, count)) {
      ++refused_;
      return std::nullopt;
    }
    if (left == 0) return std::nullopt;  // not all are counted yet
  }
  const auto state = api::GroupState::open(group, dlq, {});
  if (!state) return std::nullopt;
  std::uint64_t closed = 0;  // redriven or purged: events all of them
  for (Offset letter = letters.first; letter < letters.next; ++letter) closed += (*state)->engine().marked(letter);
  return letters.events - std::min(letters.events, closed);
}

void Metrics::look_at_group(const Bus& bus, const std::string& name, Seen& out) {
  const auto group = api::Group::open(bus.state(), name);
  const auto info = bus.describe_group(name);
  const auto topics = bus.group_topics(name);
  // Deleted meanwhile, or with [access] not opened by its user yet.
  const auto absent = [&group](const auto& asked) {
    if (asked) return false;
    const bool others = group && !(*group)->place().ours();
    return asked.error().code() == Errc::not_found || (others && asked.error().code() == Errc::permission);
  };
  if (!group || !info || !topics) {
    if (!absent(group) && !absent(info) && !absent(topics)) ++refused_;
    return;
  }
  out.groups.push_back({*info, letters_of(bus, *group)});
  for (const GroupTopicInfo& topic : *topics) {
    const auto state = api::GroupState::open(*group, topic.topic, {});
    out.group_topics.push_back({topic, state ? (*state)->checkpoint_error() : 0});
  }
}

Metrics::Seen Metrics::look(const Bus& bus) {
  Seen out;
  if (auto info = bus.describe())
    out.bus = *info;
  else
    ++refused_;
  for (const std::string& name : bus.topics().value_or(std::vector<std::string>())) {
    if (auto info = bus.describe_topic(name))
      out.topics.push_back(std::move(*info));
    else if (info.error().code() != Errc::not_found)  // deleted meanwhile
      ++refused_;
  }
  const auto groups = bus.groups().value_or(std::vector<std::string>());
  for (const std::string& name : groups) look_at_group(bus, name, out);
  std::erase_if(letters_, [&groups](const auto& it) {
    return std::find(groups.begin(), groups.end(), it.first) == groups.end();
  });
  return out;
}

std::string Metrics::text(const Bus* bus) {
  const Seen seen = bus != nullptr ? look(*bus) : Seen();
  const double uptime = std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
  const std::vector<OfDaemon> daemon{{uptime, refused_, !why_not_ready(seen), seen.bus}};
  Text out;
  out.add_info("penstock_build_info", "The version that runs", labels_of({{"version", kVersion}}));
  if (seen.bus && !seen.bus->backend.empty())
    out.add_info("penstock_daemon_info", "How the daemon writes", labels_of({{"backend", seen.bus->backend}}));
  out.add(kDaemon, daemon, [](const OfDaemon&) { return std::string(); });
  out.add(kTopics, seen.topics, [](const TopicInfo& it) { return labels_of({{"topic", it.name}}); });
  out.add(kGroups, seen.groups, [](const Metrics::Group& it) { return labels_of({{"group", it.info.group}}); });
  out.add(kGroupTopics, seen.group_topics, [](const GroupTopic& it) {
    return labels_of({{"group", it.info.group}, {"topic", it.info.topic}});
  });
  return out.take();
}

std::optional<std::string> Metrics::why_not_ready(const Bus* bus) {
  return why_not_ready(bus != nullptr ? look(*bus) : Seen());
}

std::optional<std::string> Metrics::why_not_ready(const Seen& seen) {
  if (!seen.bus) return "the bus is not open";
  if (!seen.bus->daemon_pid) return "the daemon does not run";
  for (const TopicInfo& topic : seen.topics)
    if (topic.durable_error != 0)
      return "topic " + topic.name + " is not written to disk: " + std::strerror(topic.durable_error);
  for (const GroupTopic& it : seen.group_topics)
    if (it.checkpoint_error != 0)
      return "what group " + it.info.group + " settled in topic " + it.info.topic +
             " is not written to disk: " + std::strerror(it.checkpoint_error);
  return std::nullopt;
}

}  // namespace penstock::daemon
