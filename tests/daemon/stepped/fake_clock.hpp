// Clocks that stand still until a test moves them. A program that has fake_clock.cpp among its sources runs the whole
// library and the daemon by them; what sleeps in the kernel does not, so its tests ask with a timeout of 0 and step the
// daemon's rounds. One thread; a forked child begins with its parent's time.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

namespace penstock::test {

struct Clock {
  std::int64_t wall = 0, monotonic = 0;
  std::int64_t processor = 0, between_looks = 0;  // this much of a processor is used between two looks at it
};
extern Clock g_clock;

// Somebody else's turn: called when the wall clock is looked at the next time but so many, and forgotten then.
struct Turn {
  int after = 0;
  std::function<void()> act;
};
extern Turn g_turn;

inline void set_clock(std::int64_t wall, std::int64_t monotonic) { g_clock = {wall, monotonic}; }
// Time passes.
inline void pass(std::chrono::nanoseconds duration) {
  g_clock.wall += duration.count();
  g_clock.monotonic += duration.count();
}
// Somebody sets the clock.
inline void jump(std::chrono::nanoseconds ahead) { g_clock.wall += ahead.count(); }

}  // namespace penstock::test
