// Four producers, three members of a group and the daemon as processes over a durable and a memory topic, killed at
// random moments and started anew: COUNT times (200), at most 200 times a bus, by SEED. Of each bus is asked in the
// end: no event that a producer was told of is lost, none is torn, each producer's events are in order, none is in the
// log twice, and the group was given everything. Before each kill every producer and the group must have moved on.
// The same on a disk, where some kills take all processes at once and the shared-memory side with them, as a reboot
// does: then nothing is lost that was awaited, each event has the offset that its producer was told, and no offset that
// anybody was told is another event's.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <penstock/daemon.hpp>
#include <penstock/log.hpp>
#include <penstock/penstock.hpp>
#include <random>
#include <thread>
#include <unordered_map>

namespace penstock::test {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kProducers = 4, kMembers = 3, kProcesses = kProducers + kMembers + 1;
constexpr std::uint64_t kMost = 1 << 22;  // events a producer may publish
constexpr std::uint64_t kKillsOfABus = 200;
constexpr std::array<const char*, 2> kTopics = {"durable", "memory"};

// What every process says of itself, in memory that outlives it. A producer's events are numbered; even ones go to the
// durable topic, odd ones to the memory topic.
struct Shared {
  std::atomic<std::uint64_t> begun[kProducers];  // the number of the event that is being published
  std::atomic<std::uint64_t> told[kProducers];   // events that publish() returned for, of all that began
  std::atomic<std::uint64_t> durable;            // durable offsets below this were awaited
  std::atomic<std::uint64_t> acked, torn, failed;
  std::atomic<bool> stop;
  // By producer and number: 1 told that it is published, 2 given to a member, 4 told that it is on disk.
  std::atomic<std::uint8_t> events[kProducers][kMost];
  std::atomic<Offset> offsets[kProducers][kMost];  // that the producer was told
};

struct Payload {
  std::uint64_t producer, number, size, sum;
};

std::uint64_t sum_of(const std::byte* bytes, std::size_t size, std::uint64_t seed) {
  std::uint64_t sum = seed * 0x9e3779b97f4a7c15ull;
  for (std::size_t i = 0; i < size; ++i) sum = (sum ^ std::uint64_t(bytes[i])) * 0x100000001b3ull;
  return sum;
}

Bytes make(std::vector<std::byte>& buffer, std::uint64_t producer, std::uint64_t number) {
  const std::size_t size = number * 2654435761u % 1500;
  buffer.resize(sizeof(Payload) + size);
  for (std::size_t i = 0; i < size; ++i) buffer[sizeof(Payload) + i] = std::byte(number + i * producer);
  const Payload head{producer, number, size, sum_of(buffer.data() + sizeof(Payload), size, producer ^ number)};
  std::memcpy(buffer.data(), &head, sizeof head);
  return buffer;
}

bool whole(Bytes bytes, Payload& head) {
  if (bytes.size() < sizeof head) return false;
  std::memcpy(&head, bytes.data(), sizeof head);
  return head.producer < kProducers && head.number < kMost && head.size == bytes.size() - sizeof head &&
         head.sum == sum_of(bytes.data() + sizeof head, head.size, head.producer ^ head.number);
}

[[noreturn]] void fail(Shared& shared, const char* what, const Error& error) {
  std::fprintf(stderr, "pid %d: %s: %s\n", int(::getpid()), what, error.message().c_str());
  shared.failed = 1;
  ::_exit(1);
}

void produce(Shared& shared, const std::string& path, std::size_t mine) {
  auto bus = Bus::open(path);
  if (!bus) fail(shared, "open", bus.error());
  std::array<Result<Producer>, 2> producers = {bus->producer(kTopics[0], {.block = 60s}),
                                               bus->producer(kTopics[1], {.block = 60s})};
  for (auto& producer : producers)
    if (!producer) fail(shared, "producer", producer.error());
  std::vector<std::byte> buffer;
  std::uint64_t on_disk = shared.begun[mine] + 1;  // this process's events below are, of the durable topic
  while (!shared.stop && shared.begun[mine] + 1 < kMost) {
    const std::uint64_t number = ++shared.begun[mine];
    const auto offset = producers[number % 2]->publish(make(buffer, mine, number));
    // A daemon that was killed is being started again.
    if (!offset && offset.error().code() == Errc::no_daemon) continue;
    if (!offset) fail(shared, "publish", offset.error());
    shared.offsets[mine][number] = *offset;
    shared.events[mine][number].fetch_or(1);
    ++shared.told[mine];
    if (number % 256 != 0) continue;
    if (producers[0]->await_durable(*offset, 1s)) {
      std::uint64_t seen = shared.durable;
      while (seen <= *offset && !shared.durable.compare_exchange_weak(seen, *offset + 1)) {
      }
      for (; on_disk <= number; ++on_disk)
        if (on_disk % 2 == 0 && (shared.events[mine][on_disk] & 1) != 0) shared.events[mine][on_disk].fetch_or(4);
    }
  }
}

// Who is killed over an event fails it: more often here than anybody's attempts.
Result<Consumer> join(Bus& bus) {
  return bus.consumer("g", {kTopics[0], kTopics[1]}, {.max_attempts = 1000, .backoff = {1ms}});
}

void consume(Shared& shared, const std::string& path) {
  auto bus = Bus::open(path);
  if (!bus) fail(shared, "open", bus.error());
  auto member = join(*bus);
  if (!member) fail(shared, "consumer", member.error());
  while (!shared.stop) {
    auto delivery = member->next(100ms);
    if (!delivery) fail(shared, "next", delivery.error());
    if (!*delivery) continue;
    Payload head;
    if (!whole((*delivery)->payload(), head)) {
      ++shared.torn;
      continue;
    }
    shared.events[head.producer][head.number].fetch_or(2);
    if ((*delivery)->ack()) ++shared.acked;  // else its lease was somebody else's by then
  }
}

void persist(Shared& shared, const std::string& path) {
  auto bus = Bus::open(path);
  if (!bus) fail(shared, "open", bus.error());
  auto daemon = Daemon::start(*bus);
  if (!daemon) fail(shared, "daemon", daemon.error());
  while (!shared.stop) std::this_thread::sleep_for(1ms);
  if (auto stopped = daemon->stop(); !stopped) fail(shared, "stop", stopped.error());
}

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

// A bus with all its processes.
class Storm {
 public:
  explicit Storm(bool reboots = false) : reboots_(reboots) {
    std::string pattern = reboots ? std::filesystem::temp_directory_path().string() : "/dev/shm";
    pattern += "/penstock-kills-XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
    path_ = directory_ + "/bus";
    void* at =
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    shared_ = new (at) Shared;
  }
  ~Storm() {
    for (const pid_t pid : pids_) {
      if (pid == 0) continue;
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
    static_cast<void>(Bus::remove(path_));
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
    ::munmap(shared_, sizeof(Shared));
  }

  Storm(const Storm&) = delete;
  Storm& operator=(const Storm&) = delete;

  void rage(std::uint64_t count, std::mt19937_64& random);
  void calm();
  void check() {
    EXPECT_EQ(shared_->torn, 0u);
    check_log("durable", 0);
    if (!reboots_) check_log("memory", 1);
  }

  std::array<std::uint64_t, 4> kills{};  // of producers, members, the daemon, all at once
  std::uint64_t told() const { return told_; }

 private:
  void start(std::size_t which) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      if (which < kProducers)
        produce(*shared_, path_, which);
      else if (which < kProducers + kMembers)
        consume(*shared_, path_);
      else
        persist(*shared_, path_);
      ::_exit(0);
    }
    pids_[which] = pid;
  }
  // Until everything moved on since the last kill; each producer and the group as a whole.
  bool moves_on() {
    const std::uint64_t acked = shared_->acked;
    std::array<std::uint64_t, kProducers> told{};
    for (std::size_t i = 0; i < kProducers; ++i) told[i] = shared_->told[i];
    for (const auto deadline = std::chrono::steady_clock::now() + 30s; std::chrono::steady_clock::now() < deadline;) {
      bool all = shared_->acked != acked;
      for (std::size_t i = 0; i < kProducers; ++i) all &= shared_->told[i] != told[i] || shared_->begun[i] + 1 >= kMost;
      if (all) return true;
      if (shared_->failed) return false;
      std::this_thread::sleep_for(1ms);
    }
    return false;
  }
  void check_log(const char* topic, std::size_t remainder);
  void check_offsets(const std::unordered_map<Offset, std::uint64_t>& log);
  void kill_one(std::size_t which) {
    ASSERT_EQ(::waitpid(pids_[which], nullptr, WNOHANG), 0) << "process " << which << " ended by itself";
    ::kill(pids_[which], SIGKILL);
    ::waitpid(pids_[which], nullptr, 0);
  }
  void reboot();
  // Whether its producer may rely on this event, which it was told of.
  bool relied_on(std::size_t producer, std::uint64_t number) const {
    return (shared_->events[producer][number] & (reboots_ ? 4 : 1)) != 0;
  }
  static std::uint64_t label(std::uint64_t producer, std::uint64_t number) { return producer * kMost + number; }

