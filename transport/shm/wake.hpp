// Sleeping until there is news, and waking who sleeps. One futex a handle, whatever number of things it waits for.
//
// A sleeper reads its doorbell, sets its bit in the mask of everything it waits for, looks again, and sleeps on the
// value read. Who has news swaps a mask for zero and rings each doorbell in it: raises the count, wakes. The doorbell
// is read first: a waker that takes the bit later raises the count later, so the sleeper does not sleep on a bit that
// is gone. A waker that dies between the swap and the ring wakes nobody: no sleep may be without a bound.
#pragma once

#include <cstdint>

#include "layout/live.hpp"

namespace penstock::shm {

using Mask = layout::Word;

class Sleeper {
 public:
  Sleeper() = default;
  // `wary`: consumers of other groups may write the page, and take our bit away or cut the file: no sleep relies on it
  // for longer than a moment.
  Sleeper(layout::WakeFile* wake, std::uint32_t slot, bool wary)
      : bell_(&wake->doorbells[slot % layout::kDoorbells].count),
        bit_(1ull << (slot % layout::kDoorbells)),
        wary_(wary) {}
  // In this order: read(), listen() wherever news may come from (of topics by Listening), look, sleep().
  std::uint32_t read() const { return bell_->load(std::memory_order_seq_cst); }
  void listen(Mask& mask) const {
    if ((mask.load(std::memory_order_seq_cst) & bit_) == 0) mask.fetch_or(bit_, std::memory_order_seq_cst);
  }
  // For a mask in which nobody else has this doorbell: its bit is there until there was news.
  bool listens(const Mask& mask) const { return (mask.load(std::memory_order_seq_cst) & bit_) != 0; }
  void leave(Mask& mask) const {
    if (listens(mask)) mask.fetch_and(~bit_, std::memory_order_seq_cst);
  }
  bool wary() const { return wary_; }  // to be looked at again after each sleep, rung or not
  // Until the doorbell is no longer at `seen`, or this long. Wakes early now and then.
  void sleep(std::uint32_t seen, std::int64_t timeout_ns) const;
  void ring() const;  // this doorbell alone, also from a signal handler

 private:
  std::atomic<std::uint32_t>* bell_ = nullptr;
  std::uint64_t bit_ = 0;
  bool wary_ = false;
};

// Before a last look and a sleep: listens wherever news may come from, also where whoever has news leaves the fence
// between storing it and looking for sleepers to us.
class Listening {
 public:
  explicit Listening(const Sleeper& sleeper) : sleeper_(sleeper) {}
  void to(Mask& mask) { sleeper_.listen(mask); }
  void leaves_fences_out() { unfenced_ = true; }  // the one who has the news that we listened to last
  // After all of it. ns: no sleep may be longer.
  std::int64_t settle() const;

 private:
  const Sleeper& sleeper_;
  bool unfenced_ = false;
};

// Rings every doorbell that the mask names, and clears it.
void ring_all(layout::WakeFile* wake, Mask& mask);

// ORs `bit` into the word at `half` and wakes the mask's sleepers so that no death falls between: every doorbell but
// one is rung before, the last together with the OR, in one system call. Who was rung early and went back to sleep did
// so with a time-out, because the tail had moved on. Ring again afterwards for who came meanwhile.
void settle_and_ring(layout::WakeFile* wake, Mask& mask, std::uint32_t* half, std::uint32_t bit);

}  // namespace penstock::shm
