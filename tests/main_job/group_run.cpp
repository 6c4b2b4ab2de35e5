#include "group_run.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <penstock/log.hpp>
#include <set>
#include <thread>

#include "group_roles.hpp"
#include "support/scratch.hpp"

namespace penstock::test {
namespace {

using namespace std::chrono_literals;

constexpr auto kDeadline = 60s;

// What is done to somebody when there are so many notes.
struct Deed {
  enum class Kind { kill, stop, kill_daemon } kind = Kind::kill;
  std::uint64_t whom = 0;             // any number
  std::chrono::microseconds for_{0};  // how long he is stopped
};

template <class Act>
pid_t process(Act&& act) {
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  int status = 0;
  try {
    status = act();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    status = 1;
  }
  ::_exit(status);
}

class Director {
 public:
  explicit Director(const GroupRun& run) : run_(run), random_(run.seed), bus_(scratch_ / "bus") {
    void* at =
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) std::abort();
    // The bytes are zeroes, which is what all of it begins as; nothing is written here.
    shared_ = static_cast<Shared*>(at);
    plan();
  }
  ~Director() {
    for (const auto& [pid, member] : members_) end(pid, SIGKILL);
    for (const pid_t pid : producers_) end(pid, SIGKILL);
    if (operator_ > 0) end(operator_, SIGKILL);
    if (daemon_ > 0) end(daemon_, SIGKILL);
    (void)Bus::remove(bus_);
    ::munmap(shared_, sizeof(Shared));
  }
  Director(const Director&) = delete;
  Director& operator=(const Director&) = delete;

  GroupRunResult go() {
    // Nobody holds the bus while processes are made.
    good(good(Bus::open(bus_)).create_topic(kTopic, {.ring_bytes = 256 << 10}));
    const std::uint64_t first = run_.unload ? run_.events / 2 : run_.events;
    act(0, first, run_.unload ? first * 3 / 2 : ~0ull);
    if (run_.unload) {
      if (wrong_.empty()) unload();
      if (wrong_.empty()) act(first, run_.events - first, ~0ull);
    }
    result_.judgement = judge(history());
    if (!wrong_.empty()) result_.judgement.wrong.insert(result_.judgement.wrong.begin(), wrong_);
    result_.events = run_.events;
    return result_;
  }

 private:
  Scene scene() const { return {run_, *shared_, bus_}; }
  static int end(pid_t pid, int signal) {
    int status = 0;
    ::kill(pid, signal);
    ::waitpid(pid, &status, 0);
    return status;
  }

  void plan() {
    const auto add = [this](Deed::Kind kind, unsigned count) {
      for (unsigned i = 0; i < count; ++i) {
        const auto most = std::uint64_t(4 * run_.lease / 1us);
        deeds_.emplace(random_.below(run_.events * 4),
                       Deed{kind, random_.below(1 << 20), std::chrono::microseconds(random_.below(most))});
      }
    };
    add(Deed::Kind::kill, run_.kills);
    add(Deed::Kind::stop, run_.stops);
    add(Deed::Kind::kill_daemon, run_.daemon_kills);
  }

  void start_member() {
    const std::uint32_t number = ++started_;
    if (number >= kMembers) std::abort();
    members_[process([&] {
      be_member(scene(), number);
      return 0;
    })] = number;
  }
  void start_daemon() {
    sigset_t term, before;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    ::sigprocmask(SIG_BLOCK, &term, &before);
    daemon_ = process([&] {
      be_daemon(scene());
      return 0;
    });
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    shared_->daemon = daemon_;
    shared_->ambushed = false;
  }

  void start_operator() {
    const std::uint32_t number = ++started_;
    operator_ = process([&] { return be_operator(scene(), number, published_); });
  }

  // All play their parts: `events` more are published, and the rest is what comes of it, until nothing is left to do
  // or there are so many notes.
  void act(std::uint64_t first, std::uint64_t events, std::uint64_t notes) {
    shared_->stop = false;
    shared_->published = false;
    start_daemon();
    const std::uint64_t each = events / run_.producers;
    for (unsigned number = 0; number < run_.producers; ++number) {
      const std::uint64_t begin = first + number * each;
      const std::uint64_t mine = number + 1 == run_.producers ? events - number * each : each;
      producers_.insert(process([&] {
        be_producer(scene(), number, begin, mine);
        return 0;
      }));
    }
    while (members_.size() < run_.members) start_member();
    published_ = first + events;
    start_operator();

    const auto deadline = std::chrono::steady_clock::now() + kDeadline;
    while (wrong_.empty() && operator_ > 0 && (shared_->count < notes || !producers_.empty())) {
      reap();
      while (!deeds_.empty() && deeds_.begin()->first <= shared_->count) {
        const Deed deed = deeds_.begin()->second;
        deeds_.erase(deeds_.begin());
        perform(deed);
      }
      wake(false);
      if (std::chrono::steady_clock::now() > deadline) wrong_ = "not settled in time" + pending();
      std::this_thread::sleep_for(300us);
    }
    finish();
  }

