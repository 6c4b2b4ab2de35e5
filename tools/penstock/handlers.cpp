#include "tools/penstock/handlers.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "tools/penstock/format.hpp"
#include "tools/penstock/json.hpp"

extern char** environ;

namespace penstock::tool {
namespace {

void close_fd(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

// NUL ends a variable, so a key that has one is cut there.
std::string variable(std::string_view name, std::string_view value) {
  return std::string(name).append("=").append(value.substr(0, value.find('\0')));
}

std::vector<std::string> variables(const Delivery& delivery) {
  const EventView event = delivery.event().view();
  std::vector<std::string> all = {
      variable("PENSTOCK_TOPIC", event.topic()), variable("PENSTOCK_OFFSET", std::to_string(event.offset())),
      variable("PENSTOCK_KEY", event.key().value_or(std::string_view())), variable("PENSTOCK_ID", id_for_people(event)),
      variable("PENSTOCK_ATTEMPT", std::to_string(delivery.attempt()))};
  // The trace that the event belongs to, where programs that are traced look for it.
  if (const auto trace = event.header("traceparent")) all.push_back(variable("TRACEPARENT", *trace));
  if (const auto state = event.header("tracestate")) all.push_back(variable("TRACESTATE", *state));
  return all;
}

// Our environment with those variables in place of their namesakes.
std::vector<char*> environment(std::vector<std::string>& ours) {
  std::vector<char*> result;
  for (char** each = environ; *each != nullptr; ++each) {
    bool replaced = false;
    for (const std::string& own : ours) replaced = replaced || std::strncmp(*each, own.c_str(), own.find('=') + 1) == 0;
    if (!replaced) result.push_back(*each);
  }
  for (std::string& own : ours) result.push_back(own.data());
  result.push_back(nullptr);
  return result;
}

int spawn(const std::string& command, const Delivery& delivery, int input, int errors, pid_t& pid) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
  // What we ignore or catch is the handler's to decide anew.
  sigset_t defaults, none;
  sigemptyset(&none);
  sigemptyset(&defaults);
  for (const int signal : {SIGPIPE, SIGXFSZ, SIGINT, SIGTERM, SIGHUP}) sigaddset(&defaults, signal);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  std::vector<std::string> ours = variables(delivery);
  std::vector<char*> variables_list = environment(ours);
  std::string shell = "sh", option = "-c", text = command;
  std::array<char*, 4> arguments{shell.data(), option.data(), text.data(), nullptr};
  const int error = ::posix_spawn(&pid, "/bin/sh", &actions, &attributes, arguments.data(), variables_list.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return error;
}

}  // namespace

Verdict verdict_of(int status, std::string reason) {
  using Kind = Verdict::Kind;
  if (WIFSIGNALED(status)) return {Kind::nak, "signal-" + std::to_string(WTERMSIG(status)), std::move(reason)};
  const int code = WEXITSTATUS(status);
  if (code == 0) return {Kind::ack, {}, {}};
  // So a shell tells that a signal ended its command, unless it became the command itself.
  if (code > 128 && code <= 128 + SIGRTMAX)
    return {Kind::nak, "signal-" + std::to_string(code - 128), std::move(reason)};
  return {code == 100 ? Kind::reject : Kind::nak, "exit-" + std::to_string(code), std::move(reason)};
}

void LastLine::feed(std::string_view text) {
  for (const char c : text) {
    if (c != '\n' && c != '\r') {
      if (current_.size() < kMost) current_ += c;
    } else if (current_.find_first_not_of(" \t") != std::string::npos) {
      last_ = std::move(current_);
      current_.clear();
    } else {
      current_.clear();
    }
  }
}

Result<Handler> Handler::start(const std::string& command, Delivery delivery) {
  int input[2], errors[2];
  const auto failed = [&](int error) -> Result<Handler> {
    (void)delivery.release();  // not its fault
    return tl::unexpected(Error(Errc::system, static_cast<std::uint32_t>(error)));
  };
  if (::pipe2(input, O_CLOEXEC) != 0) return failed(errno);
  if (::pipe2(errors, O_CLOEXEC) != 0) {
    const int error = errno;
    ::close(input[0]);
    ::close(input[1]);
    return failed(error);
  }
  pid_t pid = -1;
  const int error = spawn(command, delivery, input[0], errors[1], pid);
  ::close(input[0]);
  ::close(errors[1]);
  if (error != 0) {
    ::close(input[1]);
    ::close(errors[0]);
    return failed(error);
  }
  ::fcntl(input[1], F_SETFL, O_NONBLOCK);
  ::fcntl(errors[0], F_SETFL, O_NONBLOCK);
  return Handler(std::move(delivery), pid, input[1], errors[0]);
}

Handler::Handler(Delivery delivery, pid_t pid, int input, int errors)
    : extended(std::chrono::steady_clock::now()),
      delivery_(std::move(delivery)),
      pid_(pid),
      input_(input),
      errors_(errors) {
  pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));  // close-on-exec by itself
  feed();
}

Handler::Handler(Handler&& other) noexcept
    : extended(other.extended),
      delivery_(std::move(other.delivery_)),
      pid_(std::exchange(other.pid_, -1)),
      input_(std::exchange(other.input_, -1)),
      errors_(std::exchange(other.errors_, -1)),
      pidfd_(std::exchange(other.pidfd_, -1)),
      fed_(other.fed_),
      last_line_(std::move(other.last_line_)) {}

Handler& Handler::operator=(Handler&& other) noexcept {
  extended = other.extended;
  delivery_ = std::move(other.delivery_);
  std::swap(pid_, other.pid_);
  std::swap(input_, other.input_);
  std::swap(errors_, other.errors_);
  std::swap(pidfd_, other.pidfd_);
  fed_ = other.fed_;
  std::swap(last_line_, other.last_line_);
  return *this;
}

Handler::~Handler() {
  close_fd(input_);
  close_fd(errors_);
  close_fd(pidfd_);
}

void Handler::feed() {
  const Bytes payload = delivery_.payload();
  while (input_ >= 0 && fed_ < payload.size()) {
    const ssize_t n = ::write(input_, payload.data() + fed_, payload.size() - fed_);
    if (n > 0)
      fed_ += static_cast<std::size_t>(n);
    else if (n < 0 && errno == EINTR)
      continue;
    else if (n < 0 && errno == EAGAIN)
      return;
    else
      break;  // it reads no more, which is its right
  }
  close_fd(input_);
}

void Handler::listen() {
  std::array<char, 8192> text;
  while (errors_ >= 0) {
    const ssize_t n = ::read(errors_, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      close_fd(errors_);
      return;
    }
    const std::string_view got(text.data(), static_cast<std::size_t>(n));
    last_line_.feed(got);
    for (std::size_t done = 0; done < got.size();) {
      const ssize_t written = ::write(STDERR_FILENO, got.data() + done, got.size() - done);
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) break;  // nobody reads our stderr; the reason is kept all the same
      done += static_cast<std::size_t>(written);
    }
  }
}

std::optional<Verdict> Handler::try_wait() {
  int status = 0;
  pid_t ended = -1;
  do {
    ended = ::waitpid(pid_, &status, WNOHANG);
  } while (ended < 0 && errno == EINTR);
  if (ended == 0) return {};
  listen();  // what it said last; a child of its own may hold the pipe open and is not waited for
  if (ended < 0) return Verdict{Verdict::Kind::nak, "lost", "the handler's end was reaped by somebody else"};
  return verdict_of(status, last_line_.take());
}

}  // namespace penstock::tool
