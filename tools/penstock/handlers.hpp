// Processes that handle events for `sub --exec`: started, fed, listened to and awaited, any number at once, by one
// thread and without a signal handler.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <penstock/consumer.hpp>
#include <string>
#include <vector>

namespace penstock::tool {

// How a handler ended, and what it settles.
struct Verdict {
  enum class Kind : std::uint8_t { ack, nak, reject } kind = Kind::nak;
  std::string error_class;  // exit-N or signal-N
  std::string reason;       // the last line of its stderr that is not empty
};
// From a status of waitpid.
Verdict verdict_of(int status, std::string reason);

// Keeps the last line that is not empty of what passes through, however long the text.
class LastLine {
 public:
  void feed(std::string_view text);
  std::string take() const { return current_.empty() ? last_ : current_; }

 private:
  static constexpr std::size_t kMost = 1000;  // bytes of a reason
  std::string last_, current_;
};

class Handler {
 public:
  // Starts `sh -c command` in a process group of its own, so that a Ctrl-C at the terminal ends us and not it.
  static Result<Handler> start(const std::string& command, Delivery delivery);
  Handler(Handler&& other) noexcept;
  Handler& operator=(Handler&& other) noexcept;
  ~Handler();

  Delivery& delivery() { return delivery_; }
  pid_t pid() const { return pid_; }
  // What to poll for; -1 where there is nothing to wait for. Without a pidfd its end is found by looking.
  int input() const { return input_; }
  int errors() const { return errors_; }
  int ended() const { return pidfd_; }
  void feed();    // writes what its stdin takes
  void listen();  // passes its stderr on
  // Its verdict once it has ended; nothing while it runs.
  std::optional<Verdict> try_wait();

  std::chrono::steady_clock::time_point extended;  // when its lease was last made longer

 private:
  Handler(Delivery delivery, pid_t pid, int input, int errors);
  Delivery delivery_;
  pid_t pid_ = -1;
  int input_ = -1, errors_ = -1, pidfd_ = -1;
  std::size_t fed_ = 0;
  LastLine last_line_;
};

}  // namespace penstock::tool
