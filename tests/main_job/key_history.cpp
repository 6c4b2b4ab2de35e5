#include "key_history.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <map>
#include <new>
#include <penstock/daemon.hpp>
#include <set>
#include <thread>
#include <vector>

namespace penstock::test {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kAttempts = 4;
constexpr std::uint64_t kNotes = 1 << 20;
constexpr auto kDeadline = 100s;

// What members write down, in one order. `lease` is the number of the note that began it.
enum class Kind : std::uint32_t {
  nothing,
  begun,
  acking,
  acked,
  naking,
  naked,
  rejecting,
  rejected,
  releasing,
  released,
  hanging,
  crashing,
  stale
};
struct Note {
  std::atomic<Kind> kind;
  std::uint32_t attempt;
  std::uint64_t offset, lease;
};
struct Shared {
  std::atomic<bool> stop;
  std::atomic<std::uint64_t> count;
  Note notes[kNotes];

  std::uint64_t write(Kind kind, std::uint64_t offset, std::uint64_t lease, std::uint32_t attempt = 0) {
    const std::uint64_t at = count.fetch_add(1);
    if (at >= kNotes) std::abort();
    notes[at].offset = offset, notes[at].lease = lease, notes[at].attempt = attempt;
    notes[at].kind.store(kind);
    return at;
  }
};

class Random {
 public:
  explicit Random(std::uint64_t seed) : x_(seed * 0x9E3779B97F4A7C15ull) {}
  std::uint64_t below(std::uint64_t n) {
    x_ = x_ * 6364136223846793005ull + 1442695040888963407ull;
    return (x_ >> 33) % n;
  }

 private:
  std::uint64_t x_;
};

std::string key_text(const KeyRun& run, std::uint64_t number) {
  return number % 10 == 9 ? std::string() : "key-" + std::to_string(number * 7 % run.keys);
}

ConsumerOptions options() {
  ConsumerOptions out;
  out.ordering = Ordering::key;
  out.max_attempts = kAttempts;
  out.backoff = {1ms, 3ms};
  out.lease = 50ms;
  out.max_in_flight = 32;
  return out;
}

class Member {
 public:
  Member(Shared& shared, const std::string& bus, std::uint64_t seed)
      : shared_(shared),
        consumer_(Bus::open(bus).value().consumer("g", {"orders"}, options()).value()),
        random_(seed) {}

  void run() {
    while (!shared_.stop.load()) {
      auto next = consumer_.next(20ms);
      if (!next) std::abort();
      if (*next) handle(std::move(**next));
      if (held_.size() > random_.below(4)) settle_held();
    }
    while (!held_.empty()) settle_held();
  }

 private:
  struct Held {
    Delivery delivery;
    std::uint64_t lease;
  };

  template <class Call>
  void settle(std::uint64_t offset, std::uint64_t lease, Kind before, Kind after, Call&& call) {
    shared_.write(before, offset, lease);
    const bool accepted = bool(call());
    if (random_.below(200) == 0) crash();  // nobody is told
    shared_.write(accepted ? after : Kind::stale, offset, lease);
  }
  void ack(Delivery& delivery, std::uint64_t lease) {
    settle(delivery.offset(), lease, Kind::acking, Kind::acked, [&] { return delivery.ack(); });
  }
  [[noreturn]] static void crash() {
    ::kill(::getpid(), SIGKILL);
    std::abort();
  }
  // A handler that took very long, perhaps longer than its lease.
  void settle_held() {
    ack(held_.front().delivery, held_.front().lease);
    held_.erase(held_.begin());
  }

  void handle(Delivery delivery) {
    const std::uint64_t offset = delivery.offset();
    const std::uint64_t lease = shared_.write(Kind::begun, offset, 0, delivery.attempt());
    const std::uint64_t what = random_.below(100);
    if (what < 10) {
      settle(offset, lease, Kind::naking, Kind::naked, [&] { return delivery.nak({.reason = "no"}); });
    } else if (what < 13) {
      settle(offset, lease, Kind::rejecting, Kind::rejected, [&] { return delivery.reject({.reason = "never"}); });
    } else if (what < 18) {
      settle(offset, lease, Kind::releasing, Kind::released, [&] { return delivery.release(); });
    } else if (what < 22) {
      shared_.write(Kind::hanging, offset, lease);
      held_.push_back({std::move(delivery), lease});
    } else if (what == 22) {
      shared_.write(Kind::crashing, offset, lease);
      crash();
    } else {
      ack(delivery, lease);
    }
  }

  Shared& shared_;
  Consumer consumer_;
  Random random_;
  std::vector<Held> held_;
};

template <class Act>
pid_t process(Act&& act) {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  try {
    act();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    std::abort();  // and not on in the parent's test
  }
  ::_exit(0);
}

// The notes read in their order, and what they say of each event.
class History {
 public:
  History(const Shared& shared, std::vector<std::string> keys) : shared_(shared), events_(keys.size()) {
    for (std::uint64_t offset = 0; offset < keys.size(); ++offset) {
      if (keys[offset].empty()) continue;
      auto& last = last_.try_emplace(keys[offset], kNone).first->second;
      events_[offset].before = last;
      last = offset;
    }
  }

