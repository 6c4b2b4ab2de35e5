// How fast do events reach the disk, and how fast do they come back from it?
//
// persist: publishing on a durable topic until all of it is on disk. await: each publisher waits until its event is on
// disk before it sends the next. catch_up, scan, dump: a reader that is far behind, Log::scan, and the command, over
// segments that the page cache does not have. recover: opening a bus whose shared memory is gone, after a clean stop
// and after a daemon that died, up to a reader that can read. What plain calls get from the same directory stands
// beside each, measured in the same run. Everything that was written is read again and checked.
#include <cstdio>
#include <filesystem>

#include "bench/support/catalogue.hpp"
#include "bench/support/plain.hpp"
#include "tools/measure/clock.hpp"
#include "tools/measure/crew.hpp"
#include "tools/measure/durable.hpp"
#include "tools/measure/inbox.hpp"
#include "tools/measure/payload.hpp"

namespace {

using namespace penstock;
using namespace penstock::bench;
using namespace std::chrono_literals;
using measure::Board;
using measure::now_ns;

const char* const kTopic = "stored";

std::string topic_directory(const Scratch& scratch) { return scratch.bus() + "/topics/" + kTopic; }

double mb_per_second(std::uint64_t bytes, std::int64_t ns) {
  return static_cast<double>(bytes) * 1e3 / static_cast<double>(std::max<std::int64_t>(ns, 1));
}

// Publishes that many bytes of payload and waits until they are on disk; nanoseconds.
Result<std::int64_t> store(Bus& bus, std::size_t payload, std::uint64_t bytes) {
  if (auto made = bus.create_topic(kTopic, {.durability = Durability::disk}); !made)
    return tl::unexpected(made.error());
  auto producer = bus.producer(kTopic);
  if (!producer) return tl::unexpected(producer.error());
  std::vector<std::byte> event(payload);
  const std::int64_t begin = now_ns();
  Result<Offset> last = 0;
  for (std::uint64_t i = 0; i < bytes / payload; ++i) {
    measure::fill(event, {0, i});
    if (last = producer->publish(event); !last) return tl::unexpected(last.error());
  }
  if (auto durable = producer->await_durable(*last, 60s); !durable) return tl::unexpected(durable.error());
  return now_ns() - begin;
}

// The same in a process of its own, with a daemon in another.
tl::expected<std::int64_t, std::string> store_beside_daemon(const Scratch& scratch, std::size_t payload,
                                                            std::uint64_t bytes) {
  if (auto bus = Bus::open(scratch.bus()); !bus) return tl::unexpected(bus.error().message());
  const measure::Shared<std::int64_t> took;
  measure::Crew crew;
  crew.serve("the daemon", [&scratch] { return measure::host_daemon(scratch.bus()); });
  crew.work("the writer", -1, [&](Board&) -> std::string {
    auto bus = Bus::open(scratch.bus());
    if (!bus) return bus.error().message();
    const auto stored = store(*bus, payload, bytes);
    if (!stored) return stored.error().message();
    *took = *stored;
    return {};
  });
  if (std::string complaint = crew.finish(interrupted); !complaint.empty()) return tl::unexpected(complaint);
  return *took;
}

// Reads everything from the beginning and checks it; nanoseconds from the first poll to the last event.
tl::expected<std::int64_t, std::string> read_all(Reader& reader, std::size_t payload, std::uint64_t events,
                                                 std::size_t senders = 1) {
  measure::Sequence sequence(senders);
  auto handler = [&](const EventView& event) { sequence.accept(event.payload(), payload); };
  const std::int64_t begin = now_ns();
  while (sequence.received() < events && sequence.complaint().empty() && !interrupted()) {
    auto got = reader.poll(handler);
    if (!got) return tl::unexpected(got.error().message());
    if (*got == 0) return tl::unexpected("the log ends after " + std::to_string(sequence.received()) + " events");
  }
  const std::int64_t took = now_ns() - begin;
  if (!sequence.complaint().empty()) return tl::unexpected(sequence.complaint());
  if (reader.missed() + reader.damaged() != 0) return tl::unexpected(std::string("events were missed or damaged"));
  return took;
}

tl::expected<std::int64_t, std::string> read_back(const Scratch& scratch, std::size_t payload, std::uint64_t events,
                                                  std::size_t senders = 1) {
  auto bus = Bus::open(scratch.bus());
  if (!bus) return tl::unexpected(bus.error().message());
  auto reader = bus->reader(kTopic, StartAt::beginning());
  if (!reader) return tl::unexpected(reader.error().message());
  return read_all(*reader, payload, events, senders);
}

std::uint64_t amount(const Settings& settings) { return settings.of(1ull << 30, 2ull << 20); }

Outcome persist(std::size_t payload, const Settings& settings) {
  const Scratch scratch(settings.directory);
  const std::uint64_t bytes = amount(settings);
  const auto plain = plain_write(scratch.path(), bytes);
  if (!plain) return tl::unexpected(plain.error());
  const auto took = store_beside_daemon(scratch, payload, bytes);
  if (!took) return tl::unexpected(took.error());
  if (const auto read = read_back(scratch, payload, bytes / payload); !read) return tl::unexpected(read.error());
  const double rate = mb_per_second(bytes, *took);
  return Json{{"payload", payload},
              {"mb_per_second", rate},
              {"plain_write_mb_per_second", *plain},
              {"ratio", rate / *plain},
              {"events_per_second", rate * 1e6 / static_cast<double>(payload)}};
}

// What a power cut or a reboot leaves: the shared memory is gone.
void forget_live(const std::string& bus) {
  const std::string link = bus + "/live";
  std::filesystem::remove_all(std::filesystem::read_symlink(link));
  std::filesystem::remove(link);
}

Outcome catch_up(std::size_t payload, const Settings& settings) {
  const Scratch scratch(settings.directory);
  const std::uint64_t bytes = amount(settings);
  if (const auto took = store_beside_daemon(scratch, payload, bytes); !took) return tl::unexpected(took.error());
  forget_live(scratch.bus());  // what is read comes from the disk, not from the ring
  const auto plain = plain_read(topic_directory(scratch), ".seg");
  if (!plain) return tl::unexpected(plain.error());
  forget_cached(topic_directory(scratch), ".seg");
  const auto took = read_back(scratch, payload, bytes / payload);
  if (!took) return tl::unexpected(took.error());
  const double rate = mb_per_second(bytes, *took);
  return Json{
      {"payload", payload}, {"mb_per_second", rate}, {"plain_read_mb_per_second", *plain}, {"ratio", rate / *plain}};
}

Outcome scan(std::size_t payload, const Settings& settings) {
  const Scratch scratch(settings.directory);
  const std::uint64_t bytes = amount(settings);
  if (const auto took = store_beside_daemon(scratch, payload, bytes); !took) return tl::unexpected(took.error());
  const auto plain = plain_read(topic_directory(scratch), ".seg");
  if (!plain) return tl::unexpected(plain.error());
  forget_cached(topic_directory(scratch), ".seg");
  auto log = Log::open(scratch.bus(), kTopic);
  if (!log) return tl::unexpected(log.error().message());
  measure::Sequence sequence(1);
  bool damaged = false;
  LogVisitor visitor;
  visitor.event = [&](const EventView& event) { return sequence.accept(event.payload(), payload) && !interrupted(); };
  visitor.damage = [&damaged](const Damage&) { return !(damaged = true); };
  const std::int64_t begin = now_ns();
  if (auto scanned = log->scan({}, visitor); !scanned) return tl::unexpected(scanned.error().message());
  const double rate = mb_per_second(bytes, now_ns() - begin);
  if (damaged || !sequence.complaint().empty() || (sequence.received() != bytes / payload && !interrupted()))
    return tl::unexpected("the scan met " + std::to_string(sequence.received()) + " events; " + sequence.complaint());
  return Json{
      {"payload", payload}, {"mb_per_second", rate}, {"plain_read_mb_per_second", *plain}, {"ratio", rate / *plain}};
}

Outcome dump(std::size_t payload, const Settings& settings) {
  const char* programs = std::getenv("PENSTOCK_BIN");
  const std::string program =
      programs != nullptr ? std::string(programs) + "/penstock"
                          : std::filesystem::read_symlink("/proc/self/exe").parent_path().string() + "/../bin/penstock";
  if (!std::filesystem::exists(program)) return tl::unexpected(program + " is missing; PENSTOCK_BIN names its folder");
  const Scratch scratch(settings.directory);
  const std::uint64_t bytes = amount(settings);
  if (const auto took = store_beside_daemon(scratch, payload, bytes); !took) return tl::unexpected(took.error());
  const auto plain = plain_read(topic_directory(scratch), ".seg");
  if (!plain) return tl::unexpected(plain.error());
  forget_cached(topic_directory(scratch), ".seg");
  const std::string command = program + " dump " + kTopic + " --bus " + scratch.bus() + " --format '%o\\n'";
  const std::int64_t begin = now_ns();
  FILE* output = ::popen(command.c_str(), "r");
  if (output == nullptr) return tl::unexpected(command + " cannot be started");
  std::uint64_t expected = 0;
  bool right = true;
  for (unsigned long long offset = 0; std::fscanf(output, "%llu\n", &offset) == 1; ++expected)
    right = right && offset == expected;
  const int status = ::pclose(output);
  const double rate = mb_per_second(bytes, now_ns() - begin);
  if (!interrupted() && (status != 0 || !right || expected != bytes / payload))
    return tl::unexpected("dump ended with " + std::to_string(status) + " after " + std::to_string(expected) +
                          " events, in order: " + (right ? "yes" : "no"));
  return Json{{"payload", payload},
              {"mb_per_second", rate},
              {"plain_read_mb_per_second", *plain},
              {"ratio", rate / *plain},
              {"events_per_second", rate * 1e6 / static_cast<double>(payload)}};
}

Outcome await_durable(unsigned publishers, const Settings& settings) {
  const Scratch scratch(settings.directory);
  if (auto bus = Bus::open(scratch.bus()); !bus) return tl::unexpected(bus.error().message());
  const std::uint64_t syncs = settings.of(2'000, 20);
  auto plain = plain_fdatasync(scratch.path(), syncs);
  if (!plain) return tl::unexpected(plain.error());
  measure::DurablePlan plan{.directory = scratch.bus(), .topic = kTopic, .publishers = publishers};
  plan.each = publishers == 1 ? settings.of(5'000, 50) : settings.of(1'000, 2);
  plan.daemon = true;
  plan.asked = interrupted;
  const auto waited = measure::await_durable(plan);
  if (!waited) return tl::unexpected(waited.error());
  const auto after = plain_fdatasync(scratch.path(), syncs);
  if (!after) return tl::unexpected(after.error());
  plain->add(*after);
  if (interrupted()) return Json{};
  if (const auto read = read_back(scratch, plan.payload, publishers * plan.each, publishers); !read)
    return tl::unexpected(read.error());
  return Json{{"publishers", publishers},
              {"await", waited->waits.json()},
              {"fdatasync", plain->json()},
              {"ratio", static_cast<double>(waited->waits.percentile(50)) / static_cast<double>(plain->percentile(50))},
              {"events_per_second", waited->events_per_second()}};
}

Outcome recover(bool clean, const Settings& settings) {
  const Scratch scratch(settings.directory);
  constexpr std::size_t kPayload = 1024;
  // Its last segment is nearly full, which is the worst case: only that is walked.
  const std::uint64_t bytes = settings.of(184ull << 20, 2ull << 20);
  measure::Crew crew;
  crew.work("the writer", -1, [&](Board&) -> std::string {
    auto bus = Bus::open(scratch.bus());
    if (!bus) return bus.error().message();
    auto daemon = Daemon::start(*bus);
    if (!daemon) return daemon.error().message();
    if (const auto stored = store(*bus, kPayload, bytes); !stored) return stored.error().message();
    if (clean) {
      if (auto stopped = daemon->stop(); !stopped) return stopped.error().message();
    } else {
      new Daemon(std::move(*daemon));  // dies with the process, in the middle of whatever it does
    }
    return {};
  });
  if (std::string complaint = crew.finish(interrupted); !complaint.empty()) return tl::unexpected(complaint);
  forget_live(scratch.bus());
  forget_cached(topic_directory(scratch), ".seg");
  const std::int64_t begin = now_ns();
  auto bus = Bus::open(scratch.bus());
  if (!bus) return tl::unexpected(bus.error().message());
  auto reader = bus->reader(kTopic, StartAt::beginning());
  if (!reader) return tl::unexpected(reader.error().message());
  const std::int64_t took = now_ns() - begin;
  if (const auto read = read_all(*reader, kPayload, bytes / kPayload); !read) return tl::unexpected(read.error());
  return Json{{"stored_mb", bytes >> 20}, {"recover_ms", static_cast<double>(took) / 1e6}};
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<Case> cases;
  const auto add = [&cases](const char* name, Outcome (*run)(std::size_t, const Settings&)) {
    for (const std::size_t payload : {1024, 65536})
      cases.push_back({name + std::string("_") + std::to_string(payload),
                       [=](const Settings& settings) { return run(payload, settings); }});
  };
  add("persist", persist);
  for (const unsigned publishers : {1, 64})
    cases.push_back({"await_" + std::to_string(publishers),
                     [=](const Settings& settings) { return await_durable(publishers, settings); }});
  add("catch_up", catch_up);
  add("scan", scan);
  add("dump", dump);
  cases.push_back({"recover_clean", [](const Settings& settings) { return recover(true, settings); }});
  cases.push_back({"recover_torn", [](const Settings& settings) { return recover(false, settings); }});
  return run_catalogue("disk", cases, argc, argv);
}
