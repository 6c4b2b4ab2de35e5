// How many events a second go one way, and how many bytes?
//
// Producers publish as fast as they can on one memory topic while readers, who each get every event, check each byte.
// The time runs from the first publish to the last event received. Where there are more processes than cores, they
// share them and readers sleep while nothing comes ("pinned": false). GB/s counts payloads only. Beside it: memcpy of
// the same size over as many bytes as the ring has.
#include <cstring>

#include "bench/support/catalogue.hpp"
#include "tools/measure/clock.hpp"
#include "tools/measure/flow.hpp"

namespace {

using namespace penstock;
using namespace penstock::bench;
using measure::How;

double memcpy_gb_per_second(std::size_t payload, std::size_t around, std::int64_t lasts_ns) {
  std::vector<std::byte> from(payload, std::byte{1}), to(around, std::byte{2});
  const std::int64_t begin = measure::now_ns();
  std::uint64_t bytes = 0;
  std::size_t at = 0;
  while (measure::now_ns() - begin < lasts_ns) {
    for (int i = 0; i < 16; ++i, at = at + 2 * payload <= around ? at + payload : 0, bytes += payload) {
      std::memcpy(to.data() + at, from.data(), payload);
      asm volatile("" : : "r"(to.data() + at) : "memory");
    }
  }
  return static_cast<double>(bytes) / static_cast<double>(measure::now_ns() - begin);
}

// More than the caches hold, so that a producer's next lines come from memory, and not from where the reader had them,
// which can be further away.
constexpr std::uint64_t kRing = 64 << 20;

struct Shape {
  How how;
  std::size_t payload;
  unsigned producers;
  unsigned readers;
  bool single_producer = false;
};

Outcome run(const Shape& shape, const Settings& settings) {
  const Scratch scratch(settings.directory);
  measure::FlowPlan plan{.directory = scratch.bus(), .topic = "river"};
  plan.options = {.durability = Durability::memory, .ring_bytes = kRing, .single_producer = shape.single_producer};
  plan.how = shape.how;
  plan.payload = shape.payload;
  plan.producers = shape.producers;
  plan.receivers = shape.readers;
  plan.lasts_ns = settings.of(1'000'000'000, 2'000'000);
  plan.asked = interrupted;
  const auto flow = measure::flow(plan);
  if (!flow) return tl::unexpected(flow.error());
  Json line{{"payload", shape.payload}, {"producers", shape.producers}, {"readers", shape.readers}};
  line["single_producer"] = shape.single_producer;
  line.update(flow->json());
  line["memcpy_gb_per_second"] =
      memcpy_gb_per_second(shape.payload, plan.options.ring_bytes, settings.of(100'000'000, 100'000));
  return line;
}

std::string name_of(const Shape& shape) {
  const char* how = shape.how == How::copy ? "publish" : shape.how == How::in_place ? "claim" : "batch";
  return how + std::string(shape.single_producer ? "_single_" : "_") + std::to_string(shape.payload) + "_" +
         std::to_string(shape.producers) + "to" + std::to_string(shape.readers);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<Case> cases;
  const auto add = [&cases](const Shape& shape) {
    cases.push_back({name_of(shape), [shape](const Settings& settings) { return run(shape, settings); }});
  };
  for (const How how : {How::copy, How::in_place, How::batch})
    for (const std::size_t payload : {64, 1024, 65536}) {
      add({how, payload, 1, 1, true});
      for (const unsigned readers : {1, 2})
        for (unsigned producers = 1; producers <= 4; ++producers) add({how, payload, producers, readers});
    }
  return run_catalogue("throughput", cases, argc, argv);
}
