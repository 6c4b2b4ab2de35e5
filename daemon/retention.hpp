// Retention: the oldest segments of a topic go when there are too many bytes or they are too old, and no group needs
// them. Belongs to the daemon's thread, as the persister does, whose topics it looks at.
#pragma once

#include <optional>
#include <vector>

#include "api/group.hpp"
#include "daemon/persister.hpp"
#include "storage/segment_set.hpp"

namespace penstock::daemon {

// How far somebody has set the wall clock ahead, and when. Events seem older by that than they are, until the jump
// itself is as old as what they are kept for; set back, they only seem younger.
class ClockJumps {
 public:
  bool set(std::int64_t now, std::int64_t wall) const;  // somebody did, ahead or back, since the last look
  void look(std::int64_t now, std::int64_t wall);       // now and then
  // Events stamped earlier are older than this.
  std::int64_t before(std::int64_t now, std::int64_t wall, std::int64_t age) const;
  // When that is no longer so many nanoseconds ago, though nobody sets the clock.
  std::int64_t until(std::int64_t now, std::int64_t age) const;

 private:
  struct Jump {
    std::int64_t at = 0, ahead = 0;
  };
  std::vector<Jump> jumps_;
  std::optional<std::int64_t> clock_;  // wall minus monotonic time when it was last looked at
};

class Retention {
 public:
  Retention(api::StatePtr state, const Log& log) : state_(std::move(state)), log_(log) {}

  // True: somebody set the clock since the last look, so what was to be done when has to be reckoned anew.
  bool look_at_clock(std::int64_t now, std::int64_t wall, Persister& persister);
  // Deletes what is to go. Returns when there may be more, should nothing be written until then and nobody set the
  // clock; by the clock that nobody sets. `wall`: the time by the wall clock.
  std::int64_t step(std::int64_t wall, Persister& persister);
  const ClockJumps& jumps() const { return jumps_; }

 private:
  std::int64_t retain(TopicPersister& persister, std::int64_t wall);
  std::int64_t give_up_segments(TopicPersister& persister, std::int64_t now, std::int64_t wall);
  std::int64_t next_look(const storage::SegmentSet& segments, std::int64_t age, std::int64_t now,
                         std::int64_t wall) const;
  void give_up(api::GroupState& state, api::Place end) const;

  api::StatePtr state_;
  const Log& log_;
  ClockJumps jumps_;
};

}  // namespace penstock::daemon
