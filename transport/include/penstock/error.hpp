// Errors as values. Nothing in Penstock throws; `.value()` on a Result without one throws in the caller's code.
#pragma once

#include <cstdint>
#include <string>
#include <tl/expected.hpp>

namespace penstock {

// What went wrong, each with what to do next.
enum class Errc : std::uint16_t {
  ok = 0,
  invalid_argument,  // the call's words are off: mend them
  invalid_name,      // a topic's or group's name or a pattern: words of [A-Za-z0-9_-] joined by dots
  not_found,         // no such bus, topic, group or event: look at the name, or create it
  already_exists,    // a topic of that name exists: use it, or delete it first
  options_differ,    // the group or topic exists with other options: leave them out, or change them with `set`
  too_large,         // larger than the topic's limit: send less, or make the topic with a larger ring
  full,              // the ring is full and stayed so: a consumer or the disk is behind; retry or shed
  no_daemon,         // the ring is full of events that are not on disk: start penstockd
  timed_out,         // the deadline passed: try again
  stale_lease,       // the lease ran out or was settled: somebody else may have the event
  disk,              // the disk refused (detail: errno): make space or replace it; nothing is lost in memory
  no_space,          // no space on disk or in shared memory (detail: errno): free some
  permission,        // the file's owner or mode forbids it: run as the bus's user
  busy,              // somebody else holds it: a second daemon, a second single producer, a bus in use
  corrupt,           // bytes that cannot be: run `penstock verify`
  incompatible,      // another layout version or a foreign file: use programs of one version
  forked,            // a handle used in a forked child: open a new one there
  deleted,           // the topic or group was deleted: open it anew
  closed,            // the handle was closed or moved from
  too_many,          // handles, topics or unsettled events: a limit named in the message
  duplicate,         // the topic refuses this id: it was published before
  interrupted,       // a signal ended the wait
  system,            // the operating system refused (detail: errno)
  unsupported,       // this version does not do that yet: leave the option out
};

// Eight trivial bytes: a Result costs the hot path nothing. `detail` is an errno or a number the sentence names.
class Error {
 public:
  constexpr Error() = default;
  // For the library; a program is given errors.
  constexpr Error(Errc code, std::uint32_t detail = 0, std::uint16_t what = 0)
      : code_(code), what_(what), detail_(detail) {}
  constexpr Errc code() const { return code_; }
  constexpr std::uint32_t detail() const { return detail_; }
  constexpr std::uint16_t what() const { return what_; }
  // One sentence that names the cause and the remedy. Where the thing's name matters (a path, a topic), the call that
  // failed left it in this thread's error context and the sentence begins with it.
  std::string message() const;
  friend constexpr bool operator==(const Error&, const Error&) = default;

 private:
  Errc code_ = Errc::ok;
  std::uint16_t what_ = 0;  // which limit or step, see error.cpp
  std::uint32_t detail_ = 0;
};
static_assert(sizeof(Error) == 8);

// What a call came to: a value, or an error that must be looked at.
template <class T>
using Result = tl::expected<T, Error>;

}  // namespace penstock
