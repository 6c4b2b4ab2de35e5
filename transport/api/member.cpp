#include "api/member.hpp"

#include "group/inline.hpp"
#include "log/attributes.hpp"
#include "log/checksum.hpp"

namespace penstock::api {
namespace {

constexpr std::int64_t kSweepEvery = 25'000'000;  // a dead member's leases are back within this and a little
constexpr std::int64_t kParkFor = 5'000'000;      // a copy of an event that is in flight is asked for again,
constexpr std::int64_t kParkMost = 320'000'000;   // an old one after so long
constexpr std::int64_t kCappedFor = 2'000'000;    // too many leases: settlements of others are looked for
constexpr int kQueuedMost = 64;                   // events queued in a row before retries are looked for again

// What orders the event in a group ordered by key; 0: nothing does. Stored in checkpoints.
std::uint64_t key_of(const EventView::Raw& event, const layout::GroupOptions& options) {
  if (options.ordering != layout::Ordering::key) return 0;
  const auto key = log::find_attribute(event.attributes, layout::Attribute::key);
  if (!key) return 0;
  const std::uint64_t hash = log::hash64(key->data(), key->size(), 0);
  return hash == 0 ? 1 : hash;
}

bool stale(const Error& error) { return error.code() == Errc::stale_lease; }

}  // namespace

bool MemberTopic::should_sweep(std::int64_t now) const {
  if (now - swept_ < sweep_every_) return false;
  const group::GroupTopic& engine = state_->engine();
  return engine.wants_sweep() || swept_ == 0 || (engine.waits_for_clock() && engine.clock_ahead(instant()) != 0);
}

void MemberTopic::sweep() {
  const shm::Handles& handles = state_->group().state()->live.handles();
  const group::Instant at = instant();
  const group::Sweep swept = state_->engine().sweep(
      at, [&handles](std::uint32_t slot, std::uint32_t incarnation) { return handles.dead(slot, incarnation); });
  swept_ = at.now;
  // With very many unsettled events a round takes long, and must not become all that members do.
  sweep_every_ = std::max(kSweepEvery, 16 * (monotonic_ns() - at.now));
  if (swept.brought_back()) state_->ring();
}

// False: nothing can be taken yet.
Result<bool> MemberTopic::begin() {
  if (state_->engine().started()) return true;
  if (state_->letters()) return false;  // letters are given back, never taken from the cursor
  auto first = feed_.first();
  if (!first) return tl::unexpected(first.error());
  state_->engine().start({first->offset, first->position});
  changed_ = true;
  return true;
}

// Nothing is to be asked before a handler has it: not whether it is time, nor whether its id was processed.
bool MemberTopic::plain(const EventView::Raw& event) const {
  return event.attributes.empty() && (!event.given_id || state_->group().options().dedupe == 0);
}

// A lease was taken: is this an event to be processed, now? If the lease ran out meanwhile, that is for others to find.
Result<std::optional<MemberTopic::Work>> MemberTopic::deliver(group::Lease lease, const Feed::Next& found) {
  group::GroupTopic& engine = state_->engine();
  const group::Instant at = instant();
  const layout::GroupOptions& options = state_->group().options();
  const bool redriven = state_->letters();
  const EventView view(found.event);
  if (!found.event.attributes.empty() && !redriven) {
    if (const auto due = log::find_time(found.event.attributes, layout::Attribute::deliver_at); due && *due > at.wall) {
      if (auto parked = engine.park_until(lease, *due, at); !parked && !stale(parked.error()))
        return tl::unexpected(parked.error());
      return std::nullopt;
    }
    if (const auto end = log::find_time(found.event.attributes, layout::Attribute::expires_at); end && *end < at.wall) {
      auto settled = options.expired == layout::Expired::skip
                         ? engine.settle_overdue(lease)
                         : engine.reject(lease, at, {"expired", "its time to live was over"}, layout::Failure::overdue);
      if (!settled && !stale(settled.error())) return tl::unexpected(settled.error());
      return std::nullopt;
    }
  }
  if (found.event.given_id && options.dedupe != 0 && !redriven) {
    auto admitted = engine.admit(lease, at);
    if (!admitted && stale(admitted.error())) return std::nullopt;
    if (!admitted) {
      static_cast<void>(engine.release(lease, at));
      return tl::unexpected(name(admitted.error(), "the dedupe window of group " + state_->group().name(),
                                 state_->group().state()->live.path()));
    }
    if (*admitted != group::Admit::admitted) {
      // A copy that waits for its sibling asks less often the longer that may take.
      const std::int64_t wait =
          std::clamp(group::since(std::uint64_t(found.event.time_ns), at.wall) / 4, kParkFor, kParkMost);
      auto settled =
          *admitted == group::Admit::duplicate ? engine.settle_duplicate(lease) : engine.park(lease, at.now + wait);
      if (!settled && !stale(settled.error())) return tl::unexpected(settled.error());
      return std::nullopt;
    }
  }
  return Work{lease, found.event};
}

// By whoever moved the group past it, so that it is counted once.
void MemberTopic::count_lost(const Feed::Next& found) {
  missed_ += found.missed;
  damaged_ += found.damaged;
  if (found.missed != 0) state_->control()->missed.fetch_add(found.missed, std::memory_order_relaxed);
  if (found.damaged != 0) state_->control()->damaged.fetch_add(found.damaged, std::memory_order_relaxed);
}

Result<std::optional<MemberTopic::Work>> MemberTopic::redeliver(const group::Lease& lease) {
  auto found = feed_.at({lease.position, lease.offset});
  if (!found) {
    static_cast<void>(state_->engine().release(lease, instant()));
    return tl::unexpected(found.error());
  }
  if (found->kind != Feed::Kind::event || found->event.offset != lease.offset) {
    // The event is gone: overwritten in a memory topic, damaged or removed on disk. It cannot be processed; the group
    // is not held up by it, and its letter says so.
    static_cast<void>(state_->engine().reject(lease, instant(), {"lost", "the event can no longer be read"}));
    return std::nullopt;
  }
  return deliver(lease, *found);
}

Result<std::optional<MemberTopic::Work>> MemberTopic::take_fresh(const Ask& ask, std::int64_t now, std::int64_t& until,
                                                                 bool& again) {
  group::GroupTopic& engine = state_->engine();
  for (int queued = 0;; now = monotonic_ns()) {
    const layout::CursorFields seen = engine.cursor();
    if (state_->group().options().ordering == layout::Ordering::strict && engine.committed().offset != seen.offset)
      return std::nullopt;
    auto found = feed_.at({seen.position, seen.offset});
    if (!found) return tl::unexpected(found.error());
    if (found->kind != Feed::Kind::event) {
      // The owner of an open claim may die without a sound.
      if (found->kind == Feed::Kind::waiting) until = std::min(until, now + 5'000'000);
      if (found->place.offset == seen.offset && found->place.position == seen.position) return std::nullopt;
      if (engine.skip(seen, {found->place.offset, found->place.position}, group::GroupTopic::Skip::gap)) {
        changed_ = true;
        count_lost(*found);
      } else if (engine.cursor() == seen) {
        return refuse(Errc::corrupt, "the place of group " + state_->group().name() + " in topic " +
                                         feed_.topic().name() + " cannot be; give it one with `penstock group seek`.");
      }
      continue;
    }
    if (ask.durable_only && feed_.topic().durable_end().offset <= found->event.offset) return std::nullopt;
    const group::Fresh fresh{found->event.offset,
                             found->event.position,
                             found->next.offset,
                             found->next.position,
                             {found->event.id_low, found->event.id_high},
                             key_of(found->event, state_->group().options())};
    const bool at_once = plain(found->event);
    auto taken = engine.take_fresh(seen, fresh, {now, coarse_now_ns()}, ask.execute && at_once);
    if (!taken)
      return tl::unexpected(
          name(taken.error(), "group " + state_->group().name(), state_->group().state()->live.path()));
    changed_ |= taken->outcome == group::Outcome::lease || taken->outcome == group::Outcome::queued;
    switch (taken->outcome) {
      case group::Outcome::lease: {
        count_lost(*found);
        if (at_once) return Work{taken->lease, found->event};
        auto work = deliver(taken->lease, *found);
        if (!work || *work) return work;
        continue;
      }
      case group::Outcome::moved:
        continue;
      case group::Outcome::queued:
        count_lost(*found);
        again = ++queued == kQueuedMost || engine.next_due() <= monotonic_ns();
        if (again) return std::nullopt;
        continue;
      case group::Outcome::capped:
      case group::Outcome::full:
        until = std::min(until, now + kCappedFor);
        return std::nullopt;
      case group::Outcome::nothing:
        return std::nullopt;
    }
  }
}

Result<std::optional<MemberTopic::Work>> MemberTopic::take(const Ask& ask, std::int64_t& until) {
  auto taken = take_one(ask, until);
  if (std::exchange(changed_, false)) state_->changed();
  return taken;
}

Result<std::optional<MemberTopic::Work>> MemberTopic::take_one(const Ask& ask, std::int64_t& until) {
  group::GroupTopic& engine = state_->engine();
  if (state_->group().options().paused != 0) return std::nullopt;
  std::int64_t now = 0;
  for (bool again = true; again;) {
    again = false;
    now = monotonic_ns();
    if (should_sweep(now)) sweep();
    while (engine.next_due() <= now) {
      auto taken = engine.take_due(instant());
      if (!taken) return tl::unexpected(taken.error());
      if (taken->outcome == group::Outcome::capped) until = std::min(until, now + kCappedFor);
      if (taken->outcome != group::Outcome::lease) break;
      changed_ = true;
      auto work = redeliver(taken->lease);
      if (!work || *work) return work;
      now = monotonic_ns();
    }
    auto begun = begin();
    if (!begun) return tl::unexpected(begun.error());
    if (*begun && !state_->letters()) {
      auto fresh = take_fresh(ask, now, until, again);
      if (!fresh || *fresh) return fresh;
    }
  }
  const std::int64_t due = engine.next_due();
  if (due > now)
    until = std::min(until, due);
  else
    until = std::min(until, now + kCappedFor);
  if (engine.wants_sweep()) until = std::min(until, now + sweep_every_);
  return std::nullopt;
}

}  // namespace penstock::api
