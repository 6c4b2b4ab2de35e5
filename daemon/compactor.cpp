#include "daemon/compactor.hpp"

#include <unistd.h>

#include <algorithm>

#include "io/file.hpp"
#include "storage/index.hpp"
#include "storage/segment_set.hpp"

namespace penstock::daemon {
namespace {

constexpr std::int64_t kLookShare = 2000;        // a look for old tombstones takes no more of a processor's time
constexpr std::int64_t kAskAgain = 100'000'000;  // for the bus lock, which somebody else has
constexpr std::int64_t kRetryAfter = 60'000'000'000;
constexpr std::int64_t kCheckpointPatience = 10'000'000'000;

}  // namespace

bool Compactor::step(std::int64_t now, Persister& persister, const ClockJumps& jumps) {
  const Topics& topics = persister.topics();
  if (thread_.joinable()) {
    if (!news_.load(std::memory_order_acquire)) return false;
    if (answer(topics)) return true;
    bool ended = false;
    {
      const std::lock_guard lock(mutex_);
      ended = done_.has_value();
    }
    if (ended) end(now);
    return ended;
  }
  if (job_) {
    const bool saved = std::all_of(job_->checkpoints.begin(), job_->checkpoints.end(),
                                   [](const auto& wanted) { return wanted.first->checkpoint_done() >= wanted.second; });
    if (saved)
      begin(now);
    else if (now > job_->deadline)
      job_.reset();  // a group whose state cannot be written: told by who writes it
    return false;
  }
  if (now < next_look_) return false;
  const std::int64_t began = io::processor_ns();
  looked_ = now;
  next_look_ = now + kLookEvery;
  tombstones_before_ = jumps.before(now, api::now_ns(), state_->settings.tombstones.count());
  if (known_.size() > topics.size()) known_.clear();  // of topics that were deleted, too
  for (std::size_t i = 0; i < topics.size(); ++i) {
    const std::size_t at = (turn_ + i) % topics.size();
    if (!consider(*topics[at], now)) continue;
    turn_ = at + 1;
    return true;
  }
  next_look_ = now + std::max(kLookEvery, kLookShare * (io::processor_ns() - began));
  return false;
}

std::int64_t Compactor::next_step(std::int64_t now, const Persister& persister) const {
  if (thread_.joinable()) return news_.load(std::memory_order_acquire) ? now + kAskAgain : INT64_MAX;
  if (job_) return job_->deadline;
  const Topics& topics = persister.topics();
  const bool wanted = std::any_of(topics.begin(), topics.end(), [](const auto& topic) { return topic->compacts(); });
  return wanted ? next_look_ : INT64_MAX;
}

// What a segment is changes once after it was sealed: when it is compacted, which is done here.
void Compactor::look_at_segments(const api::Topic& topic, Known& known) const {
  storage::SegmentSet segments(topic.directory(), topic.header().topic_id);
  if (!segments.refresh()) return;
  std::map<std::uint64_t, Sealed> sealed;
  for (std::size_t i = 0; i + 1 < segments.size(); ++i) {
    const std::uint64_t first = segments.first_offsets()[i];
    if (const auto there = known.sealed.find(first); there != known.sealed.end()) {
      sealed.insert(*there);
      continue;
    }
    Sealed found;
    found.bytes = segments.bytes(i);
    // Of one that cannot be read nothing goes; the next begins where it ends.
    found.end = segments.first_offsets()[i + 1];
    auto reader = storage::SegmentReader::open(segments.path(i), layout::kPage);
    if (reader && segments.foreign(reader->header())) continue;
    found.readable = reader && reader->sealed() && !known.unreadable.contains(first);
    if (reader && reader->sealed()) {
      found.end = reader->front().progress->offset;
      found.compacted = reader->front().progress->compacted;
    }
    sealed.emplace(first, found);
  }
  known.sealed = std::move(sealed);
}

std::vector<std::uint64_t> Compactor::may_go(const Known& known, Offset limit) const {
  std::vector<std::uint64_t> out;
  for (const auto& [first, segment] : known.sealed) {
    if (segment.end > limit) break;
    out.push_back(first);
  }
  return out;
}

// As much is new as was compacted, so that what is read again and again is paid for by what came; or there are events
// to go that have deleted their keys long enough ago.
bool Compactor::worth_it(const Known& known, const std::vector<std::uint64_t>& segments, std::int64_t now) const {
  std::uint64_t fresh = 0, compacted = 0;
  bool tombstones = false;
  for (const std::uint64_t first : segments) {
    const Sealed& segment = known.sealed.at(first);
    (segment.compacted != 0 ? compacted : fresh) += segment.readable ? segment.bytes : 0;
    tombstones |=
        segment.readable && (segment.compacted & 1) != 0 && std::int64_t(segment.compacted) <= tombstones_before_;
  }
  return (fresh != 0 && fresh >= compacted) || (tombstones && now >= known.tombstones_again);
}

bool Compactor::consider(TopicPersister& persister, std::int64_t now) {
  const api::Topic& topic = persister.topic();
  const std::uint64_t id = topic.header().topic_id;
  if (topic.deleted() || !persister.compacts()) {
    known_.erase(id);
    return false;
  }
  Known& known = known_[id];
  if (now < known.not_before) return false;
  look_at_segments(topic, known);
  // Nothing that a producer may still have to compare ids with.
  const Offset end = topic.end().offset, window = topic.header().options.publish_dedupe;
  const Offset limit = std::min(topic.durable_end().offset, end > window ? end - window : 0);
  if (!worth_it(known, may_go(known, limit), now)) return false;
  api::Hold hold = api::hold_of(state_, topic.name(), api::Need::unsettled, false);
  Job job;
  job.plan.segments = may_go(known, std::min(limit, hold.offset));
  if (!worth_it(known, job.plan.segments, now)) return false;
  job.topic = persister.shared_topic();
  job.plan.directory = topic.directory();
  job.plan.mode = state_->access().topic_file();
  job.plan.keys_most = state_->settings.compact_keys;
  job.plan.tombstones_before_ns = std::uint64_t(std::max<std::int64_t>(tombstones_before_, 0));
  job.plan.seed = api::random64();
  job.deadline = now + kCheckpointPatience;
  for (auto& group : hold.states) {
    if (!group->writable()) continue;  // of another user, and then its state is not written by us
    const std::uint64_t number = group->ask_for_checkpoint();
    job.checkpoints.emplace_back(std::move(group), number);
  }
  job_ = std::move(job);
  return true;
}

void Compactor::begin(std::int64_t now) {
  job_->checkpoints.clear();
  job_->plan.now_ns = std::uint64_t(api::now_ns());
  known_[job_->topic->header().topic_id].tombstones_again = now + state_->settings.tombstones.count() / 2;
  stop_.store(false);
  thread_ = std::thread([this] { run(); });
}

void Compactor::run() {
  auto done = storage::compact(
      job_->plan, [this](std::uint64_t first, const std::string& temporary) { return ask(first, temporary); }, stop_);
  const std::lock_guard lock(mutex_);
  done_ = std::move(done);
  news_.store(true, std::memory_order_release);
  wake_();
}

Result<bool> Compactor::ask(std::uint64_t first_offset, const std::string& temporary) {
  std::unique_lock lock(mutex_);
  request_ = Request{first_offset, temporary};
  answer_.reset();
  news_.store(true, std::memory_order_release);
  wake_();
  answered_.wait(lock, [this] { return answer_.has_value() || stop_.load(); });
  request_.reset();
  return answer_.value_or(Result<bool>(false));
}

// True: the thread was told what it asked for.
bool Compactor::answer(const Topics& topics) {
  std::optional<Request> request;
  {
    const std::lock_guard lock(mutex_);
    if (!answer_) request = request_;
  }
  if (!request) return false;
  auto replaced = replace(*request, topics);
  if (!replaced) return false;
  const std::lock_guard lock(mutex_);
  answer_ = std::move(replaced);
  news_.store(done_.has_value(), std::memory_order_release);
  answered_.notify_all();
  return true;
}

// Nothing: somebody holds the bus, so ask again. Under the bus lock no group moves back, without [access].
std::optional<Result<bool>> Compactor::replace(const Request& request, const Topics& topics) const {
  const api::Topic& topic = *job_->topic;
  const auto persister =
      std::find_if(topics.begin(), topics.end(), [&](const auto& one) { return one->shared_topic() == job_->topic; });
  if (topic.deleted() || persister == topics.end() || !(*persister)->compacts()) return Result<bool>(false);
  const auto held = api::BusLock::take(state_->directory, 0);
  if (!held) return std::nullopt;
  const auto segment = known_.at(topic.header().topic_id).sealed.find(request.first_offset);
  const std::string path = topic.directory() + "/" + storage::segment_name(request.first_offset);
  const bool there = ::access(path.c_str(), F_OK) == 0;  // else retention took it
  if (!there || api::hold_of(state_, topic.name(), api::Need::unsettled, false).offset < segment->second.end)
    return Result<bool>(false);
  (*persister)->leave_index(request.first_offset);
  // Without its index first: that one names places which will not be there any more.
  Result<void> done = io::remove_file(topic.directory() + "/" + storage::index_name(request.first_offset));
  if (done) done = io::rename_into_place(request.temporary, path, false);
  if (!done) return Result<bool>(tl::unexpected(done.error()));
  return Result<bool>(true);
}

void Compactor::end(std::int64_t now) {
  thread_.join();
  const std::string title = "topic " + job_->topic->name();
  Known& known = known_[job_->topic->header().topic_id];
  if (const Result<storage::Compacted>& done = *done_; done) {
    if (done->segments != 0)
      log_(0, title + ": compaction removed " + std::to_string(done->events) + " events from " +
                  std::to_string(done->segments) + " segments");
    for (const std::uint64_t first : done->unreadable)
      if (known.unreadable.insert(first).second)
        log_(1,
             title + ": " + storage::segment_name(first) + " is damaged and is not compacted; see `penstock verify`");
    known.complaint.clear();
  } else if (done.error().code() != Errc::interrupted) {
    known.not_before = now + kRetryAfter;
    const std::string complaint = done.error().message();
    if (complaint != known.complaint)
      log_(1, title + " is not compacted: " + complaint + "; nothing is lost, and it is tried again");
    known.complaint = complaint;
  }
  known.sealed.clear();
  done_.reset();
  request_.reset();
  news_.store(false);
  job_.reset();
}

void Compactor::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stop_.store(true);
    answered_.notify_all();
  }
  thread_.join();
  done_.reset();
  job_.reset();
}

}  // namespace penstock::daemon
