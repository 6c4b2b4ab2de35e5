#include "bindings/c/internal.hpp"

using namespace penstock::c;

penstock::ConsumerOptions penstock::c::consumer_options(const penstock_consumer_options* given) {
  const auto options = options_of(given);
  ConsumerOptions out;
  if (options.max_attempts != 0) out.max_attempts = options.max_attempts;
  if (options.max_in_flight != 0) out.max_in_flight = options.max_in_flight;
  for (size_t i = 0; i < options.backoff_count; ++i) out.backoff.push_back(duration(options.backoff_ms[i]));
  if (options.lease_ms != 0) out.lease = duration(options.lease_ms);
  if (options.dedupe > UINT32_MAX) throw Refused{EINVAL, "dedupe: more ids than a window holds"};
  if (options.dedupe != 0) out.dedupe = static_cast<uint32_t>(std::max<int64_t>(options.dedupe, 0));
  if (options.dedupe_age_ms != 0) out.dedupe_age = duration(options.dedupe_age_ms);
  out.ordering = choice(options.ordering, kOrderings);
  out.expired = choice(options.expired, kExpireds);
  out.start = start_of(options.start);
  out.durable_only = options.durable_only != 0;
  out.wait = wait_of(options.wait);
  return out;
}

namespace {

penstock::NakOptions why(const char* error_class, const char* reason) {
  return {.error_class = text(error_class), .reason = text(reason)};
}

}  // namespace

int penstock_consumer_open(penstock_bus* bus, const char* group, const char* const* topics, size_t count,
                           const penstock_consumer_options* options, penstock_consumer** out) {
  return guarded([&] {
    auto consumer = bus->bus.consumer(text(group), names(topics, count), consumer_options(options));
    if (!consumer) return failed(consumer.error());
    *out = new penstock_consumer{std::move(*consumer)};
    return 0;
  });
}
void penstock_consumer_close(penstock_consumer* consumer) { delete consumer; }

int penstock_consumer_next(penstock_consumer* consumer, int64_t timeout_ms, penstock_delivery** out) {
  return guarded([&] { return next_of(consumer->consumer, timeout_ms, out); });
}

int penstock_consumer_poll(penstock_consumer* consumer, penstock_handler handler, void* context, size_t most) {
  return guarded([&] {
    auto handled = consumer->consumer.poll(
        [&](const penstock::EventView& view, unsigned attempt) {
          const penstock_event event(view);
          penstock_why why{};
          const int settle = handler(context, &event, attempt, &why);
          const auto words = [](const char* given) { return std::string(text(given)); };
          if (settle == PENSTOCK_ACK) return penstock::Settle::ack();
          if (settle == PENSTOCK_RELEASE) return penstock::Settle::release();
          if (settle == PENSTOCK_REJECT) return penstock::Settle::reject(words(why.error_class), words(why.reason));
          return penstock::Settle::nak(words(why.error_class), words(why.reason));
        },
        at_most(most));
    return handled ? count_of(*handled) : failed(handled.error());
  });
}

int penstock_consumer_wait(penstock_consumer* consumer, int64_t timeout_ms) {
  return guarded([&] { return wait_on(consumer->consumer, timeout_ms); });
}

int penstock_consumer_event_fd(penstock_consumer* consumer) {
  return guarded([&] { return event_fd_of(consumer->consumer); });
}
void penstock_consumer_interrupt(penstock_consumer* consumer) { consumer->consumer.interrupt(); }

int penstock_consumer_ack_through(penstock_consumer* consumer, const char* topic, uint64_t offset, uint64_t* acked) {
  return guarded([&] {
    auto done = consumer->consumer.ack_through(text(topic), offset);
    if (!done) return failed(done.error());
    if (acked != nullptr) *acked = *done;
    return 0;
  });
}
int penstock_consumer_settled_through(penstock_consumer* consumer, const penstock_place* ends, size_t count) {
  return guarded([&] {
    std::vector<std::pair<std::string, penstock::Offset>> wanted;
    for (size_t i = 0; i < count; ++i) wanted.emplace_back(text(ends[i].topic), ends[i].offset);
    const auto through = consumer->consumer.settled_through(wanted);
    return through ? int(*through) : failed(through.error());
  });
}
int penstock_consumer_await_settled(penstock_consumer* consumer, int64_t timeout_ms) {
  return guarded([&] { return settled(consumer->consumer.await_settled(timeout(timeout_ms))); });
}
uint64_t penstock_consumer_missed(const penstock_consumer* consumer) { return consumer->consumer.missed(); }
uint64_t penstock_consumer_damaged(const penstock_consumer* consumer) { return consumer->consumer.damaged(); }

const void* penstock_delivery_payload(const penstock_delivery* delivery, size_t* size) {
  return penstock_event_payload(&delivery->event, size);
}
uint64_t penstock_delivery_offset(const penstock_delivery* delivery) { return delivery->delivery.offset(); }
uint32_t penstock_delivery_attempt(const penstock_delivery* delivery) { return delivery->delivery.attempt(); }
const char* penstock_delivery_topic(const penstock_delivery* delivery) {
  return penstock_event_topic(&delivery->event);
}
const char* penstock_delivery_key(const penstock_delivery* delivery, size_t* size) {
  return penstock_event_key(&delivery->event, size);
}
int64_t penstock_delivery_time_ns(const penstock_delivery* delivery) {
  return penstock_event_time_ns(&delivery->event);
}
const penstock_event* penstock_delivery_event(const penstock_delivery* delivery) { return &delivery->event; }

int penstock_delivery_ack(penstock_delivery* delivery) {
  return guarded([&] { return settled(delivery->delivery.ack()); });
}
int penstock_delivery_nak(penstock_delivery* delivery, const char* error_class, const char* reason) {
  return guarded([&] { return settled(delivery->delivery.nak(why(error_class, reason))); });
}
int penstock_delivery_nak_after(penstock_delivery* delivery, int64_t delay_ms, const char* error_class,
                                const char* reason) {
  return guarded([&] {
    auto options = why(error_class, reason);
    options.delay = duration(delay_ms);
    return settled(delivery->delivery.nak(options));
  });
}
int penstock_delivery_reject(penstock_delivery* delivery, const char* error_class, const char* reason) {
  return guarded([&] { return settled(delivery->delivery.reject(why(error_class, reason))); });
}
int penstock_delivery_release(penstock_delivery* delivery) {
  return guarded([&] { return settled(delivery->delivery.release()); });
}
int penstock_delivery_extend(penstock_delivery* delivery, int64_t duration_ms) {
  return guarded([&] { return settled(delivery->delivery.extend(duration(duration_ms))); });
}
void penstock_delivery_free(penstock_delivery* delivery) { delete delivery; }
