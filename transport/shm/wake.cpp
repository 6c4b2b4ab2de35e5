#include "shm/wake.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <climits>

#include "shm/fence.hpp"

namespace penstock::shm {
namespace {

using layout::Doorbell;

constexpr std::int64_t kWaryNs = 20'000'000;     // a wake-up that was taken away costs at most this
constexpr std::int64_t kUnfencedNs = 1'000'000;  // so late may be seen what a missing fence hid
constexpr timespec kGone{0, 1'000'000};          // the page is gone for now: not to spin

std::uint32_t* raw(std::atomic<std::uint32_t>* bell) { return reinterpret_cast<std::uint32_t*>(bell); }

void wake(std::uint32_t* bell) { ::syscall(SYS_futex, bell, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0); }

}  // namespace

void Sleeper::sleep(std::uint32_t seen, std::int64_t timeout_ns) const {
  if (timeout_ns <= 0) return;
  if (wary_) timeout_ns = std::min(timeout_ns, kWaryNs);
  const timespec timeout{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
  if (::syscall(SYS_futex, raw(bell_), FUTEX_WAIT, seen, &timeout, nullptr, 0) != 0 && errno == EFAULT && wary_)
    ::nanosleep(&kGone, nullptr);  // the next look at the doorbell mends it
}

void Sleeper::ring() const {
  bell_->fetch_add(1, std::memory_order_seq_cst);
  wake(raw(bell_));
}

std::int64_t Listening::settle() const { return !unfenced_ || fence_others() ? INT64_MAX : kUnfencedNs; }

void ring_all(layout::WakeFile* file, Mask& mask) {
  std::uint64_t sleepers = mask.exchange(0, std::memory_order_seq_cst);
  for (; sleepers != 0; sleepers &= sleepers - 1) {
    auto& bell = file->doorbells[std::countr_zero(sleepers)].count;
    bell.fetch_add(1, std::memory_order_seq_cst);
    wake(raw(&bell));
  }
}

void settle_and_ring(layout::WakeFile* file, Mask& mask, std::uint32_t* half, std::uint32_t bit) {
  std::uint64_t sleepers = mask.exchange(0, std::memory_order_seq_cst);
  while (std::popcount(sleepers) > 1) {
    auto& bell = file->doorbells[std::countr_zero(sleepers)].count;
    bell.fetch_add(1, std::memory_order_seq_cst);
    wake(raw(&bell));
    sleepers &= sleepers - 1;
  }
  bool settled = false;
  if (sleepers != 0) {
    auto& bell = file->doorbells[std::countr_zero(sleepers)].count;
    bell.fetch_add(1, std::memory_order_seq_cst);
    const int shift = std::countr_zero(bit);
    const std::uint32_t operation = FUTEX_OP(FUTEX_OP_OR | FUTEX_OP_OPARG_SHIFT, shift, FUTEX_OP_CMP_EQ, 0);
    // The second futex is nobody's to sleep on: its waiters are asked for only if the old value was 0, which it never
    // is.
    settled = ::syscall(SYS_futex, raw(&bell), FUTEX_WAKE_OP, INT_MAX, 0L, half, operation) >= 0;
    if (!settled) wake(raw(&bell));
  }
  if (!settled) std::atomic_ref<std::uint32_t>(*half).fetch_or(bit, std::memory_order_seq_cst);
  ring_all(file, mask);
}

}  // namespace penstock::shm
