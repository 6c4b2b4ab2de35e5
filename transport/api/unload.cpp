// Putting a bus's live side away: what it knows goes to disk, and then it goes.
#include "api/group.hpp"

namespace penstock::api {

Result<void> save_everything(const StatePtr& state) {
  for (const std::string& name : list_names(state->live.path() + "/topics")) {
    auto topic = Topic::open_locked(state, name, true);
    if (!topic && topic.error().code() == Errc::incompatible) return tl::unexpected(topic.error());
    if (!topic) continue;
    // Events that are not on disk are lost with the live side: their offsets are not given again.
    const Place end = (*topic)->end();
    if ((*topic)->durable() && (*topic)->durable_end().position < end.position)
      return refuse(Errc::busy,
                    "topic " + name + " has events that are not on disk yet; run penstockd once, it writes them.");
    if (auto settled = settle_offset_bound(**topic); !settled) return settled;
  }
  for (const std::string& name : group_names(*state)) {
    auto group = Group::look(state, name);
    if (!group && group.error().code() == Errc::incompatible) return tl::unexpected(group.error());
    if (!group) continue;  // not in shared memory
    for (const std::string& topic : (*group)->live_names()) {
      auto opened = GroupState::open_locked(*group, topic, {});
      if (!opened && opened.error().code() == Errc::incompatible) return tl::unexpected(opened.error());
      if (!opened) continue;
      std::vector<std::byte> bytes;
      take_checkpoint(**opened, bytes);
      if (auto saved = write_checkpoint(**opened, bytes, true); !saved) return saved;
    }
  }
  return {};
}

Result<void> unload_bus(const std::string& directory) {
  auto state = look_at_bus(directory);
  if (!state) return tl::unexpected(state.error());
  if ((*state)->live.header() == nullptr) {
    auto gone = remove_live(directory);  // a link that leads nowhere
    if (!gone && gone.error().code() != Errc::not_found) return gone;
    return refuse(Errc::not_found, directory + " has nothing in shared memory.");
  }
  if (auto ours = only_owner(directory); !ours) return ours;
  auto opened = open_bus(directory, false);
  if (!opened) return tl::unexpected(opened.error());
  auto lock = BusLock::take(directory);
  if (!lock) return tl::unexpected(lock.error());
  if (auto free = nobody_uses(**opened); !free) return free;
  if (auto saved = save_everything(*opened); !saved) return saved;
  return remove_live(directory);
}

}  // namespace penstock::api
