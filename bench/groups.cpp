// How fast do groups work events off: taken and acked, failed and retried, given up and moved to the dead-letter queue?
//
// take: a flow of events to the members of one group; what each of them received is checked, and that each event came
// to one of them. retry: one member fails every event once, with no backoff, and acks it when it comes back. letters:
// one member rejects every event, and the time runs until the last is in the dead-letter queue, from where all are read
// and checked; a daemon moves them.
#include "bench/support/catalogue.hpp"
#include "tools/measure/clock.hpp"
#include "tools/measure/crew.hpp"
#include "tools/measure/flow.hpp"
#include "tools/measure/inbox.hpp"
#include "tools/measure/payload.hpp"

namespace {

using namespace penstock;
using namespace penstock::bench;
using namespace std::chrono_literals;
using measure::Board;
using measure::now_ns;
using measure::Via;

constexpr std::size_t kPayload = 64;

Outcome take(Via via, unsigned members, Durability durability, const Settings& settings) {
  const Scratch scratch(settings.directory);
  measure::FlowPlan plan{.directory = scratch.bus(), .topic = "work"};
  plan.options = {.durability = durability};
  plan.via = via;
  plan.receivers = members;
  plan.lasts_ns = settings.of(1'000'000'000, 5'000'000);
  plan.daemon = durability == Durability::disk;
  plan.asked = interrupted;
  const auto flow = measure::flow(plan);
  if (!flow) return tl::unexpected(flow.error());
  Json line{{"payload", kPayload}, {"members", members}};
  line.update(flow->json());
  return line;
}

struct Tally {
  std::atomic<std::uint64_t> count{0};
  std::atomic<std::int64_t> took_ns{0};
  Json json(const char* what) const {
    const double seconds = static_cast<double>(took_ns.load()) / 1e9;
    return {{"payload", kPayload},
            {"events", count.load()},
            {"seconds", seconds},
            {what, static_cast<double>(count.load()) / seconds}};
  }
};

// Publishes the work, so that all of it is there before a member takes any.
Result<void> prepare(Bus& bus, std::uint64_t events, const TopicOptions& options) {
  if (auto made = bus.create_topic("work", options); !made) return made;
  auto producer = bus.producer("work");
  if (!producer) return tl::unexpected(producer.error());
  std::vector<std::byte> payload(kPayload);
  for (std::uint64_t i = 0; i < events; ++i) {
    measure::fill(payload, {0, i});
    if (auto sent = producer->publish(payload); !sent) return tl::unexpected(sent.error());
  }
  return {};
}

std::string retry_all(const std::string& directory, std::uint64_t events, Tally& tally, Board& board) {
  auto bus = Bus::open(directory);
  if (!bus) return bus.error().message();
  if (auto ready = prepare(*bus, events, {.durability = Durability::memory, .ring_bytes = 256 << 20}); !ready)
    return ready.error().message();
  auto member = bus->consumer("g", {"work"}, {.backoff = {0ns}, .wait = Wait::spin});
  if (!member) return member.error().message();
  std::vector<std::uint8_t> attempts(events, 0);  // seen of each event
  std::uint64_t acked = 0, marks = 0;
  bool good = true;
  auto handler = [&](const EventView& event, unsigned attempt) -> Settle {
    measure::Sent sent;
    good = good && measure::intact(event.payload(), sent) && sent.number == event.offset() &&
           sent.number < attempts.size() && ++attempts[sent.number] == attempt && attempt <= 2;
    if (attempt == 1) return Settle::nak("bench", "the first attempt fails");
    ++acked;
    marks += measure::mark_of(sent);
    return Settle::ack();
  };
  const std::int64_t begin = now_ns();
  while (acked < events && good && !board.stopped()) {
    if (auto handled = member->poll(handler, 256); !handled) return handled.error().message();
  }
  tally.took_ns = now_ns() - begin;
  for (std::uint64_t i = 0; i < events; ++i) marks -= measure::mark_of({0, i});
  if (!board.stopped() && (!good || marks != 0)) return "an event was torn, lost, or came with the wrong attempt";
  tally.count = acked;
  return {};
}

std::string bury_all(const std::string& directory, std::uint64_t events, Tally& tally, Board& board) {
  auto bus = Bus::open(directory);
  if (!bus) return bus.error().message();
  if (auto ready = prepare(*bus, events, {.durability = Durability::memory, .ring_bytes = 64 << 20}); !ready)
    return ready.error().message();
  auto member = bus->consumer("g", {"work"}, {.wait = Wait::spin});
  if (!member) return member.error().message();
  auto letters = bus->reader("g.dlq", StartAt::beginning());
  if (!letters) return letters.error().message();
  std::uint64_t rejected = 0, moved = 0, marks = 0;
  bool good = true;
  auto reject = [&](const EventView&) {
    ++rejected;
    return Settle::reject("bench", "nobody wants it");
  };
  auto letter = [&](const EventView& event) {
    measure::Sent sent;
    const auto history = DeadLetter::of(event);
    good = good && history && history->group == "g" && measure::intact(event.payload(), sent) &&
           history->offset == sent.number;
    marks += measure::mark_of(sent);
    ++moved;
  };
  const std::int64_t begin = now_ns();
  while (moved < events && good && !board.stopped()) {
    if (rejected < events)
      if (auto handled = member->poll(reject, 256); !handled) return handled.error().message();
    auto read = letters->poll(letter, 256);
    if (!read) return read.error().message();
    if (rejected < events || *read != 0) continue;
    if (auto more = letters->wait(10ms); !more) return more.error().message();
  }
  tally.took_ns = now_ns() - begin;
  for (std::uint64_t i = 0; i < events; ++i) marks -= measure::mark_of({0, i});
  if (!board.stopped() && (!good || marks != 0)) return "a letter is torn, missing, or has the wrong history";
  tally.count = moved;
  return {};
}

using Work = std::string (*)(const std::string&, std::uint64_t, Tally&, Board&);

// One process does the work, so that the daemon, if it takes one, has the other core.
Outcome alone(const Settings& settings, Work work, bool daemon, const char* rate, std::uint64_t events) {
  const Scratch scratch(settings.directory);
  if (auto bus = Bus::open(scratch.bus()); !bus) return tl::unexpected(bus.error().message());
  const measure::Shared<Tally> tally;
  measure::Crew crew;
  if (daemon) crew.serve("the daemon", [&scratch] { return measure::host_daemon(scratch.bus()); });
  crew.work("the member", -1, [&](Board& board) { return work(scratch.bus(), events, *tally, board); });
  if (std::string complaint = crew.finish(interrupted); !complaint.empty()) return tl::unexpected(complaint);
  return tally->json(rate);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<Case> cases;
  for (const auto& [name, via] : {std::pair("take_poll_", Via::group_poll), std::pair("take_next_", Via::group_next)})
    for (const unsigned members : {1, 2, 4})
      cases.push_back({name + std::to_string(members), [via = via, members](const Settings& settings) {
                         return take(via, members, Durability::memory, settings);
                       }});
  for (const unsigned members : {1, 4})
    cases.push_back({"take_poll_durable_" + std::to_string(members), [members](const Settings& settings) {
                       return take(Via::group_poll, members, Durability::disk, settings);
                     }});
  cases.push_back({"retry", [](const Settings& settings) {
                     return alone(settings, retry_all, false, "retries_per_second", settings.of(500'000, 500));
                   }});
  cases.push_back({"letters", [](const Settings& settings) {
                     return alone(settings, bury_all, true, "letters_per_second", settings.of(50'000, 100));
                   }});
  return run_catalogue("groups", cases, argc, argv);
}
