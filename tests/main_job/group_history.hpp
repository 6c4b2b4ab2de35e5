// The history of a consumer group, as its members, its operator and whoever started and killed them wrote it down, and
// what must be true of it. Plain data: a history may come from processes (group_run.hpp) or be made by hand.
//
// Notes stand in one order: a note that was written before another's has the smaller number, whoever wrote them. What
// they tell of happened before or after them: a lease was taken between the look and the note that it began, a
// settlement took place between the two notes about it, and a lease may run out, or fail since its member died,
// without anybody's noting it. So each event is judged by all that may have happened in between: a history is wrong
// when nothing that a group may do explains it.
#pragma once

#include <compare>
#include <cstdint>
#include <penstock/penstock.hpp>
#include <string>
#include <vector>

namespace penstock::test {

enum class What : std::uint8_t {
  nothing,    // its writer was killed before it wrote
  begun,      // a member was given an event, in `attempt`; it asked at `asked`, when there were `since` notes
  calling,    // it settles the lease that began with note `lease`
  returned,   // it was told whether that was `accepted`
  stalled,    // a member's search took as long as `count` leases: it may have had some that it never told of
  dying,      // a member is going to be killed, or kills itself
  died,       // it did; searching since `asked` when `count` is 1
  told,       // a producer was told that event `number` is at this offset
  redriving,  // the operator gives a letter of this origin and history back
  redriven,   //
  paused,     // members that ask from now on get nothing
  resuming,
  unloaded,  // all ended, what the group knows went to disk and came back
};
enum class Call : std::uint8_t { ack, nak, reject, release, extend, drop };

struct Note {
  What what = What::nothing;
  Call call = Call::ack;
  bool accepted = false;
  std::uint32_t member = 0;  // each that starts has another number
  std::uint32_t attempt = 0;
  std::uint32_t process = 0;   // the member's
  std::uint32_t redrives = 0;  // how often the event had been given back
  std::uint64_t offset = 0;    // the event's
  std::uint64_t lease = 0;
  std::uint64_t since = 0;
  std::uint64_t count = 0;
  std::uint64_t number = 0;
  std::int64_t asked = 0;   // when, in nanoseconds of the monotonic clock
  std::int64_t delay = -1;  // of a nak that names one; how long an extension is
  std::int64_t time = 0;    // when the note was written, its number already taken
};

// What stands in the log.
struct LoggedEvent {
  std::uint64_t offset = 0;
  std::uint64_t number = 0;  // its producer's, from the payload
  std::string key, id;       // empty: none
};
struct LoggedLetter {
  std::uint64_t offset = 0;  // the event's
  std::uint32_t redrives = 0, attempts = 0;
  std::uint64_t number = 0;
  std::string topic, disposition, error_class, reason, key, id;
  std::uint32_t process = 0;  // of the member that had it last; 0: not known any more
  bool shown = true;          // neither redriven nor purged
};

struct History {
  std::string topic = "orders";
  Ordering ordering = Ordering::parallel;
  std::uint32_t max_attempts = 3;
  std::int64_t lease = 10'000'000;
  std::vector<std::int64_t> backoff = {1'000'000};
  std::vector<LoggedEvent> events;  // by offset
  std::vector<LoggedLetter> letters;
  std::vector<Note> notes;
};

struct Judgement {
  std::vector<std::string> wrong;  // what is, each with the notes about it; empty: nothing
  std::uint64_t deliveries = 0, acked = 0, refused = 0, failures = 0, crashes = 0, letters = 0, redriven = 0;
  std::uint64_t skipped = 0;  // copies of events that were processed
};
Judgement judge(const History& history);

// What a nak or reject says of itself in a letter, from the lease that it settles.
std::string reason_of(std::uint64_t lease);
const char* class_of(Call call);

}  // namespace penstock::test
