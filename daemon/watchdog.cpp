#include "daemon/watchdog.hpp"

#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace penstock::daemon {
namespace {

std::optional<std::int64_t> number_in(const char* variable) {
  const char* text = std::getenv(variable);
  std::int64_t number = 0;
  if (text == nullptr || std::from_chars(text, text + std::strlen(text), number).ptr != text + std::strlen(text))
    return std::nullopt;
  return number;
}

}  // namespace

std::optional<std::chrono::microseconds> watchdog_turn() {
  const auto interval = number_in("WATCHDOG_USEC");
  // Inherited from a parent that is the one to be heard of.
  const bool ours = std::getenv("WATCHDOG_PID") == nullptr || number_in("WATCHDOG_PID") == ::getpid();
  if (!ours || !interval || *interval < 2) return std::nullopt;
  return std::chrono::microseconds(*interval / 2);
}

bool waits_uninterruptibly() {
  std::error_code error;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", error)) {
    std::string text;
    std::getline(std::ifstream(task.path() / "stat"), text);
    const auto name_end = text.rfind(')');  // the state follows the thread's name, which may hold anything
    if (name_end != std::string::npos && text.compare(name_end, 3, ") D") == 0) return true;
  }
  return false;
}

Watchdog::Watchdog(std::chrono::microseconds turn, std::function<void(bool)> told)
    : told_(std::move(told)), thread_([this, turn] { run(turn); }) {}

Watchdog::~Watchdog() {
  {
    const std::lock_guard hold(mutex_);
    ending_ = true;
  }
  ended_.notify_all();
  thread_.join();
}

void Watchdog::watch(Progress progress) {
  const std::lock_guard hold(mutex_);
  progress_ = std::move(progress);
  seen_.reset();
}

void Watchdog::look() {
  const std::lock_guard hold(mutex_);
  const std::optional<std::uint64_t> now = progress_ ? std::optional(progress_()) : std::nullopt;
  const bool well = !now || now != seen_ || waits_uninterruptibly();
  seen_ = now;
  if (well || !stuck_) told_(well);
  stuck_ = !well;
}

void Watchdog::run(std::chrono::microseconds turn) {
  std::unique_lock hold(mutex_);
  while (!ended_.wait_for(hold, turn, [this] { return ending_; })) {
    hold.unlock();
    look();
    hold.lock();
  }
}

}  // namespace penstock::daemon
