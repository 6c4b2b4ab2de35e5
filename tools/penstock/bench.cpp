// penstock bench: how fast this machine carries events, with the bare cache line beside it.
#include <unistd.h>

#include <filesystem>

#include "tools/measure/durable.hpp"
#include "tools/measure/flow.hpp"
#include "tools/measure/scratch.hpp"
#include "tools/penstock/json.hpp"
#include "tools/penstock/output.hpp"
#include "tools/penstock/session.hpp"
#include "tools/penstock/signals.hpp"

namespace penstock::tool {
namespace {

using measure::Via;

constexpr std::uint64_t kMostHandles = 64;

struct Bench {
  std::uint64_t payload = 64;
  std::uint64_t producers = 1;
  std::uint64_t consumers = 1;
  std::optional<Durability> durability;
  std::chrono::nanoseconds duration{std::chrono::seconds(6)};
  bool disk() const { return durability == Durability::disk; }
};

// Where it measures: a bus of its own, or topics of its own on a bus that was named. Removes what it made.
class Ground {
 public:
  explicit Ground(const Globals& globals) : directory_(globals.bus) {
    if (!directory_.empty()) return;
    scratch_.emplace(std::filesystem::temp_directory_path());
    directory_ = scratch_->bus();
  }
  Ground(const Ground&) = delete;
  Ground& operator=(const Ground&) = delete;
  ~Ground() {
    auto bus = scratch_ ? Result<Bus>(tl::unexpected(Error())) : Bus::open(directory_, {.create = false});
    if (!bus) return;
    for (const char* part : {".ping", ".pong", ".readers", ".group", ".durable"})
      static_cast<void>(bus->delete_topic(name() + part));
    static_cast<void>(bus->delete_group(name() + ".group"));
    static_cast<void>(bus->delete_topic(name() + ".group.dlq"));
  }
  const std::string& directory() const { return directory_; }
  std::string name() const { return "penstock-bench-" + std::to_string(::getpid()); }
  bool own() const { return scratch_.has_value(); }

