// How fast do groups work events off: taken and acked, failed and retried, given up and moved to the dead-letter queue?
//
// take: a flow of events to the members of one group; what each of them received is checked, and that each event came
// to one of them. retry: one member fails every event once, with no backoff, and acks it when it comes back. letters:
// one member rejects every event, and the time runs until the last is in the dead-letter queue, from where all are read
// and checked; a daemon moves them. beside_retries: fresh events of a group in which 100,000 wait for a retry, in turns
// with those of a group in which none does; storm: as many, all due at the same moment; a_million: more than a group
// can hold are failed, the rest is held back and told of, and nothing is lost.
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

// The time runs over publishing and working off some events, in turns with and without retries that wait.
struct Beside {
  measure::Histogram plain, retrying;
};

// Takes what there is and settles it so; how many that were.
template <class Handler>
Result<std::uint64_t> work_off(Consumer& member, Handler&& handler, Board& board) {
  std::uint64_t done = 0;
  while (!board.stopped()) {
    auto handled = member.poll(handler, 256);
    if (!handled) return tl::unexpected(handled.error());
    if (*handled == 0) break;
    done += *handled;
  }
  return done;
}

const TopicOptions kRoomy{.durability = Durability::memory, .ring_bytes = 256 << 20};

std::string fail_all(Bus& bus, std::optional<Consumer>& member, const std::string& topic, std::uint64_t events,
                     std::chrono::nanoseconds delay, Board& board) {
  auto producer = bus.producer(topic);
  if (!producer) return producer.error().message();
  std::vector<std::byte> payload(kPayload);
  for (std::uint64_t i = 0; i < events; ++i)
    if (auto sent = producer->publish(payload); !sent) return sent.error().message();
  auto joined = bus.consumer(topic, {topic}, {.max_attempts = 1000, .backoff = {delay}, .wait = Wait::spin});
  if (!joined) return joined.error().message();
  member.emplace(std::move(*joined));
  auto failed = work_off(
      *member, [](const EventView&) { return Settle::nak("bench", "later"); }, board);
  return failed ? std::string() : failed.error().message();
}

std::string beside_retries(const std::string& directory, std::uint64_t waiting, std::uint64_t rounds, Beside& result,
                           Board& board) {
  auto bus = Bus::open(directory);
  if (!bus) return bus.error().message();
  std::optional<Consumer> members[2];
  std::optional<Producer> producers[2];
  for (const int side : {0, 1}) {
    const std::string topic = side == 0 ? "plain" : "retrying";
    if (auto made = bus->create_topic(topic, kRoomy); !made) return made.error().message();
    if (auto failed = fail_all(*bus, members[side], topic, side == 0 ? 0 : waiting, 1h, board); !failed.empty())
      return failed;
    auto producer = bus->producer(topic);
    if (!producer) return producer.error().message();
    producers[side].emplace(std::move(*producer));
  }
  constexpr std::uint64_t kSlice = 4096;
  std::vector<std::byte> payload(kPayload);
  for (std::uint64_t round = 0; round < 2 * rounds && !board.stopped(); ++round) {
    const std::uint64_t side = round % 2;
    const std::int64_t begin = now_ns();
    for (std::uint64_t i = 0; i < kSlice; ++i)
      if (auto sent = producers[side]->publish(payload); !sent) return sent.error().message();
    auto done = work_off(
        *members[side], [](const EventView&) { return Settle::ack(); }, board);
    if (!done) return done.error().message();
    if (*done != kSlice && !board.stopped()) return "an event was lost or came twice";
    auto& times = side == 0 ? result.plain : result.retrying;
    times.add(static_cast<std::uint64_t>(now_ns() - begin));
  }
  auto told = bus->group_topics("retrying");
  if (!told) return told.error().message();
  if (!board.stopped() && (told->size() != 1 || told->front().retrying != waiting)) return "a retry was lost";
  return {};
}

Outcome beside(const Settings& settings) {
  const Scratch scratch(settings.directory);
  const measure::Shared<Beside> result;
  measure::Crew crew;
  if (auto bus = Bus::open(scratch.bus()); !bus) return tl::unexpected(bus.error().message());
  crew.serve("the daemon", [&scratch] { return measure::host_daemon(scratch.bus()); });
  const std::uint64_t waiting = settings.of(100'000, 500), rounds = settings.of(400, 3);
  crew.work("the member", -1,
            [&](Board& board) { return beside_retries(scratch.bus(), waiting, rounds, *result, board); });
  if (std::string complaint = crew.finish(interrupted); !complaint.empty()) return tl::unexpected(complaint);
  const auto ratio = [&](double percent) {
    return static_cast<double>(result->retrying.percentile(percent)) /
           static_cast<double>(std::max<std::uint64_t>(result->plain.percentile(percent), 1));
  };
  return Json{{"waiting", waiting},
              {"plain", result->plain.json()},
              {"retrying", result->retrying.json()},
              {"ratio", ratio(50)},
              {"ratio_p90", ratio(90)}};
}

// All come due within a moment; each is taken again once and acked.
std::string storm(const std::string& directory, std::uint64_t events, Tally& tally, Board& board) {
  auto bus = Bus::open(directory);
  if (!bus) return bus.error().message();
  if (auto made = bus->create_topic("work", kRoomy); !made) return made.error().message();
  std::optional<Consumer> member;
  if (auto failed = fail_all(*bus, member, "work", events, 1s, board); !failed.empty()) return failed;
  std::uint64_t acked = 0;
  std::int64_t begin = 0;
  while (acked < events && !board.stopped()) {
    auto done = work_off(
        *member, [](const EventView&, unsigned) { return Settle::ack(); }, board);
    if (!done) return done.error().message();
    if (begin == 0 && *done != 0) begin = now_ns();
    acked += *done;
  }
  tally.took_ns = now_ns() - begin;
  tally.count = acked;
  return {};
}

std::string a_million(const std::string& directory, std::uint64_t events, Tally& tally, Board& board) {
  auto bus = Bus::open(directory);
  if (!bus) return bus.error().message();
  if (auto made = bus->create_topic("work", kRoomy); !made) return made.error().message();
  std::optional<Consumer> member;
  const std::int64_t begin = now_ns();
  if (auto failed = fail_all(*bus, member, "work", events, 1h, board); !failed.empty()) return failed;
  tally.took_ns = now_ns() - begin;
  auto told = bus->group_topics("work");
  if (!told || told->size() != 1) return "the group is not there";
  tally.count = told->front().retrying;
  constexpr std::uint64_t kMost = 524'288;
  if (board.stopped()) return {};
  if (told->front().retrying != std::min(events, kMost)) return "a wrong number of events is held";
  if (told->front().lag != events) return "an event was lost";
  if ((told->front().full != 0) != (events > kMost)) return "the group was not told that it is full";
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
  cases.push_back({"beside_retries", beside});
  cases.push_back({"storm", [](const Settings& settings) {
                     return alone(settings, storm, true, "retries_per_second", settings.of(100'000, 500));
                   }});
  cases.push_back({"a_million", [](const Settings& settings) {
                     return alone(settings, a_million, true, "failures_per_second", settings.of(1'000'000, 500));
                   }});
  return run_catalogue("groups", cases, argc, argv);
}