  void read(KeyRunResult& result) {
    const std::uint64_t count = shared_.count.load();
    for (std::uint64_t at = 0; at < count && wrong_.empty(); ++at) {
      const Note& note = shared_.notes[at];
      if (note.kind.load() == Kind::nothing) continue;  // its writer was killed
      if (note.kind == Kind::begun) {
        ++result.begun;
        begin(at, note);
      } else {
        end(note);
      }
      result.acked += note.kind == Kind::acked ? 1 : 0;
      result.failed += note.kind == Kind::naked ? 1 : 0;
      result.crashes += note.kind == Kind::crashing ? 1 : 0;
    }
    result.wrong = wrong_;
  }

  // The dead letters are those that must be, with the attempts that they had.
  std::string check_letters(const std::map<std::uint64_t, std::uint32_t>& letters) {
    for (std::uint64_t offset = 0; offset < events_.size(); ++offset) {
      const Event& event = events_[offset];
      const std::string name = "offset " + std::to_string(offset);
      const auto letter = letters.find(offset);
      if (event.leases == 0) return name + " was never delivered";
      if (event.acked && letter != letters.end()) return name + " was acked and is a dead letter";
      const std::uint32_t failures = event.failures + (event.open != kNone && !maybe_settled(event) ? 1 : 0);
      if (!event.acked && letter == letters.end() && event.intent != Kind::acking) return name + " was lost";
      if (letter == letters.end() || event.intent == Kind::rejecting || event.rejected) continue;
      if (failures < kAttempts && event.intent != Kind::naking) return name + " is dead before its last attempt";
      if (letter->second != kAttempts) return name + " has another number of attempts in its letter";
    }
    return {};
  }

 private:
  static constexpr std::uint64_t kNone = ~0ull;
  struct Event {
    std::uint64_t before = kNone;  // the one before it of its key
    std::uint64_t open = kNone;    // its last lease, while nobody has said how it ended
    Kind intent = Kind::nothing;   // of that lease
    std::uint32_t failures = 0, leases = 0;
    bool acked = false, rejected = false;
  };

  static bool maybe_settled(const Event& event) {
    return event.open != kNone && (event.intent == Kind::acking || event.intent == Kind::rejecting);
  }
  // Whatever was not told, an open lease may be the last failure.
  static bool maybe_dead(const Event& event) { return event.failures + (event.open != kNone ? 1 : 0) >= kAttempts; }

  void wrong(std::uint64_t offset, const std::string& what) {
    if (wrong_.empty()) wrong_ = "offset " + std::to_string(offset) + " " + what;
  }

  void begin(std::uint64_t lease, const Note& note) {
    Event& event = events_.at(note.offset);
    if (event.acked || event.rejected) wrong(note.offset, "was delivered after it was settled");
    // The lease before this one failed, unless it was given back.
    if (event.open != kNone) {
      const bool perhaps_not = event.intent == Kind::releasing && note.attempt == event.failures + 1;
      if (!perhaps_not) ++event.failures;
    }
    if (note.attempt != event.failures + 1)
      wrong(note.offset,
            "has attempt " + std::to_string(note.attempt) + " after " + std::to_string(event.failures) + " failures");
    event.open = lease;
    event.intent = Kind::begun;
    ++event.leases;
    if (event.before == kNone) return;
    const Event& before = events_[event.before];
    if (!before.acked && !before.rejected && !maybe_settled(before) && !maybe_dead(before))
      wrong(note.offset, "came before offset " + std::to_string(event.before) + " of its key was settled");
  }

  void end(const Note& note) {
    Event& event = events_.at(note.offset);
    const bool current = event.open == note.lease;
    switch (note.kind.load()) {
      case Kind::acked:
      case Kind::rejected:
        if (!current) wrong(note.offset, "was settled by a lease that was not the last");
        (note.kind == Kind::acked ? event.acked : event.rejected) = true;
        event.open = kNone;
        break;
      case Kind::naked:
      case Kind::stale:  // it ran out before
        if (!current) break;
        ++event.failures;
        event.open = kNone;
        break;
      case Kind::released:
        if (current) event.open = kNone;
        break;
      default:
        if (current) event.intent = note.kind;
    }
  }

