// A handle of the library as Python holds it. The library's handles are one thread's; Python's threads may share one:
// they take turns, a call a turn. Who waits (for an event, the disk, a full ring) gives the turn away every few
// milliseconds, at once when another thread asks for it, and looks whether a signal came: so an ack does not stand
// behind a next() that waits, and Ctrl-C ends it. In a forked child every use raises and nothing is touched.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <variant>
#include <vector>

#include "bindings/python/errors.hpp"

namespace penstock::python {

using Clock = std::chrono::steady_clock;

// How many forks led to this process, counted from when the module was loaded.
std::uint32_t forks();
void count_forks();

// How long a wait may go without looking at signals and other threads.
inline constexpr std::chrono::nanoseconds kSlice = std::chrono::milliseconds(50);

// Until when a call may wait; without an end: for ever.
class Deadline {
 public:
  explicit Deadline(std::optional<std::chrono::nanoseconds> timeout);
  bool passed() const { return end_ && Clock::now() >= *end_; }
  // What is left of it, at most a slice.
  std::chrono::nanoseconds slice() const;

 private:
  std::optional<Clock::time_point> end_;
};

// T is the handle, Part what hangs on it and may be dropped by any thread at any time (deliveries, claims).
template <class T, class Part = std::monostate>
class Held {
 public:
  explicit Held(T value) : value_(std::move(value)) {}
  // Shared by the Python object and by what hangs on it. A child leaves its parent's handles alone, also at the end.
  static std::shared_ptr<Held> make(T value) {
    return {new Held(std::move(value)), [](Held* held) {
              if (!held->foreign()) delete held;
            }};
  }

  bool foreign() const { return forks_ != forks(); }
  void refuse_foreign() const {
    if (foreign()) raise(Errc::forked);
  }

  // One call, with the GIL released: call(T&) -> Result<R>; gives R or raises.
  template <class Call>
  auto use(Call&& call) {
    refuse_foreign();
    auto outcome = [&] {
      const OthersRun others_run;
      const Turn turn(*this, Turn::Kind::next);
      return attempt(call);
    }();
    return std::move(outcome).take();
  }

  // The same for a call that is over in a moment: keeps the GIL when nobody has the handle.
  template <class Call>
  auto use_briefly(Call&& call) {
    refuse_foreign();
    if (!take_if_free()) return use(call);
    auto outcome = [&] {
      const Turn turn(*this, Turn::Kind::taken);
      return attempt(call);
    }();
    return std::move(outcome).take();
  }

  // A call that may wait: call(T&, slice) -> Result<R>, repeated while again(result) says so and the deadline has not
  // passed; gives what came last.
  template <class Call, class Again>
  auto wait(const Deadline& deadline, Call&& call, Again&& again) {
    refuse_foreign();
    for (auto kind = Turn::Kind::next;; kind = Turn::Kind::after_others) {
      auto outcome = [&] {
        const OthersRun others_run;
        const Turn turn(*this, kind);
        const auto slice = begin_wait(deadline);
        auto came = attempt([&](T& handle) {
          return slice ? call(handle, *slice)
                       : decltype(call(handle, *slice))(tl::unexpected(Error(Errc::interrupted)));
        });
        end_wait();
        return came;
      }();
      // Another thread's nudge is no news for the caller; interrupt() is.
      const bool nudged = !outcome.result && outcome.result.error().code() == Errc::interrupted && !take_interrupt();
      if (!nudged && !again(outcome.result)) return std::move(outcome).take();
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      if (!nudged && deadline.passed()) return std::move(outcome).take();
    }
  }

  // The same for a call that the library lets any thread make while another has the handle: asks for no turn.
  template <class Call, class Again>
  auto wait_beside(const Deadline& deadline, Call&& call, Again&& again) {
    refuse_foreign();
    for (;;) {
      auto outcome = [&] {
        const OthersRun others_run;
        const Beside beside(*this);
        return beside.attempt([&](T& handle) { return call(handle, deadline.slice()); });
      }();
      if (!again(outcome.result)) return std::move(outcome).take();
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      if (deadline.passed()) return std::move(outcome).take();
    }
  }

