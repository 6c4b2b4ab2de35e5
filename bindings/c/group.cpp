#include "bindings/c/internal.hpp"

using namespace penstock::c;

namespace {

penstock_group_info shown(const penstock::GroupTopicInfo& info) {
  penstock_group_info out{};
  out.struct_size = sizeof out;
  out.committed = info.committed;
  out.next_offset = info.next_offset;
  out.lag = info.lag;
  out.in_flight = info.in_flight;
  out.retrying = info.retrying;
  out.delivered = info.delivered;
  out.acked = info.acked;
  out.redelivered = info.redelivered;
  out.duplicates_skipped = info.duplicates_skipped;
  out.dead_lettered = info.dead_lettered;
  out.members = info.members;
  out.queued = info.queued;
  out.full = info.full;
  out.missed = info.missed;
  out.damaged = info.damaged;
  out.oldest_pending_ms = info.oldest_pending_ms;
  out.shm_bytes = info.shm_bytes;
  out.topic = info.topic.c_str();
  out.dead_letters_wait = text_or_null(info.dead_letters_wait);
  return out;
}

penstock_pending_info shown(const penstock::PendingInfo& info) {
  penstock_pending_info out{};
  out.struct_size = sizeof out;
  out.topic = info.topic.c_str();
  out.offset = info.offset;
  out.state = info.state.c_str();
  out.member = info.member.c_str();
  out.attempts = info.attempts;
  out.delivered = info.delivered;
  out.due_ns = nanoseconds_of(info.due);
  out.error_class = info.error_class.c_str();
  out.reason = info.reason.c_str();
  return out;
}

penstock_key_info shown(const penstock::KeyInfo& info) {
  penstock_key_info out{};
  out.struct_size = sizeof out;
  out.topic = info.topic.c_str();
  out.key = text_or_null(info.key);
  out.key_size = info.key ? info.key->size() : 0;
  out.offset = info.offset;
  out.state = info.state.c_str();
  out.attempt = info.attempt;
  out.behind = info.behind;
  out.since_ns = nanoseconds_of(info.since);
  return out;
}

// Hands each of what the library listed to the visitor.
template <class Info, class Visitor>
int visit_shown(const penstock::Result<std::vector<Info>>& infos, Visitor visitor, void* context) {
  if (!infos) return failed(infos.error());
  return visit_all(*infos, [&](const Info& info) {
    const auto out = shown(info);
    return visitor(context, &out);
  });
}

// A group with what C wants of it as arrays.
struct ToldGroup {
  penstock::GroupInfo info;
  std::vector<const char*> topics;
  std::vector<std::int64_t> backoff_ms;
};

}  // namespace

int penstock_group_list(penstock_bus* bus, penstock_name_visitor visitor, void* context) {
  return guarded([&] {
    const auto names = bus->bus.groups();
    return names ? visit_all(*names, [&](const auto& name) { return visitor(context, name.c_str()); })
                 : failed(names.error());
  });
}
int penstock_group_describe(penstock_bus* bus, const char* group, const char* topic, penstock_group_info* place) {
  return guarded([&] {
    auto infos = bus->bus.group_topics(text(group));
    if (!infos) return failed(infos.error());
    const auto info =
        std::find_if(infos->begin(), infos->end(), [&](const auto& each) { return each.topic == text(topic); });
    if (info == infos->end()) return failed(ENOENT, "the group does not consume this topic");
    return answer(place, shown(last_told(std::move(*info))));
  });
}
int penstock_group_topics(penstock_bus* bus, const char* group, penstock_group_visitor visitor, void* context) {
  return guarded([&] { return visit_shown(bus->bus.group_topics(text(group)), visitor, context); });
}
int penstock_group_pending(penstock_bus* bus, const char* group, penstock_pending_visitor visitor, void* context) {
  return guarded([&] { return visit_shown(bus->bus.group_pending(text(group)), visitor, context); });
}
int penstock_group_keys(penstock_bus* bus, const char* group, penstock_key_visitor visitor, void* context) {
  return guarded([&] { return visit_shown(bus->bus.group_keys(text(group)), visitor, context); });
}

int penstock_group_get(penstock_bus* bus, const char* group, penstock_group_settings* place) {
  return guarded([&] {
    auto info = bus->bus.describe_group(text(group));
    if (!info) return failed(info.error());
    ToldGroup made{std::move(*info), {}, {}};
    for (const auto pause : made.info.options.backoff) made.backoff_ms.push_back(milliseconds_of(pause));
    ToldGroup& told = last_told(std::move(made));
    for (const std::string& each : told.info.patterns) told.topics.push_back(each.c_str());
    const penstock::ConsumerOptions& options = told.info.options;
    penstock_group_settings out{};
    out.topics = told.topics.data();
    out.topic_count = told.topics.size();
    out.paused = told.info.paused ? 1 : 0;
    out.members = told.info.members;
    out.redriven = told.info.redriven;
    out.max_attempts = options.max_attempts.value_or(0);
    out.max_in_flight = options.max_in_flight.value_or(0);
    out.backoff_ms = told.backoff_ms.data();
    out.backoff_count = told.backoff_ms.size();
    out.lease_ms = milliseconds_of(options.lease.value_or(std::chrono::nanoseconds(0)));
    out.dedupe = options.dedupe.value_or(0);
    out.dedupe_age_ms = milliseconds_of(options.dedupe_age.value_or(std::chrono::nanoseconds(0)));
    out.ordering = number_of(options.ordering.value_or(penstock::Ordering::parallel), kOrderings);
    out.expired = number_of(options.expired.value_or(penstock::Expired::dlq), kExpireds);
    return answer(place, out);
  });
}
int penstock_group_set(penstock_bus* bus, const char* group, const char* const* topics, size_t count,
                       const penstock_consumer_options* options) {
  return guarded(
      [&] { return settled(bus->bus.set_group(text(group), names(topics, count), consumer_options(options))); });
}

int penstock_group_seek(penstock_bus* bus, const char* group, penstock_start to) {
  return guarded([&] {
    const auto start = start_of(to);
    if (!start) return failed(EINVAL, "a group seeks to a place; say PENSTOCK_START_BEGINNING, for one");
    return settled(bus->bus.seek_group(text(group), *start));
  });
}
int penstock_group_pause(penstock_bus* bus, const char* group, int paused) {
  return guarded([&] { return settled(bus->bus.pause_group(text(group), paused != 0)); });
}
int penstock_group_delete(penstock_bus* bus, const char* group) {
  return guarded([&] { return settled(bus->bus.delete_group(text(group))); });
}

int penstock_dead_letters(penstock_bus* bus, const char* group, penstock_letter_visitor visitor, void* context) {
  return guarded([&] {
    const auto visit = [&](const penstock::EventView& view, const penstock::DeadLetter&) {
      const penstock_event event(view);
      return visitor(context, &event) == 0;
    };
    return settled(bus->bus.dead_letters(text(group), visit));
  });
}
int penstock_redrive(penstock_bus* bus, const char* group, uint64_t letter) {
  return guarded([&] { return settled(bus->bus.redrive(text(group), letter)); });
}
int penstock_purge(penstock_bus* bus, const char* group, uint64_t letter) {
  return guarded([&] { return settled(bus->bus.purge(text(group), letter)); });
}
