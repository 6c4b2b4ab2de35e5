// Lanes: the order of a key's events. An event that is taken stands behind the last unsettled one of its key, and may
// be delivered once that one is settled or dead. Which one that is was decided when the event was taken, and never
// changes; so nobody has to unlink, hand over or clear anything, and who dies leaves nothing for others to mend.
// PROTOCOL.md tells the order of the steps.
#pragma once

#include "group/region.hpp"

namespace penstock::group {

// Where an event stands: which entry of the lane table becomes its own, and that entry before. If the place says
// `waits`, the event before is the one the entry named.
struct LanePlan {
  std::uint64_t key = 0;  // 0: no lane
  layout::LanePlace place;
  layout::Pair replaced;
  bool waits() const { return key != 0 && place.waits; }
};

// For the event taken next; good for as long as nobody takes another. Errc::no_space: the table can't grow.
Result<LanePlan> plan_lane(const Region& region, std::uint64_t key);
// Into a TENTATIVE cell of ours. False: no room for it.
bool write_lane(const Region& region, std::uint32_t cell, const LanePlan& plan, std::int64_t wall);
LanePlan read_lane(const Region& region, std::uint32_t cell);

// What makes the event in this cell, taken last until `end`, its lane's last one. To be done before any other event is
// taken, by anybody, any number of times: once it was done, it changes nothing any more.
class LaneStep {
 public:
  LaneStep(const Region& region, const LanePlan& plan, std::uint32_t cell, std::uint64_t offset, std::int64_t end) {
    if (plan.key != 0) prepare(region, plan, cell, offset, end);
  }
  void act() const {
    if (entry_ != nullptr) layout::cas16(entry_, from_, to_);
  }

 private:
  void prepare(const Region& region, const LanePlan& plan, std::uint32_t cell, std::uint64_t offset, std::int64_t end);
  layout::Pair* entry_ = nullptr;
  layout::Pair from_, to_;
};

// Is the entry's event still to be waited for?
bool stands(const Region& region, const layout::Pair& entry);
// Tells the event before that the one in this cell waits for it.
void hint_lane(const Region& region, const LanePlan& plan, std::uint32_t cell);
// The cell that may wait for the event in this one; kNoCell: none, as far as is known.
std::uint32_t behind(const Region& region, std::uint32_t cell);

}  // namespace penstock::group
