#include "daemon/persister.hpp"

#include <algorithm>
#include <cerrno>

namespace penstock::daemon {
Persister::Persister(api::StatePtr state, std::unique_ptr<io::Disk> disk, Log log)
    : state_(std::move(state)), log_(std::move(log)), disk_(std::move(disk)) {}

void Persister::add(std::shared_ptr<api::Topic> topic, api::Place on_disk) {
  topics_.push_back(std::make_unique<TopicPersister>(std::move(topic), on_disk, state_->settings.segment_bytes, log_));
}

// Tags are the topics' places in the list, so it is changed only while nothing is in flight.
void Persister::remove_deleted() {
  if (!idle()) return;
  std::erase_if(topics_, [](const auto& topic) { return topic->topic().deleted(); });
}

bool Persister::step(std::int64_t now, std::int64_t wait_ns) {
  bool did = false;
  for (std::size_t i = 0; i < topics_.size(); ++i) did |= topics_[i]->start(*disk_, i * TopicPersister::kTags, now);
  if (disk_->in_flight() == 0) return did;
  done_.clear();
  auto reaped = disk_->reap(done_, std::chrono::nanoseconds(wait_ns));
  if (!reaped) log_(2, "the disk: " + reaped.error().message());
  for (const io::Completion& completion : done_) {
    constexpr std::uint64_t kTags = TopicPersister::kTags;
    TopicPersister& topic = *topics_[completion.tag / kTags];
    topic.complete(completion.tag % kTags, completion.error, now);
    keep_ahead(topic.topic());
    did = true;
  }
  return did;
}

bool Persister::behind() const {
  return std::any_of(topics_.begin(), topics_.end(), [](const auto& topic) { return topic->behind(); });
}

Result<void> Persister::drain(std::int64_t deadline_ns) {
  std::vector<std::uint64_t> ends;
  for (const auto& topic : topics_) ends.push_back(topic->topic().end().position);
  for (int quiet = 0;;) {
    const bool did = step(api::now_ns(), 1'000'000);
    bool all = true, failed = false;
    for (std::size_t i = 0; i < topics_.size(); ++i) {
      const api::Topic& topic = topics_[i]->topic();
      if (topic.deleted()) continue;
      if (const auto error = topic.control()->durable_error.load(); error != 0)
        return api::refuse(Errc::disk, "topic " + topic.name(), std::uint32_t(error));
      all &= topic.durable_end().position >= ends[i];
      failed |= topics_[i]->failed();
    }
    // Nothing to do and not all: an open claim of a living producer, which is not waited for.
    if (all || (!did && idle() && !failed)) return {};
    // What failed is tried once more in the next round; who finds nothing to try then has failed.
    if (!did && idle() && ++quiet > 2) return api::refuse(Errc::disk, "writing what was committed", EIO);
    if (api::monotonic_ns() > deadline_ns) return api::refuse(Errc::timed_out, "writing what was committed");
  }
}

Result<void> Persister::close() {
  Result<void> out;
  for (const auto& topic : topics_)
    if (auto closed = topic->close(); !closed) out = tl::unexpected(closed.error());
  return out;
}

bool Persister::mend_one_index() {
  return std::any_of(topics_.begin(), topics_.end(), [](const auto& topic) { return topic->mend_index(); });
}

// So that no producer has to raise the bound of offsets itself, which costs it a flush. Who holds the bus lock just
// now is not waited for.
void keep_ahead(api::Topic& topic) {
  if (!topic.deleted() && api::offsets_run_low(topic)) static_cast<void>(api::raise_offset_bound(topic, 0));
}

}  // namespace penstock::daemon
