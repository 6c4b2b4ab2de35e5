// SIGINT and SIGTERM as a request to end: whoever waits is woken, whoever works looks now and then. One thread a
// program.
#pragma once

namespace penstock::tool {

// From here on the two signals only ask, and a closed pipe is an error of write(), not a death.
void ask_on_signals();
bool stopping();

// While this lives, a signal calls interrupt() of the handle too. The handle must outlive it and stay where it is.
class Interrupts {
 public:
  template <class Handle>
  explicit Interrupts(Handle& handle) {
    set([](void* context) { static_cast<Handle*>(context)->interrupt(); }, &handle);
  }
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;
  ~Interrupts() { set(nullptr, nullptr); }

 private:
  static void set(void (*call)(void*), void* handle);
};

}  // namespace penstock::tool
