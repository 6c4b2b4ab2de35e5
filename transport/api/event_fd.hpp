// News as a readable descriptor, for event loops that wait in poll or epoll. A thread sleeps on the handle's doorbell
// and passes on what it hears; it touches nothing else of the handle, which stays one thread's.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>

#include "api/waiter.hpp"
#include "shm/fd.hpp"

namespace penstock::api {

class EventFd {
 public:
  // Errc::too_many, no_space: no descriptor or no thread is to be had.
  static Result<std::unique_ptr<EventFd>> make(shm::Sleeper sleeper);
  ~EventFd();

  int fd() const { return poll_.get(); }  // readable while raised; whoever waits on it only polls it

  // Quiet from here on until there is news: listens with everything that may bring some, then looks once more.
  Result<void> await(const std::function<void(shm::Listening&)>& listen,
                     const std::function<Result<Waiter::Look>()>& look);

 private:
  explicit EventFd(shm::Sleeper sleeper) : sleeper_(sleeper) {}
  void pass_on();
  void clear();
  void raise();                              // readable now
  void raise_at(std::int64_t monotonic_ns);  // readable at that moment at the latest; INT64_MAX: never

  shm::Sleeper sleeper_;
  shm::Fd event_, timer_, poll_;
  std::uint32_t epoch_ = 0;  // of forks
  std::atomic<bool> end_{false};
  std::unique_ptr<std::thread> thread_;
};

}  // namespace penstock::api