  bool reboots_;
  std::string directory_, path_;
  Shared* shared_;
  std::array<pid_t, kProcesses> pids_{};
  std::uint64_t told_ = 0;
};

void Storm::check_log(const char* topic, std::size_t remainder) {
  std::array<std::uint64_t, kProducers> last{};
  std::uint64_t lost = 0, torn = 0, disorder = 0, not_given = 0;
  std::vector<bool> there[kProducers];
  std::unordered_map<Offset, std::uint64_t> by_offset;
  for (auto& numbers : there) numbers.resize(kMost);
  const auto log = Log::open(path_, topic);
  ASSERT_TRUE(log) << log.error().message();
  LogVisitor visitor;
  std::array<std::uint64_t, kProducers> oldest;
  oldest.fill(UINT64_MAX);
  visitor.event = [&](const EventView& event) {
    Payload head;
    if (!whole(event.payload(), head)) {
      ++torn;
      return true;
    }
    disorder += head.number <= last[head.producer] ? 1 : 0;
    last[head.producer] = head.number;
    oldest[head.producer] = std::min(oldest[head.producer], head.number);
    there[head.producer][head.number] = true;
    if (reboots_) by_offset.emplace(event.offset(), label(head.producer, head.number));
    not_given += (shared_->events[head.producer][head.number] & 2) == 0 ? 1 : 0;
    return true;
  };
  visitor.damage = [](const Damage& damage) {
    ADD_FAILURE() << damage.problem;
    return true;
  };
  ASSERT_TRUE(log->scan({}, visitor));
  for (std::size_t producer = 0; producer < kProducers; ++producer) {
    for (std::uint64_t number = 1; number <= shared_->begun[producer]; ++number) {
      if (number % 2 != remainder || !relied_on(producer, number)) continue;
      ++told_;
      // A memory topic's log is its ring; what is no longer there was given to the group before.
      const bool passed = remainder == 1 && number < oldest[producer];
      if (!there[producer][number] && !(passed && (shared_->events[producer][number] & 2) != 0)) ++lost;
    }
  }
  if (reboots_) check_offsets(by_offset);
  EXPECT_EQ(lost, 0u) << topic;
  EXPECT_EQ(torn, 0u) << topic;
  EXPECT_EQ(disorder, 0u) << topic;
  EXPECT_EQ(not_given, 0u) << topic;
  const auto reports = log->verify();
  ASSERT_TRUE(reports);
  for (const FileReport& report : *reports) EXPECT_TRUE(report.ok) << report.file;
}

