// penstockd: the daemon as a program. In the foreground, logging to stderr; readiness by NOTIFY_SOCKET; SIGTERM and
// SIGINT persist everything and end it with 0; SIGHUP reads bus.toml again.
#include <signal.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <penstock/daemon.hpp>
#include <string>

namespace {

enum Exit : int { kDone = 0, kFailed = 1, kUsage = 2, kNotFound = 3, kDamaged = 4 };

int complain(int code, const std::string& text) {
  std::fprintf(stderr, "penstockd: %s\n", text.c_str());
  return code;
}

int complain(const penstock::Error& error, const std::string& directory) {
  using penstock::Errc;
  const std::string message = error.message();
  const bool named = message.find(directory) != std::string::npos;
  int code = kFailed;
  if (error.code() == Errc::corrupt || error.code() == Errc::incompatible) code = kDamaged;
  if (error.code() == Errc::invalid_argument || error.code() == Errc::invalid_name) code = kUsage;
  if (error.code() == Errc::not_found) code = kNotFound;
  return complain(code, named ? message : directory + ": " + message);
}

// As the penstock command finds it: --bus, else PENSTOCK_BUS, else the state directory's penstock.
std::string bus_directory(const std::string& given) {
  const auto variable = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  if (!given.empty()) return given;
  if (const std::string bus = variable("PENSTOCK_BUS"); !bus.empty()) return bus;
  if (const std::string state = variable("XDG_STATE_HOME"); !state.empty()) return state + "/penstock";
  return variable("HOME") + "/.local/state/penstock";
}

// One datagram to the service manager, which named a socket if it wants to know. A name that begins with @ is abstract.
void tell_manager(const std::string& state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || (*path != '/' && *path != '@')) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t length = std::strlen(path);
  if (length >= sizeof address.sun_path) return;
  std::memcpy(address.sun_path, path, length);
  if (*path == '@') address.sun_path[0] = '\0';
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  if (::sendto(fd, state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address), size) < 0) {
    spdlog::warn("the service manager at {} was not told '{}': {}", path, state, std::strerror(errno));
  }
  ::close(fd);
}

// The signals that steer the daemon, blocked in every thread and read one by one.
class Signals {
 public:
  Signals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    fd_ = ::signalfd(-1, &set, SFD_CLOEXEC);
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals() { ::close(fd_); }
  int next() const {
    signalfd_siginfo info{};
    for (;;) {
      const ssize_t n = ::read(fd_, &info, sizeof info);
      if (n == static_cast<ssize_t>(sizeof info)) return static_cast<int>(info.ssi_signo);
      if (n < 0 && errno != EINTR) return SIGTERM;
    }
  }

 private:
  int fd_ = -1;
};

class Program {
 public:
  Program(std::string directory, bool force_pwrite) : directory_(std::move(directory)), force_pwrite_(force_pwrite) {}
  int run() {
    const Signals signals;  // before the daemon's thread, which inherits what is blocked
    if (const int code = start(); code != kDone) return code;
    spdlog::info("ready, bus {}, {}", directory_, daemon_->backend());
    tell_manager("READY=1");
    for (;;) {
      const int signal = signals.next();
      if (signal != SIGHUP) break;
      tell_manager("RELOADING=1");
      if (const int code = reload(); code != kDone) return code;
      tell_manager("READY=1");
    }
    tell_manager("STOPPING=1");
    return stop();
  }

 private:
  int start();
  int reload();
  int stop();
  std::string directory_;
  bool force_pwrite_;
  std::string settings_;  // those the daemon runs with
  std::optional<penstock::Bus> bus_;
  std::optional<penstock::Daemon> daemon_;
};

int Program::start() {
  auto bus = penstock::Bus::open(directory_);
  if (!bus) return complain(bus.error(), directory_);
  auto settings = penstock::Bus::settings(directory_);
  if (!settings) return complain(settings.error(), directory_);
  penstock::DaemonOptions options{.force_pwrite = force_pwrite_};
  options.log = [](int level, const std::string& text) {
    spdlog::log(level <= 0 ? spdlog::level::info : level == 1 ? spdlog::level::warn : spdlog::level::err, "{}", text);
  };
  auto daemon = penstock::Daemon::start(*bus, options);
  if (!daemon && daemon.error().code() == penstock::Errc::busy) {
    return complain(kFailed, directory_ + ": another daemon, pid " + std::to_string(daemon.error().detail()) +
                                 ", has this bus; stop it first, or leave it at that");
  }
  if (!daemon) return complain(daemon.error(), directory_);
  bus_ = std::move(*bus);
  settings_ = std::move(*settings);
  daemon_.emplace(std::move(*daemon));
  return kDone;
}

// Settings that are wrong change nothing. Others take effect by starting the daemon's thread anew, which persists
// everything in between; the bus goes on meanwhile.
int Program::reload() {
  const auto settings = penstock::Bus::settings(directory_);
  if (!settings) {
    spdlog::error("bus.toml was read again and is wrong, so all stays as it was: {}", settings.error().message());
    return kDone;
  }
  if (*settings == settings_) {
    spdlog::info("bus.toml was read again; nothing changed");
    return kDone;
  }
  if (const int code = stop(); code != kDone) return code;
  if (const int code = start(); code != kDone) return code;
  spdlog::info("bus.toml was read again and is in effect");
  return kDone;
}

int Program::stop() {
  const auto stopped = daemon_->stop();
  daemon_.reset();
  bus_.reset();
  return stopped ? kDone : complain(stopped.error(), directory_);
}

int run(int argc, char** argv) {
  CLI::App app("Writes a bus's durable topics to disk and keeps the books on retries and dead letters", "penstockd");
  std::string directory;
  bool check_config = false, print_config = false, force_pwrite = false;
  app.add_option("--bus", directory,
                 "The bus's directory, made when missing [PENSTOCK_BUS, else the state directory's penstock]");
  app.add_flag("--check-config", check_config, "Only check bus.toml");
  app.add_flag("--print-config", print_config, "Only print the settings as they take effect");
  app.add_flag("--pwrite", force_pwrite, "Write without io_uring");
  app.set_version_flag("--version", "penstockd " + std::string(penstock::kVersion), "Print the version");
  app.footer(
      "Example:\n  penstockd --bus /var/lib/shop\nSIGTERM persists everything and ends it; SIGHUP reads bus.toml "
      "again.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    return complain(kUsage, std::string(error.what()) + "; see 'penstockd --help'");
  }
  directory = bus_directory(directory);
  if (check_config || print_config) {
    const auto settings = penstock::Bus::settings(directory);
    if (!settings) return complain(settings.error(), directory);
    if (print_config) std::fputs(settings->c_str(), stdout);
    return kDone;
  }
  return Program(directory, force_pwrite).run();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    auto logger = spdlog::stderr_color_mt("penstockd");
    logger->set_pattern("%n: %v");  // the service manager adds the time
    logger->flush_on(spdlog::level::info);
    spdlog::set_default_logger(std::move(logger));
    return run(argc, argv);
  } catch (const std::exception& error) {
    return complain(kFailed, error.what());
  }
}