  static bool well(int status) { return WIFEXITED(status) && WEXITSTATUS(status) == 0; }
  static bool killed(int status) { return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL; }
  // Those who ended: as they should, or as they said they would.
  void reap() {
    int status = 0;
    for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) ended(pid, status);
  }
  void ended(pid_t pid, int status) {
    if (producers_.erase(pid) != 0) {
      if (!well(status)) wrong_ = "a producer failed";
      if (producers_.empty()) shared_->published = true;
    } else if (pid == operator_) {
      operator_ = 0;
      if (killed(status))
        start_operator();
      else if (!well(status) && !(WIFEXITED(status) && WEXITSTATUS(status) == kSettled))
        wrong_ = "the operator failed";
    } else if (const auto member = members_.find(pid); member != members_.end()) {
      const std::uint32_t number = member->second;
      members_.erase(member);
      stopped_.erase(pid);
      if (killed(status))
        bury(number);
      else if (!well(status) || !shared_->stop)
        wrong_ = "member " + std::to_string(number) + " failed, status " + std::to_string(status);
      if (killed(status) && !shared_->stop) start_member();
    } else if (pid == daemon_) {
      daemon_ = 0;
      if (!killed(status) || !shared_->ambushed) wrong_ = "the daemon failed, status " + std::to_string(status);
      ++result_.daemon_kills;
      start_daemon();
    }
  }
  void bury(std::uint32_t number) {
    const Shared::Search& search = shared_->searches[number];
    Note note;
    note.what = What::died;
    note.member = number;
    note.since = search.since;
    note.asked = search.asked;
    // What it found it may have had for longer than a lease, and found something else then.
    if (search.on) note.count = std::uint64_t(1 + (monotonic_now() - note.asked) / run_.lease.count());
    shared_->write(note);
  }

  void perform(const Deed& deed) {
    if (deed.kind == Deed::Kind::kill_daemon) {
      ++result_.daemon_kills;
      if (daemon_ > 0) end(daemon_, SIGKILL);
      return start_daemon();
    }
    if (members_.empty()) return;
    const auto [pid, number] = *std::next(members_.begin(), std::ptrdiff_t(deed.whom % members_.size()));
    if (deed.kind == Deed::Kind::kill) {
      ++result_.kills;
      Note note;
      note.what = What::dying;
      note.member = number;
      shared_->write(note);
      ended(pid, end(pid, SIGKILL));
    } else if (!stopped_.contains(pid)) {
      ++result_.stops;
      ::kill(pid, SIGSTOP);
      stopped_[pid] = std::chrono::steady_clock::now() + deed.for_;
    }
  }
  void wake(bool all) {
    for (auto at = stopped_.begin(); at != stopped_.end();) {
      if (!all && std::chrono::steady_clock::now() < at->second) {
        ++at;
        continue;
      }
      ::kill(at->first, SIGCONT);
      at = stopped_.erase(at);
    }
  }

  // Everybody ends cleanly, the daemon last.
  void finish() {
    for (const pid_t pid : producers_) {
      int status = 0;
      ::waitpid(pid, &status, 0);
    }
    producers_.clear();
    wake(true);
    shared_->stop = true;
    while (wrong_.empty() && (operator_ > 0 || !members_.empty())) {
      int status = 0;
      const pid_t pid = ::waitpid(-1, &status, 0);
      if (pid > 0) ended(pid, status);
    }
    int status = end_daemon();
    if (killed(status) && shared_->ambushed) {
      ++result_.daemon_kills;
      start_daemon();
      status = end_daemon();
    }
    if (wrong_.empty() && !well(status)) wrong_ = "the daemon ended with " + std::to_string(status);
  }
  int end_daemon() { return end(std::exchange(daemon_, 0), SIGTERM); }

  void unload() {
    ++result_.unloads;
    if (auto unloaded = Bus::unload(bus_); !unloaded) {
      wrong_ = unloaded.error().message();
      return;
    }
    Note note;
    note.what = What::unloaded;
    shared_->write(note);
  }

  std::string pending() const {
    std::string out;
    const auto cells = good(Bus::open(bus_)).group_pending(kGroup);
    if (!cells) return out;
    for (const PendingInfo& cell : *cells)
      out += "\n    " + cell.topic + " offset " + std::to_string(cell.offset) + " " + cell.state + ", " + cell.member +
             ", " + std::to_string(cell.attempts) + " failures";
    return out;
  }

  static std::uint64_t number_of(const EventView& event) {
    std::uint64_t out = 0;
    if (event.payload().size() == sizeof out) std::memcpy(&out, event.payload().data(), sizeof out);
    return out;
  }
  static std::string text(std::optional<std::string_view> of) { return of ? std::string(*of) : std::string(); }

