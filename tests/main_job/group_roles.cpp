#include "group_roles.hpp"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <penstock/daemon.hpp>
#include <thread>

namespace penstock::test {
namespace {

using namespace std::chrono_literals;

constexpr auto kLook = 2ms;  // how long a member searches for work; much less than a lease, so that a stop shows

[[noreturn]] void die() {
  ::kill(::getpid(), SIGKILL);
  std::abort();
}
// In the middle of something, perhaps.
void die_after(std::chrono::microseconds time) {
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGKILL;
  timer_t timer;
  itimerspec when{};
  when.it_value.tv_nsec = 1 + time.count() * 1000;
  if (::timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 || ::timer_settime(timer, 0, &when, nullptr) != 0) die();
}
void spin(std::chrono::microseconds time) {
  for (const auto end = std::chrono::steady_clock::now() + time; std::chrono::steady_clock::now() < end;) {
  }
}

class Member {
 public:
  Member(const Scene& scene, std::uint32_t number)
      : scene_(scene),
        number_(number),
        search_(scene.shared.searches[number]),
        consumer_(good(good(Bus::open(scene.bus)).consumer(kGroup, {kTopic}, options_of(scene.run)))),
        random_(scene.run.seed * kMembers + number) {}

  void work() {
    while (!scene_.shared.stop.load()) {
      if (random_.percent(scene_.run.polls))
        poll();
      else
        next();
      if (held_.size() > random_.below(4)) ack_held();
    }
    while (!held_.empty()) ack_held();
  }

 private:
  struct Held {
    Delivery delivery;
    Note of;
  };

  // Between these two it may be given leases.
  void search() {
    search_.asked.store(monotonic_now());
    search_.since.store(scene_.shared.count.load());
    search_.on.store(true);
  }
  void found() {
    const std::int64_t took = monotonic_now() - search_.asked.load();
    Note note;
    note.what = What::stalled;
    note.member = number_;
    note.since = search_.since.load();
    note.asked = search_.asked.load();
    note.count = std::uint64_t(took / scene_.run.lease.count());
    search_.on.store(false);
    if (note.count != 0) scene_.shared.write(note);
  }

  Note begin(std::uint64_t offset, std::uint32_t redrives, unsigned attempt) {
    Note note;
    note.what = What::begun;
    note.member = number_;
    note.process = std::uint32_t(::getpid());
    note.offset = offset;
    note.redrives = redrives;
    note.attempt = attempt;
    note.since = search_.since.load();
    note.asked = search_.asked.load();
    note.lease = scene_.shared.write(note);
    found();
    return note;
  }
  void call(Note of, Call call, std::chrono::nanoseconds delay = -1ns) {
    of.what = What::calling;
    of.call = call;
    of.delay = delay.count();
    scene_.shared.write(of);
  }
  void returned(Note of, Call call, bool accepted) {
    of.what = What::returned;
    of.call = call;
    of.accepted = accepted;
    scene_.shared.write(of);
  }
  void announce_death() {
    Note note;
    note.what = What::dying;
    note.member = number_;
    scene_.shared.write(note);
  }
  [[noreturn]] void crash() {
    announce_death();
    die();
  }
  bool doomed() { return random_.below(1000) < scene_.run.crashes; }
  // The daemon dies when it has just been given a letter to move.
  void ambush() {
    if (!random_.percent(scene_.run.ambushes) || scene_.shared.ambushed.exchange(true)) return;
    const pid_t daemon = scene_.shared.daemon;
    spin(random_.time(100));
    ::kill(daemon, SIGKILL);
  }
  // A call about a delivery, and now and then a death in it.
  template <class Act>
  void settle(const Note& of, Call what, Act&& act, std::chrono::nanoseconds delay = -1ns) {
    call(of, what, delay);
    const bool dying = random_.below(2) == 0 && doomed();
    if (dying) {
      announce_death();
      die_after(random_.time(30));
    }
    const bool accepted = bool(act());
    if (dying) die();
    returned(of, what, accepted);
  }

  void next() {
    search();
    const bool dying = random_.below(4) == 0 && doomed();
    if (dying) {
      announce_death();
      die_after(random_.time(60));
    }
    auto next = consumer_.next(kLook);
    if (dying) die();
    if (!next) give_up("next", next.error());
    if (!*next) return found();
    Delivery& delivery = **next;
    const auto& letter = delivery.redriven();
    handle(std::move(delivery), begin(delivery.offset(), letter ? letter->redrives : 0, delivery.attempt()));
  }

