// From topic to topic: a member of a group that publishes an event for each it is given, with an id made from the one
// it was given, awaits that it is on disk, and then acks. Killed anywhere before the ack, it is given the same again
// and makes the same id, which the topic refuses. That holds while a repeat comes within the topic's window: an event
// that comes back after more than that many others is published twice, and a reader of the result that must not mind
// goes by its id, as ledger_member does.
// usage: invoicing BUS_DIR GROUP ORDERS_TOPIC INVOICES_TOPIC
#include <algorithm>
#include <chrono>
#include <iostream>
#include <penstock/penstock.hpp>
#include <string>
#include <vector>

using namespace std::chrono_literals;

namespace {

constexpr std::size_t kBatch = 64;  // deliveries that share one wait for the disk

int fail(const penstock::Error& error) {
  std::cerr << "invoicing: " << error.message() << '\n';
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::cerr << "usage: invoicing BUS_DIR GROUP ORDERS_TOPIC INVOICES_TOPIC\n";
    return 2;
  }
  auto bus = penstock::Bus::open(argv[1]);
  if (!bus) return fail(bus.error());
  auto made = bus->create_topic(argv[4], {.publish_dedupe = 4096});
  if (!made && made.error().code() != penstock::Errc::already_exists) return fail(made.error());
  auto invoices = bus->producer(argv[4]);
  if (!invoices) return fail(invoices.error());
  auto orders = bus->consumer(argv[2], {argv[3]}, {.durable_only = true});
  if (!orders) return fail(orders.error());
  for (std::vector<penstock::Delivery> held;; held.clear()) {
    penstock::Offset end = 0;
    while (held.size() < kBatch) {
      auto delivery = orders->next(held.empty() ? 1h : 0h);
      if (!delivery) return fail(delivery.error());
      if (!*delivery) break;
      const penstock::Delivery& order = held.emplace_back(std::move(**delivery));
      auto offset =
          invoices->publish(order.payload(), {.id = "invoice/" + order.id().hex(), .key = order.key().value_or("")});
      if (!offset) return fail(offset.error());
      end = std::max(end, *offset);
    }
    if (held.empty()) continue;
    if (auto durable = invoices->await_durable(end, 30s); !durable) return fail(durable.error());
    for (penstock::Delivery& order : held)
      // A lease that ran out is another member's by now, whose invoice is refused.
      if (auto acked = order.ack(); !acked && acked.error().code() != penstock::Errc::stale_lease)
        return fail(acked.error());
  }
}
