#include "api/disk_wait.hpp"

#include <cerrno>

#include "api/error.hpp"

namespace penstock::api {
namespace {

constexpr std::int64_t kWatch = 250'000;  // ns: a flush or two

// Who waits alone watches without sleeping, for a moment: a wake-up would cost a good part of what the flush does. Of a
// bus one at a time, for it takes a core, which many would have better uses for. The word tells until when, so that
// nothing is left of one who dies.
class Watch {
 public:
  Watch(layout::Word& until, std::int64_t now, bool wanted) : until_(until), mine_(std::uint64_t(now + kWatch)) {
    std::uint64_t seen = until_.load(std::memory_order_relaxed);
    taken_ = wanted && !held(seen, now) && until_.compare_exchange_strong(seen, mine_, std::memory_order_relaxed);
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch() {
    if (taken_) until_.compare_exchange_strong(mine_, 0, std::memory_order_relaxed);
  }
  bool taken() const { return taken_; }
  // Anybody may write the word; what no watcher wrote is nobody's.
  static bool held(std::uint64_t until, std::int64_t now) {
    return std::int64_t(until) > now && std::int64_t(until) - now <= kWatch;
  }

 private:
  layout::Word& until_;
  std::uint64_t mine_;
  bool taken_ = false;
};

}  // namespace

bool disk_is_watched(const State& state, std::int64_t now) {
  return Watch::held(state.live.wake()->watched_until.load(std::memory_order_relaxed), now);
}

Result<void> await_disk(Waiter& waiter, const State& state, std::chrono::nanoseconds timeout, const DiskWait& what) {
  bool done = false;
  const auto look = [&]() -> Result<Waiter::Look> {
    auto looked = what.done();
    if (!looked) return tl::unexpected(looked.error());
    done = *looked;
    return Waiter::Look{.ready = done || what.error() != 0};
  };
  const auto peek = [&what] { return what.done().value_or(true); };
  const Watch watch(state.live.wake()->watched_until, monotonic_ns(), what.alone);
  auto waited = waiter.wait(timeout, what.listen, look, peek, watch.taken() ? kWatch : 0);
  if (!waited) return tl::unexpected(waited.error());
  if (done) return {};
  if (const int error = what.error(); error != 0)
    return refuse(error == ENOSPC || error == EDQUOT ? Errc::no_space : Errc::disk, what.title(), std::uint32_t(error),
                  state.directory);
  if (!daemon_of(state))
    return refuse(Errc::no_daemon, what.title() + " is not written to disk because no daemon runs; start penstockd.");
  return refuse(Errc::timed_out, what.title() + ": " + what.missing);
}

}  // namespace penstock::api
