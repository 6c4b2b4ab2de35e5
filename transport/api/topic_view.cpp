// What a handle sees of a topic: its ends, its oldest record, backwards from anywhere, and who of its producers lives.
#include <algorithm>

#include "api/topic.hpp"

namespace penstock::api {

std::uint64_t Topic::max_payload() const {
  const std::uint64_t most = std::min(ring_.size() * layout::kLine / 4, layout::kPayloadMax);
  const std::uint64_t chosen = header().options.max_payload;
  return chosen != 0 ? std::min(chosen, most) : most;
}

Place Topic::end() const {
  const layout::TailFields tail = ring_.tail();
  return {tail.end, tail.offset};
}

Place Topic::durable_end() const {
  const layout::Pair durable = layout::load16_halves(&ring_.control->durable);
  return {durable.low, durable.high};
}

// Producers may leave fences out: they say so before they publish, and we look after our bit is set.
void Topic::listen(shm::Listening& all) const {
  all.to(mask());
  if ((control()->single_owner.load(std::memory_order_seq_cst) & layout::kUnfenced) != 0) all.leaves_fences_out();
}

namespace {

// The offset at a position whose header is not written. The claim's intent holds the tail as it was read there; so does
// any that lost the race for it.
std::optional<std::uint64_t> offset_intended_at(const Topic& topic, std::uint64_t position) {
  const shm::Handles& handles = topic.state()->live.handles();
  for (std::uint32_t slot = 0; slot < handles.slots(); ++slot) {
    const auto copy = handles.copy(slot);
    if (!copy || copy->topic_id != topic.header().topic_id) continue;
    for (const auto& intent : copy->intents) {
      const layout::TailFields tail = layout::tail_of(intent.tail);
      if (layout::shape_lines(intent.shape) != 0 && tail.end == position) return tail.offset;
    }
  }
  return std::nullopt;
}

}  // namespace

// A position's offset stands in its record's tag, if that is of this lap: the dead leave lines unwritten, and what
// stands there is a record of the lap before. A record that is being overwritten gives nonsense, which the next look at
// that place will not match.
Place Topic::oldest() const {
  for (int look = 0;; ++look) {
    const std::uint64_t reclaim = std::max(ring_.control->reclaim.load(std::memory_order_acquire), ring_.base_position);
    const Place tail = end();
    if (reclaim >= tail.position) return tail;
    if (reclaim == ring_.base_position) return {reclaim, ring_.base_offset};
    const layout::RecordHeader* head = ring_.at(reclaim);
    const std::uint64_t offset = layout::offset_of_tag(ring_.nonce, head->tag.load(std::memory_order_acquire));
    log::Look settled;
    if (offset <= tail.offset && log::glance(ring_, reclaim, offset, settled)) return {reclaim, offset};
    if (const auto intended = offset_intended_at(*this, reclaim)) return {reclaim, *intended};
    // No intent is left: the header is written, and the claim is held open while its owner makes others.
    if (offset <= tail.offset &&
        layout::generation_of(head->word.load(std::memory_order_acquire)) == ring_.generation(reclaim))
      return {reclaim, offset};
    // Written or passed just now, or damaged.
    if (look > 100) return tail;
  }
}

bool Topic::dead(std::uint32_t slot, std::uint32_t incarnation) {
  if (const auto known = dead_.find(slot); known != dead_.end() && known->second == incarnation) return true;
  // A probe costs system calls: who lived a moment ago is taken to live.
  const std::int64_t now = monotonic_ns();
  if (asked_slot_ == slot && now - asked_ns_ < 200'000) return false;
  if (state_->live.handles().dead(slot, incarnation)) {
    dead_[slot] = incarnation;
    return true;
  }
  asked_slot_ = slot;
  asked_ns_ = now;
  return false;
}

std::array<Topic::IntentCopy, 2> Topic::intents_of(const shm::HandleCopy& copy) {
  std::array<IntentCopy, 2> out;
  for (int i = 0; i < 2; ++i) {
    const auto& words = copy.intents[i];
    out[i] = {layout::tail_of(words.tail), layout::shape_lines(words.shape), layout::shape_count(words.shape),
              layout::shape_incarnation(words.shape)};
  }
  return out;
}

std::optional<std::array<Topic::IntentCopy, 2>> Topic::intents(std::uint32_t slot) {
  const auto copy = state_->live.handles().copy(slot);
  if (!copy || copy->topic_id != header().topic_id) return std::nullopt;
  return intents_of(*copy);
}

template <class Reached>
std::optional<Place> Topic::back_until(Place from, Reached reached) {
  for (;;) {
    const auto claim = log::claim_before(ring_, from.position, from.offset, *this);
    if (!claim) return std::nullopt;
    from = {claim->position, claim->offset};
    if (reached(*claim)) return from;
  }
}

std::optional<Place> Topic::seek_back(Place from, Offset wanted) {
  if (wanted < oldest().offset) return std::nullopt;
  return back_until(from, [wanted](const log::Back& claim) { return claim.offset <= wanted; });
}

std::optional<Place> Topic::seek_back(Place from, Timestamp wanted) {
  const std::int64_t enough = wanted.time_since_epoch().count() - 1'000'000'000;
  const Place first = oldest();
  log::Look seen;
  if (!log::glance(ring_, first.position, first.offset, seen) ||
      std::int64_t(seen.head->time.load(std::memory_order_relaxed)) >= enough)
    return std::nullopt;  // all of the ring is younger, so the event is not in it
  return back_until(from, [enough](const log::Back& claim) {
    const auto time = std::int64_t(claim.head->time.load(std::memory_order_relaxed));
    return layout::state_of(claim.head->word.load(std::memory_order_relaxed)) == layout::State::committed &&
           time < enough;
  });
}

const layout::HandlePage* Topic::page(std::uint32_t slot) { return state_->live.handles().map(slot, pages_); }

void Topic::ring_all() const {
  shm::ring_all(state_->live.wake(), mask());
  shm::ring_all(state_->live.wake(), disk_mask());
}

}  // namespace penstock::api
