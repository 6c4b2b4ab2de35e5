// The C face of the library: opaque handles over the C++ ones, errnos over Errc. Nothing throws across it.
#include <penstock/penstock.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <optional>
#include <penstock/penstock.hpp>
#include <string>

using penstock::Errc;
using penstock::Error;

struct penstock_bus {
  penstock::Bus bus;
};
struct penstock_producer {
  penstock::Producer producer;
};
struct penstock_consumer {
  penstock::Consumer consumer;
};
struct penstock_delivery {
  penstock::Delivery delivery;
  std::string topic;
};

namespace {

thread_local std::string last_error;

int errno_of(const Error& error) {
  switch (error.code()) {
    case Errc::ok:
      return 0;
    case Errc::not_found:
      return ENOENT;
    case Errc::already_exists:
      return EEXIST;
    case Errc::too_large:
      return EMSGSIZE;
    case Errc::full:
      return ENOBUFS;
    case Errc::no_daemon:
      return ENETDOWN;
    case Errc::timed_out:
      return ETIMEDOUT;
    case Errc::stale_lease:
    case Errc::deleted:
    case Errc::closed:
      return ESTALE;
    case Errc::disk:
      return EIO;
    case Errc::no_space:
      return ENOSPC;
    case Errc::permission:
      return EACCES;
    case Errc::busy:
      return EBUSY;
    case Errc::corrupt:
    case Errc::incompatible:
      return EPROTO;
    case Errc::too_many:
      return EMFILE;
    case Errc::duplicate:
      return EALREADY;
    case Errc::interrupted:
      return EINTR;
    case Errc::unsupported:
      return EOPNOTSUPP;
    case Errc::system:
      return error.detail() != 0 ? static_cast<int>(error.detail()) : EIO;
    default:
      return EINVAL;
  }
}

int failed(const Error& error) {
  last_error = error.message();
  return -errno_of(error);
}
int failed(int code, const char* text) {
  last_error = text;
  return -code;
}

// The last line against an exception of the C++ library (no memory, that is).
template <class Call>
int guarded(Call&& call) noexcept {
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return -ENOMEM;
  } catch (...) {
    return -EIO;
  }
}

// A caller's options as this version knows them: what an older caller does not have is zero.
template <class Options>
Options options_of(const Options* given) {
  Options out{};
  if (given != nullptr) std::memcpy(&out, given, std::min(given->struct_size, sizeof out));
  return out;
}

std::string_view text(const char* given) { return given != nullptr ? std::string_view(given) : std::string_view(); }

penstock::PublishOptions publish_options(const penstock_event_options* given) {
  const auto options = options_of(given);
  penstock::PublishOptions out;
  out.id = text(options.id);
  out.key = text(options.key);
  out.has_key = options.key != nullptr;
  out.content_type = text(options.content_type);
  if (options.ttl_ms != 0) out.ttl = std::chrono::milliseconds(options.ttl_ms);
  return out;
}

penstock::NakOptions why(const char* error_class, const char* reason) {
  penstock::NakOptions out;
  out.error_class = text(error_class);
  out.reason = text(reason);
  return out;
}

template <class T>
int settled(const penstock::Result<T>& result) {
  return result ? 0 : failed(result.error());
}

}  // namespace

