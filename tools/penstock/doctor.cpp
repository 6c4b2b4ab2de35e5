// penstock doctor: what of this host and this bus stands in the way, and what to change.
#include <fcntl.h>
#include <linux/io_uring.h>
#include <pwd.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>

#include "api/network_disk.hpp"
#include "tools/penstock/doctor.hpp"
#include "tools/penstock/json.hpp"
#include "tools/penstock/output.hpp"
#include "tools/penstock/session.hpp"

namespace penstock::tool {
namespace {

std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string text;
  std::getline(file, text);
  return text;
}

Finding shared_memory() {
  struct statvfs fs {};
  if (::statvfs("/dev/shm", &fs) != 0) {
    return {"shm", false, "none", "mount a tmpfs on /dev/shm: the rings live there"};
  }
  const std::uint64_t size = std::uint64_t{fs.f_blocks} * fs.f_frsize, free = std::uint64_t{fs.f_bavail} * fs.f_frsize;
  const bool ok = free >= (128ull << 20);
  return {"shm", ok, size_text(free) + " free of " + size_text(size),
          ok ? ""
             : "make /dev/shm larger (mount -o remount,size=1G /dev/shm; --shm-size in a container): each topic takes "
               "its ring there"};
}

// Of the daemon where one runs that may be asked, else what a process started here would have.
// `daemon`: its process id; 0: none.
rlimit limit_of(std::uint32_t daemon, __rlimit_resource resource) {
  rlimit limit{};
  if (daemon == 0 || ::prlimit(static_cast<pid_t>(daemon), resource, nullptr, &limit) != 0)
    ::getrlimit(resource, &limit);
  return limit;
}

Finding memlock(std::uint32_t daemon) {
  const rlimit limit = limit_of(daemon, RLIMIT_MEMLOCK);
  const bool ok = limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= (64ull << 20);
  return {"memlock", ok, limit.rlim_cur == RLIM_INFINITY ? "unlimited" : size_text(limit.rlim_cur),
          ok ? "" : "raise it (ulimit -l, LimitMEMLOCK=), so that io_uring can register the rings' pages"};
}

Finding open_files(std::uint32_t daemon) {
  const rlimit limit = limit_of(daemon, RLIMIT_NOFILE);
  const bool ok = limit.rlim_cur >= 1024;
  return {"nofile", ok, std::to_string(limit.rlim_cur),
          ok ? "" : "raise it (ulimit -n, LimitNOFILE=): each topic and handle needs files"};
}

Finding mappings() {
  const std::string text = first_line("/proc/sys/vm/max_map_count");
  const bool ok = text.empty() || std::strtoull(text.c_str(), nullptr, 10) >= 65530;
  return {"max_map_count", ok, text.empty() ? "unknown" : text,
          ok ? "" : "raise it (sysctl vm.max_map_count=262144): each topic, group and handle is mapped"};
}

// Where systemd-logind ends a person's last session, it removes what is his in /dev/shm, unless it was told otherwise.
Finding logout() {
  const passwd* user = ::getpwuid(::geteuid());
  if (::access("/run/systemd/seats", F_OK) != 0) return {"logout", true, "no systemd-logind", ""};
  if (::geteuid() < 1000 || user == nullptr) return {"logout", true, "a system user's shared memory stays", ""};
  const std::string name = user->pw_name;
  if (::access(("/var/lib/systemd/linger/" + name).c_str(), F_OK) == 0) return {"logout", true, name + " lingers", ""};
  std::vector<std::filesystem::path> files{"/etc/systemd/logind.conf"};
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator("/etc/systemd/logind.conf.d", none))
    files.push_back(entry.path());
  for (const auto& path : files) {
    std::ifstream file(path);
    for (std::string text; std::getline(file, text);)
      if (text == "RemoveIPC=no") return {"logout", true, "RemoveIPC=no", ""};
  }
  return {"logout", false, "shared memory of " + name + " goes with the last session",
          "loginctl enable-linger " + name + ", or RemoveIPC=no in logind.conf, or run the bus as a system user"};
}

std::string uring_advice() {
  const std::string disabled = first_line("/proc/sys/kernel/io_uring_disabled");
  const bool by_sysctl = !disabled.empty() && disabled != "0";
  return std::string("the daemon writes with pwrite instead, which is slower; ") +
         (by_sysctl ? "set sysctl kernel.io_uring_disabled=0" : "allow io_uring in the container's seccomp profile") +
         " and start it again";
}

Finding io_uring() {
  io_uring_params params{};
  const int fd = static_cast<int>(::syscall(SYS_io_uring_setup, 2, &params));
  if (fd >= 0) {
    ::close(fd);
    return {"io_uring", true, "available", ""};
  }
  return {"io_uring", false, std::string("refused: ") + std::strerror(errno), uring_advice()};
}

Finding clock() {
  const std::string source = first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource");
  timespec time{};
  timespec begin{}, end{};
  constexpr int kCalls = 20'000;
  ::clock_gettime(CLOCK_MONOTONIC, &begin);
  for (int i = 0; i < kCalls; ++i) ::clock_gettime(CLOCK_REALTIME, &time);
  ::clock_gettime(CLOCK_MONOTONIC, &end);
  const auto ns = (end.tv_sec - begin.tv_sec) * 1'000'000'000L + (end.tv_nsec - begin.tv_nsec);
  const bool ok = ns / kCalls < 200;
  return {
      "clock", ok, (source.empty() ? "unknown" : source) + ", " + std::to_string(ns / kCalls) + " ns a call",
      ok ? ""
         : "reading the clock takes a system call; choose the tsc or kvm-clock source, or leave the precise clock off"};
}

