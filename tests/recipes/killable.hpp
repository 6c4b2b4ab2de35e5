// Programs that a test starts, kills wherever it likes and starts again.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace penstock::test {

class Killable {
 public:
  // A program with its arguments, which reads its input from this file and complains into that one.
  Killable(std::vector<std::string> arguments, std::string input, std::string log)
      : arguments_(std::move(arguments)), input_(std::move(input)), log_(std::move(log)) {}
  // A function of this test, in a process of its own.
  explicit Killable(std::function<int()> act) : act_(std::move(act)) {}
  ~Killable() { kill(); }
  Killable(Killable&& other) noexcept;
  Killable& operator=(Killable&&) = delete;

  void start();
  bool running() const { return pid_ != 0; }
  // By SIGKILL, now.
  void kill();
  // At the entry or the end of one of its next system calls, or in its sleep when it makes none. False: the
  // machine does not let us look, and it was killed now.
  bool kill_at_a_call(std::mt19937_64& random);
  // Its exit status when it has ended by itself.
  std::optional<int> ended();
  std::string name() const;

 private:
  std::vector<std::string> arguments_;
  std::string input_, log_;
  std::function<int()> act_;
  pid_t pid_ = 0;
};

}  // namespace penstock::test
