// A bus that has a little of everything, in a folder of its own, the shared side included.
#pragma once

#include <penstock/daemon.hpp>
#include <penstock/penstock.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace penstock::test {

inline Bytes bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

template <class T>
T good(Result<T> result) {
  if (!result) std::fprintf(stderr, "%s\n", result.error().message().c_str()), std::abort();
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

// What is published to "orders" at this offset. The batch's offsets are 4 to 6.
inline std::string payload_of(Offset offset) {
  return "order " + std::to_string(offset) + std::string(offset % 3 == 0 ? 100 : 5, char('a' + offset % 26));
}
inline constexpr Offset kOrders = 14;      // events of "orders" on disk
inline constexpr Offset kUnpersisted = 3;  // and after them, in the ring alone
inline constexpr const char* kGroup = "desk";

inline void publish_orders(Producer& orders, Offset from, Offset to) {
  for (Offset offset = from; offset < to; ++offset) {
    const std::string payload = payload_of(offset), id = "id-" + std::to_string(offset);
    if (offset == 4) {
      const std::string second = payload_of(5), third = payload_of(6);
      const Message messages[] = {{bytes_of(payload), {}}, {bytes_of(second), {}}, {bytes_of(third), {.key = "k"}}};
      good(orders.publish_batch(messages));
      offset += 2;
      continue;
    }
    PublishOptions options{.id = id, .key = "key"};
    options.headers = {{"name", "value"}};
    good(orders.publish(bytes_of(payload), options));
  }
}

// `running`: leave the shared side behind, with events that are only there, leases and retries; else everything is on
// disk and nothing else is left.
inline void make_small_bus(const std::string& folder, bool running) {
  const std::string directory = folder + "/bus";
  std::filesystem::create_directory(directory);
  std::ofstream(directory + "/bus.toml") << "[bus]\nshared_memory = \"" << folder << "\"\n[topics]\nring = \"64KiB\"\n";
  {
    Bus bus = good(Bus::open(directory));
    good(bus.create_topic("orders"));
    good(bus.create_topic("ticks", {.durability = Durability::memory, .ring_bytes = 64 << 10}));
    ConsumerOptions options;
    options.max_attempts = 2;
    options.dedupe = 16;
    Consumer desk = good(bus.consumer(kGroup, {"*"}, options));
    Daemon daemon = good(Daemon::start(bus, {.force_pwrite = true}));
    Producer orders = good(bus.producer("orders")), ticks = good(bus.producer("ticks"));
    publish_orders(orders, 0, kOrders);
    good(orders.await_durable(kOrders - 1, std::chrono::seconds(30)));
    for (int i = 0; i < 6; ++i) {
      auto delivery = good(desk.next(std::chrono::seconds(10)));
      if (i == 0)
        good(delivery->reject({.error_class = "class", .reason = "reason"}));
      else if (i == 1)
        good(delivery->nak({.error_class = "class", .reason = "later", .delay = std::chrono::hours(1)}));
      else
        good(delivery->ack());
    }
    for (int i = 0; i < 5; ++i) good(ticks.publish(bytes_of("tick")));
    good(daemon.stop());
    if (running) {
      publish_orders(orders, kOrders, kOrders + kUnpersisted);
      if (auto delivery = good(desk.next(std::chrono::seconds(10)))) good(delivery->release());
    }
  }
  if (running) return;
  {
    // Once more without producers: what the topics ended with is written down.
    Bus bus = good(Bus::open(directory));
    Daemon daemon = good(Daemon::start(bus, {.force_pwrite = true}));
    good(daemon.stop());
  }
  good(Bus::unload(directory));
}

}  // namespace penstock::test