 private:
  std::optional<measure::Scratch> scratch_;
  std::string directory_;
};

std::string time_text(std::uint64_t ns) {
  char text[32];
  if (ns < 10'000)
    std::snprintf(text, sizeof text, "%u ns", static_cast<unsigned>(ns));
  else if (ns < 10'000'000)
    std::snprintf(text, sizeof text, "%.1f us", static_cast<double>(ns) / 1e3);
  else
    std::snprintf(text, sizeof text, "%.1f ms", static_cast<double>(ns) / 1e6);
  return text;
}

std::string number_text(const char* format, double value) {
  char text[32];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

// Tells each result as soon as it is there.
class Report {
 public:
  Report(const Globals& globals, Out& out) : globals_(globals), out_(out), times_(time_head()), rates_(rate_head()) {}

  void times(const char* what, const std::string& title, const measure::Histogram& times, const Json& more = {}) {
    if (globals_.json) return json(what, times.json(), more);
    const auto at = [&times](double percent) { return time_text(times.percentile(percent)); };
    times_.add({title, at(50), at(90), at(99), at(99.9), time_text(times.max())});
  }
  void rate(const char* what, const std::string& title, double events, double gigabytes, const Json& more = {}) {
    if (globals_.json) return json(what, {{"events_per_second", events}, {"gb_per_second", gigabytes}}, more);
    rates_.add({title, number_text("%.0f", events), number_text("%.3f", gigabytes)});
  }
  void say(const std::string& text) {
    if (!globals_.json) out_ << text << "\n";
  }
  void print() {
    times_.print(out_, globals_.colored(STDOUT_FILENO));
    if (!globals_.json) out_ << "\n";
    rates_.print(out_, globals_.colored(STDOUT_FILENO));
  }

 private:
  static std::vector<std::string> time_head() { return {"LATENCY", "P50", "P90", "P99", "P99.9", "MAX"}; }
  static std::vector<std::string> rate_head() { return {"RATE", "EVENTS/S", "GB/S"}; }
  void json(const char* what, const Json& values, const Json& more) {
    Json line{{"measured", what}};
    line.update(values);
    if (!more.is_null()) line.update(more);
    out_ << line.dump() << "\n";
    out_.flush();
  }
  const Globals& globals_;
  Out& out_;
  Table times_, rates_;
};

// Each measures one thing and reports it; a sentence when it failed.
using Failure = std::optional<std::string>;

Failure latency(const Bench& bench, const Ground& ground, bool daemon, std::int64_t lasts, Report& report) {
  measure::RoundTripPlan plan{.directory = ground.directory(), .prefix = ground.name()};
  plan.topic.durability = bench.disk() ? Durability::disk : Durability::memory;
  plan.payload = bench.payload;
  plan.topic.ring_bytes = std::max<std::uint64_t>(plan.topic.ring_bytes, 8 * bench.payload);
  plan.daemon = daemon;
  plan.warm_up = 1'000;
  plan.trips = UINT64_MAX / 2;
  plan.longest_ns = lasts;
  plan.asked = stopping;
  const auto trip = measure::round_trip(plan);
  if (!trip) return trip.error();
  if (stopping()) return {};
  report.say("cores: " + std::string(trip->near() ? "near" : "far") + (trip->pinned ? "" : ", not pinned"));
  report.times("line", "bare cache line", trip->line(),
               {{"cores", trip->near() ? "near" : "far"}, {"pinned", trip->pinned}});
  report.times("round_trip", "round trip (" + number_text("%.1f", trip->ratio()) + " times that)", trip->trips,
               {{"ratio", trip->ratio()}});
  return {};
}

Failure rate(const Bench& bench, const Ground& ground, bool daemon, Via via, std::int64_t lasts, Report& report) {
  const bool group = via != Via::reader;
  measure::FlowPlan plan{.directory = ground.directory(), .topic = ground.name() + (group ? ".group" : ".readers")};
  plan.options.durability = bench.disk() ? Durability::disk : Durability::memory;
  plan.options.ring_bytes = std::max<std::uint64_t>(plan.options.ring_bytes, 8 * bench.payload);
  plan.payload = bench.payload;
  plan.via = via;
  plan.producers = static_cast<unsigned>(bench.producers);
  plan.receivers = static_cast<unsigned>(bench.consumers);
  plan.lasts_ns = lasts;
  plan.daemon = daemon;
  plan.asked = stopping;
  const auto flow = measure::flow(plan);
  if (!flow) return flow.error();
  if (stopping()) return {};
  report.rate(group ? "group" : "readers", group ? "to one group, acked" : "to readers, each gets all",
              flow->events_per_second(), flow->gb_per_second(),
              {{"events", flow->published}, {"seconds", flow->seconds}, {"pinned", flow->pinned}});
  return {};
}

Failure durable(const Bench& bench, const Ground& ground, bool daemon, std::int64_t lasts, Report& report) {
  measure::DurablePlan plan{.directory = ground.directory(), .topic = ground.name() + ".durable"};
  plan.payload = bench.payload;
  plan.publishers = static_cast<unsigned>(bench.producers);
  plan.each = UINT64_MAX;
  plan.longest_ns = lasts;
  plan.daemon = daemon;
  plan.asked = stopping;
  const auto waited = measure::await_durable(plan);
  if (!waited) return waited.error();
  if (stopping()) return {};
  const double events = waited->events_per_second();
  report.times("durable", "publish until on disk", waited->waits, {{"events_per_second", events}});
  report.rate("durable_rate", "until on disk, one by one", events, events * static_cast<double>(bench.payload) / 1e9);
  return {};
}

int run(const Globals& globals, const Bench& bench) {
  const Ground ground(globals);
  bool daemon = bench.disk();
  {
    int code = kDone;
    Globals there = globals;
    there.bus = ground.directory();
    auto bus = open_bus(there, code, ground.own());
    if (!bus) return code;
    const auto info = bus->describe();
    if (!info) return complain(info.error());
    // A daemon that came for the measurement alone would write down everybody's events and leave.
    if (bench.disk() && !ground.own() && !info->daemon_pid)
      return complain(kNotFound, "no daemon runs on " + ground.directory() + "; start penstockd, or leave --bus out");
    daemon = daemon && !info->daemon_pid;
  }
  Out out;
  Report report(globals, out);
  report.say(size_text(bench.payload) + ", " + (bench.disk() ? "disk" : "memory") +
             ", producers: " + std::to_string(bench.producers) + ", consumers: " + std::to_string(bench.consumers));
  const std::int64_t part = bench.duration.count() / (bench.disk() ? 4 : 3);
  Failure failure = latency(bench, ground, daemon, part, report);
  for (const Via via : {Via::reader, Via::group_poll})
    if (!failure && !stopping()) failure = rate(bench, ground, daemon, via, part, report);
  if (!failure && !stopping() && bench.disk()) failure = durable(bench, ground, daemon, part, report);
  if (!failure) report.print();  // what was complete
  if (stopping()) return complain(out.finish(kInterrupted), "bench: interrupted; what was measured in full is told");
  return out.finish(failure ? complain(kFailed, *failure) : kDone);
}

Parsed<std::uint64_t> parse_payload(const std::string& text) {
  auto size = parse_size(text);
  if (size && (*size < 8 || *size > (1ull << 30))) return tl::unexpected("'" + text + "' is not between 8 and 1GiB");
  return size;
}

Parsed<std::uint64_t> parse_handles(const std::string& text) {
  auto number = parse_number(text);
  if (number && (*number == 0 || *number > kMostHandles))
    return tl::unexpected("'" + text + "' is not between 1 and " + std::to_string(kMostHandles));
  return number;
}

Parsed<std::chrono::nanoseconds> parse_lasting(const std::string& text) {
  auto duration = parse_duration(text);
  if (duration && *duration < std::chrono::milliseconds(1))
    return tl::unexpected("'" + text + "' is too short; give 1ms or more");
  return duration;
}

}  // namespace

void add_bench(CLI::App& app, Plan& plan) {
  CLI::App* command = app.add_subcommand("bench", "How fast this machine carries events between processes");
  auto bench = std::make_shared<Bench>();
  add_parsed(*command, "--payload", bench->payload, parse_payload, "Bytes of each event [64]")->type_name("SIZE");
  add_parsed(*command, "--producers", bench->producers, parse_handles, "Processes that publish [1]")->type_name("N");
  add_parsed(*command, "--consumers", bench->consumers, parse_handles, "Processes that read, or share a group [1]")
      ->type_name("N");
  add_choice(*command, "--durability", bench->durability, {{"memory", Durability::memory}, {"disk", Durability::disk}},
             "memory, or disk [memory]");
  add_parsed(*command, "--duration", bench->duration, parse_lasting, "How long to measure in all [6s]")
      ->type_name("DUR");
  command->footer(
      "A round trip of one event between two processes, with the bare cache line between the same two cores measured\n"
      "right before and after; then one way, as fast as it goes, to readers and to a group. Every payload is checked.\n"
      "On a bus of its own in the temporary directory (TMPDIR) that is removed; with --bus on topics of its own "
      "there.\n"
      "Example:\n  penstock bench --payload 1KiB --producers 2 --durability disk");
  command->callback([bench, &plan] { plan.run = [bench](const Globals& globals) { return run(globals, *bench); }; });
}

}  // namespace penstock::tool
