// A random life of a group: a bus of its own, and as processes producers, members, the operator and a daemon. Handlers
// ack, nak, reject, release, extend, hold events past their lease, drop them, or kill their process; members are
// killed and stopped, the daemon and the operator are killed, who pauses the group and gives letters back while all
// this goes on; in the middle of it all may end cleanly, the bus be unloaded and opened anew. What they wrote down is
// judged (group_history.hpp).
//
// The seed chooses what kind of life it is and what everybody decides: a member's n-th event in this role is handled in
// the same way each time. When they come to decide, and which event that is, is the machine's choice.
#pragma once

#include "group_history.hpp"

namespace penstock::test {

struct GroupRun {
  std::uint64_t seed = 1;
  Ordering ordering = Ordering::parallel;
  std::uint64_t events = 100, keys = 10;
  unsigned producers = 1, members = 3;
  std::uint32_t max_attempts = 3, max_in_flight = 16;
  std::chrono::nanoseconds lease{10'000'000};
  unsigned copies = 0;    // of a hundred events so many have an earlier one's id
  unsigned polls = 0;     // of a hundred looks for work so many are polls
  unsigned crashes = 0;   // of a thousand events so many kill their handler's process
  unsigned ambushes = 0;  // of a hundred rejects so many are followed by the daemon's death
  unsigned redrives = 0;  // of a hundred letters so many are given back
  unsigned kills = 0, stops = 0, daemon_kills = 0, pauses = 0;
  bool unload = false;

  std::string text() const;
};
GroupRun run_of(std::uint64_t seed);

struct GroupRunResult {
  Judgement judgement;
  std::uint64_t events = 0, kills = 0, stops = 0, daemon_kills = 0, pauses = 0, unloads = 0;
};
GroupRunResult live(const GroupRun& run);

}  // namespace penstock::test
