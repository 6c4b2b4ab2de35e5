// Room in a memory topic's ring: what its readers have read, its groups have settled, or, when it drops its oldest,
// whatever is settled. Anybody who needs room may look for it; nobody owns the limit.
#include <algorithm>

#include "api/feed.hpp"
#include "api/group.hpp"

namespace penstock::api {
namespace {

using layout::kNoPosition;

constexpr std::uint64_t kEndsALap = 12;    // those that a producer remembers must reach back a lap
constexpr std::uint64_t kLinesAhead = 64;  // fetched ahead by who walks over the oldest claims, which nobody has cached

void raise(layout::Word& word, std::uint64_t value) {
  std::uint64_t seen = word.load(std::memory_order_seq_cst);
  while (seen < value && !word.compare_exchange_weak(seen, value, std::memory_order_seq_cst)) {
  }
}

// Who still needs the lowest line, and which.
struct Hold {
  std::uint64_t position;
  std::string who;
  void lower(std::uint64_t to, const std::string& name) {
    if (to < position) position = to, who = name;
  }
};

// Living readers of this topic; pins that cannot be hold nothing back.
void lower_to_pins(const Topic& topic, Hold& hold) {
  const std::uint64_t end = topic.end().position;
  const shm::Handles& handles = topic.state()->live.handles();
  for (const std::uint32_t slot : handles.all()) {
    const auto handle = handles.copy(slot);
    if (!handle || handle->kind != layout::HandleKind::reader || handle->topic_id != topic.header().topic_id) continue;
    if (handle->pin == kNoPosition || handle->pin > end || handle->pin >= hold.position || !handles.alive(slot))
      continue;
    hold.lower(handle->pin, "a reader, slot " + std::to_string(slot) + ", pid " + std::to_string(handle->pid));
  }
}

bool nobody_else_publishes(const Topic& topic, std::uint32_t own_slot) {
  if (topic.header().options.single_producer != 0) return true;
  const shm::Handles& handles = topic.state()->live.handles();
  for (const std::uint32_t slot : handles.all()) {
    const auto handle = handles.copy(slot);
    if (slot != own_slot && handle && handle->kind == layout::HandleKind::producer &&
        handle->topic_id == topic.header().topic_id && handles.alive(slot))
      return false;
  }
  return true;
}

bool nobodys(const Error& error) {
  return error.code() == Errc::not_found || error.code() == Errc::incompatible || error.code() == Errc::corrupt;
}

// Groups that want this topic, each at its first unsettled event. They hold producers up whether or not a member is
// there: their events would be lost. Members can write their pages: one that cannot be holds nothing back.
Result<void> lower_to_groups(const Topic& topic, Hold& hold) {
  const bool shared = topic.state()->access().shared;
  for (const std::string& name : group_names(*topic.state())) {
    auto group = Group::open(topic.state(), name);
    if (!group) {
      if (nobodys(group.error()) || shared) continue;
      return tl::unexpected(group.error());
    }
    if (!(*group)->wants(topic.name())) continue;
    auto state = GroupState::open(*group, topic.name(), {});
    const Place oldest = topic.oldest();
    if (!state && state.error().code() == Errc::not_found && shared) {
      // Its user's to make; until he does, it begins with what there is.
      hold.lower(oldest.position, "group " + name + ", which has not begun");
      continue;
    }
    if (!state && (nobodys(state.error()) || shared)) continue;
    if (!state) return tl::unexpected(state.error());
    if (!(*state)->engine().started() && (*state)->writable())
      (*state)->engine().start({oldest.offset, oldest.position});
    const group::Place committed =
        (*state)->engine().started() ? (*state)->engine().committed() : group::Place{oldest.offset, oldest.position};
    hold.lower(committed.position,
               "group " + name + ", whose first unsettled event is " + std::to_string(committed.offset));
  }
  return {};
}

// How far claims are settled, looked at from `from` on until `enough`.
Place settled_until(Topic& topic, Place from, std::uint64_t enough) {
  while (from.position < enough) {
    __builtin_prefetch(topic.ring().at(from.position + kLinesAhead));
    log::Look look;
    if (log::glance(topic.ring(), from.position, from.offset, look)) {
      from = {from.position + look.lines, from.offset + look.count};
      continue;
    }
    look = log::look(topic.ring(), from.position, from.offset, topic);
    if (look.kind == log::Look::Kind::nothing || look.kind == log::Look::Kind::waiting) break;
    from = {from.position + look.lines, from.offset + look.count};
  }
  return from;
}

}  // namespace

void Ends::note(std::uint64_t tail, std::uint64_t apart) {
  if (tail >= last_ + apart) ends_[next_++ % ends_.size()] = last_ = tail;
}

std::optional<std::uint64_t> Ends::near(std::uint64_t least, std::uint64_t about) const {
  const std::uint64_t most = about + (about - least);
  std::optional<std::uint64_t> before, behind;
  for (const std::uint64_t end : ends_) {
    if (end < least || end > most) continue;
    if (end <= about)
      before = std::max(before.value_or(0), end);
    else
      behind = std::min(behind.value_or(end), end);
  }
  return before ? before : behind;
}

bool make_room(Topic& topic, std::uint64_t wanted_end, std::uint32_t slot, Ends* ends) {
  layout::TopicControl* control = topic.writable();
  const log::Ring& ring = topic.ring();
  const std::uint64_t before = control->limit.load(std::memory_order_seq_cst);
  if (before >= wanted_end) return true;
  // An eighth of a ring at once, so that looking costs little an event.
  const std::uint64_t enough = wanted_end - ring.size() + ring.size() / 8;
  const Place end = topic.end();
  // All claims up to there. Whose others may be is seen after the end was: who comes later claims behind it.
  const bool settled = ends != nullptr && nobody_else_publishes(topic, slot);
  const auto walk = [&] {
    const auto known = settled ? ends->near(wanted_end - ring.size(), enough) : std::nullopt;
    return known ? *known : settled_until(topic, topic.oldest(), std::min(enough, end.position)).position;
  };
  if (ends != nullptr) ends->note(end.position, ring.size() / kEndsALap);
  const bool quick = settled && topic.held_by_readers();
  std::uint64_t target = quick ? end.position : walk();
  const auto lower_to_readers = [&] {
    if (!topic.held_by_readers()) return true;
    Hold hold{target, {}};
    if (!lower_to_groups(topic, hold)) return false;
    lower_to_pins(topic, hold);
    target = log::claim_of(ring, hold.position);
    return true;
  };
  if (!lower_to_readers()) return false;
  // Nobody is behind: what is there is for who comes later, and only the oldest of it goes.
  if (quick && target == end.position) target = walk();
  // In two phases: who begins to read after `reclaim` is raised begins behind it; who began before is seen by the
  // second look at the pins.
  raise(control->reclaim, target);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!lower_to_readers()) return false;
  raise(control->limit, target + ring.size());
  return control->limit.load(std::memory_order_seq_cst) > before;
}

std::optional<std::string> held_by(Topic& topic) {
  if (!topic.held_by_readers()) return std::nullopt;
  const std::uint64_t end = topic.end().position, size = topic.ring().size();
  Hold hold{end, {}};
  if (!lower_to_groups(topic, hold)) return std::nullopt;
  lower_to_pins(topic, hold);
  if (end - hold.position < size - size / 8) return std::nullopt;
  return hold.who;
}

}  // namespace penstock::api
