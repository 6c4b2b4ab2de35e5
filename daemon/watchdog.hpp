// What a service manager's watchdog (systemd's WatchdogSec=) is told: that the daemon's thread gets on. A thread of its
// own wakes twice in the interval that the manager gives, and looks; the daemon's thread pays a counter.
//
// Not told: a thread that neither gets on nor waits in the kernel for a disk. That one hangs by a fault of ours, and a
// new daemon goes on where it was. A disk that hangs is no reason to be killed: such a wait cannot be ended by any
// signal, so the process would stay until the disk answers, and with it the lock of the bus, on which each new daemon
// would fail until the manager gives up starting them; left alone, it goes on by itself. Nor is a start or a stop,
// which have time limits of their own (TimeoutStartSec=, TimeoutStopSec=): meanwhile nobody is watched, and all is
// well.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace penstock::daemon {

// Half of the interval within which the manager wants to hear of this process, by WATCHDOG_USEC and WATCHDOG_PID.
// Nothing: it does not.
std::optional<std::chrono::microseconds> watchdog_turn();

// Does a thread of this process wait in the kernel so that no signal ends it (state D), as for a disk?
bool waits_uninterruptibly();

class Watchdog {
 public:
  using Progress = std::function<std::uint64_t()>;
  // `told`: called from the watchdog's thread, with true for a look that found all well, false for the first that did
  // not. Looks each `turn`, until it is destroyed.
  Watchdog(std::chrono::microseconds turn, std::function<void(bool)> told);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // Whose progress counts from now on; nobody's: all is well. Any thread; the former is not asked any more afterwards.
  void watch(Progress progress);
  // One look, as the thread makes them.
  void look();

 private:
  void run(std::chrono::microseconds turn);

  std::function<void(bool)> told_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool ending_ = false;
  Progress progress_;
  std::optional<std::uint64_t> seen_;  // at the last look
  bool stuck_ = false;
  std::thread thread_;  // last: it uses the rest
};

}  // namespace penstock::daemon