  const Shared& shared_;
  std::vector<Event> events_;
  std::map<std::string, std::uint64_t> last_;
  std::string wrong_;
};

class Run {
 public:
  explicit Run(const KeyRun& run) : run_(run), random_(run.seed) {
    std::string pattern = (std::filesystem::temp_directory_path() / "penstock-keys.XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    directory_ = pattern;
    bus_ = directory_ + "/bus";
    void* at =
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) std::abort();
    shared_ = new (at) Shared;
  }
  ~Run() {
    for (const pid_t pid : members_) end(pid, SIGKILL);
    if (daemon_ > 0) end(daemon_, SIGKILL);
    (void)Bus::remove(bus_);
    ::munmap(shared_, sizeof(Shared));
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  KeyRunResult go() {
    // The parent never holds a bus while it forks.
    if (!Bus::open(bus_).value().create_topic("orders")) std::abort();
    for (const std::uint64_t half : {std::uint64_t{0}, std::uint64_t{1}}) {
      start_daemon();
      publish(half);
      while (members_.size() < std::size_t(run_.members)) start_member();
      if (!settled((half + 1) * run_.events / 2)) {
        result_.wrong = "not settled in time";
        return result_;
      }
      // Members end on their own, the daemon writes all down, and the second half begins from there.
      shared_->stop.store(true);
      for (const pid_t pid : members_) ::waitpid(pid, nullptr, 0);
      members_.clear();
      shared_->stop.store(false);
      end(daemon_, SIGTERM);
      daemon_ = 0;
      if (auto unloaded = Bus::unload(bus_); !unloaded) result_.wrong = unloaded.error().message();
    }
    judge();
    return result_;
  }

 private:
  static void end(pid_t pid, int signal) {
    ::kill(pid, signal);
    ::waitpid(pid, nullptr, 0);
  }
  void start_member() {
    const std::uint64_t seed = run_.seed * 1000 + ++started_;
    members_.push_back(process([&] { Member(*shared_, bus_, seed).run(); }));
  }
  void start_daemon() {
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    ++result_.daemons;
    daemon_ = process([&] {
      ::sigprocmask(SIG_BLOCK, &term, nullptr);
      auto daemon = Daemon::start(Bus::open(bus_).value()).value();
      int signal = 0;
      ::sigwait(&term, &signal);
      if (!daemon.stop()) std::abort();
    });
  }
  void publish(std::uint64_t half) {
    const std::uint64_t each = run_.events / 2 / std::uint64_t(run_.producers);
    std::vector<pid_t> producers;
    for (int number = 0; number < run_.producers; ++number) {
      producers.push_back(process([&] {
        auto producer = Bus::open(bus_).value().producer("orders").value();
        for (std::uint64_t i = 0; i < each; ++i) {
          const std::string key = key_text(run_, half * 1'000'003 + i * 5 + std::uint64_t(number));
          PublishOptions with;
          with.key = key;
          producer.publish(std::as_bytes(std::span(key)), with).value();
        }
      }));
    }
    for (const pid_t pid : producers) ::waitpid(pid, nullptr, 0);
  }

  // Until the group has settled so many; members that died are replaced, and the daemon is killed now and then.
  bool settled(std::uint64_t end_offset) {
    const auto deadline = std::chrono::steady_clock::now() + kDeadline;
    while (std::chrono::steady_clock::now() < deadline) {
      for (std::size_t i = 0; i < members_.size(); ++i) {
        if (::waitpid(members_[i], nullptr, WNOHANG) != members_[i]) continue;
        members_.erase(members_.begin() + std::ptrdiff_t(i));
        start_member();
        break;
      }
      if (random_.below(40) == 0) {
        end(daemon_, SIGKILL);
        start_daemon();
      }
      // A process of its own looks, so that this one never has handles to inherit.
      int status = 0;
      ::waitpid(process([&] {
                  const auto topics = Bus::open(bus_).value().group_topics("g");
                  if (!topics) ::_exit(0);  // nobody has joined yet
                  bool all = !topics->empty();
                  for (const GroupTopicInfo& topic : *topics)
                    all = all && topic.lag == 0 && (topic.topic != "orders" || topic.next_offset == end_offset);
                  ::_exit(all ? 7 : 0);
                }),
                &status, 0);
      if (WIFEXITED(status) && WEXITSTATUS(status) == 7) return true;
      std::this_thread::sleep_for(5ms);
    }
    return false;
  }

  void judge() {
    Bus bus = Bus::open(bus_).value();
    std::vector<std::string> keys;
    auto reader = bus.reader("orders", StartAt::beginning()).value();
    auto visit = [&](const EventView& event) { keys.push_back(event.key() ? std::string(*event.key()) : ""); };
    while (reader.poll(visit, 256).value() != 0) {
    }
    History history(*shared_, keys);
    history.read(result_);
    std::map<std::uint64_t, std::uint32_t> letters;
    bool twice = false;
    (void)bus.dead_letters("g", [&](const EventView&, const DeadLetter& letter) {
      twice = twice || !letters.emplace(letter.offset, letter.attempts).second;
      return true;
    });
    result_.dead = letters.size();
    if (keys.size() != run_.events) result_.wrong = "the topic has " + std::to_string(keys.size()) + " events";
    if (result_.wrong.empty() && twice) result_.wrong = "a dead letter was written twice";
    if (result_.wrong.empty()) result_.wrong = history.check_letters(letters);
  }

  KeyRun run_;
  Random random_;
  std::string directory_, bus_;
  Shared* shared_;
  std::vector<pid_t> members_;
  pid_t daemon_ = 0;
  std::uint64_t started_ = 0;
  KeyRunResult result_;
};

}  // namespace

KeyRunResult run_keys(const KeyRun& run) { return Run(run).go(); }

}  // namespace penstock::test
