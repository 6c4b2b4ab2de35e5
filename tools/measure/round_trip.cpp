#include "tools/measure/round_trip.hpp"

#include <sched.h>

#include <algorithm>

#include "tools/measure/clock.hpp"
#include "tools/measure/cores.hpp"
#include "tools/measure/inbox.hpp"
#include "tools/measure/line.hpp"
#include "tools/measure/payload.hpp"

namespace penstock::measure {
namespace {

using namespace std::chrono_literals;

struct Court {  // what the two players share
  Line line;
  Histogram trips, before, after;
  std::atomic<bool> played{false};
};

// What both need: where to write, where to read.
struct Player {
  Bus bus;
  Producer out;
  Inbox in;

  static Result<Player> open(const RoundTripPlan& plan, const char* out, const char* in) {
    auto bus = Bus::open(plan.directory);
    if (!bus) return tl::unexpected(bus.error());
    auto producer = bus->producer(plan.prefix + out);
    if (!producer) return tl::unexpected(producer.error());
    auto inbox = Inbox::open(*bus, plan.prefix + in, plan.prefix + in, plan.via, plan.wait);
    if (!inbox) return tl::unexpected(inbox.error());
    return Player{std::move(*bus), std::move(*producer), std::move(*inbox)};
  }
};

// Waits the plan's way for one event and hands it over. False: `complaint` says why, or somebody failed.
template <class Handler>
bool receive(const RoundTripPlan& plan, Player& player, const Board& board, const std::atomic<bool>& over,
             std::string& complaint, Handler&& handler) {
  for (std::uint64_t looks = 1;; ++looks) {
    auto got = player.in.poll(handler, 1);
    if (got && *got != 0) return true;
    if (got && plan.wait == Wait::sleep) {
      auto more = player.in.wait(100ms);
      if (!more) got = tl::unexpected(more.error());
      looks = 4096;
    }
    if (!got) {
      complaint = got.error().message();
      return false;
    }
    if (looks % 4096 != 0) continue;
    if (board.stopped() || over.load()) return false;
    ::sched_yield();  // in case somebody else wants this core
  }
}

// Publishes, awaits the echo, checks it. Times only trips after the warm-up.
std::string serve_balls(const RoundTripPlan& plan, Court& court, Board& board) {
  auto player = Player::open(plan, ".ping", ".pong");
  if (!player) return player.error().message();
  if (!board.meet(2) || !court.line.ask(board, plan.line_trips, court.before)) return {};
  const Ticks ticks;
  std::vector<std::byte> ball(plan.payload);
  Sequence echoes(1);
  std::string complaint;
  const std::atomic<bool> never{false};
  bool good = true;
  std::int64_t end = INT64_MAX;
  for (std::uint64_t i = 0; i < plan.warm_up + plan.trips; ++i) {
    fill(ball, {0, i});
    if (i == plan.warm_up && plan.longest_ns != 0) end = now_ns() + plan.longest_ns;
    const std::uint64_t begin = ticks.now();
    if (auto sent = player->out.publish(ball); !sent) return sent.error().message();
    const bool back = receive(plan, *player, board, never, complaint,
                              [&](Bytes payload) { good = echoes.accept(payload, plan.payload); });
    const std::uint64_t took = ticks.now() - begin;
    if (!back) return complaint;
    if (!good) return echoes.complaint();
    if (i >= plan.warm_up) court.trips.add(ticks.ns(took));
    if (i % 256 == 0 && now_ns() > end) break;
  }
  court.played.store(true);
  court.line.ask(board, plan.line_trips, court.after);
  return {};
}

// Echoes at once, straight from where the event lies, and checks what it was afterwards.
std::string echo(const RoundTripPlan& plan, Court& court, Board& board) {
  auto player = Player::open(plan, ".pong", ".ping");
  if (!player) return player.error().message();
  if (!board.meet(2) || !court.line.answer(board, plan.line_trips)) return {};
  Sequence balls(1);
  std::string complaint;
  bool good = true;
  const auto handler = [&](Bytes payload) {
    auto sent = player->out.publish(payload);
    good = balls.accept(payload, plan.payload);
    if (!sent) complaint = sent.error().message();
  };
  while (receive(plan, *player, board, court.played, complaint, handler)) {
    if (!good) return balls.complaint();
    if (!complaint.empty()) return complaint;
  }
  if (!complaint.empty() || board.stopped()) return complaint;
  court.line.answer(board, plan.line_trips);
  return {};
}

Result<void> make_topics(const RoundTripPlan& plan) {
  auto bus = Bus::open(plan.directory);
  if (!bus) return tl::unexpected(bus.error());
  for (const char* topic : {".ping", ".pong"})
    if (auto made = bus->create_topic(plan.prefix + topic, plan.topic); !made) return made;
  return {};
}

}  // namespace

tl::expected<RoundTrip, std::string> round_trip(const RoundTripPlan& plan) {
  if (auto made = make_topics(plan); !made) return tl::unexpected(made.error().message());
  const std::vector<int> there = cores();
  const bool pinned = there.size() > 1;
  const Shared<Court> court;
  Crew crew;
  if (plan.daemon) crew.serve("the daemon", [&plan] { return host_daemon(plan.directory); });
  crew.work("the echo", pinned ? there[1] : -1, [&](Board& board) { return echo(plan, *court, board); });
  crew.work("the sender", pinned ? there[0] : -1, [&](Board& board) { return serve_balls(plan, *court, board); });
  if (std::string complaint = crew.finish(plan.asked); !complaint.empty()) return tl::unexpected(complaint);
  return RoundTrip{court->trips, court->before, court->after, pinned};
}

double RoundTrip::unsteady() const {
  const auto before = static_cast<double>(line_before.percentile(50));
  const auto after = static_cast<double>(line_after.percentile(50));
  return before > 0 && after > 0 ? std::max(before, after) / std::min(before, after) - 1 : 0;
}

Histogram RoundTrip::line() const {
  Histogram both = line_before;
  both.add(line_after);
  return both;
}

bool RoundTrip::near() const { return line().percentile(50) < kNearNs; }

double RoundTrip::ratio() const {
  const std::uint64_t bare = line().percentile(50);
  return bare != 0 ? static_cast<double>(trips.percentile(50)) / static_cast<double>(bare) : 0;
}

Json RoundTrip::json() const {
  return {{"trip", trips.json()},
          {"line", line().json()},
          {"line_before_p50_ns", line_before.percentile(50)},
          {"line_after_p50_ns", line_after.percentile(50)},
          {"unsteady", unsteady()},
          {"ratio", ratio()},
          {"cores", near() ? "near" : "far"},
          {"pinned", pinned}};
}

}  // namespace penstock::measure
