#include "bindings/python/held.hpp"

#include <pthread.h>

#include <algorithm>

namespace penstock::python {
namespace {

std::uint32_t forks_so_far = 0;  // changed only where the process has one thread

}  // namespace

std::uint32_t forks() { return forks_so_far; }
void count_forks() {
  ::pthread_atfork(nullptr, nullptr, [] {
    ++forks_so_far;
    forget_threads();
  });
}

Deadline::Deadline(std::optional<std::chrono::nanoseconds> timeout) {
  const auto now = Clock::now();
  if (timeout && *timeout < Clock::time_point::max() - now) end_ = now + *timeout;
}

std::chrono::nanoseconds Deadline::slice() const {
  if (!end_) return kSlice;
  return std::clamp<std::chrono::nanoseconds>(*end_ - Clock::now(), std::chrono::nanoseconds(0), kSlice);
}

}  // namespace penstock::python
