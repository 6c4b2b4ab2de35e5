#include "group/lanes.hpp"

#include <optional>

namespace penstock::group {

using namespace layout;

// Who looks at an entry has confirmed the event taken last, and so has everybody before him: a TENTATIVE cell is
// another event's by now. First the state, then the offset: if another event came in between, this one is settled.
bool stands(const Region& region, const Pair& entry) {
  const LaneEntryFields last = lane_entry_of(entry);
  if (entry == Pair{} || last.cell >= region.cells()) return false;
  const Cell& cell = region.cell(last.cell);
  const CellFields fields = cell_of(load16_low(&cell.state));
  const bool unsettled =
      fields.state == CellState::leased || fields.state == CellState::waiting || fields.state == CellState::queued;
  return unsettled && fields.offset_low == (last.offset & 0xfff) && (cell.offset.load() & k40) == last.offset;
}

// In this order: the key's own lane, if it has events; the bucket's shared one, if it has, for they may be the key's;
// the entry of the key's own lane of before, or any other that is spent. In a crowded bucket the lane that moved last
// becomes the shared one. So a key's last unsettled event is always its own entry's, or in the shared lane.
Result<LanePlan> plan_lane(const Region& region, std::uint64_t key) {
  const std::uint32_t bucket = lane_bucket_of(key);
  const Pair* const entries = region.lane_bucket(bucket, true);
  if (entries == nullptr) return tl::unexpected(Error(Errc::no_space));
  std::optional<LanePlan> shared, own, spent, crowded;
  for (std::uint32_t i = 0; i < kLaneBucketEntries; ++i) {
    LanePlan plan{key, {bucket * kLaneBucketEntries + i, false, false}, load16_guess(&entries[i])};
    const LaneEntryFields last = lane_entry_of(plan.replaced);
    const bool same = last.tag == lane_tag_of(key);
    plan.place.waits = stands(region, plan.replaced);
    plan.place.shared = plan.place.waits && !same;
    if (!plan.place.waits)
      (same ? own : spent) = plan;
    else if (same)
      return plan;
    else if (last.tag == kSharedLane)
      shared = plan;
    else if (!crowded || lane_entry_of(crowded->replaced).offset < last.offset)
      crowded = plan;
  }
  for (const auto& plan : {shared, own, spent, crowded})
    if (plan) return *plan;
  return tl::unexpected(Error(Errc::corrupt));  // there is always one of them
}

bool write_lane(const Region& region, std::uint32_t cell, const LanePlan& plan, std::int64_t wall) {
  Lane* const lane = region.lane(cell, plan.key != 0);
  // Where nobody ever had a lane there is no other's to wipe out.
  if (lane == nullptr) return plan.key == 0;
  lane->key.store(plan.key, std::memory_order_relaxed);
  if (plan.key == 0) return true;
  lane->place.store(pack(plan.place), std::memory_order_relaxed);
  lane->replaced_low.store(plan.replaced.low, std::memory_order_relaxed);
  lane->replaced_high.store(plan.replaced.high, std::memory_order_relaxed);
  lane->next.store(0, std::memory_order_relaxed);
  lane->taken.store(std::uint64_t(wall), std::memory_order_relaxed);
  return true;
}

LanePlan read_lane(const Region& region, std::uint32_t cell) {
  const Lane* const lane = region.lane(cell, false);
  if (lane == nullptr) return {};
  return {lane->key.load(), lane_place_of(lane->place.load()), {lane->replaced_low.load(), lane->replaced_high.load()}};
}

void LaneStep::prepare(const Region& region, const LanePlan& plan, std::uint32_t cell, std::uint64_t offset,
                       std::int64_t end) {
  Pair* const entries = region.lane_bucket(plan.place.entry / kLaneBucketEntries, false);
  if (entries == nullptr) return;
  entry_ = &entries[plan.place.entry % kLaneBucketEntries];
  from_ = plan.replaced;
  const std::uint64_t tag = plan.place.shared ? kSharedLane : lane_tag_of(plan.key);
  to_ = pack(LaneEntryFields{offset, cell, std::uint32_t(end), tag});
}

void hint_lane(const Region& region, const LanePlan& plan, std::uint32_t cell) {
  if (Lane* const before = region.lane(lane_entry_of(plan.replaced).cell, false)) before->next.store(cell + 1);
}

std::uint32_t behind(const Region& region, std::uint32_t cell) {
  const Lane* const lane = region.lane(cell, false);
  if (lane == nullptr) return kNoCell;
  const std::uint64_t next = lane->next.load();
  return next == 0 || next > region.cells() ? kNoCell : std::uint32_t(next - 1);
}

}  // namespace penstock::group
