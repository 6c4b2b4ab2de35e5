// The engine once more, compiled into this test with a hook before every access to shared memory, so that a schedule
// can stop a member between any two of them: include this before anything else of ours, and only here. The names of the
// engine's own compilation are kept apart by giving everything another namespace.
// Members are fibers of one thread. One that is never resumed is as good as killed; one resumed late was stopped.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <vector>
#define XXH_INLINE_ALL
#include <xxhash.h>

// Sanitizers want to know about stacks, and about memory that the killed never free.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PENSTOCK_CAN_SWITCH 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define PENSTOCK_CAN_SWITCH 0
#else
#define PENSTOCK_CAN_SWITCH 1
#endif
#else
#define PENSTOCK_CAN_SWITCH 1
#endif

namespace hook {

class Fiber {
 public:
  explicit Fiber(std::function<void()> act) : act_(std::move(act)), stack_(new std::byte[kStack]) {
    getcontext(&member_);
    member_.uc_stack.ss_sp = stack_.get();
    member_.uc_stack.ss_size = kStack;
    member_.uc_link = &test_;
    makecontext(&member_, &Fiber::enter, 0);
  }
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  bool alive() const { return alive_; }
  // So many accesses to shared memory; it stops before the next. False: it has ended.
  bool step(std::uint64_t accesses) {
    if (!alive_) return false;
    left_ = accesses + 1;
    running_ = this;
    swapcontext(&test_, &member_);
    running_ = nullptr;
    return alive_;
  }
  void end() { alive_ = false; }

  static void point() {
    Fiber* self = running_;
    if (self == nullptr || --self->left_ != 0) return;
    swapcontext(&self->member_, &self->test_);
  }

 private:
  static constexpr std::size_t kStack = 128 << 10;
  static inline Fiber* running_ = nullptr;
  static void enter() {
    Fiber* self = running_;
    self->act_();
    self->alive_ = false;
  }
  std::function<void()> act_;
  std::unique_ptr<std::byte[]> stack_;
  ucontext_t member_{}, test_{};
  std::uint64_t left_ = 0;
  bool alive_ = true;
};

inline void point() { Fiber::point(); }

}  // namespace hook

namespace std {

template <class T>
class hooked_atomic {
 public:
  static constexpr bool is_always_lock_free = true;
  T load(memory_order = memory_order_seq_cst) const { return hook::point(), value_; }
  void store(T to, memory_order = memory_order_seq_cst) { hook::point(), value_ = to; }
  T exchange(T to, memory_order = memory_order_seq_cst) { return hook::point(), std::exchange(value_, to); }
  bool compare_exchange_strong(T& expected, T to) {
    hook::point();
    if (value_ != expected) return expected = value_, false;
    return value_ = to, true;
  }
  bool compare_exchange_weak(T& expected, T to) { return compare_exchange_strong(expected, to); }
  T fetch_add(T by, memory_order = memory_order_seq_cst) { return hook::point(), std::exchange(value_, value_ + by); }
  T fetch_sub(T by, memory_order = memory_order_seq_cst) { return hook::point(), std::exchange(value_, value_ - by); }
  T fetch_or(T bits) { return hook::point(), std::exchange(value_, value_ | bits); }
  T fetch_and(T bits) { return hook::point(), std::exchange(value_, value_ & bits); }

 private:
  T value_;
};

template <class T>
class hooked_atomic_ref {
 public:
  explicit hooked_atomic_ref(T& value) : value_(value) {}
  T load(memory_order = memory_order_seq_cst) const { return hook::point(), value_; }

 private:
  T& value_;
};

}  // namespace std

#define penstock penstock_hooked
#define atomic hooked_atomic
#define atomic_ref hooked_atomic_ref
#define __sync_bool_compare_and_swap(...) (hook::point(), __sync_bool_compare_and_swap(__VA_ARGS__))
#define __sync_val_compare_and_swap(...) (hook::point(), __sync_val_compare_and_swap(__VA_ARGS__))

#include "group/backoff.cpp"
#include "group/cells.cpp"
#include "group/cursor.cpp"
#include "group/dedupe.cpp"
#include "group/due.cpp"
#include "group/inspect.cpp"
#include "group/lanes.cpp"
#include "group/letters.cpp"
#include "group/marks.cpp"
#include "group/notes.cpp"
#include "group/parked.cpp"
#include "group/region.cpp"
#include "group/restore.cpp"
#include "group/settle.cpp"
#include "group/snapshot.cpp"
#include "group/sweep.cpp"
#include "group/take.cpp"

#undef atomic
#undef atomic_ref
