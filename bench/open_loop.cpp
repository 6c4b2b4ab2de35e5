// How late do events arrive when they come at a fixed rate, whatever the transport does?
//
// The producer sends event n when n intervals have passed, and each event's delay counts from that moment, not from
// when it was sent: a stall delays all that should have been sent meanwhile, and all of that shows (no coordinated
// omission). One producer, one receiver, each spinning on a core of its own where there are two.
#include "bench/support/catalogue.hpp"
#include "tools/measure/flow.hpp"

namespace {

using namespace penstock;
using namespace penstock::bench;

struct Shape {
  const char* name;
  Durability durability;
  measure::Via via;
};

Outcome run(const Shape& shape, double rate, const Settings& settings) {
  const Scratch scratch(settings.directory);
  measure::FlowPlan plan{.directory = scratch.bus(), .topic = "river"};
  plan.options = {.durability = shape.durability, .ring_bytes = 64 << 20};
  plan.via = shape.via;
  plan.rate = rate;
  plan.daemon = shape.durability == Durability::disk;
  plan.lasts_ns = settings.of(5'000'000'000, 20'000'000);
  plan.asked = interrupted;
  const auto flow = measure::flow(plan);
  if (!flow) return tl::unexpected(flow.error());
  Json line{{"payload", plan.payload}, {"rate", rate}};
  line.update(flow->json());
  return line;
}

}  // namespace

int main(int argc, char** argv) {
  using measure::Via;
  const Shape shapes[] = {
      {"memory", Durability::memory, Via::reader},
      {"durable", Durability::disk, Via::reader},
      {"group", Durability::memory, Via::group_poll},
      {"group_durable", Durability::disk, Via::group_poll},
  };
  const std::pair<const char*, double> rates[] = {{"10k", 1e4}, {"100k", 1e5}, {"500k", 5e5}, {"1m", 1e6}};
  std::vector<Case> cases;
  for (const Shape& shape : shapes)
    for (const auto& [text, rate] : rates)
      cases.push_back({shape.name + std::string("_") + text,
                       [shape, rate = rate](const Settings& settings) { return run(shape, rate, settings); }});
  return run_catalogue("open_loop", cases, argc, argv);
}
