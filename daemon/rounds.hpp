// What the daemon does, a round at a time: the persister, every group's books, and what else has its time. The daemon's
// thread makes the rounds; a test steps them. One a bus: it holds daemon.lock for as long as it lives.
#pragma once

#include <atomic>
#include <optional>
#include <penstock/daemon.hpp>
#include <set>

#include "daemon/books.hpp"
#include "daemon/compactor.hpp"
#include "storage/order_check.hpp"

namespace penstock::daemon {

class Rounds {
 public:
  // Errc::busy: another daemon has the bus (detail: its pid).
  static Result<std::unique_ptr<Rounds>> open(const api::StatePtr& state, const DaemonOptions& options,
                                              std::unique_ptr<io::Disk> disk);
  Rounds(const Rounds&) = delete;
  Rounds& operator=(const Rounds&) = delete;

  // One round. True when there may be more to do at once. `now`: io::monotonic_ns().
  bool work(std::int64_t now);
  // Before a sleep, in this order: listen() with everything that may bring work; one more round; and rest(), which puts
  // to rest what has nothing to do until it rings. It returns when the next round is due, though nobody rings.
  std::int64_t listen(const shm::Sleeper& sleeper) const;  // ns: no sleep after it may be longer
  std::int64_t rest(std::int64_t now);
  // Looked at each second of a sleep: did somebody set the clock? Then a round is due.
  bool clock_set(std::int64_t now) const { return retention_.jumps().set(now, api::now_ns()); }
  // A count of what was got through, for who watches: see Daemon::progress().
  std::uint64_t progress() const { return progress_.load(std::memory_order_relaxed); }
  void advance() { progress_.fetch_add(1, std::memory_order_relaxed); }
  // The live side was removed, as a logout does: who comes makes another one, and we would serve nobody.
  bool cut_off() const { return handle_.removed(); }
  // Everything that was committed, and the groups' state, to disk; and, when nobody publishes any more, what the next
  // life may rely on. The last call.
  Result<void> finish();

  const api::StatePtr& state() const { return state_; }
  shm::Sleeper sleeper() const { return state_->live.sleeper(handle_.slot()); }
  std::string_view backend() const { return persister_.backend(); }

 private:
  Rounds(api::StatePtr state, shm::Fd lock, shm::Handle handle, const DaemonOptions& options, Log log,
         std::unique_ptr<io::Disk> disk);
  bool news() const;
  void refresh();
  void check_some_order();
  void want_indexes(const std::string& name, const std::vector<std::uint64_t>& first_offsets);
  std::vector<TopicPtr> find_topics(std::set<std::string>& complaints);
  void find_groups();
  Result<void> persist(const TopicPtr& topic);
  void look_at_clock(std::int64_t now);
  void look_at_all(std::int64_t now);
  bool keep_books(std::int64_t now);
  void retain(std::int64_t now, bool did);

  std::atomic<std::uint64_t> progress_{0};
  api::StatePtr state_;
  shm::Fd lock_;
  shm::Handle handle_;
  DaemonOptions options_;
  Log log_;
  Persister persister_;
  Retention retention_;
  Compactor compactor_;
  Topics topics_;
  std::vector<TopicPtr> unpersisted_;                               // durable, and not yet taken over
  std::vector<std::pair<std::string, storage::OrderCheck>> order_;  // by topic: the pasts not looked through yet
  std::map<std::string, std::unique_ptr<Books>> books_;             // of groups, by name
  std::vector<Books*> turns_;                                       // the same, one after another
  std::uint64_t topics_epoch_ = 0, groups_epoch_ = 0;
  std::int64_t refresh_rest_ = 0;  // until then no news of topics and groups, should they take long to look at
  std::set<std::string> refused_;  // what could not be taken over at the last look, and why
  std::int64_t next_look_ = 0;
  std::optional<std::int64_t> look_began_;  // in processor time, until the rest after it
  bool worked_ = false;                     // since then
  std::int64_t retained_ = 0, next_retain_ = 0;
  bool written_ = false;         // something, since old segments were looked for
  std::int64_t books_rest_ = 0;  // until then the books wait, so that they take half the time at most
  std::size_t books_turn_ = 0;   // whose turn is next
  std::size_t groups_turn_ = 0;  // which new names are looked at next
};

}  // namespace penstock::daemon
