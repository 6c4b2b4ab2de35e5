#include "bindings/c/internal.hpp"

using namespace penstock::c;

int penstock_bus_open(const char* directory, const penstock_bus_options* given, penstock_bus** out) {
  return guarded([&] {
    if (directory == nullptr || out == nullptr)
      return failed(EINVAL, "penstock_bus_open wants a directory and a place");
    auto bus = penstock::Bus::open(directory, {.create = options_of(given).must_exist == 0});
    if (!bus) return failed(bus.error());
    *out = new penstock_bus{std::move(*bus)};
    return 0;
  });
}
void penstock_bus_close(penstock_bus* bus) { delete bus; }

int penstock_topic_create(penstock_bus* bus, const char* topic, const penstock_topic_options* given) {
  using penstock::Durability, penstock::Full;
  return guarded([&] {
    const auto options = options_of(given);
    penstock::TopicOptions out = bus->bus.topic_defaults();
    out.durability = choice(options.durability, {Durability::disk, Durability::memory}).value_or(out.durability);
    out.full = choice(options.full, {Full::block, Full::fail, Full::drop_oldest}).value_or(out.full);
    if (options.ring_bytes != 0) out.ring_bytes = options.ring_bytes;
    if (options.max_payload != 0) out.max_payload = options.max_payload;
    if (options.retention_bytes != 0) out.retention_bytes = options.retention_bytes;
    if (options.retention_ms != 0) out.retention_time = std::chrono::milliseconds(options.retention_ms);
    if (options.publish_dedupe != 0) out.publish_dedupe = options.publish_dedupe;
    if (options.single_producer != 0) out.single_producer = true;
    if (options.compact != 0) out.compact = true;
    return settled(bus->bus.create_topic(text(topic), out));
  });
}
int penstock_topic_retain_unacked(penstock_bus* bus, const char* topic, int retain) {
  return guarded([&] { return settled(bus->bus.set_retain_unacked(text(topic), retain != 0)); });
}
int penstock_topic_delete(penstock_bus* bus, const char* topic) {
  return guarded([&] { return settled(bus->bus.delete_topic(text(topic))); });
}

int penstock_topic_describe(penstock_bus* bus, const char* topic, penstock_topic_info* place) {
  return guarded([&] {
    auto info = bus->bus.describe_topic(text(topic));
    if (!info) return failed(info.error());
    penstock_topic_info out{};
    out.first_offset = info->first_offset;
    out.next_offset = info->next_offset;
    out.durable_offset = info->durable_offset;
    out.ring_bytes = info->ring_bytes;
    out.disk_bytes = info->disk_bytes;
    out.producers = info->producers;
    out.readers = info->readers;
    out.durable_error = info->durable_error;
    return answer(place, out);
  });
}

int penstock_group_describe(penstock_bus* bus, const char* group, const char* topic, penstock_group_info* place) {
  return guarded([&] {
    auto infos = bus->bus.group_topics(text(group));
    if (!infos) return failed(infos.error());
    const auto info =
        std::find_if(infos->begin(), infos->end(), [&](const auto& each) { return each.topic == text(topic); });
    if (info == infos->end()) return failed(ENOENT, "the group does not consume this topic");
    penstock_group_info out{};
    out.committed = info->committed;
    out.next_offset = info->next_offset;
    out.lag = info->lag;
    out.in_flight = info->in_flight;
    out.retrying = info->retrying;
    out.delivered = info->delivered;
    out.acked = info->acked;
    out.redelivered = info->redelivered;
    out.duplicates_skipped = info->duplicates_skipped;
    out.dead_lettered = info->dead_lettered;
    out.members = info->members;
    return answer(place, out);
  });
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

int penstock_daemon_start(penstock_bus* bus, const penstock_daemon_options* given, penstock_daemon** out) {
  return guarded([&] {
    const auto options = options_of(given);
    penstock::DaemonOptions chosen;
    chosen.force_pwrite = options.force_pwrite != 0;
    if (options.checkpoint_ms != 0) chosen.checkpoint_every = std::chrono::milliseconds(options.checkpoint_ms);
    if (options.log != nullptr) {
      chosen.log = [call = options.log, context = options.context](int level, const std::string& text) {
        call(context, level, text.c_str());
      };
    }
    auto daemon = penstock::Daemon::start(bus->bus, chosen);
    if (!daemon) return failed(daemon.error());
    *out = new penstock_daemon{std::move(*daemon)};
    return 0;
  });
}
int penstock_daemon_stop(penstock_daemon* daemon) {
  return guarded([&] {
    const std::unique_ptr<penstock_daemon> kept(daemon);
    return kept == nullptr ? 0 : settled(kept->daemon.stop());
  });
}
