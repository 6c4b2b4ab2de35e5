// What keeps compaction from a topic's events: groups that have not settled them. Takes no lock and makes nothing, so
// whoever holds one may ask.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/group.hpp"

namespace penstock::api {

struct CompactionHold {
  Offset offset = ~Offset{0};  // the first that may not go
  std::string who;             // whose first unsettled event that is; empty: nobody's
  // Of all groups that want the topic. What they had settled below `offset` may still be undone by a power cut, until
  // each has written a checkpoint that began later.
  std::vector<std::shared_ptr<GroupState>> states;
};
CompactionHold compaction_hold(const StatePtr& state, const std::string& topic);

// Which group keeps segments of a compacted topic as they are, for people.
std::optional<std::string> compaction_waits_for(const Topic& topic);

}  // namespace penstock::api
