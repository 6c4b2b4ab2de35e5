// Stepping through what a member does, instruction by instruction, within one process: the processor's trap flag raises
// SIGTRAP after each instruction, and the handler hands control back to the test whenever the step is one of this
// program's own (inside of libc and the allocator nothing of ours is touched, and a switch would upset them). A member
// that is never resumed is as good as killed; one that is resumed late was stopped. Works on x86-64 Linux, and not
// under sanitizers, which want to know about stacks and signals.
#pragma once

#include <ucontext.h>

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#if !defined(__x86_64__) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PENSTOCK_CAN_STEP 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define PENSTOCK_CAN_STEP 0
#else
#define PENSTOCK_CAN_STEP 1
#endif
#else
#define PENSTOCK_CAN_STEP 1
#endif

extern "C" char __executable_start, etext;

namespace penstock::test {

#if PENSTOCK_CAN_STEP

class Stepped {
 public:
  explicit Stepped(std::function<void()> act) : act_(std::move(act)), stack_(new std::byte[kStack]) {
    struct sigaction action {};
    action.sa_sigaction = &Stepped::trap;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGTRAP, &action, nullptr);
    getcontext(&member_);
    member_.uc_stack.ss_sp = stack_.get();
    member_.uc_stack.ss_size = kStack;
    member_.uc_link = &test_;
    makecontext(&member_, &Stepped::enter, 0);
  }
  Stepped(const Stepped&) = delete;
  Stepped& operator=(const Stepped&) = delete;

  bool alive() const { return alive_; }
  // So many instructions of this program. False: it has ended.
  bool step(std::uint64_t instructions = 1) {
    left_ = instructions;
    return resume();
  }
  void finish() {
    left_ = 0;
    resume();
  }
  // Where it is, never to go on.
  void end() { alive_ = false; }

 private:
  static constexpr std::size_t kStack = 256 << 10;
  static inline Stepped* running_ = nullptr;

  bool resume() {
    if (!alive_) return false;
    running_ = this;
    swapcontext(&test_, &member_);
    running_ = nullptr;
    return alive_;
  }

  static void enter() {
    Stepped* self = running_;
    // The trap flag, below the red zone.
    asm volatile("lea -128(%%rsp), %%rsp\n pushfq\n orq $0x100, (%%rsp)\n popfq\n lea 128(%%rsp), %%rsp" ::
                     : "cc", "memory");
    self->act_();
    asm volatile("lea -128(%%rsp), %%rsp\n pushfq\n andq $~0x100, (%%rsp)\n popfq\n lea 128(%%rsp), %%rsp" ::
                     : "cc", "memory");
    self->alive_ = false;
  }

  static void trap(int, siginfo_t*, void* context) {
    auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    const char* at = reinterpret_cast<const char*>(registers[REG_RIP]);
    if (at < &__executable_start || at >= &etext) return;
    Stepped* self = running_;
    if (self->left_ == 0) {
      registers[REG_EFL] &= ~greg_t{0x100};  // to the end without stepping
    } else if (--self->left_ == 0) {
      swapcontext(&self->member_, &self->test_);
    }
  }

  std::function<void()> act_;
  std::unique_ptr<std::byte[]> stack_;
  ucontext_t member_{}, test_{};
  std::uint64_t left_ = 0;
  bool alive_ = true;
};

#else

class Stepped {
 public:
  explicit Stepped(const std::function<void()>&) {}
  bool alive() const { return false; }
  bool step(std::uint64_t = 1) { return false; }
  void finish() {}
  void end() {}
};

#endif

}  // namespace penstock::test
