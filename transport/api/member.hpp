// One topic of a group, as a member works on it: the engine and the feed, and how an event becomes a delivery.
#pragma once

#include <optional>

#include "api/feed.hpp"
#include "api/group.hpp"

namespace penstock::api {

class MemberTopic {
 public:
  MemberTopic(std::shared_ptr<GroupState> state, Feed feed) : state_(std::move(state)), feed_(std::move(feed)) {}

  struct Work {
    group::Lease lease;
    EventView::Raw event;  // valid until this topic is used again
  };
  struct Ask {
    bool durable_only = false;
    bool execute = false;  // a handler gets it at once: the lease may have begun already
  };
  // A lease of the next event for this member: a due retry, or a fresh one. Nothing: there is none now, and `until`
  // says when to look again at the latest (monotonic nanoseconds).
  Result<std::optional<Work>> take(const Ask& ask, std::int64_t& until);

  // Whether a fresh event stands at the group's cursor.
  bool peek() const {
    const layout::CursorFields cursor = state_->engine().cursor();
    return feed_.glance({cursor.position, cursor.offset});
  }

  // Leases that ran out and leases of the dead come back. Returns what is left to wait for.
  void sweep();
  bool should_sweep(std::int64_t now) const;

  // The checkpoint that will have all that this member settled so far.
  std::uint64_t wanted_checkpoint() {
    if (wanted_checkpoint_ == 0) wanted_checkpoint_ = state_->ask_for_checkpoint();
    return wanted_checkpoint_;
  }
  // Something is being settled: the next one, then.
  void settles() { wanted_checkpoint_ = 0; }

  GroupState& state() { return *state_; }
  const std::shared_ptr<GroupState>& shared_state() const { return state_; }
  const GroupState& state() const { return *state_; }
  Feed& feed() { return feed_; }
  std::uint64_t missed() const { return missed_; }    // by this member
  std::uint64_t damaged() const { return damaged_; }  //

 private:
  Result<std::optional<Work>> take_one(const Ask& ask, std::int64_t& until);
  Result<bool> begin();
  // `again`: something may have become due meanwhile.
  Result<std::optional<Work>> take_fresh(const Ask& ask, std::int64_t now, std::int64_t& until, bool& again);
  bool plain(const EventView::Raw& event) const;
  Result<std::optional<Work>> deliver(group::Lease lease, const Feed::Next& found);
  void count_lost(const Feed::Next& found);
  Result<std::optional<Work>> redeliver(const group::Lease& lease);

  std::shared_ptr<GroupState> state_;
  Feed feed_;
  std::int64_t swept_ = 0, sweep_every_ = 0;
  std::uint64_t missed_ = 0, damaged_ = 0;
  std::uint64_t wanted_checkpoint_ = 0;  // 0: not asked for
  bool changed_ = false;                 // something in the group's state, since others were last told
};

}  // namespace penstock::api
