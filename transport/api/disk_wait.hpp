// Waiting until the daemon has brought something to disk.
#pragma once

#include <functional>
#include <string>

#include "api/waiter.hpp"

namespace penstock::api {

// What is waited for. Asked in this order, by the thread that waits.
struct DiskWait {
  std::function<void(shm::Listening&)> listen;  // at whatever is rung when it is there, or cannot be
  std::function<Result<bool>()> done;
  std::function<int()> error;          // why not: an errno of the daemon's last try, or 0
  std::function<std::string()> title;  // what it is about, for people
  std::string missing;                 // what is not there yet when the time is over
  bool alone = false;                  // nobody else seems to wait for the disk: one flush, and it is done
};
Result<void> await_disk(Waiter& waiter, const State& state, std::chrono::nanoseconds timeout, const DiskWait& what);

// Is somebody watching for the disk without sleeping just now? He is likely to wait again at once.
bool disk_is_watched(const State& state, std::int64_t now);

}  // namespace penstock::api
