// Does a bus that holds many topics and groups cost those who use a few of them?
//
// On an empty bus and on those with up to 10,000 topics and 1,000 groups (a tenth of the topics are durable, each group
// subscribes to one), the same: a round trip on two topics of its own; attaching, which is opening the bus, a producer
// and a reader; and the processor time of a daemon that has nothing to do.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "bench/support/catalogue.hpp"
#include "tools/measure/clock.hpp"
#include "tools/measure/crew.hpp"
#include "tools/measure/inbox.hpp"

namespace {

using namespace penstock;
using namespace penstock::bench;
using measure::Board;
using measure::now_ns;

constexpr std::uint64_t kSmallRing = 64 << 10;

Result<void> populate(const std::string& directory, std::uint64_t topics, std::uint64_t groups) {
  auto bus = Bus::open(directory);
  if (!bus) return tl::unexpected(bus.error());
  const auto name = [](std::uint64_t i) { return "many.t" + std::to_string(i); };
  for (std::uint64_t i = 0; i < topics && !interrupted(); ++i) {
    const Durability durability = i % 10 == 0 ? Durability::disk : Durability::memory;
    if (auto made = bus->create_topic(name(i), {.durability = durability, .ring_bytes = kSmallRing}); !made)
      return made;
  }
  for (std::uint64_t i = 0; i < groups && !interrupted(); ++i)
    if (auto member = bus->consumer("many-" + std::to_string(i), {name(i * topics / groups)}); !member)
      return tl::unexpected(member.error());
  return {};
}

struct Attaching {
  measure::Histogram times;
};

std::string attach(const std::string& directory, std::uint64_t times, Attaching& result) {
  for (std::uint64_t i = 0; i < times; ++i) {
    const std::int64_t begin = now_ns();
    auto bus = Bus::open(directory);
    if (!bus) return bus.error().message();
    auto producer = bus->producer("attached");
    if (!producer) return producer.error().message();
    auto reader = bus->reader("attached", StartAt::end());
    if (!reader) return reader.error().message();
    result.times.add(static_cast<std::uint64_t>(now_ns() - begin));
  }
  return {};
}

tl::expected<measure::Histogram, std::string> attaching(const std::string& directory, std::uint64_t times) {
  const measure::Shared<Attaching> result;
  measure::Crew crew;
  crew.work("who attaches", -1, [&](Board&) { return attach(directory, times, *result); });
  if (std::string complaint = crew.finish(interrupted); !complaint.empty()) return tl::unexpected(complaint);
  return result->times;
}

// Of the threads that this process started: its first one only waits for the end.
std::int64_t cpu_ns(pid_t process) {
  std::int64_t sum = 0;
  std::error_code ignored;
  const std::string tasks = "/proc/" + std::to_string(process) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks, ignored)) {
    if (task.path().filename() == std::to_string(process)) continue;
    std::int64_t used = 0;
    std::ifstream(task.path() / "schedstat") >> used;
    sum += used;
  }
  return sum;
}

// Percent of one core that a daemon with nothing to do takes, once it has started.
tl::expected<double, std::string> idle_daemon(const std::string& directory, std::int64_t watch_ns) {
  const measure::Shared<std::atomic<std::int64_t>> used;
  measure::Crew crew;
  crew.serve("the daemon", [&directory] { return measure::host_daemon(directory); });
  const pid_t daemon = crew.last_pid();
  crew.work("who watches", -1, [&](Board& board) -> std::string {
    const auto rest = [&board](std::int64_t ns) {
      const std::int64_t end = now_ns() + ns;
      board.wait_for([end] {
        ::usleep(10'000);
        return now_ns() > end;
      });
    };
    rest(watch_ns / 4);  // of its start
    const std::int64_t before = cpu_ns(daemon), begin = now_ns();
    rest(watch_ns);
    used->store((cpu_ns(daemon) - before) * 1'000'000 / (now_ns() - begin));
    return {};
  });
  if (std::string complaint = crew.finish(interrupted); !complaint.empty()) return tl::unexpected(complaint);
  return static_cast<double>(used->load()) / 1e4;
}

Outcome run(std::uint64_t topics, std::uint64_t groups, const Settings& settings) {
  const Scratch scratch(settings.directory);
  const std::int64_t begin = now_ns();
  if (auto made = populate(scratch.bus(), topics, groups); !made) return tl::unexpected(made.error().message());
  Json line{{"topics", topics}, {"groups", groups}};
  line["made_in_seconds"] = static_cast<double>(now_ns() - begin) / 1e9;
  {
    auto bus = Bus::open(scratch.bus());
    if (!bus) return tl::unexpected(bus.error().message());
    if (auto made = bus->create_topic("attached", {.durability = Durability::memory}); !made)
      return tl::unexpected(made.error().message());
  }
  auto attached = attaching(scratch.bus(), settings.of(200, 5));
  if (!attached) return tl::unexpected(attached.error());
  line["attach"] = attached->json();
  auto idle = idle_daemon(scratch.bus(), settings.of(5'000'000'000, 50'000'000));
  if (!idle) return tl::unexpected(idle.error());
  line["idle_daemon_cpu_percent"] = *idle;

  measure::RoundTripPlan plan{.directory = scratch.bus(), .prefix = "court"};
  plan.topic = {.durability = Durability::memory};
  plan.trips = settings.of(300'000, 200);
  plan.warm_up = settings.of(plan.topic.ring_bytes / 120, 20);
  plan.line_trips = settings.of(100'000, 200);
  plan.daemon = true;
  plan.asked = interrupted;
  auto trip = measure::round_trip(plan);
  if (!trip) return tl::unexpected(trip.error());
  line.update(trip->json());
  return line;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<Case> cases;
  const auto add = [&cases](const char* name, std::uint64_t topics, std::uint64_t groups) {
    cases.push_back({name, [topics, groups](const Settings& settings) {
                       return run(settings.of(topics, std::min<std::uint64_t>(topics, 30)),
                                  settings.of(groups, std::min<std::uint64_t>(groups, 10)), settings);
                     }});
  };
  add("empty", 0, 0);
  for (const auto& [name, topics] : {std::pair("topics_10", 10), {"topics_100", 100}, {"topics_1000", 1'000}})
    add(name, topics, topics / 10);
  add("many", 10'000, 1'000);
  return run_catalogue("scale", cases, argc, argv);
}