// What a producer was told stays true: an event that is there has the offset it was told of, and one that is gone left
// its offset to nobody.
void Storm::check_offsets(const std::unordered_map<Offset, std::uint64_t>& log) {
  std::uint64_t moved = 0;
  for (std::size_t producer = 0; producer < kProducers; ++producer) {
    for (std::uint64_t number = 2; number <= shared_->begun[producer]; number += 2) {
      if ((shared_->events[producer][number] & 1) == 0) continue;
      const auto there = log.find(shared_->offsets[producer][number]);
      const bool gone = there == log.end() && !relied_on(producer, number);
      moved += gone || (there != log.end() && there->second == label(producer, number)) ? 0 : 1;
    }
  }
  EXPECT_EQ(moved, 0u);
}

void Storm::reboot() {
  for (std::size_t i = 0; i < kProcesses; ++i) kill_one(i);
  std::filesystem::remove_all(std::filesystem::read_symlink(path_ + "/live"));
  for (std::size_t i = 0; i < kProcesses; ++i) start(i);
}

void Storm::rage(std::uint64_t count, std::mt19937_64& random) {
  {
    Bus bus = Bus::open(path_).value();
    ASSERT_TRUE(bus.create_topic("durable", {.ring_bytes = 1 << 20}));
    ASSERT_TRUE(bus.create_topic("memory", {.durability = Durability::memory, .ring_bytes = 256 << 10}));
    ASSERT_TRUE(join(bus));  // the group is there before the first event
  }
  for (std::size_t i = 0; i < kProcesses; ++i) start(i);
  for (std::uint64_t kill = 0; kill < count; ++kill) {
    ASSERT_TRUE(moves_on()) << "stuck after " << kill << " kills";
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));  // a moment like any other
    if (reboots_ && random() % 3 == 0) {
      reboot();
      ++kills[3];
      continue;
    }
    const std::size_t which = random() % kProcesses;
    kill_one(which);
    ++kills[which < kProducers ? 0 : which < kProducers + kMembers ? 1 : 2];
    start(which);
  }
}

