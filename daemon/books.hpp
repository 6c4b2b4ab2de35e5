// The books of one group: its dead letters are moved to the DLQ, what nobody asks for is swept, and its state is
// written to disk. Steps of the daemon's thread; none waits for anything but its own checkpoint's flush.
#pragma once

#include <memory>

#include "daemon/letter_writer.hpp"
#include "daemon/persister.hpp"

namespace penstock::daemon {

class Books {
 public:
  Books(std::shared_ptr<api::Group> group, const Log& log) : group_(std::move(group)), log_(log) {}

  const std::string& name() const { return group_->name(); }
  bool deleted() const { return group_->deleted(); }
  // Takes over new topics, changed options.
  Result<void> refresh();
  void listen(const shm::Sleeper& sleeper) const;

  // A round of everything below. Ends soon after `deadline`, whatever the group's pages say, which its members write;
  // True: something was moved.
  bool work(std::int64_t now, std::int64_t deadline, std::int64_t checkpoint_every);

  // Moves dead events. True: something was moved, or is left to be moved.
  bool move_letters(std::int64_t now, std::int64_t deadline);
  // Sweeps what has leases, for members that are gone.
  void sweep();
  // Writes what changed since the last time, each once the dead letters it no longer has are on disk. `force`: both
  // copies, where the bus is to rest.
  void checkpoint(bool force);

 private:
  struct Watch {
    std::shared_ptr<api::GroupState> state;
    api::Feed feed;
    std::uint64_t dead_seen = 0;   // the engine's count when all letters had been moved
    std::uint64_t saved = 0;       // what the state looked like when it was saved
    std::vector<std::byte> bytes;  // a snapshot that waits until the DLQ is on disk
    std::uint64_t bytes_signature = 0;
    std::uint64_t number = 0;  // of that checkpoint
    std::uint64_t dlq_end = 0;
  };
  Result<void> watch(const std::string& topic);
  Result<bool> move_one(Watch& watch, const group::CellView& cell);
  Result<void> open_writer(const api::Topic& origin);
  const Watch* queue() const;  // the group's place in its own DLQ; null: there is no DLQ, or not yet for us
  bool is_open(Offset letter) const;
  const api::Topic* dlq() const;  // null: nobody ever appended a letter
  std::uint64_t signature(const Watch& watch) const;
  bool dlq_on_disk(const Watch& watch) const;

  std::shared_ptr<api::Group> group_;
  const Log& log_;
  std::vector<std::unique_ptr<Watch>> watches_;
  std::unique_ptr<LetterWriter> writer_;
  LettersPresent present_;  // letters that were in the DLQ when this daemon opened it
  std::size_t turn_ = 0;    // where the next round of letters begins, so that no topic starves another
  std::int64_t next_sweep_ = 0, next_checkpoint_ = 0;
  std::int64_t quiet_until_ = 0;  // after a failure
  bool letters_told_ = false, state_told_ = false;
  std::int64_t clock_ = 0;  // wall time minus monotonic time, about: another one when the clock was set
};

}  // namespace penstock::daemon