  void handle(Delivery delivery, const Note& of) {
    const std::string why = reason_of(of.lease);
    if (doomed()) crash();
    const std::uint64_t what = random_.below(100);
    if (what < 12) {
      const bool named = what < 4;
      const std::chrono::nanoseconds delay = named ? random_.time(6000) : -1ns;
      NakOptions options{class_of(Call::nak), why, {}};
      if (named) options.delay = delay;
      settle(
          of, Call::nak, [&] { return delivery.nak(options); }, delay);
    } else if (what < 15) {
      settle(of, Call::reject, [&] { return delivery.reject({class_of(Call::reject), why, {}}); });
      ambush();
    } else if (what < 20) {
      settle(of, Call::release, [&] { return delivery.release(); });
    } else if (what < 25) {
      held_.push_back({std::move(delivery), of});  // perhaps longer than its lease
    } else if (what < 27) {
      call(of, Call::drop);
      { const Delivery gone = std::move(delivery); }
      returned(of, Call::drop, true);
    } else if (what < 30) {
      const auto longer = scene_.run.lease / 2 + random_.time(10000);
      settle(
          of, Call::extend, [&] { return delivery.extend(longer); }, longer);
      linger(random_.below(20));
      if (delivery.settled()) return;
      ack(delivery, of);
    } else {
      if (what < 33) linger(random_.below(20));
      ack(delivery, of);
    }
  }
  // Works for so many tenths of a lease.
  void linger(std::uint64_t tenths) { std::this_thread::sleep_for(scene_.run.lease * tenths / 10); }
  void ack(Delivery& delivery, const Note& of) {
    settle(of, Call::ack, [&] { return delivery.ack(); });
  }
  void ack_held() {
    ack(held_.front().delivery, held_.front().of);
    held_.erase(held_.begin());
  }

  // What a handler returns is settled when the next one is called, or the poll returns.
  void poll() {
    std::optional<std::pair<Note, Call>> open;
    const auto handler = [&](const EventView& view, unsigned attempt) {
      if (open) returned(open->first, open->second, true);
      // A letter that was given back comes as it stands in the dead-letter queue.
      const auto letter = DeadLetter::of(view);
      const Note of = letter ? begin(letter->offset, letter->redrives + 1, attempt) : begin(view.offset(), 0, attempt);
      const std::string why = reason_of(of.lease);
      if (doomed()) crash();
      const std::uint64_t what = random_.below(100);
      const Call then = what < 12 ? Call::nak : what < 15 ? Call::reject : what < 20 ? Call::release : Call::ack;
      if (what >= 97) linger(random_.below(20));
      call(of, then);
      open = {of, then};
      search();  // from here on it may have the next one
      switch (then) {
        case Call::nak:
          return Settle::nak(class_of(then), why);
        case Call::reject:
          return Settle::reject(class_of(then), why);
        case Call::release:
          return Settle::release();
        default:
          return Settle::ack();
      }
    };
    search();
    const auto handled = consumer_.poll(handler, 1 + random_.below(4));
    if (!handled && handled.error().code() != Errc::stale_lease) give_up("poll", handled.error());
    if (open) returned(open->first, open->second, bool(handled));
    found();
  }

  [[noreturn]] void give_up(const char* what, const Error& error) const {
    std::fprintf(stderr, "member %u, %s: %s\n", number_, what, error.message().c_str());
    ::_exit(1);
  }

