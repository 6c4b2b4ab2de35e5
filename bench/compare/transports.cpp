// Penstock's memory topics beside other ways between two processes of one host, in one run.
//
// The same for each: a round trip between two processes pinned to a core each, with the bare cache line right before
// and after, and one way for as long as a case lasts. Every event is checked by who receives it. What spins is said;
// those that can only block pay for two wake-ups a round trip, as they would anywhere.
#include <unistd.h>

#include "bench/compare/guarded.hpp"
#include "bench/compare/link.hpp"
#include "bench/support/catalogue.hpp"
#include "tools/measure/clock.hpp"
#include "tools/measure/cores.hpp"
#include "tools/measure/crew.hpp"
#include "tools/measure/flow.hpp"
#include "tools/measure/line.hpp"
#include "tools/measure/payload.hpp"

namespace {

using namespace penstock;
using namespace penstock::bench;
using compare::guarded;
using compare::Peer;
using measure::Board;
using measure::now_ns;

struct Table {
  measure::Line line;
  measure::RoundTrip trip;
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> sent{0}, received{0};
  std::atomic<std::int64_t> began{0}, ended{0};
};

struct Match {
  const Peer& peer;
  std::string name;
  std::size_t payload;
  std::uint64_t trips, line_trips;
  std::int64_t lasts_ns;
};

std::span<const std::byte> await(compare::Receiver& receiver, const Board& board, const std::atomic<bool>& over) {
  for (;;) {
    const auto event = receiver.receive();
    if (!event.empty() || board.stopped() || over.load()) return event;
  }
}

std::string serve_balls(const Match& match, Table& table, Board& board) {
  const auto in = match.peer.receiver(match.name + "-pong", match.payload);
  if (!board.meet(2)) return {};
  const auto out = match.peer.sender(match.name + "-ping", match.payload);
  if (!board.meet(2) || !table.line.ask(board, match.line_trips, table.trip.line_before)) return {};
  const measure::Ticks ticks;
  std::vector<std::byte> ball(match.payload);
  measure::Sequence echoes(1);
  const std::atomic<bool> never{false};
  for (std::uint64_t i = 0; i < match.trips; ++i) {
    measure::fill(ball, {0, i});
    const std::uint64_t begin = ticks.now();
    out->send(ball);
    const auto echo = await(*in, board, never);
    if (board.stopped()) return {};
    if (!echoes.accept(echo, match.payload)) return echoes.complaint();
    table.trip.trips.add(ticks.ns(ticks.now() - begin));
  }
  table.over.store(true);
  table.line.ask(board, match.line_trips, table.trip.line_after);
  return {};
}

std::string echo(const Match& match, Table& table, Board& board) {
  const auto in = match.peer.receiver(match.name + "-ping", match.payload);
  if (!board.meet(2)) return {};
  const auto out = match.peer.sender(match.name + "-pong", match.payload);
  if (!board.meet(2) || !table.line.answer(board, match.line_trips)) return {};
  for (;;) {
    const auto ball = await(*in, board, table.over);
    if (ball.empty()) break;
    out->send(ball);
  }
  if (!board.stopped()) table.line.answer(board, match.line_trips);
  return {};
}

std::string pour(const Match& match, Table& table, Board& board) {
  if (!board.meet(2)) return {};
  const auto out = match.peer.sender(match.name + "-flow", match.payload);
  std::vector<std::byte> event(match.payload);
  std::uint64_t sent = 0;
  const std::int64_t begin = now_ns();
  table.began.store(begin);
  for (; sent % 16 != 0 || now_ns() - begin < match.lasts_ns; ++sent) {
    if (board.stopped()) return {};
    measure::fill(event, {0, sent});
    out->send(event);
  }
  table.sent.store(sent);
  table.over.store(true);
  board.wait_for([&table] { return table.ended.load() != 0; });  // the link goes when all is out of it
  return {};
}

std::string drain(const Match& match, Table& table, Board& board) {
  const auto in = match.peer.receiver(match.name + "-flow", match.payload);
  if (!board.meet(2)) return {};
  measure::Sequence sequence(1);
  while (!table.over.load() || sequence.received() < table.sent.load()) {
    const auto event = in->receive();
    if (board.stopped()) return {};
    if (!event.empty() && !sequence.accept(event, match.payload)) return sequence.complaint();
  }
  table.received.store(sequence.received());
  table.ended.store(now_ns());
  return {};
}

using Part = std::string (*)(const Match&, Table&, Board&);

// Two processes on a core each; what they leave behind is removed.
std::string play(const Match& match, Table& table, Part first, Part second) {
  const std::vector<int> there = measure::cores();
  measure::Crew crew;
  crew.work("the receiver", there.size() > 1 ? there[1] : -1,
            guarded([&](Board& board) { return second(match, table, board); }));
  crew.work("the sender", there.size() > 1 ? there[0] : -1,
            guarded([&](Board& board) { return first(match, table, board); }));
  std::string complaint = crew.finish(interrupted);
  for (const char* part : {"-ping", "-pong", "-flow"}) match.peer.remove(match.name + part);
  return complaint;
}

// Again, up to so many times, when the bare line says that the processes moved between cores meanwhile.
constexpr int kMostAttempts = 3;
constexpr double kSteady = 0.15;

tl::expected<measure::RoundTrip, std::string> steady(
    const Settings& settings, const std::function<tl::expected<measure::RoundTrip, std::string>()>& measure_it) {
  for (int attempt = 1;; ++attempt) {
    auto trip = measure_it();
    if (!trip || trip->unsteady() <= kSteady || attempt == kMostAttempts || settings.smoke || interrupted())
      return trip;
  }
}

Json flow_json(std::uint64_t events, double seconds, std::size_t payload) {
  const double rate = static_cast<double>(events) / seconds;
  return {
      {"events", events}, {"events_per_second", rate}, {"gb_per_second", rate * static_cast<double>(payload) / 1e9}};
}

Outcome run(const Peer& peer, std::size_t payload, const Settings& settings) {
  Json line{{"peer", peer.name}, {"how", peer.how}, {"payload", payload}};
  if (!peer.missing.empty() || payload > peer.largest) {
    line["not_run"] = peer.missing.empty() ? "takes at most " + std::to_string(peer.largest) + " bytes" : peer.missing;
    return line;
  }
  const Match match{peer,
                    "penstock-compare-" + std::to_string(::getpid()),
                    payload,
                    settings.of(20'000ull, 50),
                    settings.of(50'000ull, 200),
                    settings.of(1'000'000'000, 2'000'000)};
  const auto trip = steady(settings, [&match]() -> tl::expected<measure::RoundTrip, std::string> {
    const measure::Shared<Table> trips;
    if (std::string complaint = play(match, *trips, serve_balls, echo); !complaint.empty())
      return tl::unexpected(complaint);
    trips->trip.pinned = measure::cores().size() > 1;
    return trips->trip;
  });
  if (!trip) return tl::unexpected(trip.error());
  const measure::Shared<Table> flows;
  if (std::string complaint = play(match, *flows, pour, drain); !complaint.empty()) return tl::unexpected(complaint);
  line.update(trip->json());
  line.update(
      flow_json(flows->received.load(), static_cast<double>(flows->ended.load() - flows->began.load()) / 1e9, payload));
  return line;
}

Outcome run_penstock(bool single_producer, std::size_t payload, const Settings& settings) {
  const TopicOptions topic{.durability = Durability::memory, .single_producer = single_producer};
  const auto trip = steady(settings, [&]() -> tl::expected<measure::RoundTrip, std::string> {
    const Scratch scratch(settings.directory);
    if (auto bus = Bus::open(scratch.bus()); !bus) return tl::unexpected(bus.error().message());
    measure::RoundTripPlan plan{.directory = scratch.bus(), .prefix = "court", .topic = topic};
    plan.payload = payload;
    plan.trips = settings.of(200'000, 50);
    plan.warm_up = settings.of(topic.ring_bytes / (payload + 56), 10);
    plan.line_trips = settings.of(50'000, 200);
    plan.asked = interrupted;
    return measure::round_trip(plan);
  });
  if (!trip) return tl::unexpected(trip.error());
  const Scratch scratch(settings.directory);
  if (auto bus = Bus::open(scratch.bus()); !bus) return tl::unexpected(bus.error().message());
  measure::FlowPlan one_way{.directory = scratch.bus(), .topic = "river", .options = topic};
  one_way.payload = payload;
  one_way.lasts_ns = settings.of(1'000'000'000, 2'000'000);
  one_way.asked = interrupted;
  const auto flow = measure::flow(one_way);
  if (!flow) return tl::unexpected(flow.error());
  Json line{{"peer", "Penstock"}, {"how", single_producer ? "single producer, spinning" : "spinning"}};
  line["payload"] = payload;
  line.update(trip->json());
  line.update(flow_json(flow->received, flow->seconds, payload));
  return line;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace penstock::compare;
  static const Peer peers[] = {iceoryx(), boost_mq(), zeromq(), posix_mq(), seqpacket()};
  std::vector<Case> cases;
  for (const std::size_t payload : {64, 1024, 8192, 65536}) {
    const std::string suffix = "_" + std::to_string(payload);
    for (const bool single : {false, true})
      cases.push_back({std::string("Penstock") + (single ? " single" : "") + suffix,
                       [=](const Settings& settings) { return run_penstock(single, payload, settings); }});
    for (const Peer& peer : peers)
      cases.push_back(
          {peer.name + suffix, [&peer, payload](const Settings& settings) { return run(peer, payload, settings); }});
  }
  return run_catalogue("transports", cases, argc, argv);
}
