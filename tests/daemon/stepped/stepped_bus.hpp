// A bus whose daemon is stepped round by round in the test's own thread, with a disk that works while it is asked,
// under clocks that the test moves.
#pragma once

#include <fstream>

#include "daemon/rounds.hpp"
#include "fake_clock.hpp"
#include "tests/support/stage.hpp"

namespace penstock::test {

// A bus whose rings and segments are small, so that making them costs nothing.
inline Bus open_small(const Stage& stage) {
  std::filesystem::create_directories(stage.path());
  std::ofstream(stage.path() + "/bus.toml") << "[topics]\nring = \"64KiB\"\n[daemon]\nsegment_bytes = \"64KiB\"\n";
  return stage.open();
}

// Takes jobs and never gets to them.
class StuckDisk final : public io::Disk {
 public:
  std::string_view name() const override { return "stuck"; }
  Result<void> submit(const io::Job&) override {
    ++jobs_;
    return {};
  }
  Result<std::size_t> reap(std::vector<io::Completion>&, std::chrono::nanoseconds) override { return std::size_t{0}; }
  std::size_t in_flight() const override { return jobs_; }

 private:
  std::size_t jobs_ = 0;
};

inline std::unique_ptr<daemon::Rounds> open_rounds(const Bus& bus,
                                                   std::unique_ptr<io::Disk> disk = io::make_pwrite_disk(0)) {
  auto rounds = daemon::Rounds::open(bus.state(), {}, std::move(disk));
  if (!rounds) std::fprintf(stderr, "%s\n", rounds.error().message().c_str()), std::abort();
  return std::move(*rounds);
}

// What the daemon's thread does until it sleeps, or once when there is more to do. When it wants to be woken.
inline std::int64_t work_and_rest(daemon::Rounds& rounds) {
  const std::int64_t now = g_clock.monotonic;
  if (rounds.work(now)) return now;
  rounds.listen(rounds.sleeper());
  return rounds.work(now) ? now : rounds.rest(now);
}

// Each round a tenth of a second after the one before: everything the daemon does has its turn in four of them.
inline void step(daemon::Rounds& rounds, int count = 4) {
  for (int i = 0; i < count; ++i) {
    work_and_rest(rounds);
    pass(100ms);
  }
}

// The machine starts again: what was in shared memory is gone, and the monotonic clock begins anew.
inline void reboot(const Stage& stage) {
  std::filesystem::remove_all(stage.live_path());
  g_clock.monotonic = 1'000'000'000;
}

}  // namespace penstock::test
