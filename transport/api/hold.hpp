// What groups still need of a topic's log: neither compaction nor retention takes it from them. Takes no lock and makes
// nothing, so whoever holds one may ask.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/group.hpp"

namespace penstock::api {

// Which of its events a group needs. A group is one that wants the topic, or whose dead-letter queue the topic is: such
// a group needs the letters that were given back to it.
enum class Need : std::uint8_t {
  unsettled,  // all from the first unsettled one on; who has not begun needs everything
  pending,    // what it took and has not settled: leased, waiting for a retry, a time or its turn, dead and not moved
};

struct Hold {
  Offset offset = ~Offset{0};  // the first that may not go
  std::string who;             // whose first unsettled event that is; empty: nobody's
  // Of all groups that are in shared memory. What they had settled below `offset` may still be undone by a power cut,
  // until each has written a checkpoint that began later.
  std::vector<std::shared_ptr<GroupState>> states;
};
// A group that is not in shared memory counts by its checkpoint. `saved`: every group counts by its checkpoint too, so
// that what a power cut would bring back is held.
Hold hold_of(const StatePtr& state, const std::string& topic, Need need, bool saved);

// Which group keeps segments of a compacted topic as they are, for people.
std::optional<std::string> compaction_waits_for(const Topic& topic);

}  // namespace penstock::api