  // Ends a wait, or the next one; from any thread.
  void interrupt() {
    refuse_foreign();
    const std::lock_guard lock(mutex_);
    interrupted_ = true;
    nudge();
  }

  // Lets go of the handle, after what is being done with it. Idempotent.
  void close() {
    refuse_foreign();
    const OthersRun others_run;
    const Turn turn(*this, Turn::Kind::next);
    std::optional<T> gone;
    std::unique_lock lock(mutex_);
    closing_ = true;
    given_.wait(lock, [&] { return beside_ == 0; });
    gone.swap(value_);
  }
  bool closed() {
    const std::lock_guard lock(mutex_);
    return !value_;
  }

  // Destroys a part, at once or when whoever has the handle is done; never blocks.
  void drop(Part part) {
    const std::lock_guard lock(mutex_);
    if (!taken_) {
      const Part gone(std::move(part));
    } else {
      dropped_.push_back(std::move(part));
      nudge();
    }
  }

 private:
  // Held while the handle is used.
  class Turn {
   public:
    enum class Kind { next, after_others, taken };
    Turn(Held& held, Kind kind) : held_(held) {
      if (kind == Kind::taken) return;
      std::unique_lock lock(held.mutex_);
      if (kind == Kind::next) {
        ++held.asking_;
        held.nudge();
        held.given_.wait(lock, [&] { return !held.taken_; });
        --held.asking_;
      } else {
        held.given_.wait(lock, [&] { return !held.taken_ && held.asking_ == 0; });
      }
      held.taken_ = true;
    }
    ~Turn() { held_.give(); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    Held& held_;
  };

  // Keeps the handle from being closed while it lives, if it is open.
  class Beside {
   public:
    explicit Beside(Held& held) : held_(held) {
      const std::lock_guard lock(held.mutex_);
      open_ = held.value_ && !held.closing_;
      if (open_) ++held.beside_;
    }
    ~Beside() {
      if (!open_) return;
      const std::lock_guard lock(held_.mutex_);
      --held_.beside_;
      held_.given_.notify_all();
    }
    Beside(const Beside&) = delete;
    Beside& operator=(const Beside&) = delete;
    template <class Call>
    auto attempt(Call&& call) const -> Outcome<typename decltype(call(std::declval<T&>()))::value_type> {
      if (!open_) return {tl::unexpected(Error(Errc::closed))};
      return {call(*held_.value_)};
    }

   private:
    Held& held_;
    bool open_;
  };

  void give() {
    {
      const std::lock_guard lock(mutex_);
      dropped_.clear();
      taken_ = false;
    }
    given_.notify_all();
  }

  bool take_if_free() {
    const std::lock_guard lock(mutex_);
    return !std::exchange(taken_, true);
  }

  // How long to wait: only for a look when others ask for the handle, not at all after interrupt().
  std::optional<std::chrono::nanoseconds> begin_wait(const Deadline& deadline) {
    const std::lock_guard lock(mutex_);
    if (interrupted_) return std::nullopt;
    waiting_ = value_.has_value();
    return asking_ > 0 ? std::chrono::nanoseconds(0) : deadline.slice();
  }
  void end_wait() {
    const std::lock_guard lock(mutex_);
    waiting_ = false;
  }

  // Call with the mutex: while `waiting_`, whoever waits keeps the handle alive.
  void nudge() {
    if constexpr (requires(T & handle) { handle.interrupt(); })
      if (waiting_) value_->interrupt();
  }

  bool take_interrupt() {
    const std::lock_guard lock(mutex_);
    return std::exchange(interrupted_, false);
  }

  template <class Call>
  auto attempt(Call&& call) -> Outcome<typename decltype(call(std::declval<T&>()))::value_type> {
    if (!value_) return {tl::unexpected(Error(Errc::closed))};
    return {call(*value_)};
  }

  std::optional<T> value_;
  const std::uint32_t forks_ = forks();
  std::mutex mutex_;
  std::condition_variable given_;
  bool taken_ = false;
  bool waiting_ = false;
  bool interrupted_ = false;
  bool closing_ = false;
  unsigned asking_ = 0;
  unsigned beside_ = 0;
  std::vector<Part> dropped_;
};

}  // namespace penstock::python