Finding processors() {
  const long count = ::sysconf(_SC_NPROCESSORS_ONLN);
  const bool ok = count >= 2;
  return {"processors", ok, std::to_string(count),
          ok ? "" : "with one processor a spinning wait takes the time of who it waits for; wait by sleeping"};
}

Finding filesystem(const std::string& directory) {
  struct statfs fs {};
  struct statvfs space {};
  if (::statfs(directory.c_str(), &fs) != 0 || ::statvfs(directory.c_str(), &space) != 0) {
    return {"disk", false, std::strerror(errno), "the bus's directory cannot be looked at: check its path and mode"};
  }
  constexpr long kTmpfs = 0x01021994, kRamfs = 0x858458f6, kOverlay = 0x794c7630;
  const std::uint64_t free = std::uint64_t{space.f_bavail} * space.f_frsize;
  const auto type = static_cast<long>(fs.f_type);
  if (type == kTmpfs || type == kRamfs)
    return {"disk", false, type == kTmpfs ? "tmpfs, " + size_text(free) + " free" : "ramfs",
            "what is called durable there is gone with the power; put the bus on a disk"};
  if (const auto network = api::network_file_system(directory))
    return {"disk", false, std::string(*network) + ", " + size_text(free) + " free",
            "put the bus on a local disk: a second host that opened it would destroy it"};
  const bool ok = free >= (256ull << 20);
  return {"disk", ok, size_text(free) + " free" + (type == kOverlay ? ", overlay" : ""),
          ok ? "" : "free some space, or set retentions"};
}

// Asked of a file that never gets a name.
Finding direct_writes(const std::string& directory) {
  const int fd = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
  const int error = fd < 0 ? errno : 0;
  if (fd >= 0) ::close(fd);
  if (error == 0) return {"direct", true, "O_DIRECT", ""};
  // It says nothing of O_DIRECT that nothing can be made there, or not without a name.
  if (error != EINVAL) return {"direct", true, std::string("unknown: ") + std::strerror(error), ""};
  return {"direct", false, "no O_DIRECT",
          "the daemon writes through the page cache, which costs more; put the bus on ext4 or xfs, which have it"};
}

Finding daemon_of(const BusInfo& info) {
  if (info.daemon_pid) {
    // It may stand in another container than who asks.
    const std::string value = "pid " + std::to_string(*info.daemon_pid) + ", " + info.backend;
    if (info.uring_error == 0) return {"daemon", true, value, ""};
    return {"daemon", false, value + " (io_uring is refused to it: " + std::strerror(info.uring_error) + ")",
            uring_advice()};
  }
  return {"daemon", false, "none", "start penstockd: nothing reaches the disk and no dead letter is moved without it"};
}

void add_topics(const Bus& bus, std::vector<Finding>& findings) {
  const auto names = bus.topics();
  if (!names) findings.push_back({"topics", false, "cannot be looked at", names.error().message()});
  if (!names) return;
  for (const std::string& name : *names) {
    const auto info = bus.describe_topic(name);
    if (!info && info.error().code() != Errc::not_found)  // deleted meanwhile
      findings.push_back({"topic " + name, false, "cannot be looked at", info.error().message()});
    if (!info) continue;
    if (info->durable_error != 0) {
      findings.push_back({"topic " + name, false,
                          std::string("cannot be persisted: ") + std::strerror(info->durable_error),
                          "make space or replace the disk; nothing is lost in memory"});
    }
    if (info->blocked_by && info->blocked_by->starts_with("group ")) {
      findings.push_back({"topic " + name, false, "producers wait for " + *info->blocked_by,
                          "start that group's service, or let it skip: penstock group seek G --to end"});
    } else if (info->blocked_by) {
      findings.push_back({"topic " + name, false, "readers wait for " + *info->blocked_by,
                          "let that process go on, or end it: its open claim is then aborted"});
    }
  }
}

int doctor(const Globals& globals) {
  int code = kDone;
  const auto bus = open_bus(globals, code);
  std::optional<BusInfo> info;
  if (bus) {
    if (auto described = bus->describe())
      info = *described;
    else
      code = complain(described.error());
  }
  const std::uint32_t daemon = info ? info->daemon_pid.value_or(0) : 0;
  std::vector<Finding> findings{shared_memory(), memlock(daemon), open_files(daemon), mappings(),
                                io_uring(),      clock(),         processors(),       logout()};
  if (bus) {
    findings.push_back(filesystem(globals.directory()));
    findings.push_back(direct_writes(globals.directory()));
    if (info) findings.push_back(daemon_of(*info));
    add_topics(*bus, findings);
    add_groups(*bus, findings);
  }
  Out out;
  for (const Finding& f : findings) {
    if (globals.json) {
      out << line({{"check", f.check},
                   {"ok", f.ok},
                   {"value", f.value},
                   {"advice", f.advice.empty() ? Json(nullptr) : Json(f.advice)}});
    } else {
      out << (f.ok ? "ok    " : "LOOK  ") << f.check << ": " << f.value
          << (f.advice.empty() ? "" : "\n      " + f.advice) << "\n";
    }
  }
  return out.finish(code);
}

}  // namespace

void add_doctor(CLI::App& app, Plan& plan) {
  CLI::App* sub = app.add_subcommand("doctor", "What of this host and bus stands in the way, and what to change");
  sub->footer("Example:\n  penstock doctor");
  sub->callback([&plan] { plan.run = doctor; });
}

}  // namespace penstock::tool
