// Compaction of the topics that want it: one pass after the other, in a thread of its own, which waits for nobody but
// for the daemon's thread, where a rewritten segment gets its name: there retention removes segments, and there groups
// are looked at once more. All calls are the daemon's thread's; none waits for the disk but stop(), for what is being
// synced just then.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "api/hold.hpp"
#include "daemon/persister.hpp"
#include "daemon/retention.hpp"
#include "storage/compaction.hpp"

namespace penstock::daemon {

class Compactor {
 public:
  // `wake`: called from the other thread when step() is wanted.
  Compactor(api::StatePtr state, const Log& log, std::function<void()> wake)
      : state_(std::move(state)), log_(log), wake_(std::move(wake)) {}
  ~Compactor() { stop(); }

  // Begins, allows, and ends what is to be begun, allowed and ended. True: there may be more at once. `now`: monotonic.
  bool step(std::int64_t now, Persister& persister, const ClockJumps& jumps);
  void written() { next_look_ = std::min(next_look_, looked_ + kLookEvery); }  // there may be more to compact
  // When step() is wanted, though nobody calls `wake` and the daemon writes no more until then.
  std::int64_t next_step(std::int64_t now, const Persister& persister) const;
  void stop();

 private:
  static constexpr std::int64_t kLookEvery = 1'000'000'000;
  using Topics = std::vector<std::unique_ptr<TopicPersister>>;
  struct Sealed {  // what is known of a segment
    std::uint64_t bytes = 0, end = 0, compacted = 0;
    bool readable = true;
  };
  struct Known {                             // of a topic
    std::map<std::uint64_t, Sealed> sealed;  // by first offset, but for the last segment
    std::set<std::uint64_t> unreadable;      // not to be tried for what they have alone
    std::int64_t not_before = 0;             // after a failure
    std::int64_t tombstones_again = 0;
    std::string complaint;  // told already
  };
  struct Job {
    std::shared_ptr<api::Topic> topic;
    storage::CompactionPlan plan;
    std::vector<std::pair<std::shared_ptr<api::GroupState>, std::uint64_t>> checkpoints;  // waited for
    std::int64_t deadline = 0;
  };
  struct Request {
    std::uint64_t first_offset;
    std::string temporary;
  };

  bool consider(TopicPersister& persister, std::int64_t now);
  void look_at_segments(const api::Topic& topic, Known& known) const;
  // The oldest segments, as far as all that they have may go.
  std::vector<std::uint64_t> may_go(const Known& known, Offset limit) const;
  bool worth_it(const Known& known, const std::vector<std::uint64_t>& segments, std::int64_t now) const;
  void begin(std::int64_t now);
  void run();
  Result<bool> ask(std::uint64_t first_offset, const std::string& temporary);
  bool answer(const Topics& topics);
  std::optional<Result<bool>> replace(const Request& request, const Topics& topics) const;
  void end(std::int64_t now);

  api::StatePtr state_;
  const Log& log_;
  std::function<void()> wake_;
  std::map<std::uint64_t, Known> known_;  // by topic_id
  std::int64_t looked_ = 0, next_look_ = 0;
  std::size_t turn_ = 0;                // whose topic is next
  std::int64_t tombstones_before_ = 0;  // wall, at the last look
  std::optional<Job> job_;
  std::thread thread_;
  std::atomic<bool> stop_{false};

  std::mutex mutex_;  // of what follows
  std::condition_variable answered_;
  std::optional<Request> request_;
  std::optional<Result<bool>> answer_;
  std::optional<Result<storage::Compacted>> done_;
  std::atomic<bool> news_{false};  // the thread asks or has ended; looked at without the mutex
};

}  // namespace penstock::daemon
