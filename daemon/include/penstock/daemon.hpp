// The daemon as a library: writes durable topics to disk, moves dead letters, promotes retries, keeps checkpoints.
// penstockd is a program over it; a process can host it in a thread instead. One daemon a bus.
#pragma once

#include <memory>
#include <penstock/penstock.hpp>

namespace penstock {

// How a daemon is started.
struct DaemonOptions {
  bool force_pwrite = false;  // do not try io_uring
  std::chrono::nanoseconds checkpoint_every{std::chrono::milliseconds(100)};
  // Called from the daemon's thread with what an operator should know; must not call back into the daemon.
  std::function<void(int level, const std::string& text)> log;  // level: 0 info, 1 warning, 2 error
};

// A running daemon.
class Daemon {
 public:
  // Starts a thread that does the daemon's work until this handle goes. Errc::busy: another daemon has the bus
  // (detail: its pid).
  static Result<Daemon> start(const Bus& bus, const DaemonOptions& options = {});
  Daemon(Daemon&&) noexcept;
  Daemon& operator=(Daemon&&) noexcept;
  ~Daemon();  // stop()

  // Persists all that is committed, and the groups' state, and ends the thread.
  Result<void> stop();
  // False: somebody removed the bus's shared memory, so it ended by itself. stop() it, open the bus anew and start
  // another.
  bool running() const;
  std::string_view backend() const;  // "io_uring" or "pwrite"
  // Grows with what the thread gets done, and each second while it has nothing to do. One that stands still for minutes
  // is stuck: in a fault of ours, or in a call to a disk that hangs. For watchdogs; any thread.
  std::uint64_t progress() const;

 private:
  struct Impl;
  explicit Daemon(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace penstock
