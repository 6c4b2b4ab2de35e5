#include "api/event_fd.hpp"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "shm/fork.hpp"

namespace penstock::api {

Result<std::unique_ptr<EventFd>> EventFd::make(shm::Sleeper sleeper) {
  std::unique_ptr<EventFd> out(new EventFd(sleeper));
  out->epoch_ = shm::g_fork_epoch;
  out->event_ = shm::Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  out->timer_ = shm::Fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  out->poll_ = shm::Fd(::epoll_create1(EPOLL_CLOEXEC));
  if (!out->event_ || !out->timer_ || !out->poll_) return tl::unexpected(shm::from_errno(errno));
  for (const shm::Fd* fd : {&out->event_, &out->timer_}) {
    epoll_event news{};
    news.events = EPOLLIN;
    if (::epoll_ctl(out->poll_.get(), EPOLL_CTL_ADD, fd->get(), &news) != 0)
      return tl::unexpected(shm::from_errno(errno));
  }
  // The program's signals are for its own threads; a bus error is this one's (shm/guard.hpp).
  sigset_t all, before;
  sigfillset(&all);
  sigdelset(&all, SIGBUS);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    out->thread_ = std::make_unique<std::thread>(&EventFd::pass_on, out.get());
  } catch (const std::system_error& error) {
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return tl::unexpected(Error(Errc::too_many, std::uint32_t(error.code().value())));
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return out;
}

EventFd::~EventFd() {
  if (!thread_) return;
  if (epoch_ != shm::g_fork_epoch) {
    static_cast<void>(thread_.release());  // a forked child has no such thread
    return;
  }
  end_.store(true);
  sleeper_.ring();
  thread_->join();
}

void EventFd::pass_on() {
  std::uint32_t seen = sleeper_.read();
  raise();  // what was rung before that
  while (!end_.load()) {
    sleeper_.sleep(seen, INT64_MAX);
    const std::uint32_t now = sleeper_.read();
    if (now == seen && !sleeper_.wary()) continue;
    seen = now;
    raise();
  }
}

Result<void> EventFd::await(const std::function<void(shm::Listening&)>& listen,
                            const std::function<Result<Waiter::Look>()>& look) {
  clear();
  shm::Listening all(sleeper_);
  listen(all);
  const std::int64_t longest = std::min(kLongestSleep, all.settle());
  auto found = look();
  if (!found) return tl::unexpected(found.error());
  if (found->ready)
    raise();
  else
    raise_at(std::min(found->until, monotonic_ns() + longest));
  return {};
}

void EventFd::clear() {
  raise_at(INT64_MAX);
  std::uint64_t ignored = 0;
  static_cast<void>(!::read(event_.get(), &ignored, sizeof ignored));
}

void EventFd::raise() {
  const std::uint64_t one = 1;
  static_cast<void>(!::write(event_.get(), &one, sizeof one));
}

void EventFd::raise_at(std::int64_t monotonic_ns) {
  itimerspec when{};
  if (monotonic_ns != INT64_MAX) when.it_value = {monotonic_ns / 1'000'000'000, monotonic_ns % 1'000'000'000};
  ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

}  // namespace penstock::api