  Scene scene_;
  std::uint32_t number_;
  Shared::Search& search_;
  Consumer consumer_;
  Random random_;
  std::vector<Held> held_;
};

}  // namespace

std::int64_t monotonic_now() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

std::uint64_t Shared::write(Note note) {
  const std::uint64_t number = count.fetch_add(1);
  if (number >= kNotes) std::abort();
  note.time = monotonic_now();
  notes[number].note = note;
  notes[number].written.store(true);
  return number;
}

std::vector<std::chrono::nanoseconds> backoff_of() { return {1ms, 3ms}; }

ConsumerOptions options_of(const GroupRun& run) {
  ConsumerOptions out;
  out.ordering = run.ordering;
  out.max_attempts = run.max_attempts;
  out.backoff = backoff_of();
  out.lease = run.lease;
  out.max_in_flight = run.max_in_flight;
  return out;
}

void be_member(const Scene& scene, std::uint32_t number) { Member(scene, number).work(); }

// Some ids come twice, one after the other or later, also from another producer; of one id all have one key, or not.
void be_producer(const Scene& scene, std::uint64_t number, std::uint64_t first, std::uint64_t events) {
  Random random(scene.run.seed * 131 + number + first * 7);
  auto producer = good(good(Bus::open(scene.bus)).producer(kTopic));
  std::uint64_t last = 0;
  for (std::uint64_t i = 0; i < events; ++i) {
    const std::uint64_t payload = (first + i) * 16 + number;
    std::uint64_t name = first + i;
    if (random.percent(scene.run.copies)) name = random.percent(50) ? last : random.below(first + events);
    last = name;
    const std::uint64_t of_key = random.percent(70) ? name : random.below(1000);
    const std::string key = of_key % 10 == 9 ? std::string() : "key-" + std::to_string(of_key % scene.run.keys);
    const std::string id = scene.run.copies == 0 || name % 4 == 3 ? std::string() : "id-" + std::to_string(name);
    PublishOptions options;
    options.id = id;
    options.key = key;
    Note note;
    note.what = What::told;
    note.number = payload;
    note.offset = good(producer.publish(std::as_bytes(std::span(&payload, 1)), options));
    scene.shared.write(note);
    if (random.below(16) == 0) std::this_thread::sleep_for(random.time(2000));
  }
}

// Gives letters back, and pauses the group now and then, until nothing is left to do.
int be_operator(const Scene& scene, std::uint32_t number, std::uint64_t events) {
  Bus bus = good(Bus::open(scene.bus));
  Random random(scene.run.seed * 17 + number);
  unsigned pauses = scene.run.pauses;
  const auto given_back = [&](const EventView& view, const DeadLetter& letter) {
    const std::uint64_t lot = Random(scene.run.seed + letter.offset * 8 + letter.redrives).below(100);
    if (letter.redrives >= 3 || lot >= scene.run.redrives) return false;
    Note note;
    note.what = What::redriving;
    note.offset = letter.offset;
    note.redrives = letter.redrives;
    scene.shared.write(note);
    const bool dying = random.below(1000) < 3 * scene.run.crashes;
    if (dying) die_after(random.time(60));
    note.what = What::redriven;
    note.accepted = bool(bus.redrive(kGroup, view.offset()));
    if (dying) die();
    scene.shared.write(note);
    if (random.below(4) != 0) return true;
    note.accepted = bool(bus.redrive(kGroup, view.offset()));  // must be refused
    scene.shared.write(note);
    return true;
  };
  while (!scene.shared.stop.load()) {
    const auto places = bus.group_topics(kGroup);
    if (places && pauses > 0 && random.below(4) == 0) {
      --pauses;
      good(bus.pause_group(kGroup, true));
      scene.shared.write({.what = What::paused});
      std::this_thread::sleep_for(random.time(8000));
      scene.shared.write({.what = What::resuming});
      good(bus.pause_group(kGroup, false));
    }
    // Nothing is unsettled, so no letter will come but those there are.
    bool settled = places && !places->empty() && scene.shared.published.load();
    if (places)
      for (const GroupTopicInfo& place : *places)
        settled = settled && place.lag == 0 && (place.topic != kTopic || place.next_offset == events);
    bool gave = false;
    if (places) {
      good(bus.dead_letters(kGroup, [&](const EventView& view, const DeadLetter& letter) {
        gave = given_back(view, letter) || gave;
        return true;
      }));
    }
    if (settled && !gave) return kSettled;
    std::this_thread::sleep_for(1ms);
  }
  return 0;
}

// SIGTERM, which ends it cleanly, is blocked by whoever starts it, so that it cannot come too early.
void be_daemon(const Scene& scene) {
  DaemonOptions options;
  options.log = [](int level, const std::string& text) {
    if (level == 2) std::fprintf(stderr, "daemon: %s\n", text.c_str());
  };
  auto daemon = good(Daemon::start(good(Bus::open(scene.bus)), options));
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  int signal = 0;
  ::sigwait(&term, &signal);
  good(daemon.stop());
}

}  // namespace penstock::test
