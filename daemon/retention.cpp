#include "daemon/retention.hpp"

#include <algorithm>
#include <cstdlib>

#include "api/retention.hpp"
#include "storage/segment_reader.hpp"

namespace penstock::daemon {
namespace {

constexpr std::int64_t kJump = 1'000'000'000;                  // less is the clock being kept right
constexpr std::size_t kJumpsMost = 64;                         // then the oldest two count as one, the later
constexpr std::int64_t kTryAgain = 1'000'000'000;              // where a segment could not be looked at or removed
constexpr std::uint64_t kLongest = 3'000'000'000'000'000'000;  // a hundred years: added to a time, no overflow
constexpr int kLooks = 1000;                                   // at a cursor that members move meanwhile

}  // namespace

bool Retention::look_at_clock(std::int64_t now, std::int64_t wall, Persister& persister) {
  const bool set = jumps_.set(now, wall);
  jumps_.look(now, wall);
  if (set)
    for (const auto& topic : persister.topics()) topic->kept().look_at = 0;
  return set;
}

std::int64_t Retention::step(std::int64_t wall, Persister& persister) {
  std::int64_t next = INT64_MAX;
  for (const auto& topic : persister.topics()) next = std::min(next, retain(*topic, wall));
  return next;
}

std::int64_t Retention::retain(TopicPersister& persister, std::int64_t wall) {
  const api::Topic& topic = persister.topic();
  TopicPersister::Kept& kept = persister.kept();
  if (topic.deleted()) return INT64_MAX;
  // Read again when somebody changed it; while it cannot be read, nothing is given up.
  const std::uint64_t version = topic.control()->meta_version.load(std::memory_order_seq_cst);
  if (version != kept.meta_version) {
    const auto meta = api::read_topic_meta(*topic.state(), topic.name());
    if (!meta) return INT64_MAX;
    kept.options = meta->options;
    kept.options.retention_ns = std::min(kept.options.retention_ns, kLongest);
    if (version % 2 == 0) kept.meta_version = version;
    kept.look_at = 0;
  }
  if (kept.options.retention_bytes == 0 && kept.options.retention_ns == 0) return INT64_MAX;
  const std::int64_t now = api::monotonic_ns();
  if (now >= kept.look_at) kept.look_at = give_up_segments(persister, now, wall);
  return kept.look_at;
}

// Fresh events go with their segments, unless the topic is told to keep them: groups that have not come to them are
// moved on behind, so that nobody takes one that goes. Under the bus lock, where without [access] no group moves back
// nor makes its place.
void Retention::give_up(api::GroupState& state, api::Place end) const {
  group::GroupTopic& engine = state.engine();
  if (state.letters() || !state.writable()) return;
  // With [access] it may be its user who is about to say where it begins.
  if (!engine.started() && !state_->access().shared) engine.start({end.offset, end.position});
  for (int look = 0; look < kLooks && engine.started(); ++look) {
    const layout::CursorFields seen = engine.cursor();
    if (seen.offset >= end.offset) return;
    if (!engine.skip(seen, {end.offset, end.position}, group::GroupTopic::Skip::gap)) continue;
    state.control()->missed.fetch_add(end.offset - seen.offset, std::memory_order_relaxed);
    state.changed();  // it may be resting
    return;
  }
}

// When the oldest segment will be too old, should nothing be written and nobody set the clock. What the ring still
// holds stays until it goes on, which is told.
std::int64_t Retention::next_look(const storage::SegmentSet& segments, std::int64_t age, std::int64_t now,
                                  std::int64_t wall) const {
  if (age == 0 || segments.size() < 2) return INT64_MAX;
  const auto reader = storage::SegmentReader::open(segments.path(0), layout::kPage);
  if (!reader || !reader->front().progress) return now + kTryAgain;
  const std::uint64_t newest = std::min(reader->front().progress->last_time_ns, 2 * kLongest);
  const std::int64_t left = std::int64_t(newest) - jumps_.before(now, wall, age);
  return left < 0 ? INT64_MAX : std::min(now + left + 1, jumps_.until(now, age));
}

// Oldest first, never the one that is being written. Nothing goes that a group needs by what is in shared memory or by
// what a power cut would bring back. Looked at first, so that nobody is moved on behind what stays. Who took an event
// before his group was moved on is seen by the second look; checkpoints are written by this thread alone, so one look
// at them is enough.
std::int64_t Retention::give_up_segments(TopicPersister& persister, std::int64_t now, std::int64_t wall) {
  const api::Topic& topic = persister.topic();
  const layout::TopicOptions& options = persister.kept().options;
  const std::int64_t later = now + kTryAgain, age = std::int64_t(options.retention_ns);
  storage::SegmentSet segments(topic.directory(), topic.header().topic_id);
  if (!segments.refresh()) return later;
  std::vector<api::Place> ends = api::segments_given_up(topic, segments, options, jumps_.before(now, wall, age));
  if (ends.empty()) return next_look(segments, age, now, wall);
  const api::Need need = api::retained_need(options);
  const auto leave_what_is_needed = [&](bool saved) {
    api::Hold hold = api::hold_of(state_, topic.name(), need, saved);
    while (!ends.empty() && ends.back().offset > hold.offset) ends.pop_back();
    return std::move(hold.states);
  };
  leave_what_is_needed(true);
  if (ends.empty()) return later;
  const auto held = api::BusLock::take(state_->directory, 0);
  if (!held) return later;  // by somebody who is busy
  const auto states = leave_what_is_needed(false);
  if (ends.empty()) return later;
  for (const auto& state : states) give_up(*state, ends.back());
  leave_what_is_needed(false);
  for (std::size_t i = 0; i < ends.size(); ++i) {
    if (auto removed = segments.remove(i); !removed) {
      log_(1, "topic " + topic.name() + ": " + segments.path(i) + ": " + removed.error().message());
      return later;
    }
  }
  return now;  // and the next one?
}

bool ClockJumps::set(std::int64_t now, std::int64_t wall) const {
  return clock_ && std::abs(wall - now - *clock_) >= kJump;
}

void ClockJumps::look(std::int64_t now, std::int64_t wall) {
  const std::int64_t clock = wall - now, ahead = clock - clock_.value_or(clock);
  clock_ = clock;
  if (ahead < kJump) return;
  jumps_.push_back({now, ahead});
  if (jumps_.size() <= kJumpsMost) return;
  jumps_[1].ahead += jumps_[0].ahead;
  jumps_.erase(jumps_.begin());
}

std::int64_t ClockJumps::before(std::int64_t now, std::int64_t wall, std::int64_t age) const {
  std::int64_t out = wall - age;
  for (const Jump& jump : jumps_) out -= now - jump.at <= age ? jump.ahead : 0;
  return out;
}

std::int64_t ClockJumps::until(std::int64_t now, std::int64_t age) const {
  std::int64_t out = INT64_MAX;
  for (const Jump& jump : jumps_)
    if (now - jump.at <= age) out = std::min(out, jump.at + age + 1);
  return out;
}

}  // namespace penstock::daemon
