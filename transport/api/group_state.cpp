// The files of a group's state, one a topic: made from the checkpoint when they are missing.
#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <optional>

#include "api/feed.hpp"
#include "api/group.hpp"
#include "group/pattern.hpp"
#include "io/file.hpp"
#include "storage/segment.hpp"
#include "storage/segment_set.hpp"

namespace penstock::api {
namespace {

// No window is larger, so no file is.
constexpr std::uint64_t kBytesMost =
    layout::kDedupeAt + std::uint64_t{layout::kDedupeMax} * 4 * sizeof(layout::DedupeEntry);

// What a checkpoint begins with.
struct CheckpointOwner {
  std::uint64_t topic_id;
  std::uint64_t group_id;
};

// Offsets that were given before a power cut, and lost in it: what a checkpoint says of them is about other events than
// the log's, and where it says they stand others stand now. They lie between the end of a segment, which recovery
// sealed, and the beginning of the next.
class Holes {
 public:
  explicit Holes(const Topic& topic)
      : topic_(topic),
        segments_(topic.directory(), topic.header().topic_id),
        listed_(segments_.refresh().has_value()) {}
  // Where the log goes on, for an offset in a hole.
  std::optional<group::Place> behind(std::uint64_t offset) {
    if (!listed_ || offset >= topic_.header().base_offset) return std::nullopt;
    const group::Place base{topic_.header().base_offset, topic_.header().base_position};
    if (segments_.empty()) return base;
    const auto index = segments_.find(offset);
    if (!index || !look_at(*index) || offset < end_) return std::nullopt;
    return *index + 1 == segments_.size() ? base : next_;
  }

 private:
  // Nothing is known of a segment that is damaged, or of what comes behind it.
  bool look_at(std::size_t index) {
    if (seen_ == index) return known_;
    seen_ = index;
    const auto here = front(index);
    known_ = here && here->progress && here->progress->sealed == 1;
    if (known_) end_ = here->progress->offset;
    if (!known_ || index + 1 == segments_.size()) return known_;
    const auto next = front(index + 1);
    known_ = next && next->header;
    if (known_) next_ = {next->header->first_offset, next->header->first_position};
    return known_;
  }
  std::optional<storage::Front> front(std::size_t index) const {
    const auto fd = io::open_nofollow(segments_.path(index), O_RDONLY);
    if (!fd) return std::nullopt;
    auto front = storage::read_front(fd->get());
    if (!front || (front->header && segments_.foreign(*front->header))) return std::nullopt;
    return std::move(*front);
  }

