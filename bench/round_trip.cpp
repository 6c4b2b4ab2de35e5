// How long does an event take to another process and one back?
//
// Measured: publish, the other's poll, its publish of the same bytes, and the poll that hands the echo over, checked.
// One event is under way at a time, so this is latency without load; open_loop shows it under load, wake what sleeping
// costs. Right before and after each case the same two processes measure the bare cache line; where the two differ by
// more than 15% the machine moved in between, and the case is run again.
#include "tools/measure/round_trip.hpp"

#include "bench/support/catalogue.hpp"

namespace {

using namespace penstock;
using namespace penstock::bench;

constexpr double kSteady = 0.15;
constexpr int kMostAttempts = 5;

struct Variant {
  const char* name;
  TopicOptions topic;
  measure::Via via = measure::Via::reader;
  Wait wait = Wait::spin;
  bool daemon = false;
  std::uint64_t trips = 300'000;
};

Outcome run(const Variant& variant, std::size_t payload, const Settings& settings) {
  for (int attempt = 1;; ++attempt) {
    const Scratch scratch(settings.directory);
    if (auto bus = Bus::open(scratch.bus()); !bus) return tl::unexpected(bus.error().message());
    measure::RoundTripPlan plan{.directory = scratch.bus(), .prefix = "court"};
    plan.topic = variant.topic;
    plan.via = variant.via;
    plan.wait = variant.wait;
    plan.payload = payload;
    plan.daemon = variant.daemon;
    plan.trips = settings.of(variant.trips, variant.wait == Wait::sleep ? 20 : 200);
    // A lap of the ring and more, so that no page is touched for the first time.
    if (variant.wait != Wait::sleep) plan.warm_up = settings.of(plan.topic.ring_bytes / (payload + 56), 20);
    plan.line_trips = settings.of(100'000, 200);
    plan.asked = interrupted;
    auto measured = measure::round_trip(plan);
    if (!measured) return tl::unexpected(measured.error());
    const bool steady = measured->unsteady() <= kSteady;
    if (!steady && attempt < kMostAttempts && !settings.smoke && !interrupted()) continue;
    Json line{{"payload", payload}};
    line.update(measured->json());
    line["steady"] = steady;
    line["attempts"] = attempt;
    return line;
  }
}

}  // namespace

int main(int argc, char** argv) {
  using measure::Via;
  const TopicOptions memory{.durability = Durability::memory};
  const TopicOptions single{.durability = Durability::memory, .single_producer = true};
  const TopicOptions durable{.durability = Durability::disk};
  const Variant variants[] = {
      {"memory", memory},
      {"memory_single_producer", single},
      {"durable", durable, Via::reader, Wait::spin, true},
      {"group_poll", memory, Via::group_poll},
      {"group_next", memory, Via::group_next},
      {"group_poll_durable", durable, Via::group_poll, Wait::spin, true},
      {"sleeping", memory, Via::reader, Wait::sleep, false, 20'000},
  };
  std::vector<Case> cases;
  for (const Variant& variant : variants)
    for (const std::size_t payload : {64, 1024})
      cases.push_back({variant.name + std::string("_") + std::to_string(payload),
                       [=](const Settings& settings) { return run(variant, payload, settings); }});
  return run_catalogue("round_trip", cases, argc, argv);
}
