#include "api/compaction.hpp"

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

}  // namespace

CompactionHold compaction_hold(const StatePtr& state, const std::string& topic) {
  CompactionHold hold;
  const auto lower = [&hold](Offset offset, std::string who) {
    if (offset < hold.offset) hold.offset = offset, hold.who = std::move(who);
  };
  for (const std::string& name : group_names(*state)) {
    auto group = find_group(state, name);
    if (!group) {
      if (!is_gone(*state, name, group.error())) lower(0, "group " + name + ", which cannot be looked at");
      continue;
    }
    if (!(*group)->wants(topic)) continue;
    auto place = GroupState::look(*group, topic);
    if (!place || !(*place)->engine().started()) {
      lower(0, "group " + name + ", which has not begun");
      continue;
    }
    const Offset committed = (*place)->engine().committed().offset;
    lower(committed, "group " + name + ", whose first unsettled event is " + std::to_string(committed));
    hold.states.push_back(std::move(*place));
  }
  return hold;
}

std::optional<std::string> compaction_waits_for(const Topic& topic) {
  storage::SegmentSet segments(topic.directory(), topic.header().topic_id);
  if (!segments.refresh()) return std::nullopt;
  std::optional<CompactionHold> hold;
  for (std::size_t i = 0; i + 1 < segments.size(); ++i) {
    auto reader = storage::SegmentReader::open(segments.path(i), layout::kPage);
    if (!reader || !reader->sealed() || reader->front().progress->compacted != 0) continue;
    if (segments.foreign(reader->header())) continue;
    if (!hold) hold = compaction_hold(topic.state(), topic.name());
    if (reader->front().progress->offset > hold->offset) return hold->who;
  }
  return std::nullopt;
}

}  // namespace penstock::api
