// What the processes of a group's life do, and the memory in which they write it down. Each role runs in a process of
// its own that does nothing else; it ends when all are told to, or when its work is done.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>

#include "group_run.hpp"
#include "support/small_bus.hpp"

namespace penstock::test {

class Random {
 public:
  explicit Random(std::uint64_t seed) : x_(seed * 0x9E3779B97F4A7C15ull + 1) {}
  std::uint64_t below(std::uint64_t n) {
    x_ = x_ * 6364136223846793005ull + 1442695040888963407ull;
    return (x_ >> 33) % n;
  }
  bool percent(std::uint64_t chance) { return below(100) < chance; }
  std::chrono::microseconds time(std::uint64_t most) { return std::chrono::microseconds(below(most)); }

 private:
  std::uint64_t x_;
};

constexpr std::uint64_t kNotes = 1 << 18;
constexpr std::uint32_t kMembers = 1 << 12;  // that a life may have, one after another

struct Shared {
  std::atomic<bool> stop{false};       // all end cleanly
  std::atomic<bool> published{false};  // all that will be
  std::atomic<pid_t> daemon{0};
  std::atomic<bool> ambushed{false};  // it is going to be killed by a member
  std::atomic<std::uint64_t> count{0};
  struct Search {  // a member's, for work
    std::atomic<bool> on{false};
    std::atomic<std::uint64_t> since{0};
    std::atomic<std::int64_t> asked{0};
  } searches[kMembers];
  struct Slot {
    std::atomic<bool> written{false};
    Note note;
  } notes[kNotes];

  std::uint64_t write(Note note);
};

std::int64_t monotonic_now();

struct Scene {
  const GroupRun& run;
  Shared& shared;
  const std::string& bus;
};
inline constexpr const char* kTopic = "orders";
inline constexpr int kSettled = 7;  // what the operator's process ends with when nothing is left to do

ConsumerOptions options_of(const GroupRun& run);
std::vector<std::chrono::nanoseconds> backoff_of();

void be_producer(const Scene& scene, std::uint64_t number, std::uint64_t first, std::uint64_t events);
void be_member(const Scene& scene, std::uint32_t number);
int be_operator(const Scene& scene, std::uint32_t number, std::uint64_t events);
void be_daemon(const Scene& scene);

}  // namespace penstock::test
