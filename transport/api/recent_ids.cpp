#include "api/recent_ids.hpp"

namespace penstock::api {

void RecentIds::remember(const EventView::Raw& event) {
  if (!event.given_id) return;
  const layout::Id128 id{event.id_low, event.id_high};
  const First first{event.offset - never_, event.offset};
  const auto [known, added] = ids_.try_emplace(id, first);
  if (!added && known->second.number + window_ >= first.number) return;
  known->second = first;
  order_.emplace_back(first.number, id);
}

void RecentIds::forget(std::uint64_t end) {
  while (!order_.empty() && order_.front().first + window_ < end) {
    const auto [number, id] = order_.front();
    if (const auto known = ids_.find(id); known != ids_.end() && known->second.number == number) ids_.erase(known);
    order_.pop_front();
  }
}

// Goes past a claim that is still open, when its header says how long it is. False: it does not say yet.
Result<bool> RecentIds::pass_open(Place place) {
  const log::Ring& ring = feed_.topic().ring();
  const log::Look look = log::look(ring, place.position, place.offset, feed_.topic());
  if (look.kind != log::Look::Kind::waiting) return true;  // settled meanwhile: look again
  if (look.head == nullptr || look.lines == 0) return false;
  const layout::Id128 id{look.head->id_low.load(std::memory_order_relaxed),
                         look.head->id_high.load(std::memory_order_relaxed)};
  open_.push_back({place, id, look.count == 1, look.count, look.slot});
  place_ = {place.position + look.lines, place.offset + look.count};
  return true;
}

// What became of the claims that were open when they were passed.
Result<void> RecentIds::settle_open() {
  std::vector<Open> still;
  for (const Open& claim : open_) {
    bool waits = false;
    for (Place at = claim.place; at.offset < claim.place.offset + claim.count;) {
      auto next = feed_.at(at);
      if (!next) return tl::unexpected(next.error());
      waits = next->kind == Feed::Kind::waiting && next->place == claim.place;
      if (next->kind != Feed::Kind::event || next->event.offset >= claim.place.offset + claim.count) break;
      remember(next->event);
      at = next->next;
    }
    if (waits) still.push_back(claim);
  }
  open_ = std::move(still);
  return {};
}

Result<void> RecentIds::catch_up() {
  if (!place_) {
    auto start = feed_.start(StartAt::last(window_));
    if (!start) return tl::unexpected(start.error());
    place_ = *start;
  }
  if (auto settled = settle_open(); !settled) return settled;
  for (;;) {
    auto next = feed_.at(*place_);
    if (!next) return tl::unexpected(next.error());
    place_ = next->place;
    never_ += next->never;
    if (next->kind == Feed::Kind::nothing) return {};
    if (next->kind == Feed::Kind::event) {
      remember(next->event);
      place_ = next->next;
      continue;
    }
    auto passed = pass_open(next->place);
    if (!passed) return tl::unexpected(passed.error());
    if (!*passed) return {};
  }
}

Result<RecentIds::Verdict> RecentIds::look(std::span<const layout::Id128> ids) {
  Verdict out;
  out.tail = layout::load16_halves(&feed_.topic().control()->tail);
  const layout::TailFields tail = layout::tail_of(out.tail);
  if (auto there = catch_up(); !there) return tl::unexpected(there.error());
  if (place_->position < tail.end) {  // stopped at a claim without a header
    out.kind = Verdict::Kind::open;
    return out;
  }
  const std::uint64_t end = tail.offset - never_;
  forget(end);
  for (const layout::Id128& id : ids) {
    if (const auto found = ids_.find(id); found != ids_.end() && found->second.number + window_ >= end)
      return Verdict{Verdict::Kind::duplicate, found->second.offset, out.tail, layout::kNoSlot};
    for (const Open& claim : open_)
      if (!claim.told || claim.id == id) {
        out.kind = Verdict::Kind::open;
        out.slot = claim.slot;
      }
  }
  return out;
}

}  // namespace penstock::api
