// One event from its first delivery until it is settled, or dead and a letter: everything that may have become of it,
// given what was noted. An event that is given back from the dead-letter queue begins another life.
#pragma once

#include <map>
#include <optional>
#include <set>

#include "group_history.hpp"

namespace penstock::test {

// A moment, by what is known of it: not before this note, and not before this time.
struct Moment {
  std::uint64_t note = 0;
  std::int64_t time = 0;
  auto operator<=>(const Moment&) const = default;
};

enum class Phase : std::uint8_t { waiting, leased, acked, dead };
// `unseen`: a lease that was never told of, since its member was killed or stalled before it could.
enum class Cause : std::uint8_t { none, nak, reject, drop, expired, crash, unseen };

// One way in which everything so far may have happened.
struct Possible {
  Phase phase = Phase::waiting;
  Cause cause = Cause::none;  // of the last failure
  std::uint32_t failed = 0;
  std::uint32_t unseen = 0;  // leases of that kind
  std::uint64_t lease = 0;   // the one that is held, or that failed last: the number of its note
  std::int64_t until = 0;    // not before then does it run out, or come back
  Moment since;              // this phase
  // By note: leases that were taken and not told of yet (1), calls that took place (1) or were refused (0) and have
  // not returned.
  std::map<std::uint64_t, int> pending;
  auto operator<=>(const Possible&) const = default;
};
using Possibles = std::set<Possible>;

// A member that looked for work from then on, and may have had leases that nobody was told of.
struct Unseen {
  std::uint64_t since = 0;
  std::int64_t asked = 0;
};

// What holds for all of the group's events.
struct Circumstances {
  explicit Circumstances(const History& history);
  const History& history;
  std::vector<Unseen> unseen;
  std::uint64_t unseen_leases = 0;                     // of all of them
  std::map<std::uint32_t, std::uint64_t> dying, died;  // a member's notes
  std::vector<std::uint64_t> ends;                     // notes of deaths and of unloading
};

struct LifeName {
  std::uint64_t offset = 0;
  std::uint32_t redrives = 0;
  auto operator<=>(const LifeName&) const = default;
  std::string text() const;
};

class Life {
 public:
  Life(const Circumstances& around, LifeName name, std::vector<std::uint64_t> notes)
      : around_(around), name_(name), notes_(std::move(notes)) {}

  // Nothing: it can be explained, and `possibles` says how it may have ended.
  std::optional<std::string> live();
  const Possibles& possibles() const { return possibles_; }
  const std::vector<std::uint64_t>& notes() const { return notes_; }
  const LifeName& name() const { return name_; }
  // The notes, for people.
  std::string told() const;

 private:
  const Note& note(std::uint64_t number) const { return around_.history.notes[number]; }
  // Everything that can happen between the notes before this one and it, unseen by others, until `now`.
  void spread(std::uint64_t number, std::int64_t now);
  void from_waiting(const Possible& from, std::uint64_t number, std::int64_t now);
  void from_leased(const Possible& from, std::uint64_t number, std::int64_t now);
  void settle(const Possible& from, std::uint64_t call);
  void fail(Possible to, Cause cause, std::int64_t comes_back, Moment when);
  void keep(Possible possible);
  // What the note says: only what agrees with it remains.
  std::optional<std::string> meet(std::uint64_t number);
  void meet_begun(std::uint64_t number);
  void meet_returned(const Note& told);
  void meet_unloaded(std::uint64_t number);
  std::string why_not(const Note& told, const Possibles& before) const;
  std::int64_t backoff(std::uint32_t failed) const;

  const Circumstances& around_;
  LifeName name_;
  std::vector<std::uint64_t> notes_;
  Possibles possibles_;
  std::vector<Possible> fresh_;    // not looked at by spread() yet
  std::set<std::uint64_t> calls_;  // that have not returned
  std::uint64_t passed_ = 0;       // the note that was met last
};

}  // namespace penstock::test