  History history() const {
    History out;
    out.ordering = run_.ordering;
    out.max_attempts = run_.max_attempts;
    out.lease = run_.lease.count();
    out.backoff.clear();
    for (const auto step : backoff_of()) out.backoff.push_back(step.count());
    Bus bus = good(Bus::open(bus_));
    scan(kTopic, [&](const EventView& event) {
      out.events.push_back({event.offset(), number_of(event), text(event.key()), text(event.id_text())});
    });
    std::set<std::uint64_t> shown;
    good(bus.dead_letters(kGroup, [&](const EventView& view, const DeadLetter&) {
      shown.insert(view.offset());
      return true;
    }));
    scan(std::string(kGroup) + ".dlq", [&](const EventView& view) {
      const DeadLetter letter = good(DeadLetter::of(view));
      const auto pid = letter.member.find("pid ");
      LoggedLetter logged;
      logged.offset = letter.offset, logged.redrives = letter.redrives, logged.attempts = letter.attempts;
      logged.number = number_of(view), logged.key = text(view.key()), logged.id = text(view.id_text());
      logged.topic = letter.topic, logged.disposition = letter.disposition;
      logged.error_class = letter.error_class, logged.reason = letter.reason;
      if (pid != std::string::npos) logged.process = std::uint32_t(std::stoul(letter.member.substr(pid + 4)));
      logged.shown = shown.contains(view.offset());
      out.letters.push_back(std::move(logged));
    });
    // A number whose note was never written is its writer's last, and tells nothing.
    for (std::uint64_t number = 0; number < shared_->count; ++number) {
      const Shared::Slot& slot = shared_->notes[number];
      Note nothing;
      nothing.what = What::nothing;
      out.notes.push_back(slot.written ? slot.note : nothing);
    }
    return out;
  }
  template <class Visit>
  void scan(const std::string& topic, Visit&& visit) const {
    const auto log = Log::open(bus_, topic);
    if (!log) return;  // no letter was ever written
    LogVisitor visitor;
    visitor.event = [&](const EventView& event) { return visit(event), true; };
    good(log->scan({}, visitor));
  }

  GroupRun run_;
  Random random_;
  Scratch scratch_;
  std::string bus_;
  Shared* shared_ = nullptr;
  std::multimap<std::uint64_t, Deed> deeds_;  // by number of notes
  std::map<pid_t, std::uint32_t> members_;
  std::map<pid_t, std::chrono::steady_clock::time_point> stopped_;
  std::set<pid_t> producers_;
  pid_t operator_ = 0, daemon_ = 0;
  std::uint32_t started_ = 0;    // members and operators
  std::uint64_t published_ = 0;  // when the producers have done their part
  std::string wrong_;
  GroupRunResult result_;
};

}  // namespace

GroupRun run_of(std::uint64_t seed) {
  Random random(seed);
  const auto one_of = [&random](auto... values) {
    const std::uint64_t all[] = {std::uint64_t(values)...};
    return all[random.below(sizeof...(values))];
  };
  GroupRun run;
  run.seed = seed;
  run.ordering = Ordering(random.below(3));
  run.events = random.below(100) == 0 ? 1000 : 40 + random.below(80);
  run.keys = one_of(1, 3, 8, 30);
  run.producers = 1 + unsigned(random.below(3));
  run.members = 1 + unsigned(random.below(4));
  run.max_attempts = 1 + std::uint32_t(random.below(4));
  run.max_in_flight = std::uint32_t(one_of(1, 2, 4, 16, 256));
  run.lease = std::chrono::milliseconds(one_of(8, 12, 20, 40));
  run.copies = unsigned(one_of(0, 10, 40));
  run.polls = unsigned(one_of(0, 30, 100));
  run.crashes = unsigned(one_of(0, 10, 20));
  run.ambushes = unsigned(one_of(0, 20, 60));
  run.redrives = unsigned(one_of(0, 40, 70));
  run.kills = unsigned(one_of(0, 1, 3));
  run.stops = unsigned(one_of(0, 1, 3));
  run.daemon_kills = unsigned(one_of(0, 1, 2));
  run.pauses = unsigned(one_of(0, 0, 2));
  run.unload = random.below(2) == 0;
  return run;
}

std::string GroupRun::text() const {
  const char* orders[] = {"parallel", "by key", "strict"};
  const auto count = [](std::uint64_t n, const char* of) { return std::to_string(n) + " " + of; };
  return std::string(orders[std::size_t(ordering)]) + ", " + count(events, "events, ") + count(keys, "keys, ") +
         count(producers, "producers, ") + count(members, "members, ") + count(max_attempts, "attempts, ") +
         count(max_in_flight, "in flight, ") + count(std::uint64_t(lease / 1ms), "ms of lease, ") +
         count(copies, "% copies, ") + count(polls, "% polls, ") + count(crashes, "permille crashes, ") +
         count(ambushes, "% ambushes, ") + count(redrives, "% redriven, ") + count(kills, "kills, ") +
         count(stops, "stops, ") + count(daemon_kills, "daemons killed, ") + count(pauses, "pauses") +
         (unload ? ", unloaded" : "");
}

GroupRunResult live(const GroupRun& run) { return Director(run).go(); }

}  // namespace penstock::test
