#include "io/clock.hpp"

#include <time.h>

namespace penstock::io {
namespace {

std::int64_t clock_ns(clockid_t id) {
  timespec now{};
  ::clock_gettime(id, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

std::int64_t now_ns() { return clock_ns(CLOCK_REALTIME); }
std::int64_t coarse_now_ns() { return clock_ns(CLOCK_REALTIME_COARSE); }
std::int64_t monotonic_ns() { return clock_ns(CLOCK_MONOTONIC); }
std::int64_t coarse_monotonic_ns() { return clock_ns(CLOCK_MONOTONIC_COARSE); }
std::int64_t processor_ns() { return clock_ns(CLOCK_THREAD_CPUTIME_ID); }

}  // namespace penstock::io
