// The clocks, and the only place that reads them for leases, backoffs, stamps and deadlines. Any thread. What may be
// told after a reboot, or to people, is wall time, which somebody may set; everything else runs by the monotonic clock,
// which never jumps, but begins anew with each boot. A test that steps time brings definitions of its own, which the
// linker takes instead of clock.cpp.
#pragma once

#include <cstdint>

namespace penstock::io {

std::int64_t now_ns();         // wall time, nanoseconds since the epoch
std::int64_t coarse_now_ns();  // the same, a few milliseconds old at most, cheaper
std::int64_t monotonic_ns();
std::int64_t coarse_monotonic_ns();
std::int64_t processor_ns();  // that this thread has used

}  // namespace penstock::io
