#include <algorithm>
#include <cstring>
#include <filesystem>

#include "daemon/persister.hpp"
#include "io/file.hpp"
#include "layout/probe.hpp"
#include "storage/index.hpp"

namespace penstock::daemon {
namespace {

constexpr std::int64_t kRetryAfter = 500'000'000;  // a disk that refused is asked again

int errno_of(const Error& error) { return error.detail() != 0 ? int(error.detail()) : EIO; }

}  // namespace

TopicPersister::TopicPersister(std::shared_ptr<api::Topic> topic, api::Place on_disk, std::uint64_t segment_bytes,
                               const Log& log)
    : topic_(std::move(topic)), log_(log), backlog_(*topic_) {
  options_.directory = topic_->directory();
  options_.topic = topic_->name();
  options_.bus_id = topic_->state()->bus_id;
  options_.topic_id = topic_->header().topic_id;
  options_.nonce = topic_->header().nonce;
  options_.segment_bytes = segment_bytes;
  options_.mode = topic_->state()->access().topic_file();
  durable_ = topic_->durable_end();
  if (on_disk.position > durable_.position) {
    durable_ = on_disk;
    publish_durable();
  }
  topic_->writable()->durable_error.store(0, std::memory_order_release);  // a daemon's before us
  mark_.position = durable_.position;
  mark_.offset = durable_.offset;
  backlog_.begin(mark_);
}

bool TopicPersister::behind() const { return topic_->end().position > durable_.position; }

// The segment of the next claim, which is not in the backlog yet; all before it is durable. False: there is none now,
// fail() said why.
bool TopicPersister::ensure_writer(std::int64_t now) {
  if (writer_) retired_ = std::move(writer_);
  writer_ = std::move(next_writer_);
  next_refused_ = false;
  mark_ = {durable_.position, durable_.offset, 0, 0};
  backlog_.begin(mark_);
  if (writer_) return true;
  if (retired_) options_.step = retired_->next_step(std::uint64_t(now));
  auto made = storage::SegmentWriter::create(options_, durable_.offset, durable_.position, std::uint64_t(now));
  if (!made) {
    fail(errno_of(made.error()), api::name(made.error(), topic_->directory()).message());
    return false;
  }
  writer_ = std::move(*made);
  return true;
}

// While the last jobs of the segment before are in flight. Why there can be none now is told once they are done.
void TopicPersister::make_next_writer(std::int64_t now) {
  if (next_writer_ || next_refused_) return;
  const storage::Mark& at = backlog_.end();
  options_.step = writer_->next_step(std::uint64_t(now));
  auto made = storage::SegmentWriter::create(options_, at.offset, at.position, std::uint64_t(now));
  next_refused_ = !made;
  if (made) next_writer_ = std::move(*made);
}

// A segment whose events are all durable. Without the seal recovery has to walk it.
Result<void> TopicPersister::seal_retired() {
  const auto retired = std::move(retired_);
  if (!retired) return {};
  auto sealed = retired->seal();
  if (sealed) return {};
  retired->abandon();
  log_(1, "topic " + topic_->name() + ": " + retired->path() + " could not be sealed: " + sealed.error().message());
  return sealed;
}

std::optional<storage::Plan> TopicPersister::next_plan(std::int64_t now) {
  if (writer_) backlog_.gather(*writer_);
  if (backlog_.pieces().empty()) {
    const storage::Mark& at = backlog_.end();
    const log::Look look = log::look(topic_->ring(), at.position, at.offset, *topic_);
    if (look.kind == log::Look::Kind::nothing || look.kind == log::Look::Kind::waiting) return std::nullopt;
    if (!writer_ || !writer_->fits(at.position, look.lines)) {
      if (!flights_.empty()) {
        make_next_writer(now);
        return std::nullopt;
      }
      if (!ensure_writer(now)) return std::nullopt;
    }
    backlog_.gather(*writer_);
    if (backlog_.pieces().empty()) return std::nullopt;
  }
  auto plan = writer_->plan(backlog_.taken(), backlog_.pieces(), std::uint64_t(now));
  if (plan) return *plan;
  // No space, as a rule. What is in flight comes first.
  if (flights_.empty()) fail(errno_of(plan.error()), api::name(plan.error(), topic_->directory()).message());
  return std::nullopt;
}

bool TopicPersister::start(io::Disk& disk, std::uint64_t first_tag, std::int64_t now) {
  if (topic_->deleted() || (retry_at_ != 0 && api::monotonic_ns() < retry_at_)) return false;
  retry_at_ = 0;
  bool did = false;
  while (flights_.empty() || (flights_.size() < kTags && flights_.back().ends_block && !failing_)) {
    auto plan = next_plan(now);
    if (!plan) break;
    backlog_.take(plan->lines);
    const std::uint64_t tag = (first_flight_ + flights_.size()) % kTags;
    flights_.push_back({backlog_.taken(), plan->ends_block});
    plan->job.tag = first_tag + tag;
    if (auto submitted = disk.submit(plan->job); !submitted) {
      complete(tag, errno_of(submitted.error()), now);
      break;
    }
    did = true;
  }
  if (retired_) static_cast<void>(seal_retired());
  return did;
}

void TopicPersister::complete(std::uint64_t tag, int error, std::int64_t now) {
  Flight& flight = flights_[(tag + kTags - first_flight_ % kTags) % kTags];
  flight.done = true;
  flight.error = error;
  failing_ |= error != 0;
  land(now);
  if (!failing_ || std::any_of(flights_.begin(), flights_.end(), [](const Flight& one) { return !one.done; })) return;
  const int first_error = flights_.front().error;
  first_flight_ += flights_.size();
  flights_.clear();
  failing_ = false;
  fail(first_error, std::strerror(first_error));
}

// Takes what is complete, in the order of the log.
void TopicPersister::land(std::int64_t now) {
  bool moved = false;
  for (; !flights_.empty() && flights_.front().done && flights_.front().error == 0; ++first_flight_) {
    storage::Mark end;
    while (backlog_.pop(flights_.front().end, end)) {
      writer_->note_claim(mark_.position, mark_.offset, mark_.last_time_ns);
      mark_ = end;
      moved = true;
    }
    flights_.pop_front();
  }
  if (!moved) return;
  durable_ = {mark_.position, mark_.offset};
  kept_.look_at = 0;
  if (failures_ != 0) log_(0, "topic " + topic_->name() + " is written to disk again");
  failures_ = 0;
  topic_->writable()->durable_error.store(0, std::memory_order_release);
  publish_durable();
  PENSTOCK_PROBE3(persist, options_.topic.c_str(), durable_.offset, mark_.last_time_ns);
  if (auto marked = writer_->flushed(mark_, std::uint64_t(now)); !marked)
    log_(1, "topic " + topic_->name() + ": " + marked.error().message());
}

// Tells the world how far the disk is, in the order in which it is relied on: durable first, room then, waking last.
void TopicPersister::publish_durable() {
  layout::TopicControl* control = topic_->writable();
  layout::cas16(&control->durable, layout::load16_guess(&control->durable), {durable_.position, durable_.offset});
  // In steps of half a ring, so that readers who are not far behind need not look at the tail. See Ring::intact.
  const std::uint64_t room = topic_->ring().size();
  if (control->limit.load(std::memory_order_relaxed) < durable_.position + room / 2 ||
      topic_->end().position + room / 4 > control->limit.load(std::memory_order_relaxed)) {
    control->reclaim.store(durable_.position, std::memory_order_seq_cst);
    control->limit.store(durable_.position + room, std::memory_order_seq_cst);
  }
  topic_->ring_all();
}

// Nothing is written to the same pages again: the bytes are still in the ring and go to a new segment. Durability stops
// with the error for all who wait, and is tried again after a while.
void TopicPersister::fail(int error, const std::string& what) {
  if (next_writer_) next_writer_->abandon();
  if (writer_) writer_->abandon();
  next_writer_.reset();
  writer_.reset();
  backlog_.begin(mark_);
  ++failures_;
  if (failures_ == 1 && error != ENOSPC && error != EDQUOT) return;  // a new file may do; nobody needs to know
  if (failures_ <= 2)
    log_(2, "topic " + topic_->name() + ": events are not written to disk (" + what +
                "); nothing is lost in memory, publishing goes on until the ring is full; make space or mend the disk");
  topic_->writable()->durable_error.store(std::uint64_t(error), std::memory_order_seq_cst);
  topic_->ring_all();
  retry_at_ = api::monotonic_ns() + kRetryAfter;
}

Result<void> TopicPersister::close() {
  if (next_writer_) next_writer_->abandon();
  next_writer_.reset();
  auto before = seal_retired();
  retired_ = std::move(writer_);
  auto sealed = seal_retired();
  return before ? sealed : before;
}

bool TopicPersister::mend_index() {
  if (unindexed_.empty()) return false;
  const std::uint64_t first = unindexed_.back();
  unindexed_.pop_back();
  // A segment that cannot be read keeps no index; it is walked by who looks into it.
  static_cast<void>(storage::rebuild_index(options_.directory, first, options_.mode));
  return true;
}

}  // namespace penstock::daemon