extern "C" {

const char* penstock_last_error(void) { return last_error.c_str(); }
const char* penstock_version(void) { return penstock::kVersion.data(); }

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

int penstock_producer_open(penstock_bus* bus, const char* topic, const penstock_producer_options* given,
                           penstock_producer** out) {
  return guarded([&] {
    const auto options = options_of(given);
    penstock::ProducerOptions chosen;
    chosen.create = options.must_exist == 0;
    if (options.block_ms != 0) chosen.block = std::chrono::milliseconds(std::max<int64_t>(options.block_ms, 0));
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
    const penstock::Bytes bytes(static_cast<const std::byte*>(payload), size);
    auto done = producer->producer.publish(bytes, publish_options(options));
    if (!done) return failed(done.error());
    if (offset != nullptr) *offset = *done;
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
    auto* kept = static_cast<penstock::Claim*>(std::exchange(claim->impl, nullptr));
    if (kept == nullptr) return failed(ESTALE, "this claim was settled already");
    auto done = kept->commit();
    delete kept;
    if (!done) return failed(done.error());
    if (offset != nullptr) *offset = *done;
    return 0;
  });
}

void penstock_claim_abort(penstock_claim* claim) {
  delete static_cast<penstock::Claim*>(std::exchange(claim->impl, nullptr));
}

int penstock_await_durable(penstock_producer* producer, uint64_t offset, int64_t timeout_ms) {
  return guarded(
      [&] { return settled(producer->producer.await_durable(offset, std::chrono::milliseconds(timeout_ms))); });
}

int penstock_consumer_open(penstock_bus* bus, const char* group, const char* const* topics, size_t count,
                           const penstock_consumer_options* given, penstock_consumer** out) {
  return guarded([&] {
    const auto options = options_of(given);
    penstock::ConsumerOptions chosen;
    if (options.max_attempts != 0) chosen.max_attempts = options.max_attempts;
    if (options.max_in_flight != 0) chosen.max_in_flight = options.max_in_flight;
    for (size_t i = 0; i < options.backoff_count; ++i)
      chosen.backoff.emplace_back(std::chrono::milliseconds(options.backoff_ms[i]));
    if (options.lease_ms != 0) chosen.lease = std::chrono::milliseconds(options.lease_ms);
    if (options.from_end != 0) chosen.start = penstock::StartAt::end();
    std::vector<std::string> patterns;
    for (size_t i = 0; i < count; ++i) patterns.emplace_back(text(topics[i]));
    auto consumer = bus->bus.consumer(text(group), patterns, chosen);
    if (!consumer) return failed(consumer.error());
    *out = new penstock_consumer{std::move(*consumer)};
    return 0;
  });
}
void penstock_consumer_close(penstock_consumer* consumer) { delete consumer; }
void penstock_consumer_interrupt(penstock_consumer* consumer) { consumer->consumer.interrupt(); }

int penstock_consumer_next(penstock_consumer* consumer, int64_t timeout_ms, penstock_delivery** out) {
  return guarded([&] {
    auto next = consumer->consumer.next(std::chrono::milliseconds(timeout_ms));
    if (!next) return failed(next.error());
    if (!*next) return failed(EAGAIN, "nothing came within the timeout");
    std::string topic((*next)->topic());
    *out = new penstock_delivery{std::move(**next), std::move(topic)};
    return 0;
  });
}

const void* penstock_delivery_payload(const penstock_delivery* delivery, size_t* size) {
  if (size != nullptr) *size = delivery->delivery.payload().size();
  return delivery->delivery.payload().data();
}
uint64_t penstock_delivery_offset(const penstock_delivery* delivery) { return delivery->delivery.offset(); }
uint32_t penstock_delivery_attempt(const penstock_delivery* delivery) { return delivery->delivery.attempt(); }
const char* penstock_delivery_topic(const penstock_delivery* delivery) { return delivery->topic.c_str(); }
const char* penstock_delivery_key(const penstock_delivery* delivery, size_t* size) {
  const auto key = delivery->delivery.key();
  if (size != nullptr) *size = key ? key->size() : 0;
  return key ? key->data() : nullptr;
}
int64_t penstock_delivery_time_ns(const penstock_delivery* delivery) {
  return delivery->delivery.time().time_since_epoch().count();
}

int penstock_delivery_ack(penstock_delivery* delivery) {
  return guarded([&] { return settled(delivery->delivery.ack()); });
}
int penstock_delivery_nak(penstock_delivery* delivery, const char* error_class, const char* reason) {
  return guarded([&] { return settled(delivery->delivery.nak(why(error_class, reason))); });
}
int penstock_delivery_reject(penstock_delivery* delivery, const char* error_class, const char* reason) {
  return guarded([&] { return settled(delivery->delivery.reject(why(error_class, reason))); });
}
int penstock_delivery_release(penstock_delivery* delivery) {
  return guarded([&] { return settled(delivery->delivery.release()); });
}
int penstock_delivery_extend(penstock_delivery* delivery, int64_t duration_ms) {
  return guarded([&] { return settled(delivery->delivery.extend(std::chrono::milliseconds(duration_ms))); });
}
void penstock_delivery_free(penstock_delivery* delivery) { delete delivery; }

}  // extern "C"
