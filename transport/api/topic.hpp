// One topic as a handle sees it: its mapping, its ring, and who may be asked about the other handles. Each handle has
// its own; one thread's.
#pragma once

#include <map>
#include <unordered_map>
#include <unordered_set>

#include "api/state.hpp"
#include "layout/segment.hpp"
#include "log/publisher.hpp"
#include "storage/blob.hpp"

namespace penstock::api {

struct Place {  // the next event a reader expects
  std::uint64_t position = 0;
  std::uint64_t offset = 0;
  friend bool operator==(const Place&, const Place&) = default;
};

class Topic final : public log::Witness, public log::Neighbours {
 public:
  // Opens the topic, making its live file from what is on disk when it is missing and this process may.
  // Errc::not_found.
  static Result<std::shared_ptr<Topic>> open(const StatePtr& state, std::string_view name, bool writable);
  // The same while the caller holds the bus lock.
  static Result<std::shared_ptr<Topic>> open_locked(const StatePtr& state, std::string_view name, bool writable);

  // Only what is there already, mapped read-only: makes nothing, locks nothing.
  static Result<std::shared_ptr<Topic>> look(const StatePtr& state, std::string_view name) {
    return map(state, name, false);
  }

  const std::string& name() const { return name_; }
  const StatePtr& state() const { return state_; }
  const log::Ring& ring() const { return ring_; }
  const layout::TopicHeader& header() const { return ring_.control->header; }
  const layout::TopicControl* control() const { return ring_.control; }
  layout::TopicControl* writable() const { return mapping_.as<layout::TopicControl>(); }
  shm::Mask& mask() const { return state_->live.mask(header().ordinal); }
  // Apart from the other, which every publish rings.
  shm::Mask& disk_mask() const { return state_->live.disk_mask(header().ordinal); }
  void ring_all() const;  // both
  void listen(shm::Listening& all) const;
  bool durable() const { return header().options.durability == layout::Durability::disk; }
  // Readers hold producers up: a memory topic, unless it drops its oldest events.
  bool held_by_readers() const { return !durable() && header().options.full != layout::FullPolicy::drop_oldest; }
  // Errc::deleted from here on for whoever opens it; handles that have it open see it too.
  void mark_deleted() { writable()->deleted.store(1, std::memory_order_seq_cst); }
  bool deleted() const { return ring_.control->deleted.load(std::memory_order_relaxed) != 0; }
  std::uint64_t max_payload() const;
  std::string directory() const { return state_->topic_directory(name_); }

  Place end() const;          // where the next claim will be
  Place durable_end() const;  // everything before is on disk
  Place oldest() const;       // the oldest place in the ring that is surely intact; may be stale by the time it is used

  // Where to begin to read forwards, at the latest, for the event of this offset or for the first as young as this
  // time: found backwards from a place that is a claim's first line or the tail. Nothing when the ring has not all of
  // that way. Stamps are taken by many producers, so the last second's are looked at one by one.
  std::optional<Place> seek_back(Place from, Offset wanted);
  std::optional<Place> seek_back(Place from, Timestamp wanted);
  static std::array<log::Witness::IntentCopy, 2> intents_of(const shm::HandleCopy& copy);

  // log::Witness
  bool dead(std::uint32_t slot, std::uint32_t incarnation) override;
  std::optional<std::array<IntentCopy, 2>> intents(std::uint32_t slot) override;
  std::uint32_t slots() override { return state_->live.handles().slots(); }
  // log::Neighbours
  const layout::HandlePage* page(std::uint32_t slot) override;

 private:
  template <class Reached>
  std::optional<Place> back_until(Place from, Reached reached);
  static Result<std::shared_ptr<Topic>> map(const StatePtr& state, std::string_view name, bool writable);

  StatePtr state_;
  std::string name_;
  shm::Mapping mapping_;
  log::Ring ring_;
  std::unordered_map<std::uint32_t, std::uint32_t> dead_;  // slot: the incarnation that is proved dead
  std::uint32_t asked_slot_ = layout::kNoSlot;             // who was alive when last asked
  std::int64_t asked_ns_ = 0;
  std::unordered_map<std::uint32_t, shm::Mapping> pages_;
};

// topic.meta on disk.
storage::Blob topic_meta_blob(const State& state, std::string_view name);
Result<layout::TopicMeta> read_topic_meta(const State& state, std::string_view name);
Result<void> write_topic_meta(const State& state, const layout::TopicMeta& meta, bool sync);
bool topic_exists(const State& state, std::string_view name);
std::vector<std::string> topic_names(const State& state);  // sorted
// Those that the patterns want; where none of them is a pattern no directory is read, and one may not exist.
std::vector<std::string> topic_names(const State& state, const std::vector<std::string>& patterns);

void make_all_live(const StatePtr& state);  // the live files of all topics; call under the bus lock
// Errc::permission for who may only consume.
Result<void> may_write(const State& state, const std::string& title);
// Errc::invalid_argument: not a topic to be compacted.
Result<void> may_compact(std::string_view name, bool durable);
Result<void> create_topic(const StatePtr& state, std::string_view name, const TopicOptions& options);
Result<void> delete_topic(const StatePtr& state, std::string_view name);

// The offset after the last event in a topic's segments; 0 when there are none.
Place end_on_disk(const std::string& directory, std::uint64_t topic_id);

// Raises the bound of offsets that may be given, on disk first. Waits for the bus lock at most this long.
Result<void> raise_offset_bound(Topic& topic, std::int64_t timeout_ns = 30'000'000'000);
bool offsets_run_low(const Topic& topic);  // less than half a step is left
// Writes down that nothing was given beyond the end; only while no producer lives. Call under the bus lock.
Result<void> settle_offset_bound(Topic& topic);

// A handle whose slot nobody needs any more.
Result<shm::Handle> acquire_handle(const StatePtr& state, layout::HandleKind kind, std::uint64_t topic_id,
                                   std::string_view target);

// The ids of topics to which a living handle publishes.
std::unordered_set<std::uint64_t> published_topics(const State& state);

// Where some claims of a topic end, as a producer has seen when it needed room: while nobody else publishes it need not
// walk there.
class Ends {
 public:
  void note(std::uint64_t tail, std::uint64_t apart);  // ever higher ones; those that are not so far apart are left out
  // The last of them up to `about`, or one not much behind that; not below `least`.
  std::optional<std::uint64_t> near(std::uint64_t least, std::uint64_t about) const;

 private:
  std::array<std::uint64_t, 16> ends_{};
  std::uint64_t last_ = 0;
  std::size_t next_ = 0;
};

// Raises a memory topic's limit as far as its readers, groups and open claims allow. True: there is more room now.
// `ends`: of the producer in this slot, if it has no open claim.
bool make_room(Topic& topic, std::uint64_t wanted_end, std::uint32_t slot, Ends* ends);
// Which reader or group holds up the producers of a memory topic whose ring is nearly full.
std::optional<std::string> held_by(Topic& topic);

layout::TopicOptions to_layout(const TopicOptions& options);
TopicOptions from_layout(const layout::TopicOptions& options);

}  // namespace penstock::api
