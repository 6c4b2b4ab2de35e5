#include "tools/penstock/signals.hpp"

#include <signal.h>

#include <atomic>
#include <cerrno>

namespace penstock::tool {
namespace {

// Lock-free atomics: what a signal handler may touch.
std::atomic<bool> asked{false};
std::atomic<void (*)(void*)> interrupt_call{nullptr};
std::atomic<void*> interrupt_handle{nullptr};

void on_signal(int) {
  const int kept = errno;
  asked.store(true);
  if (const auto call = interrupt_call.load()) call(interrupt_handle.load());
  errno = kept;
}

}  // namespace

void ask_on_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;  // no SA_RESTART: a read or write that blocks must come back
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, nullptr);
}

bool stopping() { return asked.load(std::memory_order_relaxed); }

void Interrupts::set(void (*call)(void*), void* handle) {
  interrupt_call.store(nullptr);  // never a call with the other's handle
  interrupt_handle.store(handle);
  interrupt_call.store(call);
}

}  // namespace penstock::tool
