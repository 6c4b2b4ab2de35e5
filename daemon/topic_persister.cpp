#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "daemon/persister.hpp"
#include "io/file.hpp"
#include "storage/index.hpp"
#include "storage/segment_reader.hpp"
#include "storage/segment_set.hpp"

namespace penstock::daemon {
namespace {

constexpr std::uint64_t kJobLines = (4ull << 20) / layout::kLine;  // gathered at once: 4 MiB
constexpr std::size_t kHeadsMost = 16;                             // claims of the dead in a batch
constexpr std::int64_t kRetryAfter = 500'000'000;                  // a disk that refused is asked again

}  // namespace

TopicPersister::TopicPersister(std::shared_ptr<api::Topic> topic, api::Place on_disk, std::uint64_t segment_bytes,
                               const Log& log)
    : topic_(std::move(topic)), log_(log) {
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
  storage::SegmentSet segments(options_.directory);
  if (!segments.refresh()) return;
  for (const std::uint64_t first : segments.first_offsets())
    if (::access((options_.directory + "/" + storage::index_name(first)).c_str(), F_OK) != 0)
      unindexed_.push_back(first);
}

bool TopicPersister::behind() const { return topic_->end().position > durable_.position; }

void TopicPersister::Batch::add_lines(const std::byte* data, std::uint64_t lines) {
  if (!pieces.empty()) {
    storage::Piece& last = pieces.back();
    const bool joined = data == nullptr ? last.data == nullptr : last.data != nullptr && last.data + last.bytes == data;
    if (joined) {
      last.bytes += lines * layout::kLine;
      return;
    }
  }
  pieces.push_back({data, lines * layout::kLine});
}

// A claim of the dead goes to disk as ABORTED with a zeroed body; a PAD nobody finished, as a PAD.
void TopicPersister::add_dead(Batch& batch, std::uint64_t position, std::uint64_t offset, const log::Look& look) {
  storage::Head head;
  if (look.head != nullptr) {
    head = storage::load_head(reinterpret_cast<const std::byte*>(look.head));
  } else {
    head.word = pack(layout::WordFields{layout::State::claimed, look.lines, look.slot, look.incarnation,
                                        topic_->ring().generation(position)});
    head.tag = layout::tag_for(topic_->ring().nonce, offset);
    head.sizes = pack(layout::SizeFields{0, 0, look.count, layout::kFlagChecksum});
  }
  auto made = std::make_unique<storage::Head>(storage::aborted_head(head));
  if (look.count == 0) {
    made->word = layout::with_state(made->word, layout::State::pad);
    made->checksum = storage::checksum_of(*made, {});
  }
  batch.add_lines(reinterpret_cast<const std::byte*>(made.get()), 1);
  if (look.lines > 1) batch.add_lines(nullptr, look.lines - 1);
  batch.heads.push_back(std::move(made));
}

// The segment that takes a claim of so many lines at this place. False: there is none now; fail() said why.
bool TopicPersister::ensure_writer(std::uint64_t position, std::uint64_t offset, std::uint64_t lines,
                                   std::int64_t now) {
  if (writer_ && writer_->fits(position, lines)) return true;
  if (writer_) {
    if (auto sealed = writer_->seal(); !sealed) {
      writer_->abandon();
      log_(1, "topic " + topic_->name() + ": " + writer_->path() + " could not be sealed: " + sealed.error().message());
    }
    writer_.reset();
  }
  auto made = storage::SegmentWriter::create(options_, offset, position, std::uint64_t(now));
  if (!made) {
    fail(made.error().detail() != 0 ? int(made.error().detail()) : EIO, made.error().message());
    return false;
  }
  writer_ = std::move(*made);
  mark_ = {position, offset, 0, 0};
  return true;
}

// Collects the settled claims that follow the batch, up to a job's worth and the segment's end. `mark`: where an empty
// batch begins.
void TopicPersister::gather(Batch& batch, storage::Mark mark) {
  if (!batch.claims.empty()) mark = batch.claims.back();
  const std::uint64_t begin = batch.claims.empty() ? mark.position : batch.begin;
  batch.begin = begin;
  const log::Ring& ring = topic_->ring();
  while (mark.position - begin < kJobLines && batch.heads.size() < kHeadsMost) {
    const std::uint64_t position = mark.position, offset = mark.offset;
    const log::Look look = log::look(ring, position, offset, *topic_);
    if (look.kind == log::Look::Kind::nothing || look.kind == log::Look::Kind::waiting) break;
    if (!writer_->fits(position, look.lines)) break;
    if (look.kind == log::Look::Kind::settled && look.state == layout::State::committed) {
      mark.events += look.count;
      mark.last_time_ns = std::max(mark.last_time_ns, look.head->time.load(std::memory_order_relaxed));
    }
    if (look.kind == log::Look::Kind::dead)
      add_dead(batch, position, offset, look);
    else
      batch.add_lines(reinterpret_cast<const std::byte*>(look.head), look.lines);
    mark.position = position + look.lines;
    mark.offset = offset + look.count;
    batch.claims.push_back(mark);
  }
}

// What was gathered while the last batch was written, and what has come since. False: nothing.
bool TopicPersister::next_batch(std::int64_t now) {
  batch_.clear();
  std::swap(batch_, next_);
  if (batch_.claims.empty()) {
    const log::Look look = log::look(topic_->ring(), durable_.position, durable_.offset, *topic_);
    if (look.kind == log::Look::Kind::nothing || look.kind == log::Look::Kind::waiting) return false;
    if (!ensure_writer(durable_.position, durable_.offset, look.lines, now)) return false;
  }
  planned_ = durable_.position;
  gather(batch_, mark_);
  return !batch_.claims.empty();
}

bool TopicPersister::start(io::Disk& disk, std::uint64_t tag, std::int64_t now) {
  if (topic_->deleted() || (retry_at_ != 0 && api::monotonic_ns() < retry_at_)) return false;
  if (in_flight_) {
    gather(next_, batch_.claims.back());
    return false;
  }
  retry_at_ = 0;
  if (batch_.done() && !next_batch(now)) return false;
  auto plan = writer_->plan(planned_, std::span(batch_.pieces).subspan(batch_.first_piece), std::uint64_t(now));
  if (!plan) {
    fail(plan.error().detail() != 0 ? int(plan.error().detail()) : EIO, plan.error().message());
    return false;
  }
  io::Job job = plan->job;
  job.tag = tag;
  if (auto submitted = disk.submit(job); !submitted) {
    complete(submitted.error().detail() != 0 ? int(submitted.error().detail()) : EIO, now);
    return false;
  }
  in_flight_ = true;
  planned_ += plan->lines;
  for (std::uint64_t left = plan->lines * layout::kLine; left != 0;) {
    storage::Piece& piece = batch_.pieces[batch_.first_piece];
    const std::uint64_t used = std::min(left, piece.bytes);
    if (piece.data != nullptr) piece.data += used;
    piece.bytes -= used;
    left -= used;
    if (piece.bytes == 0) ++batch_.first_piece;
  }
  return true;
}

void TopicPersister::complete(int error, std::int64_t now) {
  in_flight_ = false;
  if (error != 0) {
    fail(error, std::strerror(error));
    return;
  }
  bool moved = false;
  while (!batch_.done() && batch_.claims[batch_.first_claim].position <= planned_) {
    writer_->note_claim(mark_.position, mark_.offset, mark_.last_time_ns);
    mark_ = batch_.claims[batch_.first_claim++];
    moved = true;
  }
  if (!moved) return;
  durable_ = {mark_.position, mark_.offset};
  if (failures_ != 0) log_(0, "topic " + topic_->name() + " is written to disk again");
  failures_ = 0;
  topic_->writable()->durable_error.store(0, std::memory_order_release);
  publish_durable();
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
  shm::ring_all(topic_->state()->live.wake(), topic_->mask());
}

// Nothing is written to the same pages again: the bytes are still in the ring and go to a new segment. Durability stops
// with the error for all who wait, and is tried again after a while.
void TopicPersister::fail(int error, const std::string& what) {
  batch_.clear();
  next_.clear();
  if (writer_) {
    writer_->abandon();
    writer_.reset();
  }
  ++failures_;
  if (failures_ == 1 && error != ENOSPC && error != EDQUOT) return;  // a new file may do; nobody needs to know
  if (failures_ <= 2)
    log_(2, "topic " + topic_->name() + ": events are not written to disk (" + what +
                "); nothing is lost in memory, publishing goes on until the ring is full; make space or mend the disk");
  topic_->writable()->durable_error.store(std::uint64_t(error), std::memory_order_seq_cst);
  shm::ring_all(topic_->state()->live.wake(), topic_->mask());
  retry_at_ = api::monotonic_ns() + kRetryAfter;
}

Result<void> TopicPersister::close() {
  if (!writer_) return {};
  auto sealed = writer_->seal();
  writer_.reset();
  return sealed;
}

bool TopicPersister::mend_index() {
  if (unindexed_.empty()) return false;
  const std::uint64_t first = unindexed_.back();
  unindexed_.pop_back();
  // A segment that cannot be read keeps no index; it is walked by who looks into it.
  static_cast<void>(storage::rebuild_index(options_.directory, first, options_.mode));
  return true;
}

// Oldest first, never the one that is being written.
void TopicPersister::retain(std::int64_t now, const ClockJumps& jumps) {
  auto meta = api::read_topic_meta(*topic_->state(), topic_->name());
  if (meta) compacts_ = meta->options.compact != 0;
  if (!meta || (meta->options.retention_bytes == 0 && meta->options.retention_ns == 0)) return;
  storage::SegmentSet segments(topic_->directory());
  if (!segments.refresh()) return;
  auto total = segments.total_bytes();
  if (!total) return;
  std::uint64_t bytes = *total;
  for (std::size_t i = 0; i + 1 < segments.size(); ++i) {
    const bool too_much = meta->options.retention_bytes != 0 && bytes > meta->options.retention_bytes;
    bool too_old = false;
    if (!too_much && meta->options.retention_ns != 0) {
      auto reader = storage::SegmentReader::open(segments.path(i), layout::kPage);
      too_old = reader && reader->front().progress &&
                std::int64_t(reader->front().progress->last_time_ns) <
                    jumps.before(api::monotonic_ns(), now, std::int64_t(meta->options.retention_ns));
    }
    if (!too_much && !too_old) return;
    bytes -= std::min(bytes, segments.bytes(i));
    if (auto removed = segments.remove(i); !removed) {
      log_(1, "topic " + topic_->name() + ": " + segments.path(i) + ": " + removed.error().message());
      return;
    }
  }
}

}  // namespace penstock::daemon
