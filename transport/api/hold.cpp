#include "api/hold.hpp"

#include "storage/segment_reader.hpp"
#include "storage/segment_set.hpp"

namespace penstock::api {
namespace {

// Without [access] the daemon opens every group, so that one that is not there yet soon is.
Result<std::shared_ptr<Group>> find_group(const StatePtr& state, const std::string& name) {
  auto group = Group::look(state, name);
  return group || !state->access().shared ? group : Group::open(state, name);
}

// Deleted, or its creation was cut short.
bool is_gone(const State& state, const std::string& name, const Error& error) {
  if (error.code() == Errc::deleted) return true;
  const auto meta = GroupPlace::named(state, name).meta(state).read();
  return !meta && meta.error().code() == Errc::not_found;
}

void lower(Hold& hold, Offset offset, std::string who) {
  if (offset < hold.offset) hold.offset = offset, hold.who = std::move(who);
}

void lower_to_event(Hold& hold, Offset offset, const std::string& group) {
  lower(hold, offset, "group " + group + ", whose first unsettled event is " + std::to_string(offset));
}

// Letters are given back, never taken from the cursor: the place in a queue of one's own never begins.
void lower_to_state(Hold& hold, const GroupState& state, Need need) {
  const group::GroupTopic& engine = state.engine();
  const std::string& name = state.group().name();
  if (need == Need::unsettled && !state.letters()) {
    if (!engine.started()) return lower(hold, 0, "group " + name + ", which has not begun");
    return lower_to_event(hold, engine.committed().offset, name);
  }
  Offset first = ~Offset{0};
  engine.for_each_pending([&first](const group::CellView& cell) {
    first = std::min(first, cell.offset);
    return true;
  });
  lower_to_event(hold, first, name);
}

// `alone`: it is all that is known of the group in this topic.
void lower_to_checkpoint(Hold& hold, Group& group, const std::string& topic, Need need, bool alone) {
  auto saved = saved_places(group, topic);
  if (!saved && saved.error().code() != Errc::not_found) {
    // What is in shared memory is written over it; if it is lost before, so is what the group was doing.
    if (alone) lower(hold, 0, "group " + group.name() + ", whose checkpoint cannot be read");
    return;
  }
  const bool letters = topic == group.dlq() && !group.wants(topic);
  const bool fresh = need == Need::unsettled && !letters;
  if (!saved || !saved->started) {
    if (fresh && alone) lower(hold, 0, "group " + group.name() + ", which has not begun");
    if (!saved) return;
  }
  Offset first = saved->pending.value_or(~Offset{0});
  if (fresh && saved->started) first = std::min(first, saved->cursor.offset);
  lower_to_event(hold, first, group.name());
}

}  // namespace

Hold hold_of(const StatePtr& state, const std::string& topic, Need need, bool saved) {
  Hold hold;
  for (const std::string& name : group_names(*state)) {
    auto group = find_group(state, name);
    if (!group) {
      if (!is_gone(*state, name, group.error())) lower(hold, 0, "group " + name + ", which cannot be looked at");
      continue;
    }
    if (!(*group)->wants(topic) && (*group)->dlq() != topic) continue;
    auto place = GroupState::look(*group, topic);
    if (!place && place.error().code() != Errc::not_found) {
      lower(hold, 0, "group " + name + ", whose place cannot be looked at");
      continue;
    }
    if (!place || saved) lower_to_checkpoint(hold, **group, topic, need, !place);
    if (!place) continue;
    lower_to_state(hold, **place, need);
    hold.states.push_back(std::move(*place));
  }
  return hold;
}

std::optional<std::string> compaction_waits_for(const Topic& topic) {
  storage::SegmentSet segments(topic.directory(), topic.header().topic_id);
  if (!segments.refresh()) return std::nullopt;
  std::optional<Hold> hold;
  for (std::size_t i = 0; i + 1 < segments.size(); ++i) {
    auto reader = storage::SegmentReader::open(segments.path(i), layout::kPage);
    if (!reader || !reader->sealed() || reader->front().progress->compacted != 0) continue;
    if (segments.foreign(reader->header())) continue;
    if (!hold) hold = hold_of(topic.state(), topic.name(), Need::unsettled, false);
    if (reader->front().progress->offset > hold->offset) return hold->who;
  }
  return std::nullopt;
}

}  // namespace penstock::api
