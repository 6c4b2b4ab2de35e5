// A child process that is killed, or stopped, at a chosen point of what it does.
//
// Two kinds of points. `changes`: whatever others can see of a process is what it stores in the files it shares and
// what its system calls do, so being killed at any instruction is the same as being killed right after one of these.
// Shared files are mapped without the right to write: each store faults, is let through alone, and is a point if it
// changed a byte. System calls are trapped, and each that can change files, locks or sleepers is a point. In between
// the child runs at full speed. `instructions`: single steps, for those that are stopped and go on: it matters what
// they had read.
//
// x86-64 Linux, not under sanitizers. A child is single-threaded, and starts no thread or process.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>

#include "tests/support/stepped.hpp"

namespace penstock::test {

enum class Points { changes, instructions };

class Victim {
 public:
  // Runs `prepare` undisturbed and `act` up to the point with this number, counted from 1 (0: to its end), where
  // `signal` (SIGKILL, SIGSTOP) is raised; one that is continued runs to its end undisturbed.
  Victim(Points points, std::uint64_t at, int signal, const std::function<void()>& prepare,
         const std::function<void()>& act);
  ~Victim();  // killed if it still lives
  Victim(const Victim&) = delete;
  Victim& operator=(const Victim&) = delete;

  // It stands at its point, or is dead there. False: `act` ended before. A child that ends in any other way fails the
  // test.
  bool reached() const { return reached_; }
  std::uint64_t points() const;  // that the latest victim came to
  // Continues a stopped one to its end, calling `meanwhile` now and then.
  void resume(const std::function<void()>& meanwhile);

 private:
  void judge(int status);
  pid_t pid_ = 0;
  int signal_;
  bool reached_ = false;
};

// For tests that sweep: all points with PENSTOCK_SWEEP=full, else about `few` of them (or as many as that says), spread
// evenly from a start that PENSTOCK_SEED chooses. Calls `visit` with the number of a point until that returns false:
// there are no more, or the test failed. Tells what was done (killed, stopped) at how many.
struct Swept {
  std::uint64_t visited = 0, points = 0;
};
void sweep(const char* what, std::uint64_t points, std::uint64_t few, const std::function<bool(std::uint64_t)>& visit);

// How many points `act` has.
std::uint64_t count_points(Points points, const std::function<void()>& prepare, const std::function<void()>& act);

}  // namespace penstock::test
