// Random lives of groups, and what they wrote down judged: COUNT of them (1000) from SEED (1) on, some at a time.
// A life whose history is wrong prints its seed; COUNT=1 SEED=n lives that one again.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <thread>

#include "group_run.hpp"

namespace penstock::test {
namespace {

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

// What all lives came to, in memory that their processes share.
struct Sums {
  std::atomic<std::uint64_t> events, deliveries, acked, refused, failures, letters, redriven, skipped, crashes, kills,
      stops, daemon_kills, unloads, wrong;

  void add(const GroupRunResult& result) {
    const Judgement& all = result.judgement;
    events += result.events, deliveries += all.deliveries, acked += all.acked, refused += all.refused;
    failures += all.failures, letters += all.letters, redriven += all.redriven, skipped += all.skipped;
    crashes += all.crashes, kills += result.kills, stops += result.stops, daemon_kills += result.daemon_kills;
    unloads += result.unloads, wrong += all.wrong.empty() ? 0 : 1;
  }
};

// In a process of its own, which may make others.
int live_and_tell(std::uint64_t seed, Sums& sums) {
  const GroupRun run = run_of(seed);
  const GroupRunResult result = live(run);
  sums.add(result);
  if (result.judgement.wrong.empty()) return 0;
  std::string told = "\nSEED=" + std::to_string(seed) + ": " + run.text() + "\n";
  for (const std::string& wrong : result.judgement.wrong) told += "  " + wrong + "\n";
  told += "again: COUNT=1 SEED=" + std::to_string(seed) + " cmake --build build --target group_histories\n";
  std::fputs(told.c_str(), stderr);
  return 1;
}

// Under a sanitizer each life takes several times as long.
#if defined(__SANITIZE_ADDRESS__)
constexpr std::uint64_t kLives = 200;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr std::uint64_t kLives = 200;
#else
constexpr std::uint64_t kLives = 1000;
#endif
#else
constexpr std::uint64_t kLives = 1000;
#endif

TEST(GroupHistories, AreRight) {
  const std::uint64_t first = from_environment("SEED", 1), count = from_environment("COUNT", kLives);
  // Most of a life is waiting.
  const std::size_t at_once = std::max(2u, 2 * std::thread::hardware_concurrency());
  void* memory = ::mmap(nullptr, sizeof(Sums), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  Sums& sums = *new (memory) Sums{};
  std::map<pid_t, std::uint64_t> lives;
  for (std::uint64_t seed = first; (seed < first + count && !HasFailure()) || !lives.empty();) {
    if (seed < first + count && !HasFailure() && lives.size() < at_once) {
      const pid_t pid = ::fork();
      if (pid == 0) ::_exit(live_and_tell(seed, sums));
      lives[pid] = seed++;
      continue;
    }
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, 0);
    EXPECT_EQ(status, 0) << "the life of seed " << lives[pid];
    lives.erase(pid);
  }
  std::printf(
      "%lu lives from SEED=%lu: %lu events, %lu deliveries, %lu acked, %lu naks and rejects, %lu settlements refused, "
      "%lu letters, %lu redriven, %lu copies skipped; %lu members died, %lu of them killed, %lu stopped, %lu daemons "
      "killed, %lu unloaded\n",
      count, first, sums.events.load(), sums.deliveries.load(), sums.acked.load(), sums.failures.load(),
      sums.refused.load(), sums.letters.load(), sums.redriven.load(), sums.skipped.load(), sums.crashes.load(),
      sums.kills.load(), sums.stops.load(), sums.daemon_kills.load(), sums.unloads.load());
  ::munmap(memory, sizeof(Sums));
}

}  // namespace
}  // namespace penstock::test
