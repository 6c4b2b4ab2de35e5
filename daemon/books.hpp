// The books of one group: its dead letters are moved to the DLQ, what nobody asks for is swept, and its state is
// written to disk. Steps of the daemon's thread; none waits for anything but its own checkpoint's flush.
#pragma once

#include <map>
#include <memory>

#include "daemon/letter_writer.hpp"
#include "daemon/persister.hpp"

namespace penstock::daemon {

using TopicPtr = std::shared_ptr<api::Topic>;
using Topics = std::map<std::string, TopicPtr>;  // the bus's, by name; the daemon has each mapped once

class Books {
 public:
  Books(std::shared_ptr<api::Group> group, shm::Sleeper sleeper, const Log& log)
      : group_(std::move(group)), sleeper_(sleeper), log_(log) {}

  const std::string& name() const { return group_->name(); }
  bool deleted() const { return group_->deleted(); }
  // Takes over new topics, changed options. `fresh`: those of `all` that came since the last time.
  Result<void> refresh(const Topics& all, const std::vector<TopicPtr>& fresh);

  // A round of everything below, in the places that do not rest. Ends soon after `deadline`, whatever the group's pages
  // say, which its members write. True: something was moved.
  bool work(std::int64_t now, std::int64_t deadline, std::int64_t checkpoint_every);
  // Before a sleep: puts to rest the places in which nothing is to be saved, which ring when something changes. Returns
  // when the next round is due, though none rings.
  std::int64_t rest(std::int64_t now);
  void wake_all();  // whatever nobody told

  // Moves dead events. True: something was moved, or is left to be moved.
  bool move_letters(std::int64_t now, std::int64_t deadline);
  // Sweeps what has leases, for members that are gone.
  void sweep();
  // Writes what changed since the last time, each once the dead letters it no longer has are on disk. `force`: both
  // copies, where the bus is to rest. What is left after `deadline` comes first the next time.
  void checkpoint(bool force, std::int64_t deadline);

 private:
  // What a place's state looks like, and the wall time minus the monotonic time: another one when the clock was set.
  struct Sight {
    std::uint64_t signature = 0;
    std::int64_t clock = 0;
    bool same(const Sight& other) const;
  };
  // The group's place in a topic. It rests while our bit is in its keepers' mask, where nobody else has one, until its
  // time.
  struct Watch {
    std::shared_ptr<api::GroupState> state;
    api::Feed feed;
    std::int64_t rests_until = 0;  // 0: it does not rest
    std::uint64_t dead_seen = 0;   // the engine's count when all letters had been moved
    Sight saved;                   // when it was saved
    std::vector<std::byte> bytes;  // a snapshot that waits until the DLQ is on disk
    Sight bytes_sight;
    std::uint64_t number = 0;  // of that checkpoint
    std::uint64_t dlq_end = 0;
  };
  Result<void> watch(const TopicPtr& topic);
  bool resting(const Watch& watch, std::int64_t now) const {
    return now < watch.rests_until && sleeper_.listens(watch.state->keepers());
  }
  void put_to_rest(Watch& watch, std::int64_t now);
  bool is_saved(const Watch& watch) const;
  std::int64_t next_round(const Watch& watch, std::int64_t now) const;
  Result<bool> move_one(Watch& watch, const group::CellView& cell);
  Result<void> open_writer(const api::Topic& origin);
  const Watch* queue() const;  // the group's place in its own DLQ; null: there is no DLQ, or not yet for us
  bool is_open(Offset letter) const;
  const api::Topic* dlq() const;  // null: nobody ever appended a letter
  void save(Watch& watch, bool force);
  bool asked(const Watch& watch) const;               // does somebody wait for a checkpoint?
  void keep(Watch& watch, const Sight& sight) const;  // it is saved
  Sight sight(const Watch& watch) const;
  bool dlq_on_disk(const Watch& watch) const;

  std::shared_ptr<api::Group> group_;
  shm::Sleeper sleeper_;
  const Log& log_;
  bool refreshed_ = false;
  std::vector<TopicPtr> missing_;  // wanted, and without a place of the group: tried again
  std::vector<std::unique_ptr<Watch>> watches_;
  std::unique_ptr<LetterWriter> writer_;
  LettersPresent present_;      // letters that were in the DLQ when this daemon opened it
  std::size_t turn_ = 0;        // where the next round of letters begins, so that no topic starves another
  std::size_t saved_turn_ = 0;  // the same of checkpoints
  std::int64_t next_sweep_ = 0, next_checkpoint_ = 0;
  bool rested_ = false;           // everything was saved at the last rest
  std::int64_t quiet_until_ = 0;  // after a failure
  bool letters_told_ = false, state_told_ = false;
};

}  // namespace penstock::daemon
