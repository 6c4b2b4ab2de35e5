// penstockd: the daemon as a program. In the foreground, logging to stderr; readiness by NOTIFY_SOCKET; SIGTERM and
// SIGINT persist everything and end it with 0; SIGHUP reads bus.toml again.
#include <poll.h>
#include <signal.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <penstock/daemon.hpp>
#include <string>

#include "api/near.hpp"
#include "daemon/monitor.hpp"
#include "daemon/service_manager.hpp"
#include "daemon/watchdog.hpp"
#include "shm/fd.hpp"

namespace {

constexpr int kLook = 1000;  // ms

enum Exit : int { kDone = 0, kFailed = 1, kUsage = 2, kNotFound = 3, kDamaged = 4 };

int complain(int code, const std::string& text) {
  const std::string_view prefix =
      penstock::daemon::is_journal(2) ? penstock::daemon::priority_prefix(2) : "penstockd: ";
  std::fprintf(stderr, "%s%s\n", std::string(prefix).c_str(), text.c_str());
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

void tell(const std::string& state) {
  if (const std::string why = penstock::daemon::tell_manager(state); !why.empty())
    spdlog::warn("the service manager was not told: {}", why);
}

void tell_watchdog(bool well) {
  if (well) return tell("WATCHDOG=1");
  spdlog::error("the daemon's thread is stuck, and the service manager is not told that it lives; please report this");
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
    ::signal(SIGXFSZ, SIG_IGN);  // a file that must not grow (LimitFSIZE=) is an error that is told
    fd_ = ::signalfd(-1, &set, SFD_CLOEXEC);
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals() { ::close(fd_); }
  // The next one; 0 when none came for a second.
  int next() const {
    signalfd_siginfo info{};
    for (;;) {
      pollfd ready{.fd = fd_, .events = POLLIN, .revents = 0};
      if (::poll(&ready, 1, kLook) == 0) return 0;
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
  Program(std::string directory, std::string metrics, bool force_pwrite)
      : directory_(std::move(directory)), metrics_(std::move(metrics)), force_pwrite_(force_pwrite) {}
  int run();

 private:
  int start(const penstock::BusOptions& how = {});
  int reload();
  int look_after();
  int stop();
  std::string directory_, metrics_;
  bool force_pwrite_;
  std::string settings_;  // those the daemon runs with
  std::optional<penstock::Bus> bus_;
  std::optional<penstock::Daemon> daemon_;
  std::unique_ptr<penstock::daemon::Monitor> monitor_;    // null without --metrics
  std::unique_ptr<penstock::daemon::Watchdog> watchdog_;  // null where nobody wants to know; last: it asks the daemon
};

int Program::run() {
  const Signals signals;  // before any thread, which inherits what is blocked
  if (!metrics_.empty()) {
    auto monitor = penstock::daemon::Monitor::start(metrics_);
    if (!monitor) return complain(monitor.error(), "--metrics");
    monitor_ = std::move(*monitor);
    spdlog::info("metrics at http://{}/metrics", monitor_->address());
  }
  if (const auto turn = penstock::daemon::watchdog_turn())
    watchdog_ = std::make_unique<penstock::daemon::Watchdog>(*turn, tell_watchdog);
  if (const int code = start(); code != kDone) return code;
  spdlog::info("ready, bus {}, {}", directory_, daemon_->backend());
  tell("READY=1");
  for (;;) {
    const int signal = signals.next();
    if (signal == 0) {
      if (const int code = look_after(); code != kDone) return code;
      continue;
    }
    if (signal != SIGHUP) break;
    tell(penstock::daemon::reloading());
    if (const int code = reload(); code != kDone) return code;
    tell("READY=1");
  }
  tell("STOPPING=1");
  return stop();
}

int Program::start(const penstock::BusOptions& how) {
  auto bus = penstock::Bus::open(directory_, how);
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
  if (monitor_) monitor_->watch(bus_);
  if (watchdog_) watchdog_->watch([this] { return daemon_->progress(); });
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

// Whose shared memory was removed begins anew with what is on disk, unless the bus was removed too.
int Program::look_after() {
  if (daemon_->running()) return kDone;
  if (const int code = stop(); code != kDone) return code;
  if (const int code = start({.create = false}); code != kDone) return code;
  spdlog::warn("ready again, bus {}, {}", directory_, daemon_->backend());
  return kDone;
}

int Program::stop() {
  if (watchdog_) watchdog_->watch({});
  if (monitor_) monitor_->watch(std::nullopt);
  const auto stopped = daemon_->stop();
  daemon_.reset();
  bus_.reset();
  return stopped ? kDone : complain(stopped.error(), directory_);
}

// The priority of a line, as the journal reads it.
class PriorityFlag final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    const int level = message.level >= spdlog::level::err ? 2 : message.level == spdlog::level::warn ? 1 : 0;
    const std::string_view prefix = penstock::daemon::priority_prefix(level);
    out.append(prefix.data(), prefix.data() + prefix.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<PriorityFlag>(); }
};

// The journal keeps time, name and priority by itself.
std::unique_ptr<spdlog::formatter> log_format() {
  auto out = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
  out->add_flag<PriorityFlag>('*');
  out->set_pattern(penstock::daemon::is_journal(2) ? "%*%v" : "%Y-%m-%dT%H:%M:%S.%eZ %n %l: %v");
  return out;
}

// What was put on stdout has left this process, or that is told.
int printed() {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return kDone;
  return complain(kFailed, "stdout could not be written; make room there or write elsewhere");
}

// The word of the command line that nothing took, and what it may have been.
std::optional<std::string> unknown(const CLI::App& app) {
  const std::vector<std::string> left = app.remaining();
  if (left.empty()) return {};
  std::vector<std::string> known;
  for (const CLI::Option* each : app.get_options())
    for (const std::string& word : each->get_lnames()) known.push_back(word);
  const auto option = penstock::api::first_option(left, known);
  if (!option) return "'" + left.front() + "' is one word too many";
  return "there is no option " + option->name + (option->meant ? ", did you mean --" + *option->meant + "?" : "");
}

int run(int argc, char** argv) {
  CLI::App app("Writes a bus's durable topics to disk and keeps the books on retries and dead letters", "penstockd");
  std::string directory, metrics;
  bool check_config = false, print_config = false, force_pwrite = false;
  app.add_option("--bus", directory,
                 "The bus's directory, made when missing [PENSTOCK_BUS, else the state directory's penstock]");
  app.add_option("--metrics", metrics, "Serve /metrics, /healthz and /readyz over HTTP at this IP address and port")
      ->type_name("ADDR:PORT");
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
    if (error.get_exit_code() == 0) {
      app.exit(error);
      return printed();
    }
    return complain(kUsage, unknown(app).value_or(error.what()) + "; see 'penstockd --help'");
  }
  directory = bus_directory(directory);
  if (check_config || print_config) {
    const auto settings = penstock::Bus::settings(directory);
    if (!settings) return complain(settings.error(), directory);
    if (print_config) std::fputs(settings->c_str(), stdout);
    return printed();
  }
  return Program(directory, metrics, force_pwrite).run();
}

}  // namespace

int main(int argc, char** argv) {
  penstock::shm::reserve_standard_descriptors();
  try {
    penstock::shm::raise_file_limit();
    auto logger = spdlog::stderr_color_mt("penstockd");
    logger->set_formatter(log_format());
    logger->flush_on(spdlog::level::info);
    spdlog::set_default_logger(std::move(logger));
    return run(argc, argv);
  } catch (const std::exception& error) {
    return complain(kFailed, error.what());
  }
}
