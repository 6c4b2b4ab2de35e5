// Room in a memory topic's ring: what its readers have read, its groups have settled, or, when it drops its oldest,
// whatever is settled. Anybody who needs room may look for it; nobody owns the limit.
#include <sys/stat.h>

#include <algorithm>

#include "api/feed.hpp"
#include "api/group.hpp"

namespace penstock::api {

// The groups of the bus, opened, and the slots of this topic's readers. Room is looked for often, and there may be
// thousands of both: they are looked up again only when there are others.
class Holders {
 public:
  struct Holder {
    std::string name;
    std::shared_ptr<Group> group;       // none: could not be opened
    std::shared_ptr<GroupState> place;  // none: not wanted, or not there yet
    Error why;                          // of what is not there
  };
  std::vector<Holder>& groups(const State& state);
  const std::vector<std::uint32_t>& readers(const Topic& topic);

 private:
  std::vector<Holder> groups_;
  timespec listed_{};  // the time of change of the groups' directory when it was listed; 0: list it again
  std::vector<std::uint32_t> readers_;
  std::uint64_t readers_epoch_ = ~0ull;
};

namespace {

using layout::kNoPosition;

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
void lower_to_pins(Topic& topic, Hold& hold) {
  const std::uint64_t end = topic.end().position;
  const shm::Handles& handles = topic.state()->live.handles();
  for (const std::uint32_t slot : topic.holders()->readers(topic)) {
    const auto handle = handles.copy(slot);
    if (!handle || handle->kind != layout::HandleKind::reader || handle->topic_id != topic.header().topic_id) continue;
    if (handle->pin == kNoPosition || handle->pin > end || handle->pin >= hold.position || !handles.alive(slot))
      continue;
    hold.lower(handle->pin, "a reader, slot " + std::to_string(slot) + ", pid " + std::to_string(handle->pid));
  }
}

bool nobodys(const Error& error) {
  return error.code() == Errc::not_found || error.code() == Errc::incompatible || error.code() == Errc::corrupt;
}

// What is missing is looked for each time: a group gets its directory before it has anything in it.
void find(const Topic& topic, Holders::Holder& holder) {
  if (holder.group && holder.group->deleted()) holder.group.reset(), holder.place.reset();
  const bool found = holder.group != nullptr;
  if (!found) {
    auto group = Group::open(topic.state(), holder.name);
    holder.why = group ? Error() : group.error();
    if (!group) return;
    holder.group = std::move(*group);
  }
  if ((found && !holder.group->refresh() && holder.place) || !holder.group->wants(topic.name())) return;
  if (holder.place) return;
  auto place = GroupState::open(holder.group, topic.name(), {});
  holder.why = place ? Error() : place.error();
  if (place) holder.place = std::move(*place);
}

// Groups that want this topic, each at its first unsettled event. They hold producers up whether or not a member is
// there: their events would be lost. Members can write their pages: one that cannot be holds nothing back.
Result<void> lower_to_groups(Topic& topic, Hold& hold) {
  const bool shared = topic.state()->access().shared;
  for (Holders::Holder& holder : topic.holders()->groups(*topic.state())) {
    find(topic, holder);
    if (holder.group && !holder.group->wants(topic.name())) continue;
    const auto oldest = [&topic] {
      const Place place = topic.oldest();
      return group::Place{place.offset, place.position};
    };
    if (!holder.place) {
      // Its user's to make; until he does, it begins with what there is.
      if (holder.group && holder.why.code() == Errc::not_found && shared)
        hold.lower(oldest().position, "group " + holder.name + ", which has not begun");
      else if (!nobodys(holder.why) && !shared)
        return tl::unexpected(holder.why);
      continue;
    }
    group::GroupTopic& engine = holder.place->engine();
    if (!engine.started() && holder.place->writable()) engine.start(oldest());
    const group::Place committed = engine.started() ? engine.committed() : oldest();
    if (committed.position < hold.position)
      hold.lower(committed.position,
                 "group " + holder.name + ", whose first unsettled event is " + std::to_string(committed.offset));
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

// The directory's time of change tells of groups that came and went, whatever became of who made them. Its clock moves
// in steps, so a time that is not over yet tells nothing.
std::vector<Holders::Holder>& Holders::groups(const State& state) {
  constexpr std::int64_t kStep = 2'000'000'000;
  struct stat info {};
  const bool there = ::stat((state.directory + "/groups").c_str(), &info) == 0;
  const bool same = there && listed_.tv_sec == info.st_mtim.tv_sec && listed_.tv_nsec == info.st_mtim.tv_nsec;
  if (same) return groups_;
  const std::int64_t age = now_ns() - (info.st_mtim.tv_sec * 1'000'000'000ll + info.st_mtim.tv_nsec);
  // A group that is deleted is marked so before its name goes; with [access] its user may have taken the mark away.
  std::vector<Holder> known = state.access().shared ? std::vector<Holder>() : std::move(groups_);
  groups_.clear();
  auto next = known.begin();
  for (std::string& name : group_names(state)) {
    while (next != known.end() && next->name < name) ++next;
    if (next != known.end() && next->name == name)
      groups_.push_back(std::move(*next++));
    else
      groups_.push_back({std::move(name), nullptr, nullptr, {}});
  }
  listed_ = there && age > kStep ? info.st_mtim : timespec{};
  return groups_;
}

const std::vector<std::uint32_t>& Holders::readers(const Topic& topic) {
  const State& state = *topic.state();
  const std::uint64_t epoch = state.live.header()->readers_epoch.load(std::memory_order_seq_cst);
  // Guests can't raise the epoch.
  if (epoch == readers_epoch_ && !state.access().shared) return readers_;
  readers_.clear();
  for (const std::uint32_t slot : state.live.handles().all()) {
    const auto handle = state.live.handles().copy(slot);
    if (handle && handle->kind == layout::HandleKind::reader && handle->topic_id == topic.header().topic_id)
      readers_.push_back(slot);
  }
  readers_epoch_ = epoch;
  return readers_;
}

const std::shared_ptr<Holders>& Topic::holders() {
  if (!holders_) holders_ = std::make_shared<Holders>();
  return holders_;
}

bool make_room(Topic& topic, std::uint64_t wanted_end, bool all_settled) {
  layout::TopicControl* control = topic.writable();
  const log::Ring& ring = topic.ring();
  const std::uint64_t before = control->limit.load(std::memory_order_seq_cst);
  if (before >= wanted_end) return true;
  // An eighth of a ring at once, so that looking costs little an event.
  const std::uint64_t enough = wanted_end - ring.size() + ring.size() / 8;
  const Place end = topic.end();
  const auto walk = [&] { return settled_until(topic, topic.oldest(), std::min(enough, end.position)).position; };
  const bool quick = all_settled && topic.held_by_readers();
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
  // Nobody holds what was given up.
  if (end - (topic.control()->limit.load(std::memory_order_seq_cst) - size) < size - size / 8) return std::nullopt;
  Hold hold{end, {}};
  if (!lower_to_groups(topic, hold)) return std::nullopt;
  lower_to_pins(topic, hold);
  if (end - hold.position < size - size / 8) return std::nullopt;
  return hold.who;
}

}  // namespace penstock::api