// The producers are killed too; the group is given the rest, and all others end.
void Storm::calm() {
  for (std::size_t i = 0; i < kProducers; ++i) {
    ::kill(pids_[i], SIGKILL);
    ::waitpid(pids_[i], nullptr, 0);
    pids_[i] = 0;
  }
  Bus bus = Bus::open(path_).value();
  bool settled = false;
  for (const auto deadline = std::chrono::steady_clock::now() + 60s;
       !settled && std::chrono::steady_clock::now() < deadline; std::this_thread::sleep_for(5ms)) {
    const auto places = bus.group_topics("g");
    ASSERT_TRUE(places) << places.error().message();
    settled = std::all_of(places->begin(), places->end(), [](const auto& place) { return place.lag == 0; });
  }
  EXPECT_TRUE(settled) << "the group is stuck";
  shared_->stop = true;
  for (pid_t& pid : pids_) {
    if (pid == 0) continue;
    int status = 0;
    ::waitpid(pid, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    pid = 0;
  }
  EXPECT_GE(bus.describe_topic("durable")->durable_offset, shared_->durable);
}

void storms(bool reboots, std::uint64_t otherwise) {
  const std::uint64_t seed = from_environment("SEED", std::random_device{}());
  const std::uint64_t count = from_environment("COUNT", otherwise);
  SCOPED_TRACE("SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  std::array<std::uint64_t, 4> kills{};
  std::uint64_t told = 0, done = 0;
  for (; done < count && !::testing::Test::HasFailure(); done += std::min(count - done, kKillsOfABus)) {
    Storm storm(reboots);
    storm.rage(std::min(count - done, kKillsOfABus), random);
    if (::testing::Test::HasFailure()) break;
    storm.calm();
    storm.check();
    for (std::size_t i = 0; i < kills.size(); ++i) kills[i] += storm.kills[i];
    told += storm.told();
  }
  std::printf("SEED=%lu: %lu kills (%lu of producers, %lu of members, %lu of the daemon, %lu of all), %lu events\n",
              seed, done, kills[0], kills[1], kills[2], kills[3], told);
}

TEST(RandomKills, LoseAndTearNothingAndStickNowhere) { storms(false, 200); }
TEST(RandomKills, AndRebootsLoseNothingThatWasAwaited) { storms(true, 60); }

}  // namespace
}  // namespace penstock::test
