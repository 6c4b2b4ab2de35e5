// What does it cost to wake a consumer that sleeps?
//
// From right before the publish to the moment the sleeper, in another process on the other core, has the event. The
// publisher sends only when the kernel says that the sleeper sleeps. Beside it, in turns within the same run: a bare
// futex between the same two processes, whose sleeper does nothing else.
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>

#include "bench/support/catalogue.hpp"
#include "tools/measure/clock.hpp"
#include "tools/measure/cores.hpp"
#include "tools/measure/crew.hpp"
#include "tools/measure/inbox.hpp"
#include "tools/measure/payload.hpp"

namespace {

using namespace penstock;
using namespace penstock::bench;
using namespace std::chrono_literals;
using measure::Board;
using measure::now_ns;
using measure::Via;

struct Room {
  alignas(64) std::atomic<std::uint32_t> word{0};  // the bare futex
  alignas(64) std::atomic<std::int64_t> sent_ns{0};
  std::atomic<std::uint64_t> got{0};  // wake-ups, of both kinds
  std::atomic<pid_t> sleeper{0};
  measure::Histogram bare, event;
};

long futex(std::atomic<std::uint32_t>& word, int operation, std::uint32_t value) {
  return ::syscall(SYS_futex, &word, operation, value, nullptr, nullptr, 0);
}

bool asleep(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  std::string text;
  std::getline(file, text);
  const std::size_t name_end = text.rfind(')');
  return name_end != std::string::npos && text.compare(name_end, 3, ") S") == 0;
}

struct Plan {
  std::string directory;
  Via via;
  std::uint64_t times;
};

// Round n is a bare wake-up when n is even, an event when it is odd.
std::string sleep_again_and_again(const Plan& plan, Room& room, Board& board) {
  auto bus = Bus::open(plan.directory);
  if (!bus) return bus.error().message();
  auto inbox = measure::Inbox::open(*bus, "bell", "sleepers", plan.via, Wait::sleep);
  if (!inbox) return inbox.error().message();
  room.sleeper.store(::getpid());
  measure::Sequence events(1);
  bool good = true;
  if (!board.meet(2)) return {};
  for (std::uint64_t round = 0; round < 2 * plan.times && !board.stopped(); ++round) {
    if (round % 2 == 0) {
      const std::uint32_t seen = static_cast<std::uint32_t>(round / 2);
      while (room.word.load() == seen && !board.stopped()) futex(room.word, FUTEX_WAIT, seen);
      room.bare.add(static_cast<std::uint64_t>(now_ns() - room.sent_ns.load()));
    } else {
      auto handler = [&](Bytes payload) {
        room.event.add(static_cast<std::uint64_t>(now_ns() - room.sent_ns.load()));
        good = events.accept(payload, 64);
      };
      for (std::size_t got = 0; got == 0 && !board.stopped();) {
        if (auto more = inbox->wait(1s); !more) return more.error().message();
        auto handled = inbox->poll(handler, 1);
        if (!handled) return handled.error().message();
        got = *handled;
      }
      if (!good) return events.complaint();
    }
    room.got.store(round + 1);
  }
  return {};
}

std::string ring(const Plan& plan, Room& room, Board& board) {
  auto bus = Bus::open(plan.directory);
  if (!bus) return bus.error().message();
  auto producer = bus->producer("bell");
  if (!producer) return producer.error().message();
  std::vector<std::byte> payload(64);
  if (!board.meet(2)) return {};
  for (std::uint64_t round = 0; round < 2 * plan.times; ++round) {
    // It sleeps, and for this round: not on its way from the last one.
    if (!board.wait_for([&] { return room.got.load() == round && asleep(room.sleeper.load()); })) return {};
    measure::fill(payload, {0, round / 2});
    room.sent_ns.store(now_ns());
    if (round % 2 == 0) {
      room.word.fetch_add(1);
      futex(room.word, FUTEX_WAKE, 1);
    } else if (auto sent = producer->publish(payload); !sent) {
      return sent.error().message();
    }
  }
  return {};
}

Outcome run(Via via, Durability durability, const Settings& settings) {
  const Scratch scratch(settings.directory);
  {
    auto bus = Bus::open(scratch.bus());
    if (!bus) return tl::unexpected(bus.error().message());
    if (auto made = bus->create_topic("bell", {.durability = durability}); !made)
      return tl::unexpected(made.error().message());
  }
  const Plan plan{scratch.bus(), via, settings.of(20'000ull, 50)};
  const std::vector<int> there = measure::cores();
  const bool pinned = there.size() > 1;
  const measure::Shared<Room> room;
  measure::Crew crew;
  crew.work("the sleeper", pinned ? there[1] : -1,
            [&](Board& board) { return sleep_again_and_again(plan, *room, board); });
  crew.work("the ringer", pinned ? there[0] : -1, [&](Board& board) { return ring(plan, *room, board); });
  if (std::string complaint = crew.finish(interrupted); !complaint.empty()) return tl::unexpected(complaint);
  const auto p50 = [](const measure::Histogram& times) { return static_cast<double>(times.percentile(50)); };
  return Json{{"event", room->event.json()},
              {"futex", room->bare.json()},
              {"ratio", p50(room->event) / p50(room->bare)},
              {"pinned", pinned}};
}

}  // namespace

int main(int argc, char** argv) {
  const auto make = [](Via via, Durability durability) {
    return [=](const Settings& settings) { return run(via, durability, settings); };
  };
  return run_catalogue("wake",
                       {{"reader", make(Via::reader, Durability::memory)},
                        {"reader_durable", make(Via::reader, Durability::disk)},
                        {"group_next", make(Via::group_next, Durability::memory)},
                        {"group_poll", make(Via::group_poll, Durability::memory)}},
                       argc, argv);
}
