// penstock stats and top: how topics and groups move.
#include <unistd.h>

#include <map>

#include "tools/penstock/json.hpp"
#include "tools/penstock/output.hpp"
#include "tools/penstock/screen.hpp"
#include "tools/penstock/session.hpp"
#include "tools/penstock/signals.hpp"

namespace penstock::tool {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// What was counted the last time, so that rates can be told.
class Rates {
 public:
  void begin() {
    const auto now = Clock::now();
    seconds_ = std::chrono::duration<double>(now - last_).count();
    last_ = now;
    first_ = rounds_++ == 0;
  }
  // A second since the last round; nothing in the first.
  std::optional<double> of(const std::string& name, std::uint64_t value) {
    const auto [at, fresh] = values_.try_emplace(name, value);
    const std::uint64_t before = std::exchange(at->second, value);
    if (first_ || fresh || seconds_ <= 0 || value < before) return {};
    return static_cast<double>(value - before) / seconds_;
  }

 private:
  std::map<std::string, std::uint64_t> values_;
  Clock::time_point last_ = Clock::now();
  double seconds_ = 0;
  std::uint64_t rounds_ = 0;
  bool first_ = true;
};

std::string rate_text(std::optional<double> rate) {
  if (!rate) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.0f", *rate);
  return text;
}

// In the unit that people would name it in.
std::string age_text(std::int64_t ms) {
  if (ms < 10'000) return std::to_string(ms) + "ms";
  if (ms < 600'000) return std::to_string(ms / 1000) + "s";
  if (ms < 36'000'000) return std::to_string(ms / 60'000) + "m";
  return std::to_string(ms / 3'600'000) + "h";
}

Json rate_json(std::optional<double> rate) { return rate ? Json(*rate) : Json(nullptr); }

int topics(const Globals& globals, Bus& bus, Rates& rates, Out& out) {
  const auto names = bus.topics();
  if (!names) return complain(names.error());
  Table table(
      {"TOPIC", "DURABILITY", "NEXT", "RATE/S", "UNPERSISTED", "RING", "SHM", "DISK", "PRODUCERS", "READERS", "STATE"});
  for (const std::string& name : *names) {
    const auto info = bus.describe_topic(name);
    if (!info) continue;  // deleted meanwhile
    const bool disk = info->options.durability == Durability::disk;
    const auto rate = rates.of("t " + name, info->next_offset);
    if (globals.json) {
      Json object{{"type", "topic"}};
      object.update(topic_json(*info));
      object["rate"] = rate_json(rate);
      out << line(object);
    }
    const std::string state = info->durable_error != 0 ? "disk error " + std::to_string(info->durable_error)
                              : info->blocked_by       ? "blocked by " + *info->blocked_by
                                                       : "ok";
    table.add({name, name_of(info->options.durability), std::to_string(info->next_offset), rate_text(rate),
               disk ? std::to_string(info->next_offset - std::min(info->next_offset, info->durable_offset)) : "-",
               size_text(info->ring_bytes), size_text(info->shm_bytes), disk ? size_text(info->disk_bytes) : "-",
               std::to_string(info->producers), std::to_string(info->readers), state});
  }
  if (!globals.json) table.print(out, globals.colored(1));
  return kDone;
}

int groups(const Globals& globals, Bus& bus, Rates& rates, Out& out) {
  const auto names = bus.groups();
  if (!names) return complain(names.error());
  Table table({"GROUP", "TOPIC", "LAG", "OLDEST", "ACKED", "RATE/S", "IN-FLIGHT", "RETRYING", "QUEUED", "DEAD",
               "MEMBERS", "SHM", "STATE"});
  for (const std::string& name : *names) {
    const auto all = bus.group_topics(name);
    const auto group = bus.describe_group(name);
    if (!all || !group) continue;
    for (const GroupTopicInfo& t : *all) {
      const auto rate = rates.of("g " + name + " " + t.topic, t.acked);
      if (globals.json) {
        Json object{{"type", "group"}};
        object.update(group_topic_json(t));
        object["rate"] = rate_json(rate);
        out << line(object);
      }
      const std::string state = t.dead_letters_wait ? "dead letters wait: " + *t.dead_letters_wait
                                : group->paused     ? "paused"
                                                    : "ok";
      table.add({name, t.topic, std::to_string(t.lag), t.lag == 0 ? "-" : age_text(t.oldest_pending_ms),
                 std::to_string(t.acked), rate_text(rate), std::to_string(t.in_flight), std::to_string(t.retrying),
                 std::to_string(t.queued), std::to_string(t.dead_lettered), std::to_string(t.members),
                 size_text(t.shm_bytes), state});
    }
  }
  if (!globals.json) {
    out << "\n";
    table.print(out, globals.colored(1));
  }
  return kDone;
}

std::string headline(const Bus& bus) {
  const auto info = bus.describe();
  if (!info) return "penstock";
  const std::string daemon = info->daemon_pid ? "daemon " + std::to_string(*info->daemon_pid) + ", " + info->backend
                                              : std::string("no daemon runs");
  return info->path + ": " + daemon + ", " + size_text(info->shm_bytes) + " of shared memory, " +
         size_text(info->disk_bytes) + " of disk";
}

// One picture, as tables or as JSON.
int describe(const Globals& globals, Bus& bus, Rates& rates, Out& out) {
  rates.begin();
  const int code = topics(globals, bus, rates, out);
  return code == kDone ? groups(globals, bus, rates, out) : code;
}

// In place, until `q` or a signal.
int watch_screen(const Globals& globals, Bus& bus, std::chrono::nanoseconds every) {
  Out out;
  Rates rates;
  std::string text;
  int code = kDone;
  {
    Screen screen;
    auto next = Clock::now();
    for (auto woken = Screen::Woken::by_time; woken != Screen::Woken::to_quit; woken = screen.wait(next)) {
      // A new size shows what is known until it is time for more.
      if (woken == Screen::Woken::by_time) {
        next = Clock::now() + std::chrono::duration_cast<Clock::duration>(every);
        Out drawn;
        drawn << headline(bus) << "; q quits\n\n";
        code = describe(globals, bus, rates, drawn);
        if (code != kDone) break;
        text = drawn.buffer();
        drawn.buffer().clear();
      }
      out << picture(text);
      if (!out.flush()) break;
    }
  }
  if (code != kDone) return describe(globals, bus, rates, out);  // says again what was said on the screen that is gone
  return out.finish(stopping() ? kInterrupted : kDone);
}

// One below the other: for pipes, files and terminals that cannot do otherwise.
int watch(const Globals& globals, Bus& bus, std::optional<std::chrono::nanoseconds> every) {
  Out out;
  Rates rates;
  for (;;) {
    const int code = describe(globals, bus, rates, out);
    if (code != kDone || !every) return out.finish(code);
    const auto next = Clock::now() + *every;
    if (!out.flush()) return out.finish(kDone);
    while (Clock::now() < next && !stopping() && !out.reader_gone()) ::usleep(20'000);
    if (stopping()) return out.finish(kInterrupted);
    if (!globals.json) out << "\n";
  }
}

int show(const Globals& globals, Bus& bus, std::optional<std::chrono::nanoseconds> every) {
  if (every && !globals.json && Screen::possible()) return watch_screen(globals, bus, *every);
  return watch(globals, bus, every);
}

}  // namespace

void add_stats(CLI::App& app, Plan& plan) {
  CLI::App* stats = app.add_subcommand("stats", "Counters of all topics and groups");
  auto every = std::make_shared<std::optional<std::chrono::nanoseconds>>();
  add_parsed(
      *stats, "--watch", *every,
      [](const std::string& text) -> Parsed<std::chrono::nanoseconds> {
        auto duration = parse_duration(text);
        if (duration && *duration < 10ms) return tl::unexpected("'" + text + "' is too short; give 10ms or more");
        return duration;
      },
      "Again and again, with rates; in place on a terminal, until q or interrupted")
      ->type_name("DUR");
  stats->footer("Example:\n  penstock stats --watch 1s");
  stats->callback([every, &plan] {
    plan.run = [every](const Globals& globals) {
      return with_bus(globals, [&](Bus& bus) { return show(globals, bus, *every); });
    };
  });
  CLI::App* top = app.add_subcommand("top", "The same every second, in place on a terminal, until q or interrupted");
  top->footer("Example:\n  penstock top");
  top->callback([&plan] {
    plan.run = [](const Globals& globals) {
      return with_bus(globals, [&](Bus& bus) { return show(globals, bus, 1s); });
    };
  });
}

}  // namespace penstock::tool
