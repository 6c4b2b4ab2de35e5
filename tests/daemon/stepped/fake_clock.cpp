#include "fake_clock.hpp"

#include <utility>

#include "io/clock.hpp"

namespace penstock::test {

Clock g_clock{1'800'000'000'000'000'000, 5'000'000'000'000};

Turn g_turn;

}  // namespace penstock::test

namespace penstock::io {

std::int64_t now_ns() {
  if (test::g_turn.act && test::g_turn.after-- == 0) std::exchange(test::g_turn.act, nullptr)();
  return test::g_clock.wall;
}
std::int64_t coarse_now_ns() { return test::g_clock.wall; }
std::int64_t monotonic_ns() { return test::g_clock.monotonic; }
std::int64_t coarse_monotonic_ns() { return test::g_clock.monotonic; }
std::int64_t processor_ns() { return test::g_clock.processor += test::g_clock.between_looks; }

}  // namespace penstock::io
