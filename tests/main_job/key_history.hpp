// Random lives of a group ordered by key, and what must be true of their history. A run is a bus of its own, producers,
// members whose handlers ack, nak, reject, release, hang or kill their process, and a daemon that is killed; each is a
// process. In the middle all stop and the bus is unloaded, so that the group goes on from its checkpoint. The seed
// chooses what everybody does; when they do it is the machine's.
#pragma once

#include <cstdint>
#include <string>

namespace penstock::test {

struct KeyRun {
  std::uint64_t seed = 1;
  std::uint64_t events = 2000;
  std::uint64_t keys = 20;  // one event in ten has none
  int producers = 2;
  int members = 4;
};
struct KeyRunResult {
  std::string wrong;  // the first thing that is; empty: nothing
  std::uint64_t begun = 0, acked = 0, failed = 0, dead = 0, crashes = 0, daemons = 0;
};

KeyRunResult run_keys(const KeyRun& run);

}  // namespace penstock::test
