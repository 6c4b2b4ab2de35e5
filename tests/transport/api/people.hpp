// Processes of made-up users for the tests of [access]: forked from a test that runs as root and has no threads.
#pragma once

#include <grp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <new>
#include <penstock/penstock.hpp>
#include <string>
#include <vector>

namespace penstock::people {

using namespace std::chrono_literals;

inline constexpr gid_t kProducers = 7001, kConsumers = 7002;

struct User {
  uid_t uid;
  gid_t gid;
  std::vector<gid_t> groups;
};
inline const User kOwner{6001, 6001, {kProducers, kConsumers}};
inline const User kProducer{6002, 6002, {kProducers, kConsumers}};
inline const User kConsumer{6003, kConsumers, {}};
inline const User kOther{6004, kConsumers, {}};
inline const User kHostile{6005, kConsumers, {}};

// A process of this user that ends with what `body` says.
inline pid_t start(const User& user, const std::function<bool()>& body) {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::alarm(240);  // nobody is left over
  const bool become =
      ::setgroups(user.groups.size(), user.groups.data()) == 0 && ::setgid(user.gid) == 0 && ::setuid(user.uid) == 0;
  const bool good = become && body();
  std::fflush(stderr);
  ::_exit(good ? 0 : 1);
}

inline bool ended_well(pid_t pid) {
  int status = 0;
  return ::waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

inline bool as(const User& user, const std::function<bool()>& body) { return ended_well(start(user, body)); }

// Tells what went wrong in a process whose test cannot see it.
template <class T>
bool good(const Result<T>& result, const char* what) {
  if (!result) std::fprintf(stderr, "uid %u: %s: %s\n", unsigned(::geteuid()), what, result.error().message().c_str());
  return bool(result);
}
inline bool good(bool fact, const char* what) {
  if (!fact) std::fprintf(stderr, "uid %u: not so: %s\n", unsigned(::geteuid()), what);
  return fact;
}

// Shared by processes that are forked later.
template <class T>
T& shared() {
  void* at = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return *new (at) T();
}

// A directory of the owner's with bus.toml and nothing else, under this umask.
class SharedBus : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "only root can be several users";
    std::string pattern = ::testing::TempDir() + "/penstock-access-XXXXXX";
    root_ = ::mkdtemp(pattern.data());
    ::chmod(root_.c_str(), 0755);
    bus_ = root_ + "/bus";
    make(true);
  }
  void TearDown() override {
    if (root_.empty()) return;
    std::error_code ignored;
    std::filesystem::remove_all(live(), ignored);
    std::filesystem::remove_all(root_, ignored);
  }
  void make(bool access) const {
    ::mkdir(bus_.c_str(), 0700);
    std::ofstream settings(bus_ + "/bus.toml");
    if (access) settings << "[access]\nproducers = \"" << kProducers << "\"\nconsumers = \"" << kConsumers << "\"\n";
    settings.close();
    for (const std::string& path : {bus_, bus_ + "/bus.toml"})
      if (::chown(path.c_str(), kOwner.uid, kOwner.gid) != 0) std::perror("chown");
  }
  std::string live() const {
    std::error_code error;
    return std::filesystem::read_symlink(bus_ + "/live", error).string();
  }
  std::string root_, bus_;
};

inline Bytes bytes(const std::string& text) { return std::as_bytes(std::span(text)); }
inline std::string text(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

}  // namespace penstock::people
