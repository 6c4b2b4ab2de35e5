#include "tools/penstock/signals.hpp"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace penstock::tool {
namespace {

// Lock-free atomics: what a signal handler may touch.
std::atomic<bool> asked{false};
std::atomic<void (*)(void*)> interrupt_call{nullptr};
std::atomic<void*> interrupt_handle{nullptr};

// Comes again each second once somebody asked: a write that had moved some bytes returns these and is called again, and
// a signal may come between a look and the call. Neither may then block for good.
void on_alarm(int) { ::alarm(1); }

void on_signal(int) {
  const int kept = errno;
  asked.store(true);
  ::alarm(1);
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
  action.sa_handler = on_alarm;
  sigaction(SIGALRM, &action, nullptr);
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, nullptr);
  sigaction(SIGXFSZ, &action, nullptr);  // a file that must not grow (ulimit -f) is an error that is told
}

bool stopping() { return asked.load(std::memory_order_relaxed); }

void Interrupts::set(void (*call)(void*), void* handle) {
  interrupt_call.store(nullptr);  // never a call with the other's handle
  interrupt_handle.store(handle);
  interrupt_call.store(call);
}

}  // namespace penstock::tool
