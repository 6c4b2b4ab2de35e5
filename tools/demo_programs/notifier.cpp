// The demonstration's notification service: a member of a group that writes down what it was told, one line an event,
// and acks it once the line is written. Ends on SIGTERM, settled.
// usage: notifier BUS_DIR GROUP OUTPUT PATTERN...
#include <chrono>
#include <csignal>
#include <fstream>
#include <iostream>
#include <penstock/penstock.hpp>
#include <string>
#include <vector>

using namespace std::chrono_literals;

namespace {

volatile std::sig_atomic_t stopping = 0;
penstock::Consumer* waiting = nullptr;

void stop(int) {
  stopping = 1;
  if (waiting != nullptr) waiting->interrupt();
}

int fail(const penstock::Error& error) {
  std::cerr << "notifier: " << error.message() << '\n';
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::cerr << "usage: notifier BUS_DIR GROUP OUTPUT PATTERN...\n";
    return 2;
  }
  auto bus = penstock::Bus::open(argv[1]);
  if (!bus) return fail(bus.error());
  auto consumer = bus->consumer(argv[2], std::vector<std::string>(argv + 4, argv + argc));
  if (!consumer) return fail(consumer.error());
  std::ofstream out(argv[3], std::ios::app);
  waiting = &*consumer;
  std::signal(SIGTERM, stop);
  std::signal(SIGINT, stop);
  while (stopping == 0) {
    auto delivery = consumer->next(1h);
    if (!delivery) {
      if (delivery.error().code() == penstock::Errc::interrupted) break;
      return fail(delivery.error());
    }
    if (!*delivery) continue;
    out << (*delivery)->topic() << ' ' << (*delivery)->offset() << '\n' << std::flush;
    if (auto acked = (*delivery)->ack(); !acked) return fail(acked.error());
  }
  waiting = nullptr;
  return 0;
}
