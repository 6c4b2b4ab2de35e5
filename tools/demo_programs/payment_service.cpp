// The demonstration's payment service: reads one order's name a line and confirms its payment. Every hundredth waits
// until what was published is on disk, as a service would before it answers its customer.
// usage: payment_service BUS_DIR <NAMES
#include <chrono>
#include <iostream>
#include <penstock/penstock.hpp>
#include <string>

using namespace std::chrono_literals;

namespace {

int fail(const penstock::Error& error) {
  std::cerr << "payment_service: " << error.message() << '\n';
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: payment_service BUS_DIR <NAMES\n";
    return 2;
  }
  auto bus = penstock::Bus::open(argv[1]);
  if (!bus) return fail(bus.error());
  auto payments = bus->producer("payment.confirmed");
  if (!payments) return fail(payments.error());
  std::string name;
  for (std::uint64_t count = 0; std::getline(std::cin, name); ++count) {
    const std::string id = "pay-" + std::to_string(count), text = "paid " + name;
    auto offset = payments->publish(std::as_bytes(std::span(text)), {.id = id, .key = name});
    if (!offset) return fail(offset.error());
    if (count % 100 == 99)
      if (auto durable = payments->await_durable(*offset, 30s); !durable) return fail(durable.error());
  }
  return 0;
}
