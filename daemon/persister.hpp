// The persister: writes what was committed to durable topics to their segments and says how far it got.
// Belongs to the daemon's thread. Steps never wait: jobs are handed to the disk, completions are looked for.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/backlog.hpp"
#include "io/disk.hpp"

namespace penstock::daemon {

// What an operator should know: level 0 info, 1 warning, 2 error.
using Log = std::function<void(int level, const std::string& text)>;

// One topic. A small group of events is one job, and what is committed meanwhile is the next, so that load makes the
// groups larger; of large ones two are in flight, so that the disk never waits for us. A segment's last job is complete
// before the next segment holds anything.
class TopicPersister {
 public:
  // `on_disk`: what recovery found to be on disk, which may be more than the topic knows.
  TopicPersister(std::shared_ptr<api::Topic> topic, api::Place on_disk, std::uint64_t segment_bytes, const Log& log);

  // Hands the next runs of settled claims to the disk, under tags below this many. False: there is nothing to write, or
  // it must not be tried yet. `now`, here and below: wall time.
  static constexpr std::uint64_t kTags = storage::kJobsInFlight;
  bool start(io::Disk& disk, std::uint64_t first_tag, std::int64_t now);
  void complete(std::uint64_t tag, int error, std::int64_t now);
  bool behind() const;                            // settled or open claims are not on disk yet
  bool failed() const { return failures_ != 0; }  // what was tried last; it is tried again
  const api::Topic& topic() const { return *topic_; }
  api::Topic& topic() { return *topic_; }
  const std::shared_ptr<api::Topic>& shared_topic() const { return topic_; }
  // Everything on disk is sealed and marked. Call when nothing is in flight.
  Result<void> close();
  // What retention and compaction go by, as topic.meta had it when it was at this version.
  struct Kept {
    std::uint64_t meta_version = ~0ull;
    layout::TopicOptions options{};
    std::int64_t look_at = 0;  // when segments may be given up next, by the clock that nobody sets; 0: now
  };
  Kept& kept() { return kept_; }
  bool compacts() const { return (kept_.options.flags & layout::kCompact) != 0; }
  // This segment's index is missing or wrong.
  void want_index(std::uint64_t first_offset) { unindexed_.push_back(first_offset); }
  // It is made by somebody else.
  void leave_index(std::uint64_t first_offset) { std::erase(unindexed_, first_offset); }
  // Writes one index that is missing, as of a segment that a killed daemon left. False: none is.
  bool mend_index();

 private:
  // A job on its way. It counts when it and all before it are complete without an error.
  struct Flight {
    std::uint64_t end = 0;  // the line after it
    bool ends_block = false;
    bool done = false;
    int error = 0;
  };
  std::optional<storage::Plan> next_plan(std::int64_t now);
  bool ensure_writer(std::int64_t now);
  void make_next_writer(std::int64_t now);
  Result<void> seal_retired();
  void land(std::int64_t now);
  void publish_durable();
  void fail(int error, const std::string& what);

  std::shared_ptr<api::Topic> topic_;
  storage::SegmentOptions options_;
  const Log& log_;
  std::unique_ptr<storage::SegmentWriter> writer_;
  std::unique_ptr<storage::SegmentWriter> next_writer_;  // made while the last jobs of writer_ are in flight
  bool next_refused_ = false;
  std::unique_ptr<storage::SegmentWriter> retired_;  // full and durable, to be sealed once the disk has more to do
  api::Place durable_;                               // everything before is on disk
  storage::Mark mark_;                               // the same, with the current segment's counts
  Backlog backlog_;                                  // what comes after
  std::deque<Flight> flights_;
  std::uint64_t first_flight_ = 0;  // the front's number
  bool failing_ = false;            // one of them failed

  std::vector<std::uint64_t> unindexed_;  // first offsets of segments without an index
  std::int64_t retry_at_ = 0;             // after a failure, by the clock that nobody sets; 0: at once
  int failures_ = 0;                      // in a row
  Kept kept_;
};

class Persister {
 public:
  Persister(api::StatePtr state, std::unique_ptr<io::Disk> disk, Log log);

  // One round: looks for completions, starts jobs. Waits for completions at most this long when there are any to come.
  // True: something was done.
  bool step(std::int64_t now, std::int64_t wait_ns);
  void add(std::shared_ptr<api::Topic> topic, api::Place on_disk);
  void remove_deleted();
  bool idle() const { return disk_->in_flight() == 0; }
  bool behind() const;
  std::string_view backend() const { return disk_->name(); }
  // Writes until everything that was committed when it was called is on disk, or the disk refuses, or the deadline.
  Result<void> drain(std::int64_t deadline_ns);
  Result<void> close();
  bool mend_one_index();  // false: none is missing
  std::vector<std::unique_ptr<TopicPersister>>& topics() { return topics_; }
  const std::vector<std::unique_ptr<TopicPersister>>& topics() const { return topics_; }

 private:
  api::StatePtr state_;
  Log log_;
  std::unique_ptr<io::Disk> disk_;
  std::vector<std::unique_ptr<TopicPersister>> topics_;
  std::vector<io::Completion> done_;
};

void keep_ahead(api::Topic& topic);  // raises the bound of its offsets when they run low

}  // namespace penstock::daemon