  const Topic& topic_;
  storage::SegmentSet segments_;
  bool listed_;
  std::optional<std::size_t> seen_;
  bool known_ = false;
  std::uint64_t end_ = 0;  // the offset after the segment's last
  group::Place next_;      // where the one behind it begins
};

// Growing is rare, so the file is opened for it each time: ten thousand topics must not cost ten thousand descriptors.
group::Allocate allocator(std::string path) {
  return [path = std::move(path)](std::size_t offset, std::size_t bytes) {
    auto fd = shm::open_file(path, true);
    return fd && shm::allocate(fd->get(), offset, bytes);
  };
}

}  // namespace

Result<std::shared_ptr<Topic>> GroupState::topic_of(const StatePtr& state, std::string_view topic) {
  // Without [access] the group's lock is the bus's.
  return state->access().shared ? Topic::open(state, topic, false) : Topic::open_locked(state, topic, false);
}

Result<std::shared_ptr<GroupState>> GroupState::map(const std::shared_ptr<Group>& group, std::string_view topic,
                                                    const Access& access) {
  const GroupPlace& place = group->place();
  const std::string path = place.live_path() + "/" + std::string(topic);
  bool writable = access.writable;
  auto fd = place.open(std::string(topic), writable);
  if (!fd) return tl::unexpected(fd.error());
  if (access.member.slot != layout::kNoSlot && !writable)
    return refuse(Errc::permission, path + ": this group belongs to another user");
  auto size = shm::size_of(*fd);
  if (!size || *size < layout::kGroupTopicBytes || *size > kBytesMost) return refuse(Errc::corrupt, path);
  auto mapping = place.map(*fd, writable, *size);
  if (!mapping) return tl::unexpected(api::name(mapping.error(), path));
  auto out = std::make_shared<GroupState>();
  out->group_ = group;
  out->topic_ = topic;
  out->letters_ = topic == group->dlq();
  out->mapping_ = std::move(*mapping);
  out->writable_ = writable;
  const layout::Preamble& preamble = out->control()->header.preamble;
  if (auto good = shm::check(preamble, layout::kMagicGroupTopic, group->state()->live.identity(), writable); !good)
    return tl::unexpected(api::name(good.error(), path));
  // Left behind by a topic or a group of the same name that was deleted: made anew.
  const layout::GroupTopicHeader& header = out->control()->header;
  auto live_topic = Topic::look(group->state(), topic);
  if (header.group_id != group->id() || (live_topic && (*live_topic)->header().topic_id != header.topic_id))
    return tl::unexpected(Error(Errc::not_found));
  group::Setup setup;
  setup.member = access.member;
  setup.pid = std::uint32_t(::getpid());
  setup.options = &group->options();
  setup.group = group->name().c_str();
  setup.topic = out->topic_.c_str();
  setup.allocate = writable ? allocator(place.live(std::string(topic))) : group::Allocate{};
  setup.marks = out->letters();
  auto engine = group::GroupTopic::open({out->mapping_.data(), out->mapping_.size()}, std::move(setup));
  if (!engine) return tl::unexpected(api::name(engine.error(), path));
  out->engine_.emplace(std::move(*engine));
  return out;
}

// Under the group's lock. The file gets its name when it is whole.
Result<void> GroupState::create(const std::shared_ptr<Group>& group, std::string_view topic_name, bool forget) {
  const StatePtr& state = group->state();
  auto topic = topic_of(state, topic_name);
  if (!topic) return tl::unexpected(topic.error());
  GroupPlace& place = group->place();
  const std::string path = place.live_path() + "/" + std::string(topic_name);
  auto fd = place.create(*state, offsetof(layout::GroupTopicControl, occupied));
  if (!fd) return tl::unexpected(api::name(fd.error(), path));
  const auto give_up = [&](const Error& error) { return tl::unexpected(api::name(error, path)); };
  const std::uint64_t entries = group::dedupe_entries_for(group->options().dedupe);
  if (::ftruncate(fd->get(), off_t(group::file_bytes(entries))) != 0) return give_up(shm::from_errno(errno));
  auto mapping = shm::Mapping::of(*fd, true, group::file_bytes(entries));
  if (!mapping) return give_up(mapping.error());
  const std::span<std::byte> bytes(mapping->data(), mapping->size());
  const shm::Identity& identity = state->live.identity();
  group::format(bytes, identity.bus_id, identity.boot_id, group->id(), (*topic)->header().topic_id, entries,
                group->name(), topic_name);
  // Events of a memory topic's earlier life are gone with it, and so is what was known of them.
  auto saved = place.checkpoint(*state, topic_name).read();
  // One of a topic or group of the same name that was deleted is nobody's.
  const CheckpointOwner owner{(*topic)->header().topic_id, group->id()};
  const bool ours = saved && saved->size() >= sizeof owner && std::memcmp(saved->data(), &owner, sizeof owner) == 0;
  if (ours && (*topic)->durable()) {
    group::Setup setup;
    setup.options = &group->options();
    setup.marks = group->dlq() == topic_name;
    setup.allocate = [&fd](std::size_t offset, std::size_t size) {
      return bool(shm::allocate(fd->get(), offset, size));
    };
    auto engine = group::GroupTopic::open(bytes, std::move(setup));
    if (!engine) return give_up(engine.error());
    const Place end = (*topic)->end();
    Holes holes(**topic);
    const auto lost = [&holes](std::uint64_t offset) { return holes.behind(offset); };
    if (auto restored =
            engine->restore(std::span(*saved).subspan(sizeof owner), {end.offset, end.position}, instant(), lost);
        !restored)
      return give_up(restored.error());
  } else if (!saved && saved.error().code() != Errc::not_found && !forget) {
    return refuse(saved.error().code(), state->group_directory(group->name()) + "/" + std::string(topic_name) +
                                            ".state.a and .b, the place of group " + group->name() +
                                            ", cannot be read; give it one with `penstock group seek`.");
  }
  return place.give_name(*fd, std::string(topic_name));
}

void take_checkpoint(const GroupState& state, std::vector<std::byte>& out) {
  std::vector<std::byte> snapshot;
  state.engine().snapshot(snapshot, instant());
  const layout::GroupTopicHeader& header = state.control()->header;
  const CheckpointOwner owner{header.topic_id, header.group_id};
  out.resize(sizeof owner + snapshot.size());
  std::memcpy(out.data(), &owner, sizeof owner);
  std::memcpy(out.data() + sizeof owner, snapshot.data(), snapshot.size());
}

Result<void> write_checkpoint(const GroupState& state, std::span<const std::byte> bytes, bool both) {
  auto blob = state.group().place().checkpoint(*state.group().state(), state.topic());
  if (auto written = both ? blob.write_both(bytes, true) : blob.write(bytes, true); !written)
    return tl::unexpected(name(written.error(), "the checkpoint of group " + state.group().name()));
  return {};
}

Result<group::SavedPlaces> saved_places(Group& group, const std::string& topic) {
  const State& state = *group.state();
  auto saved = group.place().checkpoint(state, topic).read();
  if (!saved) return tl::unexpected(saved.error());
  CheckpointOwner owner{};
  if (saved->size() < sizeof owner) return tl::unexpected(Error(Errc::corrupt));
  std::memcpy(&owner, saved->data(), sizeof owner);
  const auto meta = read_topic_meta(state, topic);
  if (owner.group_id != group.id() || (meta && meta->topic_id != owner.topic_id))
    return tl::unexpected(Error(Errc::not_found));
  return group::saved_places(std::span(*saved).subspan(sizeof owner));
}

// The number is given before the state is read: what was settled before this looks at it is in the next one.
std::uint64_t GroupState::ask_for_checkpoint() const {
  const std::uint64_t wanted = control()->checkpoint_begun.load() + 1;
  std::uint64_t asked = control()->checkpoint_asked.load();
  while (asked < wanted && !control()->checkpoint_asked.compare_exchange_weak(asked, wanted)) {
  }
  ring();
  return wanted;
}

Result<std::shared_ptr<GroupState>> GroupState::open_locked(const std::shared_ptr<Group>& group, std::string_view topic,
                                                            const Access& access) {
  auto state = map(group, topic, access);
  if (state || state.error().code() != Errc::not_found) return state;
  if (!group->place().ours()) return state;
  if (auto made = create(group, topic, access.forget); !made) return tl::unexpected(made.error());
  return map(group, topic, access);
}

Result<std::shared_ptr<GroupState>> GroupState::open(const std::shared_ptr<Group>& group, std::string_view topic,
                                                     const Access& access) {
  auto state = map(group, topic, access);
  if (state || state.error().code() != Errc::not_found) return state;
  if (!group->place().ours())
    return refuse(Errc::not_found, "the place of group " + group->name() + " in " + std::string(topic));
  auto lock = GroupLock::take(*group->state(), group->place());
  if (!lock) return tl::unexpected(lock.error());
  return open_locked(group, topic, access);
}

Result<std::shared_ptr<GroupState>> GroupState::open_for_operator(const std::shared_ptr<Group>& group,
                                                                  std::string_view topic, const Access& access) {
  auto state = open(group, topic, access);
  if (state || state.error().code() != Errc::not_found || group->place().ours()) return state;
  return group->place().refuse_others(GroupPlace::kNotMade);
}

}  // namespace penstock::api
