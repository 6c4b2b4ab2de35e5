// A process with only a consumer's rights does all the harm it can, for as long as others work: their counts are exact.
#include <fcntl.h>
#include <setjmp.h>
#include <penstock/daemon.hpp>

#include <atomic>
#include <random>
#include <set>
#include <thread>

#include "tests/transport/api/people.hpp"

namespace penstock::people {
namespace {

namespace fs = std::filesystem;

constexpr int kRounds = 200;              // of harm, at least
constexpr std::uint64_t kEvents = 6000;   // at least
constexpr std::uint64_t kFailEvery = 50;  // events that the good group gives up, each after two attempts

// How far everybody is, in memory of the test's own.
struct Progress {
  std::atomic<int> good_ready{0}, reader_ready{0}, daemon_ready{0}, daemon_stop{0}, rounds{0};
  std::atomic<std::uint64_t> total{0};  // events published; 0: not all are yet
  std::atomic<std::uint64_t> opened{0}, wake_cut{0}, own_cut{0}, refused{0};
};

bool wait_for(const std::atomic<int>& word, int value) {
  for (int i = 0; i < 60'000 && word.load() < value; ++i) std::this_thread::sleep_for(1ms);
  return good(word.load() >= value, "what is waited for comes");
}

std::string event_text(std::uint64_t i) { return "event " + std::to_string(i) + std::string(i % 200, 'x'); }

bool run_daemon(const std::string& path, Progress& progress) {
  auto bus = Bus::open(path, {.create = true});
  if (!good(bus, "open")) return false;
  TopicOptions options;
  options.ring_bytes = 256 << 10;
  if (!good(bus->create_topic("orders", options), "orders")) return false;
  options.durability = Durability::memory;
  options.full = Full::drop_oldest;
  if (!good(bus->create_topic("ticks", options), "ticks")) return false;
  auto daemon = Daemon::start(*bus);
  if (!good(daemon, "daemon")) return false;
  progress.daemon_ready = 1;
  return wait_for(progress.daemon_stop, 1) && good(daemon->stop(), "stop");
}

bool run_producer(const std::string& path, Progress& progress) {
  auto bus = Bus::open(path);
  if (!good(bus, "open")) return false;
  auto orders = bus->producer("orders"), ticks = bus->producer("ticks");
  if (!good(orders, "orders") || !good(ticks, "ticks")) return false;
  std::uint64_t i = 0;
  for (; i < kEvents || progress.rounds.load() < kRounds; ++i) {
    auto offset = orders->publish(bytes(event_text(i)), {.id = "id-" + std::to_string(i)});
    if (!good(offset, "publish") || !good(*offset == i, "offsets are dense")) return false;
    if (!good(ticks->publish(bytes(event_text(i))), "tick")) return false;
    if (i % 20 == 19 && !good(orders->await_durable(*offset, 60s), "durable")) return false;
    // Handles come and go all the while.
    if (i % 500 == 499) {
      auto another = bus->producer("ticks");
      if (!good(another, "another producer") || !good(another->publish(bytes("tick")), "its tick")) return false;
    }
  }
  progress.total = i;
  return good(orders->await_durable(i - 1, 60s), "all durable");
}

// A reader without a group sees every event, in order.
bool run_reader(const std::string& path, Progress& progress) {
  auto bus = Bus::open(path);
  if (!good(bus, "open")) return false;
  auto reader = bus->reader("orders", StartAt::beginning());
  if (!good(reader, "reader")) return false;
  progress.reader_ready = 1;
  for (std::uint64_t i = 0; progress.total.load() == 0 || i < progress.total.load(); ++i) {
    auto event = reader->next(progress.total.load() == 0 ? 100ms : 30s);
    if (!good(event, "read")) return false;
    if (!*event) {
      --i;
      continue;
    }
    if (!good((*event)->offset() == i && text((*event)->payload()) == event_text(i), "it is the next event"))
      return false;
  }
  return good(reader->missed() == 0 && reader->damaged() == 0, "nothing was missed");
}

bool run_group(const std::string& path, Progress& progress) {
  auto bus = Bus::open(path);
  if (!good(bus, "open")) return false;
  auto group = bus->consumer("good", {"orders"}, {.max_attempts = 2, .backoff = {1ms}});
  if (!good(group, "group")) return false;
  progress.good_ready = 1;
  std::set<Offset> acked, given_up;
  for (;;) {
    auto delivery = group->next(20ms);
    if (!good(delivery, "next")) return false;
    if (!*delivery) {
      const std::uint64_t total = progress.total.load();
      if (total != 0 && acked.size() + given_up.size() == total) break;
      continue;
    }
    const Offset offset = (*delivery)->offset();
    if (offset % kFailEvery == 7) {
      if ((*delivery)->attempt() == 2) given_up.insert(offset);
      if (!good((*delivery)->nak({.error_class = "test", .reason = "given up"}), "nak")) return false;
    } else {
      if (!good(text((*delivery)->payload()) == event_text(offset), "the payload")) return false;
      if (!good((*delivery)->ack(), "ack") || !good(acked.insert(offset).second, "once")) return false;
    }
  }
  return good(given_up.size() == (progress.total + kFailEvery - 8) / kFailEvery, "all that fail were given up");
}

// --- The harm

sigjmp_buf g_fault;
void on_fault(int) { ::siglongjmp(g_fault, 1); }

class Scribbler {
 public:
  Scribbler(std::string bus, std::string live, Progress& progress)
      : bus_(std::move(bus)), live_(std::move(live)), progress_(progress) {
    // What the daemon has mapped too; harmed to the end, whatever becomes of the names.
    for (const auto& entry : fs::directory_iterator(live_ + "/groups/bad@6005"))
      kept_.push_back(::open(entry.path().c_str(), O_RDWR | O_CLOEXEC));
  }

  void round() {
    for (const int fd : kept_) cut_and_scribble(fd, off_t(1 + any(1 << 20)), progress_.own_cut);
    for (const std::string& root : {bus_, live_}) {
      std::error_code error;
      std::vector<std::string> paths{root};
      for (fs::recursive_directory_iterator at(root, fs::directory_options::skip_permission_denied, error), end;
           !error && at != end; at.increment(error))
        paths.push_back(at->path());
      for (const std::string& path : paths) harm(path);
    }
    ++progress_.rounds;
  }

 private:
  std::uint64_t any(std::uint64_t below) { return random_() % below; }

  void harm(const std::string& path) {
    struct stat info {};
    if (::lstat(path.c_str(), &info) != 0) return;
    if (S_ISDIR(info.st_mode)) return litter(path);
    lock(path);
    const int fd = ::open(path.c_str(), O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
      ++progress_.refused;
    } else {
      ++progress_.opened;
      cut_and_scribble(fd, info.st_size, path == live_ + "/wake" ? progress_.wake_cut : progress_.own_cut);
      ::close(fd);
    }
    // The names of others; of its own files too, now and then.
    const bool own = info.st_uid == ::geteuid();
    if (own && any(8) != 0) return;
    static_cast<void>(::chmod(path.c_str(), mode_t(any(01000))));
    static_cast<void>(::unlink(path.c_str()));
    static_cast<void>(::rename(path.c_str(), (path + "-gone").c_str()));
    static_cast<void>(!::truncate(path.c_str(), 0));
  }

  void cut_and_scribble(int fd, off_t whole, std::atomic<std::uint64_t>& cut) {
    scribble(fd, whole);
    const off_t size = any(2) == 0 ? 0 : off_t(any(std::uint64_t(whole) + 8192));
    if (::ftruncate(fd, size) == 0 && size < whole) ++cut;
    if (any(2) == 0) static_cast<void>(!::ftruncate(fd, whole));
    if (any(2) == 0) scribble(fd, whole);
  }

  void scribble(int fd, off_t size) {
    const auto bytes = std::size_t(std::min<off_t>(size, 2 << 20));
    if (bytes == 0) return;
    auto* at = static_cast<std::uint64_t*>(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    if (at == MAP_FAILED) return;
    const std::uint64_t fill = any(3) == 0 ? 0 : any(2) == 0 ? ~0ull : random_();
    const bool same = any(2) == 0;
    if (::sigsetjmp(g_fault, 1) == 0)
      for (std::size_t i = any(3) == 0 ? 512 : 0; i < bytes / 8; ++i) at[i] = same ? fill : random_();
    ::munmap(at, bytes);
  }

  // Any lock that can be had is kept.
  void lock(const std::string& path) {
    if (locks_.size() > 200) return;
    for (const auto& [flags, type] : {std::pair(O_RDWR, F_WRLCK), std::pair(O_RDONLY, F_RDLCK)}) {
      const int fd = ::open(path.c_str(), flags | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
      if (fd < 0) continue;
      struct flock wanted {};
      wanted.l_type = short(type);
      if (::fcntl(fd, F_OFD_SETLK, &wanted) == 0)
        locks_.push_back(fd);
      else
        ::close(fd);
    }
  }

  // Names that others may look for, and names that nobody does.
  void litter(const std::string& directory) {
    if (litter_++ > 600) return;
    const std::string names[] = {std::to_string(2048 + any(40)),
                                 "orders",
                                 "@group",
                                 ".orders",
                                 "group.meta.a",
                                 "orders.state.a",
                                 "ticks",
                                 "good",
                                 "good@6004",
                                 "junk-" + std::to_string(any(100)),
                                 "orders.state.a.tmp",
                                 ".lock",
                                 "wake",
                                 "daemon.lock",
                                 "bus.toml"};
    const std::string path = directory + "/" + names[any(std::size(names))];
    switch (any(5)) {
      case 0:
        static_cast<void>(::mkfifo(path.c_str(), 0666));
        break;
      case 1:
        static_cast<void>(!::symlink((live_ + "/topics/orders").c_str(), path.c_str()));
        break;
      case 2:
        static_cast<void>(::mkdir(path.c_str(), 0777));
        break;
      case 3:
        static_cast<void>(!::link((live_ + "/groups/good@6004/@group").c_str(), path.c_str()));
        break;
      default:
        if (const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666); fd >= 0) {
          static_cast<void>(!::ftruncate(fd, off_t(any(1 << 20))));
          ::close(fd);
        }
    }
  }

  std::string bus_, live_;
  Progress& progress_;
  std::mt19937_64 random_{42};
  std::vector<int> locks_, kept_;
  int litter_ = 0;
};

bool run_scribbler(const std::string& path, const std::string& live, Progress& progress) {
  auto bus = Bus::open(path);
  if (!good(bus, "open")) return false;
  {
    // A group like any other, with events in every state; then its members turn bad.
    auto group = bus->consumer("bad", {"**"}, {.max_attempts = 1});
    if (!good(group, "group")) return false;
    for (int i = 0; i < 6; ++i) {
      auto delivery = group->next(0ms);
      if (delivery && *delivery) static_cast<void>(i % 2 == 0 ? (*delivery)->ack() : (*delivery)->nak());
    }
  }
  ::umask(0);
  ::signal(SIGBUS, on_fault);
  Scribbler scribbler(path, live, progress);
  for (;;) scribbler.round();
}

class ScribblerTest : public SharedBus {};

TEST_F(ScribblerTest, OthersNoticeNothingOfAConsumerThatScribblesOverAllItCan) {
  auto& progress = shared<Progress>();
  const pid_t daemon = start(kOwner, [&] { return run_daemon(bus_, progress); });
  ASSERT_TRUE(wait_for(progress.daemon_ready, 1));
  const pid_t reader = start(kOther, [&] { return run_reader(bus_, progress); });
  const pid_t group = start(kOther, [&] { return run_group(bus_, progress); });
  ASSERT_TRUE(wait_for(progress.reader_ready, 1) && wait_for(progress.good_ready, 1));
  ASSERT_TRUE(as(kProducer, [&] {  // something for the bad group to begin with
    auto bus = Bus::open(bus_);
    auto ticks = bus->producer("ticks");
    for (int i = 0; i < 10; ++i) static_cast<void>(ticks->publish(bytes("tick")));
    return true;
  }));
  const std::string live_path = live();
  const pid_t scribbler = start(kHostile, [&] { return run_scribbler(bus_, live_path, progress); });
  ASSERT_TRUE(wait_for(progress.rounds, 1));
  const pid_t producer = start(kProducer, [&] { return run_producer(bus_, progress); });

  EXPECT_TRUE(ended_well(producer));
  EXPECT_TRUE(ended_well(reader));
  EXPECT_TRUE(ended_well(group));
  progress.daemon_stop = 1;
  EXPECT_TRUE(ended_well(daemon));
  ASSERT_EQ(::waitpid(scribbler, nullptr, WNOHANG), 0) << "the scribbler ended before the others";
  ::kill(scribbler, SIGKILL);
  ::waitpid(scribbler, nullptr, 0);
  const std::uint64_t total = progress.total;
  std::printf(
      "%llu events, %d rounds: %llu files opened for writing, %llu refused; cut: the wake page %llu times, its own "
      "%llu\n",
      static_cast<unsigned long long>(total), progress.rounds.load(),
      static_cast<unsigned long long>(progress.opened.load()), static_cast<unsigned long long>(progress.refused.load()),
      static_cast<unsigned long long>(progress.wake_cut.load()),
      static_cast<unsigned long long>(progress.own_cut.load()));
  EXPECT_GE(progress.wake_cut.load(), 5u);
  EXPECT_GE(progress.own_cut.load(), 5u);

  EXPECT_TRUE(as(kOwner, [&] {
    auto bus = Bus::open(bus_);
    if (!good(bus, "open")) return false;
    auto topic = bus->describe_topic("orders");
    if (!good(topic, "describe") ||
        !good(topic->next_offset == total && topic->durable_offset == total, "all is there"))
      return false;
    std::set<Offset> letters;
    bool once = true;
    auto read = bus->dead_letters("good", [&](const EventView&, const DeadLetter& letter) {
      once &= letter.topic == "orders" && letter.offset % kFailEvery == 7 && letters.insert(letter.offset).second;
      return true;
    });
    return good(read, "letters") && good(once, "each letter once") &&
           good(letters.size() == (total + kFailEvery - 8) / kFailEvery, "every letter is there");
  }));
}

}  // namespace
}  // namespace penstock::people
