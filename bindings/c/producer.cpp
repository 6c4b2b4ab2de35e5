#include "bindings/c/internal.hpp"

using namespace penstock::c;

namespace {

penstock::PublishOptions publish_options(const penstock_event_options* given) {
  const auto options = options_of(given);
  penstock::PublishOptions out;
  out.id = text(options.id);
  out.has_key = options.key != nullptr;
  out.key = options.key_size != 0 && out.has_key ? std::string_view(options.key, options.key_size) : text(options.key);
  out.content_type = text(options.content_type);
  out.schema = text(options.schema);
  for (std::size_t i = 0; i < options.header_count; ++i) {
    const penstock_header& header = options.headers[i];
    out.headers.push_back({text(header.name), {static_cast<const char*>(header.value), header.size}});
  }
  if (options.deliver_at_ns != 0) out.deliver_at = penstock::Timestamp(std::chrono::nanoseconds(options.deliver_at_ns));
  if (options.ttl_ms != 0) out.ttl = duration(options.ttl_ms);
  return out;
}

penstock::Bytes bytes(const void* payload, std::size_t size) { return {static_cast<const std::byte*>(payload), size}; }

void tell(std::uint64_t* place, std::uint64_t offset) {
  if (place != nullptr) *place = offset;
}

}  // namespace

int penstock_producer_open(penstock_bus* bus, const char* topic, const penstock_producer_options* given,
                           penstock_producer** out) {
  return guarded([&] {
    const auto options = options_of(given);
    penstock::ProducerOptions chosen;
    chosen.create = options.must_exist == 0;
    if (options.block_ms != 0) chosen.block = timeout(std::max<int64_t>(options.block_ms, 0));
    chosen.precise_clock = options.precise_clock != 0;
    chosen.wait = wait_of(options.wait);
    auto producer = bus->bus.producer(text(topic), chosen);
    if (!producer) return failed(producer.error());
    *out = new penstock_producer{std::move(*producer)};
    return 0;
  });
}
void penstock_producer_close(penstock_producer* producer) { delete producer; }

int penstock_publish(penstock_producer* producer, const void* payload, size_t size,
                     const penstock_event_options* options, uint64_t* offset) {
  return guarded([&] {
    auto done = producer->producer.publish(bytes(payload, size), publish_options(options));
    if (!done) return failed(done.error());
    tell(offset, *done);
    return 0;
  });
}

int penstock_publish_batch(penstock_producer* producer, const penstock_message* messages, size_t count,
                           uint64_t* first) {
  return guarded([&] {
    std::vector<penstock::Message> batch;
    batch.reserve(count);
    for (size_t i = 0; i < count; ++i)
      batch.push_back({bytes(messages[i].payload, messages[i].size), publish_options(messages[i].options)});
    auto done = producer->producer.publish_batch(batch);
    if (!done) return failed(done.error());
    tell(first, *done);
    return 0;
  });
}

int penstock_claim_begin(penstock_producer* producer, size_t size, const penstock_event_options* options,
                         penstock_claim* claim) {
  return guarded([&] {
    auto made = producer->producer.claim(size, publish_options(options));
    if (!made) return failed(made.error());
    auto* kept = new penstock::Claim(std::move(*made));
    *claim = {kept->payload().data(), kept->payload().size(), kept->offset(), kept};
    return 0;
  });
}

int penstock_claim_commit(penstock_claim* claim, uint64_t* offset) {
  return guarded([&] {
    const std::unique_ptr<penstock::Claim> kept(static_cast<penstock::Claim*>(std::exchange(claim->impl, nullptr)));
    if (kept == nullptr) return failed(ESTALE, "this claim was settled already");
    auto done = kept->commit();
    if (!done) return failed(done.error());
    tell(offset, *done);
    return 0;
  });
}

void penstock_claim_abort(penstock_claim* claim) {
  delete static_cast<penstock::Claim*>(std::exchange(claim->impl, nullptr));
}

int penstock_await_durable(penstock_producer* producer, uint64_t offset, int64_t timeout_ms) {
  return guarded([&] { return settled(producer->producer.await_durable(offset, timeout(timeout_ms))); });
}

void penstock_producer_last_id(const penstock_producer* producer, size_t back, uint8_t id[16]) {
  std::memcpy(id, producer->producer.last_id(back).bytes.data(), 16);
}
int penstock_producer_last_duplicate(const penstock_producer* producer) {
  return producer->producer.last_duplicate() ? 1 : 0;
}
uint64_t penstock_producer_max_payload(const penstock_producer* producer) { return producer->producer.max_payload(); }
