// The daemon: one thread that makes the rounds, and sleeps when there is nothing to do.
#include <penstock/daemon.hpp>

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "api/disk_wait.hpp"
#include "daemon/rounds.hpp"

namespace penstock {
namespace {

// ns: who awaited one event publishes the next within this, as a rule, and is spared our wake-up.
constexpr std::int64_t kAwake = 30'000;
// ns: so late may be seen that somebody set the clock, or removed the live side.
constexpr std::int64_t kLook = 1'000'000'000;

}  // namespace

struct Daemon::Impl {
  std::unique_ptr<daemon::Rounds> rounds;
  std::atomic<bool> stopping{false}, cut_off{false};
  std::thread thread;
  Result<void> result;
  std::function<void(int, const std::string&)> log;

  Impl(std::unique_ptr<daemon::Rounds> opened, const DaemonOptions& options)
      : rounds(std::move(opened)), log(options.log) {}
  void rest(const shm::Sleeper& sleeper);
  void run();
  void end_cut_off();
};

// Registers everywhere, looks once more, and sleeps.
void Daemon::Impl::rest(const shm::Sleeper& sleeper) {
  const std::uint32_t seen = sleeper.read();
  const std::int64_t longest = rounds->listen(sleeper);
  const std::int64_t now = api::monotonic_ns();
  if (stopping.load(std::memory_order_seq_cst) || rounds->work(now)) return;
  const std::int64_t wake = std::min(rounds->rest(now), longest == INT64_MAX ? longest : now + longest);
  for (std::int64_t left = wake - now; left > 0; left = wake - api::monotonic_ns()) {
    sleeper.sleep(seen, std::min(left, kLook));
    rounds->advance();
    if (sleeper.wary() || sleeper.read() != seen || rounds->clock_set(api::monotonic_ns())) return;
    if (rounds->cut_off()) return;
  }
}

void Daemon::Impl::run() {
  ::pthread_setname_np(::pthread_self(), "penstock-rounds");  // as top -H shows it
  const shm::Sleeper sleeper = rounds->sleeper();
  std::int64_t awake_until = 0, look_at_live = 0;
  while (!stopping.load(std::memory_order_seq_cst)) {
    const std::int64_t now = api::monotonic_ns();
    if (now >= look_at_live) {
      if (rounds->cut_off()) return end_cut_off();
      look_at_live = now + kLook;
    }
    if (api::disk_is_watched(*rounds->state(), now)) awake_until = now + kAwake;
    if (rounds->work(now) || now < awake_until) continue;
    rest(sleeper);
    look_at_live = 0;
  }
  result = rounds->finish();
}

// Who made another live side meanwhile took what was on disk and goes on from there: nothing may come before it.
void Daemon::Impl::end_cut_off() {
  const std::string& directory = rounds->state()->directory;
  const bool replaced = ::access((directory + "/live/bus").c_str(), F_OK) == 0;
  if (log)
    log(2, directory +
               ": its shared memory was removed under the daemon (by a logout, by hand, or by who sees another boot "
               "id); " +
               (replaced ? "what was not on disk is lost" : "what it held is written to disk"));
  if (!replaced) result = rounds->finish();
  cut_off.store(true, std::memory_order_release);
}

Daemon::Daemon(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Daemon::Daemon(Daemon&&) noexcept = default;
Daemon& Daemon::operator=(Daemon&& other) noexcept {
  if (this != &other) {
    static_cast<void>(stop());
    impl_ = std::move(other.impl_);
  }
  return *this;
}
Daemon::~Daemon() { static_cast<void>(stop()); }

std::uint64_t Daemon::progress() const { return impl_ ? impl_->rounds->progress() : 0; }
bool Daemon::running() const { return impl_ && !impl_->cut_off.load(std::memory_order_acquire); }

std::string_view Daemon::backend() const { return impl_ ? impl_->rounds->backend() : std::string_view(); }

Result<void> Daemon::stop() {
  if (!impl_ || !impl_->thread.joinable()) return {};
  impl_->stopping.store(true, std::memory_order_seq_cst);
  impl_->rounds->sleeper().ring();
  impl_->thread.join();
  impl_->rounds->state()->live.header()->daemon_pid.store(0);
  Result<void> result = impl_->result;
  impl_.reset();
  return result;
}

Result<Daemon> Daemon::start(const Bus& bus, const DaemonOptions& options) {
  const api::StatePtr& state = bus.state();
  int refused = 0;
  auto disk = io::make_disk(options.force_pwrite || state->settings.force_pwrite, &refused);
  auto rounds = daemon::Rounds::open(state, options, std::move(disk));
  if (!rounds) return tl::unexpected(rounds.error());
  if (refused != 0) {
    state->live.header()->daemon_backend.store(2 | std::uint64_t(refused) << 8);
    if (options.log)
      options.log(1, std::string("io_uring is refused (") + std::strerror(refused) +
                         "); events are written with pwrite, which is slower; see `penstock doctor`");
  }
  auto impl = std::make_unique<Impl>(std::move(*rounds), options);
  Impl* running = impl.get();
  impl->thread = std::thread([running] { running->run(); });
  return Daemon(std::move(impl));
}

}  // namespace penstock
