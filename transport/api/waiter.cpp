#include "api/waiter.hpp"

#include <sched.h>

#include <algorithm>

namespace penstock::api {
namespace {

constexpr unsigned kPeeks = 64;  // between two looks, each of which reads the clock and the producers' line

}  // namespace

Result<bool> Waiter::wait(std::chrono::nanoseconds timeout, const std::function<void(shm::Listening&)>& listen,
                          const std::function<Result<Look>()>& look, const std::function<bool()>& peek,
                          std::int64_t spin_ns) {
  const std::int64_t begin = monotonic_ns();
  const std::int64_t deadline = deadline_after(timeout);
  std::int64_t spin_until = begin + spin_ns;
  bool listening = false;
  for (;;) {
    if (interrupted_.exchange(false)) return tl::unexpected(Error(Errc::interrupted));
    std::uint32_t seen = 0;
    std::int64_t longest = 0;
    const std::int64_t now = monotonic_ns();
    if (how_ == Wait::sleep && now >= spin_until) {
      seen = sleeper_.read();
      shm::Listening all(sleeper_);
      listen(all);
      longest = std::min(kLongestSleep, all.settle());
      listening = true;
    }
    auto found = look();
    if (!found) return tl::unexpected(found.error());
    if (found->ready) return true;
    if (now >= deadline) return false;
    if (!listening) {
      if (how_ == Wait::yield) ::sched_yield();
      for (unsigned peeks = 0; peeks < kPeeks && !peek(); ++peeks) __builtin_ia32_pause();
      continue;
    }
    if (interrupted_.load(std::memory_order_seq_cst)) continue;
    const std::int64_t until = std::min({deadline, found->until, now + longest});
    if (until > now) sleeper_.sleep(seen, until - now);
    listening = false;
    spin_until = 0;
  }
}

}  // namespace penstock::api
