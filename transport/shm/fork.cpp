#include "shm/fork.hpp"

#include <pthread.h>
#include <unistd.h>

#include <mutex>
#include <set>

namespace penstock::shm {
namespace {

std::mutex& guard() {
  static std::mutex mutex;
  return mutex;
}
std::set<int>& descriptors() {
  static std::set<int> set;
  return set;
}

// The set must be whole in the child, so the fork waits for whoever changes it.
void before() { guard().lock(); }
void in_parent() { guard().unlock(); }
void in_child() {
  ++g_fork_epoch;
  for (const int fd : descriptors()) ::close(fd);
  descriptors().clear();
  guard().unlock();
}

}  // namespace

std::uint32_t g_fork_epoch = 1;

void install_fork_handler() {
  static std::once_flag once;
  std::call_once(once, [] {
    guard();
    descriptors();
    ::pthread_atfork(before, in_parent, in_child);
  });
}

void close_in_child(int fd) {
  const std::lock_guard lock(guard());
  descriptors().insert(fd);
}

void forget_in_child(int fd) {
  const std::lock_guard lock(guard());
  descriptors().erase(fd);
}

}  // namespace penstock::shm
