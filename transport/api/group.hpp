// Groups as handles see them: the options all topics of a group share, and the files that hold its state of each topic.
#pragma once

#include "api/group_place.hpp"
#include "api/topic.hpp"
#include "group/group_topic.hpp"
#include "group/snapshot.hpp"
#include "layout/group.hpp"

namespace penstock::api {

// A group's options and patterns, copied out of shared memory; looked at again when they change.
class Group {
 public:
  // Errc::not_found when there is no such group. With [access], another user's group that has no live side, which he
  // alone can make, is there to be looked at: see live().
  static Result<std::shared_ptr<Group>> open(const StatePtr& state, std::string_view name);
  // Only what is in shared memory already; makes nothing.
  static Result<std::shared_ptr<Group>> look(const StatePtr& state, std::string_view name) { return map(state, name); }
  // Makes the group if it is missing; refuses options that differ from those it has.
  static Result<std::shared_ptr<Group>> join(const StatePtr& state, std::string_view name,
                                             const std::vector<std::string>& patterns, const ConsumerOptions& options);

  const std::string& name() const { return name_; }
  const StatePtr& state() const { return state_; }
  const layout::GroupOptions& options() const { return options_; }
  const std::vector<std::string>& patterns() const { return patterns_; }
  GroupPlace& place() { return place_; }
  bool live() const { return bool(mapping_); }
  bool writable() const { return writable_; }  // false: it is another user's
  std::uint64_t id() const { return file()->group_id; }
  // The topics that have a file in the live side, by their names.
  std::vector<std::string> live_names() const;
  bool deleted() const { return file()->deleted.load(std::memory_order_relaxed) != 0; }
  bool wants(std::string_view topic) const;
  std::string dlq() const { return name_ + ".dlq"; }
  // Of the topics it wants, and of its dead-letter queue, sorted; not all of them need exist.
  std::vector<std::string> topic_names() const;
  // Takes over what others changed. True when something did.
  bool refresh();
  // Under the group's lock: to disk first.
  Result<void> change(const layout::GroupOptions& options, const std::vector<std::string>& patterns);
  // Under the group's lock: handles that have it open see that it is deleted, and it opens for nobody from here on.
  Result<void> mark_deleted();
  // Under the group's lock. Takes away what a group has, its mark last: killed anywhere, whoever comes to the name next
  // does the rest.
  static Result<void> take_away(const State& state, const GroupPlace& place, std::string_view name);

 private:
  layout::GroupFile* file() const { return mapping_ ? mapping_.as<layout::GroupFile>() : from_disk_.get(); }
  Result<void> may_change() const;
  static Result<std::shared_ptr<Group>> make(const StatePtr& state, std::string_view name,
                                             const std::vector<std::string>& patterns, const ConsumerOptions& options);
  static Result<std::shared_ptr<Group>> from_meta(const StatePtr& state, std::string_view name, GroupPlace place);
  static Result<std::shared_ptr<Group>> map(const StatePtr& state, std::string_view name);
  Result<void> recall();
  static Result<std::shared_ptr<Group>> open_locked(const StatePtr& state, std::string_view name,
                                                    const GroupPlace& locked);

  StatePtr state_;
  std::string name_;
  GroupPlace place_;
  shm::Mapping mapping_;
  std::unique_ptr<layout::GroupFile> from_disk_;  // in place of a mapping
  bool writable_ = false;
  std::uint64_t version_ = 0;
  layout::GroupOptions options_;
  std::vector<std::string> patterns_;
};

// What is given replaces what is there.
layout::GroupOptions merged(layout::GroupOptions options, const ConsumerOptions& given);
ConsumerOptions from_layout(const layout::GroupOptions& options);
std::vector<std::string> group_names(const State& state);  // sorted

// The state of one topic of a group.
class GroupState {
 public:
  struct Access {
    group::Member member{layout::kNoSlot, 0};
    bool writable = true;
    bool forget = false;  // a checkpoint that cannot be read is passed over: the group begins anew there
  };
  // Opens the file, making it (from the checkpoint, if there is one) when it is missing.
  static Result<std::shared_ptr<GroupState>> open(const std::shared_ptr<Group>& group, std::string_view topic,
                                                  const Access& access);
  // Only what is there already: makes nothing, locks nothing. Errc::not_found.
  static Result<std::shared_ptr<GroupState>> look(const std::shared_ptr<Group>& group, std::string_view topic) {
    return map(group, topic, {});
  }
  static Result<std::shared_ptr<GroupState>> open_locked(const std::shared_ptr<Group>& group, std::string_view topic,
                                                         const Access& access);
  // As open(), for an operator: one that is not there since another user has to make it is not his to have
  // (Errc::permission), rather than not found.
  static Result<std::shared_ptr<GroupState>> open_for_operator(const std::shared_ptr<Group>& group,
                                                               std::string_view topic, const Access& access);

  // The topic, for who holds the group's lock.
  static Result<std::shared_ptr<Topic>> topic_of(const StatePtr& state, std::string_view topic);

  group::GroupTopic& engine() { return *engine_; }
  const group::GroupTopic& engine() const { return *engine_; }
  layout::GroupTopicControl* control() const { return mapping_.as<layout::GroupTopicControl>(); }
  bool writable() const { return writable_; }  // false: only to be looked at
  Group& group() const { return *group_; }
  const std::string& topic() const { return topic_; }
  shm::Mask& sleepers() const { return control()->sleepers; }
  // Wakes members that sleep until there is something to deliver again, and the daemon.
  void ring() const {
    if (sleepers().load(std::memory_order_seq_cst) != 0) shm::ring_all(group_->state()->live.wake(), sleepers());
    changed();
  }
  // Something was taken or settled: for a daemon that sleeps. After it was; one who dies in between tells nobody.
  void changed() const {
    if (keepers().load(std::memory_order_seq_cst) != 0) shm::ring_all(group_->state()->live.wake(), keepers());
  }
  shm::Mask& keepers() const { return control()->keepers; }
  bool letters() const { return letters_; }

  // Asks the daemon for a checkpoint that has everything settled before the call; the answer is its number. It is on
  // disk when checkpoint_done() is no less.
  std::uint64_t ask_for_checkpoint() const;
  std::uint64_t checkpoint_done() const { return control()->checkpoint_done.load(); }
  int checkpoint_error() const { return int(control()->checkpoint_error.load()); }  // errno; 0: none

 private:
  static Result<std::shared_ptr<GroupState>> map(const std::shared_ptr<Group>& group, std::string_view topic,
                                                 const Access& access);
  static Result<void> create(const std::shared_ptr<Group>& group, std::string_view topic, bool forget);

  std::shared_ptr<Group> group_;
  std::string topic_;
  bool letters_ = false;  // the group's own dead-letter queue
  shm::Mapping mapping_;
  bool writable_ = false;
  std::optional<group::GroupTopic> engine_;
};

// A group's checkpoint of one topic: whose it is, then the engine's snapshot.
void take_checkpoint(const GroupState& state, std::vector<std::byte>& out);
// `both`: into both copies, for a state that is put to rest.
Result<void> write_checkpoint(const GroupState& state, std::span<const std::byte> bytes, bool both);

// What its checkpoint says of a group's place in a topic. Errc::not_found: there is none of this group and this topic.
Result<group::SavedPlaces> saved_places(Group& group, const std::string& topic);

inline group::Instant instant() { return {monotonic_ns(), now_ns()}; }

}  // namespace penstock::api
