// Changing groups, and their dead letters.
#include <penstock/bus.hpp>

#include "api/feed.hpp"
#include "api/group.hpp"

namespace penstock {

using api::refuse;

namespace {

struct Letters {
  std::shared_ptr<api::Group> group;
  std::shared_ptr<api::Topic> topic;
  std::shared_ptr<api::GroupState> state;
};

// Errc::not_found when the group never had a dead letter.
Result<Letters> letters_of(const api::StatePtr& state, std::string_view name) {
  Letters out;
  auto group = api::Group::open(state, name);
  if (!group) return tl::unexpected(group.error());
  out.group = std::move(*group);
  auto topic = api::Topic::open(state, out.group->dlq(), false);
  if (!topic) return tl::unexpected(topic.error());
  out.topic = std::move(*topic);
  auto opened = api::GroupState::open_for_operator(out.group, out.group->dlq(), {});
  if (!opened) return tl::unexpected(opened.error());
  out.state = std::move(*opened);
  return out;
}

// The letter at this offset of the DLQ.
Result<api::Feed::Next> letter_at(api::Feed& feed, Offset letter) {
  const std::string title = "dead letter " + std::to_string(letter) + " of " + feed.topic().name();
  auto place = feed.start(StartAt::offset(letter));
  if (!place) return tl::unexpected(place.error());
  auto found = feed.at(*place);
  if (!found) return found;
  if (found->kind != api::Feed::Kind::event || found->event.offset != letter) return refuse(Errc::not_found, title);
  return found;
}

}  // namespace

Result<void> Bus::set_group(std::string_view name, const std::vector<std::string>& patterns,
                            const ConsumerOptions& options) {
  if (auto good = state_->usable(); !good) return tl::unexpected(good.error());
  auto group = api::Group::open(state_, name);
  if (!group) return tl::unexpected(group.error());
  auto lock = api::GroupLock::take(*state_, (*group)->place());
  if (!lock) return tl::unexpected(lock.error());
  if (options.dedupe && *options.dedupe != (*group)->options().dedupe &&
      group::dedupe_entries_for(*options.dedupe) > group::dedupe_entries_for((*group)->options().dedupe))
    return refuse(Errc::unsupported, "group " + std::string(name) + ": a larger dedupe window needs a new group");
  const layout::GroupOptions next = api::merged((*group)->options(), options);
  return (*group)->change(next, patterns.empty() ? (*group)->patterns() : patterns);
}

Result<void> Bus::pause_group(std::string_view name, bool paused) {
  if (auto good = state_->usable(); !good) return tl::unexpected(good.error());
  auto group = api::Group::open(state_, name);
  if (!group) return tl::unexpected(group.error());
  auto lock = api::GroupLock::take(*state_, (*group)->place());
  if (!lock) return tl::unexpected(lock.error());
  layout::GroupOptions next = (*group)->options();
  next.paused = paused ? 1 : 0;
  return (*group)->change(next, (*group)->patterns());
}

Result<void> Bus::seek_group(std::string_view name, StartAt to) {
  if (auto good = state_->usable(); !good) return tl::unexpected(good.error());
  auto group = api::Group::open(state_, name);
  if (!group) return tl::unexpected(group.error());
  for (const std::string& topic_name : api::topic_names(*state_)) {
    if (!(*group)->wants(topic_name)) continue;
    auto topic = api::Topic::open(state_, topic_name, false);
    if (!topic) continue;
    auto place = api::Feed(*topic, false).start(to);
    if (!place) return tl::unexpected(place.error());
    // A place is given to the group, so one that cannot be read is not missed.
    auto state = api::GroupState::open_for_operator(*group, topic_name, {.forget = true});
    if (!state) return tl::unexpected(state.error());
    auto lock = api::GroupLock::take(*state_, (*group)->place());
    if (!lock) return tl::unexpected(lock.error());
    const bool back = place->offset < (*state)->engine().cursor().offset;
    (*state)->engine().start({place->offset, place->position});
    (*state)->engine().seek({place->offset, place->position}, back);
    // What it let go must not be in a checkpoint any more, though the cursor may be where it was.
    (*state)->ask_for_checkpoint();
  }
  state_->announce_groups();
  return {};
}

Result<void> Bus::delete_group(std::string_view name) {
  if (auto good = state_->usable(); !good) return tl::unexpected(good.error());
  auto group = api::Group::open(state_, name);
  // One whose books cannot be read can still be removed.
  if (!group && group.error().code() != Errc::corrupt) return tl::unexpected(group.error());
  auto place = api::GroupPlace::find(*state_, name);
  if (!place) return tl::unexpected(place.error());
  auto lock = api::GroupLock::take(*state_, *place);
  if (!lock) return tl::unexpected(lock.error());
  if (group)
    if (auto marked = (*group)->mark_deleted(); !marked) return marked;
  return api::Group::take_away(*state_, *place, name);
}

Result<void> Bus::dead_letters(std::string_view name,
                               const std::function<bool(const EventView&, const DeadLetter&)>& visit) const {
  if (auto good = state_->usable(); !good) return tl::unexpected(good.error());
  auto group = api::Group::open(state_, name);
  if (!group) return tl::unexpected(group.error());
  if (!api::topic_exists(*state_, (*group)->dlq())) return {};  // none of its events ever failed for good
  auto letters = letters_of(state_, name);
  if (!letters) return tl::unexpected(letters.error());
  api::Feed feed(letters->topic, false);
  auto place = feed.first();
  if (!place) return tl::unexpected(place.error());
  const Offset end = letters->topic->end().offset;
  std::uint64_t damaged = 0;
  while (place->offset < end) {
    auto found = feed.at(*place);
    if (!found) return tl::unexpected(found.error());
    damaged += found->damaged;
    *place = found->next;
    if (found->kind != api::Feed::Kind::event) break;
    if (letters->state->engine().marked(found->event.offset)) continue;
    const EventView event(found->event);
    if (const auto letter = DeadLetter::of(event); letter && !visit(event, *letter)) return {};
  }
  if (damaged != 0)
    return refuse(Errc::corrupt, std::to_string(damaged) + " offsets of " + letters->topic->name() +
                                     " cannot be read; run `penstock verify`.");
  return {};
}

Result<void> Bus::redrive(std::string_view name, Offset offset) {
  if (auto good = state_->usable(); !good) return tl::unexpected(good.error());
  auto letters = letters_of(state_, name);
  if (!letters) return tl::unexpected(letters.error());
  api::Feed feed(letters->topic, false);
  auto found = letter_at(feed, offset);
  if (!found) return tl::unexpected(found.error());
  auto lock = api::GroupLock::take(*state_, letters->group->place());
  if (!lock) return tl::unexpected(lock.error());
  group::Redrive redrive(letters->state->engine());
  auto given =
      redrive.give_back(offset, found->event.position, {found->event.id_low, found->event.id_high}, api::instant());
  if (!given) return tl::unexpected(api::name(given.error(), "dead letter " + std::to_string(offset)));
  if (!*given)
    return refuse(Errc::not_found, "dead letter " + std::to_string(offset) + " was redriven or purged before.");
  letters->state->ring();
  return {};
}

Result<void> Bus::purge(std::string_view name, Offset offset) {
  if (auto good = state_->usable(); !good) return tl::unexpected(good.error());
  auto letters = letters_of(state_, name);
  if (!letters) return tl::unexpected(letters.error());
  auto lock = api::GroupLock::take(*state_, letters->group->place());
  if (!lock) return tl::unexpected(lock.error());
  if (letters->state->engine().marked(offset))
    return refuse(Errc::not_found, "dead letter " + std::to_string(offset) + " was redriven or purged before.");
  auto marked = letters->state->engine().mark(offset);
  if (marked) static_cast<void>(letters->state->ask_for_checkpoint());  // no other count tells of it
  return marked;
}

}  // namespace penstock
