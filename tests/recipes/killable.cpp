#include "killable.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <thread>
#include <utility>

namespace penstock::test {
namespace {

using namespace std::chrono_literals;

constexpr unsigned kCalls = 60;   // entries and ends of system calls to choose from
constexpr auto kPatience = 30ms;  // for the next one: who makes none is asleep
constexpr int kCallStop = SIGTRAP | 0x80;

// Its next stop, or nothing when it does not stop.
std::optional<int> next_stop(pid_t pid) {
  for (const auto deadline = std::chrono::steady_clock::now() + kPatience;;) {
    int status = 0;
    if (::waitpid(pid, &status, WNOHANG | __WALL) == pid) return status;
    if (std::chrono::steady_clock::now() > deadline) return std::nullopt;
    std::this_thread::yield();
  }
}

}  // namespace

Killable::Killable(Killable&& other) noexcept
    : arguments_(std::move(other.arguments_)),
      input_(std::move(other.input_)),
      log_(std::move(other.log_)),
      act_(std::move(other.act_)),
      pid_(std::exchange(other.pid_, 0)) {}

std::string Killable::name() const {
  return arguments_.empty() ? "a function" : std::filesystem::path(arguments_.front()).filename().string();
}

void Killable::start() {
  pid_ = ::fork();
  if (pid_ != 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (act_) ::_exit(act_());
  const int input = ::open(input_.c_str(), O_RDONLY);
  const int log = ::open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::dup2(input, STDIN_FILENO);
  ::dup2(log, STDERR_FILENO);
  std::vector<char*> words;
  for (std::string& argument : arguments_) words.push_back(argument.data());
  words.push_back(nullptr);
  ::execv(words[0], words.data());
  std::perror(words[0]);
  ::_exit(127);
}

void Killable::kill() {
  if (pid_ == 0) return;
  ::kill(pid_, SIGKILL);
  // It may have stopped once more before it died.
  for (int status = 0; ::waitpid(pid_, &status, __WALL) != pid_ || WIFSTOPPED(status);) {
  }
  pid_ = 0;
}

bool Killable::kill_at_a_call(std::mt19937_64& random) {
  bool looked = false;
  if (pid_ != 0 && ::ptrace(PTRACE_SEIZE, pid_, nullptr, PTRACE_O_TRACESYSGOOD) == 0) {
    ::ptrace(PTRACE_INTERRUPT, pid_, nullptr, nullptr);
    auto stop = next_stop(pid_);
    for (std::uint64_t left = 1 + random() % kCalls; left != 0 && stop && WIFSTOPPED(*stop);) {
      const int signal = WSTOPSIG(*stop);
      if (signal == kCallStop) {
        looked = true;
        if (--left == 0) break;
      }
      // A signal on its way to it is passed on.
      const bool passed = signal != kCallStop && *stop >> 16 == 0;
      ::ptrace(PTRACE_SYSCALL, pid_, nullptr, passed ? signal : 0);
      stop = next_stop(pid_);
    }
    if (stop && (WIFEXITED(*stop) || WIFSIGNALED(*stop))) pid_ = 0;
  }
  kill();
  return looked;
}

std::optional<int> Killable::ended() {
  int status = 0;
  if (pid_ == 0 || ::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  pid_ = 0;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace penstock::test
