#include "tools/measure/cores.hpp"

#include <sched.h>

#include <fstream>
#include <string>

#include "tools/measure/clock.hpp"

namespace penstock::measure {
namespace {

bool has_steady_counter() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("flags"))
      return line.find(" constant_tsc") != std::string::npos && line.find(" nonstop_tsc") != std::string::npos;
  }
  return false;
}

}  // namespace

std::vector<int> cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> found;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return {0};
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &set)) found.push_back(core);
  return found;
}

bool pin_to(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  return ::sched_setaffinity(0, sizeof set, &set) == 0;
}

Ticks::Ticks() {
  static const double measured = [] {
#if defined(__x86_64__)
    if (has_steady_counter()) {
      const std::int64_t begin = now_ns();
      const std::uint64_t first = __rdtsc();
      while (now_ns() - begin < 20'000'000) continue;
      const std::int64_t end = now_ns();
      return static_cast<double>(end - begin) / static_cast<double>(__rdtsc() - first);
    }
#endif
    return 0.0;
  }();
  if (measured <= 0) return;
  steady_ = true;
  ns_per_tick_ = measured;
}

}  // namespace penstock::measure
