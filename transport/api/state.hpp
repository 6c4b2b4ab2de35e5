// What all handles of one opened bus share: its directory, its identity, its live side. Made by bus_open.cpp; kept
// alive by every handle. Threads may share it.
#pragma once

#include <memory>
#include <penstock/bus.hpp>

#include "api/error.hpp"
#include "api/settings.hpp"
#include "io/clock.hpp"
#include "shm/live.hpp"

namespace penstock {

struct Bus::State {
  std::string directory;
  std::uint64_t bus_id = 0;
  api::Settings settings;
  shm::Live live;
  std::uint32_t fork_epoch = shm::g_fork_epoch;  // of the process that opened it

  bool in_child() const { return fork_epoch != shm::g_fork_epoch; }  // whose mappings are not there
  Result<void> usable() const {
    if (in_child()) return tl::unexpected(Error(Errc::forked));
    return {};
  }
  std::string topic_directory(std::string_view topic) const { return directory + "/topics/" + std::string(topic); }
  const shm::Access& access() const { return live.access(); }
  std::string group_directory(std::string_view group) const { return directory + "/groups/" + std::string(group); }
  void announce_topics() const;  // a topic came or went: wakes who waits for one
  void announce_groups() const;
};

namespace api {

using State = Bus::State;
using StatePtr = std::shared_ptr<Bus::State>;

using io::coarse_monotonic_ns;
using io::coarse_now_ns;
using io::monotonic_ns;
using io::now_ns;
// This long from now on the monotonic clock; never, when that is beyond it.
std::int64_t deadline_after(std::chrono::nanoseconds timeout);

std::uint64_t random64();

// Held while topics, groups and the live side come and go. Freed with the object, and by death. With [access] consumers
// can't take it; groups have a lock of their own then (api/group_place.hpp).
class BusLock {
 public:
  static Result<BusLock> take(const std::string& directory, std::int64_t timeout_ns = 30'000'000'000);

 private:
  explicit BusLock(shm::Fd fd) : fd_(std::move(fd)) {}
  shm::Fd fd_;
};

// The pid of the daemon that holds the bus; 0: a daemon whose pid is not known; nothing: none runs.
// A consumer of a bus with [access] can't tell.
std::optional<std::uint32_t> daemon_of(const State& state);

// For looking only: makes and recovers nothing. Without a live side, live.header() is null.
Result<StatePtr> look_at_bus(const std::string& directory);
// Why there is none, where events may be in it that are not on disk; nothing where the bus was unloaded, or never ran.
std::optional<std::string> why_no_live(const std::string& directory, std::uint64_t bus_id);
// Errc::busy names the process that has a handle, or the daemon.
Result<void> nobody_uses(const State& state);
Result<StatePtr> open_bus(const std::string& directory, bool create);
Result<void> unload_bus(const std::string& directory);
// Unloading and removing: the owner's alone.
Result<void> only_owner(const std::string& directory);
// Removes the live side when nobody uses it, saving nothing. Call under the bus lock.
Result<void> remove_live(const std::string& directory);
Result<void> remove_bus(const std::string& directory);

std::vector<std::string> list_names(const std::string& directory);  // sorted, without dot-files
std::uint64_t bytes_of(const std::string& path);                    // allocated to this file
std::uint64_t bytes_under(const std::string& directory);            // allocated bytes

}  // namespace api
}  // namespace penstock
