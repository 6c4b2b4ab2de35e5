#include "bindings/c/internal.hpp"

using namespace penstock::c;
using penstock::Durability, penstock::Full;

namespace {

// In the order of penstock.h, from 1.
constexpr std::initializer_list<Durability> kDurabilities{Durability::disk, Durability::memory};
constexpr std::initializer_list<Full> kFulls{Full::block, Full::fail, Full::drop_oldest};

}  // namespace

int penstock_topic_create(penstock_bus* bus, const char* topic, const penstock_topic_options* given) {
  return guarded([&] {
    const auto options = options_of(given);
    penstock::TopicOptions out = bus->bus.topic_defaults();
    out.durability = choice(options.durability, kDurabilities).value_or(out.durability);
    out.full = choice(options.full, kFulls).value_or(out.full);
    if (options.ring_bytes != 0) out.ring_bytes = options.ring_bytes;
    if (options.max_payload != 0) out.max_payload = options.max_payload;
    if (options.retention_bytes != 0) out.retention_bytes = options.retention_bytes;
    if (options.retention_ms != 0) out.retention_time = duration(options.retention_ms);
    if (options.publish_dedupe != 0) out.publish_dedupe = options.publish_dedupe;
    if (options.single_producer != 0) out.single_producer = true;
    if (options.compact != 0) out.compact = true;
    if (options.retain_unacked != 0) out.retain_unacked = true;
    return settled(bus->bus.create_topic(text(topic), out));
  });
}
int penstock_topic_list(penstock_bus* bus, penstock_name_visitor visitor, void* context) {
  return guarded([&] {
    const auto names = bus->bus.topics();
    return names ? visit_all(*names, [&](const auto& name) { return visitor(context, name.c_str()); })
                 : failed(names.error());
  });
}
int penstock_topic_retention(penstock_bus* bus, const char* topic, uint64_t bytes, int64_t time_ms) {
  return guarded([&] { return settled(bus->bus.set_retention(text(topic), bytes, duration(time_ms))); });
}
int penstock_topic_compact(penstock_bus* bus, const char* topic, int compact) {
  return guarded([&] { return settled(bus->bus.set_compaction(text(topic), compact != 0)); });
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
    const penstock::TopicInfo& told = last_told(std::move(*info));
    penstock_topic_info out{};
    out.first_offset = told.first_offset;
    out.next_offset = told.next_offset;
    out.durable_offset = told.durable_offset;
    out.ring_bytes = told.ring_bytes;
    out.disk_bytes = told.disk_bytes;
    out.producers = told.producers;
    out.readers = told.readers;
    out.durable_error = told.durable_error;
    out.durability = number_of(told.options.durability, kDurabilities);
    out.full = number_of(told.options.full, kFulls);
    out.single_producer = told.options.single_producer ? 1 : 0;
    out.compact = told.options.compact ? 1 : 0;
    out.retain_unacked = told.options.retain_unacked ? 1 : 0;
    out.publish_dedupe = told.options.publish_dedupe;
    out.max_payload = told.options.max_payload;
    out.retention_bytes = told.options.retention_bytes;
    out.retention_ms = milliseconds_of(told.options.retention_time);
    out.shm_bytes = told.shm_bytes;
    out.blocked_by = text_or_null(told.blocked_by);
    out.compaction_waits_for = text_or_null(told.compaction_waits_for);
    out.retention_waits_for = text_or_null(told.retention_waits_for);
    return answer(place, out);
  });
}
