// The clocks of measurements. Any thread.
#pragma once

#include <time.h>

#include <cstdint>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace penstock::measure {

// Monotonic nanoseconds, comparable between processes and cores; about 25 ns a call.
inline std::int64_t now_ns() {
  timespec at;
  ::clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec * 1'000'000'000ll + at.tv_nsec;
}

// A cheaper counter for durations on one core. Where the time stamp counter does not tick evenly, it is now_ns().
class Ticks {
 public:
  Ticks();  // finds out how long a tick is, once a process: some 20 ms
  std::uint64_t now() const {
#if defined(__x86_64__)
    if (steady_) return __rdtsc();
#endif
    return static_cast<std::uint64_t>(now_ns());
  }
  std::uint64_t ns(std::uint64_t ticks) const {
    return static_cast<std::uint64_t>(static_cast<double>(ticks) * ns_per_tick_);
  }

 private:
  bool steady_ = false;
  double ns_per_tick_ = 1;
};

}  // namespace penstock::measure
