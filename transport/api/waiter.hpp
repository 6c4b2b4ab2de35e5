// Waiting for any of many things with one doorbell: topics, groups, the bus itself.
#pragma once

#include <atomic>
#include <functional>
#include <penstock/options.hpp>
#include <vector>

#include "api/state.hpp"

namespace penstock::api {

// How late a wake-up may come that was lost because its waker died with the mask in hand.
inline constexpr std::int64_t kLongestSleep = 50'000'000;
// How long is looked before sleeping: less than what a wake-up costs.
inline constexpr std::int64_t kSpin = 20'000;

class Waiter {
 public:
  Waiter(shm::Sleeper sleeper, Wait how) : sleeper_(sleeper), how_(how) {}

  // What a look found: something to do, nothing, or nothing until a moment (monotonic nanoseconds).
  struct Look {
    bool ready = false;
    std::int64_t until = INT64_MAX;
  };
  // Looks until there is something, the timeout passed or interrupt() was called. `listen` registers the doorbell with
  // everything that may bring news; it is called before each look that precedes a sleep. `peek` is the cheap question
  // whether a look is worthwhile, asked between looks.
  Result<bool> wait(std::chrono::nanoseconds timeout, const std::function<void(shm::Listening&)>& listen,
                    const std::function<Result<Look>()>& look, const std::function<bool()>& peek,
                    std::int64_t spin_ns = kSpin);

  const shm::Sleeper& sleeper() const { return sleeper_; }

  // From any thread, and from signal handlers.
  void interrupt() {
    interrupted_.store(true, std::memory_order_seq_cst);
    sleeper_.ring();
  }

 private:
  shm::Sleeper sleeper_;
  Wait how_;
  std::atomic<bool> interrupted_{false};
};

}  // namespace penstock::api
