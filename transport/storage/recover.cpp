#include "storage/recover.hpp"

#include <fcntl.h>

#include <algorithm>

#include "io/file.hpp"
#include "storage/index.hpp"
#include "storage/segment_set.hpp"

namespace penstock::storage {
namespace {

// The byte after the last one that is not zero, from `from` to the end of the file; `from` when there is none.
Result<std::uint64_t> last_written(int fd, std::uint64_t from) {
  std::vector<std::byte> buffer(1 << 20);
  std::uint64_t last = from;
  for (std::uint64_t at = from;;) {
    const Result<std::size_t> n = io::pread_some(fd, buffer, at);
    if (!n) return tl::unexpected(n.error());
    for (std::size_t i = *n; i > 0; --i) {
      if (buffer[i - 1] == std::byte{0}) continue;
      last = at + i;
      break;
    }
    if (*n < buffer.size()) return last;
    at += *n;
  }
}

// What was found of one segment, and where its log ends.
struct Look {
  RecoveryFacts facts;
  Front front;
  Mark end;
  std::uint64_t file_bytes = 0;
  std::uint64_t cut = 0;
};

// From the last mark on, as far as whole claims hold.
Result<bool> walk(SegmentReader& reader, Mark& end) {
  bool whole = true;
  for (;;) {
    const Result<Item> item = reader.next();
    if (!item) return tl::unexpected(item.error());
    end.position = item->next.position, end.offset = item->next.offset;
    if (item->kind == ItemKind::end) return whole;
    if (item->kind == ItemKind::damage) whole = false;
    if (item->kind != ItemKind::event) continue;
    ++end.events;
    end.last_time_ns = std::max(end.last_time_ns, item->record.head.time);
  }
}

Result<void> look_at_records(const std::string& path, int fd, const RecoverOptions& options, Look& look) {
  Result<SegmentReader> reader = SegmentReader::open(path);
  if (!reader) return tl::unexpected(reader.error());
  const layout::SegmentHeader& header = reader->header();
  look.end = {header.first_position, header.first_offset, 0, 0};
  look.facts.mark = MarkFact::none;
  if (const auto& progress = look.front.progress) {
    look.end = mark_of(*progress);
    look.facts.mark = progress->sealed == 1 ? MarkFact::sealed : MarkFact::open;
  }
  look.facts.covers = look.file_bytes >= layout::segment_file_offset(header.first_position, look.end.position);
  look.facts.holds_any = look.end.position > header.first_position;
  if (look.facts.mark == MarkFact::sealed || (look.facts.mark == MarkFact::open && !look.facts.covers)) return {};

  // A running topic's ring holds what comes after its durable end; only up to there must the file hold it.
  const bool bounded = options.durable && look.facts.mark == MarkFact::open;
  const bool beyond = bounded && options.durable->position > look.end.position;
  if (bounded) reader->set_limit(beyond ? *options.durable : Boundary{look.end.position, look.end.offset});
  reader->return_to({.position = look.end.position, .offset = look.end.offset});
  const Result<bool> whole = walk(*reader, look.end);
  if (!whole) return tl::unexpected(whole.error());
  if (bounded) look.facts.reached = *whole && (!beyond || look.end.position == options.durable->position);
  look.facts.holds_any = look.end.position > header.first_position;
  const std::uint64_t end = layout::segment_file_offset(header.first_position, look.end.position);
  const Result<std::uint64_t> last = last_written(fd, end);
  if (!last) return tl::unexpected(last.error());
  look.facts.torn = *last > end;
  look.cut = *last - end;
  return {};
}

Result<Look> look_at(const std::string& path, const RecoverOptions& options) {
  const Result<io::Fd> fd = io::open_nofollow(path, O_RDONLY);
  if (!fd) return tl::unexpected(fd.error());
  Look look;
  Result<Front> front = read_front(fd->get());
  if (!front) return tl::unexpected(front.error());
  look.front = std::move(*front);
  // Recovery writes: who may only read must not.
  const bool forbidden = look.front.header && look.front.header->preamble.ro_compat != 0;
  if (look.front.incompatible || forbidden)
    return tl::unexpected(Error(Errc::incompatible, look.front.header->preamble.version));
  const Result<std::uint64_t> size = io::file_size(fd->get());
  if (!size) return tl::unexpected(size.error());
  look.file_bytes = *size;
  if (look.front.header) {
    look.facts.header = HeaderFact::good;
    if (Result<void> done = look_at_records(path, fd->get(), options, look); !done) return tl::unexpected(done.error());
    return look;
  }
  // A first page of zeros before records is damage; before nothing it is a file that was never finished.
  const Result<std::uint64_t> last = last_written(fd->get(), 0);
  if (!last) return tl::unexpected(last.error());
  look.facts.header = *last == 0 ? HeaderFact::blank : HeaderFact::damaged;
  return look;
}

Result<void> seal_now(const std::string& path, const Look& look) {
  const Result<io::Fd> fd = io::open_nofollow(path, O_RDWR);
  if (!fd) return tl::unexpected(fd.error());
  ProgressWriter progress(look.front);
  return seal(fd->get(), *look.front.header, progress, look.end);
}

// Sealing stopped between the two slots: the other one is written again.
Result<void> finish_seal(const std::string& path, const Look& look) {
  if (look.front.slot_sealed[0] && look.front.slot_sealed[1]) return {};
  const Result<io::Fd> fd = io::open_nofollow(path, O_RDWR);
  if (!fd) return tl::unexpected(fd.error());
  ProgressWriter progress(look.front);
  Result<void> done = progress.write(fd->get(), look.end, true);
  return done ? io::sync_data(fd->get()) : done;
}

Result<void> remove_segment(const SegmentSet& set, std::size_t index) {
  if (Result<void> done = set.remove(index); !done) return done;
  return io::sync_directory(set.directory());
}

Result<void> remove_temporaries(const std::string& directory) {
  const Result<std::vector<std::string>> names = io::list_directory(directory);
  if (!names) return names.error().code() == Errc::not_found ? Result<void>{} : tl::unexpected(names.error());
  for (const std::string& name : *names) {
    if (!name.ends_with(".seg.tmp") && !name.ends_with(".idx.tmp")) continue;
    if (Result<void> done = io::remove_file(directory + "/" + name); !done) return done;
  }
  return {};
}

class Recovery {
 public:
  Recovery(const std::string& directory, std::uint64_t topic_id, const RecoverOptions& options)
      : set_(directory, topic_id), options_(options) {}

  Result<Recovered> run(const std::optional<layout::TopicMeta>& meta, bool meta_corrupt) {
    if (options_.change) {
      if (Result<void> done = remove_temporaries(set_.directory()); !done) return tl::unexpected(done.error());
    }
    if (Result<void> done = set_.refresh(); !done) return tl::unexpected(done.error());
    count_ = set_.size();
    known_ = meta && meta->clean != 0 ? meta->next_offset : 0;
    if (options_.durable) known_ = std::max(known_, options_.durable->offset);
    if (Result<void> done = settle_last(); !done) return tl::unexpected(done.error());
    if (lost_lines_ != 0) {
      if (Result<void> done = find_highest(); !done) return tl::unexpected(done.error());
    }
    if (options_.durable) reach_durable(*options_.durable);
    decide_offsets(meta, meta_corrupt);
    return std::move(out_);
  }

 private:
  void problem(std::string text) { out_.problems.push_back(std::move(text)); }
  std::string name(std::size_t index) const { return segment_name(set_.first_offsets()[index]); }

  // What a running topic knows to be durable was given, whatever became of it.
  void reach_durable(const Boundary& durable) {
    // Offsets alone may jump ahead: where a life begins at the bound.
    if (durable.offset > end_.offset && durable.position > end_.position) {
      problem("the log on disk ends at offset " + std::to_string(end_.offset) + ", but was durable up to " +
              std::to_string(durable.offset));
    }
    end_.position = std::max(end_.position, durable.position);
    end_.offset = std::max(end_.offset, durable.offset);
  }

  // The last segment that is more than a name: what became of it, and where the log ends.
  Result<void> settle_last() {
    for (; count_ > 0; --count_) {
      const std::size_t last = count_ - 1;
      if (Result<bool> passed = pass_foreign(last); !passed || *passed) {
        if (!passed) return tl::unexpected(passed.error());
        continue;
      }
      Result<Look> look = look_at(set_.path(last), options_);
      if (!look) return tl::unexpected(look.error());
      // One under another's name is not where anybody would look for its events.
      if (look->facts.header == HeaderFact::good && !set_.holds(last, *look->front.header))
        look->facts.header = HeaderFact::damaged;
      // What is known to have held events is not taken for a file that never did.
      if (look->facts.header == HeaderFact::blank && known_ > set_.first_offsets()[last])
        look->facts.header = HeaderFact::damaged;
      out_.found = recovery_case(look->facts);
      const Result<bool> stays = act(*look, last);
      if (!stays) return tl::unexpected(stays.error());
      if (*stays) return look->front.header ? seal_before(last, *look->front.header) : Result<void>{};
    }
    out_.found = RecoveryCase::nothing;
    return {};
  }

  // The one before may be full and not sealed yet. All of it was on disk before the next held anything, so it goes up
  // to there or is damaged; and what is damaged stays as it is.
  Result<void> seal_before(std::size_t last, const layout::SegmentHeader& next) {
    if (last == 0 || !options_.change) return {};
    RecoverOptions until = options_;
    until.durable = Boundary{next.first_position, next.first_offset};
    const Result<Look> look = look_at(set_.path(last - 1), until);
    if (!look || !look->front.header || !set_.holds(last - 1, *look->front.header)) return {};
    const bool whole = look->facts.reached && look->end.position == next.first_position;
    return look->facts.mark == MarkFact::open && whole ? seal_now(set_.path(last - 1), *look) : Result<void>{};
  }

  // A file of another topic is left as it is; OrderCheck tells of it. Should it stand in the place of one of ours, its
  // lines may have been used.
  Result<bool> pass_foreign(std::size_t index) {
    const Result<io::Fd> fd = io::open_nofollow(set_.path(index), O_RDONLY);
    if (!fd) return tl::unexpected(fd.error());
    const Result<Front> front = read_front(fd->get());
    if (!front) return tl::unexpected(front.error());
    if (!front->header || !set_.foreign(*front->header)) return false;
    const Result<std::uint64_t> size = io::file_size(fd->get());
    if (!size) return tl::unexpected(size.error());
    lost_lines_ += *size / layout::kLine;
    return true;
  }

  // false: the segment is no more, look at the one before.
  Result<bool> act(const Look& look, std::size_t index) {
    const auto done = [](const Result<void>& result) -> Result<bool> {
      if (!result) return tl::unexpected(result.error());
      return true;
    };
    end_ = look.end;
    switch (out_.found) {
      case RecoveryCase::never_born:
      case RecoveryCase::open_empty: {
        const Result<void> removed = options_.change ? remove_segment(set_, index) : Result<void>{};
        if (!removed) return tl::unexpected(removed.error());
        if (look.front.header) lost_position_ = look.end.position;
        return false;
      }
      case RecoveryCase::open_torn:
        out_.cut_bytes = look.cut;
        [[fallthrough]];
      case RecoveryCase::open_clean:
        lost_position_ = 0;  // the empty segment after it was made before the last of this one was written
        return done(options_.change ? seal_now(set_.path(index), look) : Result<void>{});
      case RecoveryCase::sealed_whole:
        return done(options_.change ? finish_seal(set_.path(index), look) : Result<void>{});
      case RecoveryCase::header_lost:
        problem(name(index) + ": the header is damaged; its events can't be read");
        end_ = {.offset = set_.first_offsets()[index]};
        lost_lines_ += look.file_bytes / layout::kLine;
        return true;
      case RecoveryCase::marks_lost:
        problem(name(index) + ": both marks of progress are damaged");
        return true;
      case RecoveryCase::sealed_short:
      case RecoveryCase::open_short:
        problem(name(index) + ": the file ends before what was written to it");
        return true;
      case RecoveryCase::open_unreachable:
        problem(name(index) + ": damaged before the end of what was durable");
        return true;
      case RecoveryCase::nothing:
        return false;
    }
    return true;
  }

  // The last mark before what cannot be read: positions only grow from segment to segment.
  Result<void> find_highest() {
    for (std::size_t i = count_; i-- > 0;) {
      const Result<io::Fd> fd = io::open_nofollow(set_.path(i), O_RDONLY);
      if (!fd) return tl::unexpected(fd.error());
      const Result<Front> front = read_front(fd->get());
      if (!front) return tl::unexpected(front.error());
      if (!front->header || !set_.holds(i, *front->header) || !front->progress) continue;
      highest_ = front->progress->position;
      return {};
    }
    return {};
  }

  void decide_offsets(const std::optional<layout::TopicMeta>& meta, bool meta_corrupt) {
    out_.log_offset = end_.offset;
    out_.log_position = end_.position;
    out_.next_offset = end_.offset;
    out_.next_position = std::max({end_.position, lost_position_, highest_ + lost_lines_});
    out_.offsets = offset_case(meta, meta_corrupt);
    switch (out_.offsets) {
      case OffsetCase::from_log:
      case OffsetCase::new_topic:
        break;
      case OffsetCase::log_is_short:
        problem("the log on disk ends at offset " + std::to_string(end_.offset) +
                ", but the topic stopped cleanly at " + std::to_string(meta->next_offset));
        [[fallthrough]];
      case OffsetCase::from_meta:
        out_.next_offset = std::max(end_.offset, meta->next_offset);
        out_.next_position = std::max(out_.next_position, meta->next_position);
        break;
      case OffsetCase::meta_is_stale:
        problem("topic.meta says that the topic ended at offset " + std::to_string(meta->next_offset) +
                ", but its log ends at " + std::to_string(end_.offset));
        [[fallthrough]];
      case OffsetCase::from_bound:
        out_.next_offset = std::max(end_.offset, meta->offset_bound);
        break;
      case OffsetCase::meta_lost:
        problem("topic.meta is lost: which offsets were given is not known; offsets go on far ahead");
        out_.next_offset = end_.offset + kMetaLostJump;
        break;
    }
  }

  OffsetCase offset_case(const std::optional<layout::TopicMeta>& meta, bool meta_corrupt) const {
    if (!meta) return meta_corrupt || count_ > 0 ? OffsetCase::meta_lost : OffsetCase::new_topic;
    if (meta->clean != 1) return OffsetCase::from_bound;
    if (end_.offset > meta->next_offset) return OffsetCase::meta_is_stale;
    if (end_.offset == meta->next_offset) return OffsetCase::from_log;
    // Fewer offsets, but not a line less: what lies between was never given (a life that began and saw no event).
    const bool memory = meta->options.durability == layout::Durability::memory;
    return memory || end_.position == meta->next_position ? OffsetCase::from_meta : OffsetCase::log_is_short;
  }

  SegmentSet set_;
  RecoverOptions options_;
  Recovered out_;
  std::size_t count_ = 0;    // segments that stay
  std::uint64_t known_ = 0;  // offsets below were on disk: of a topic that was stopped cleanly, or that runs
  Mark end_;
  // No position is used twice, as far as that can be known.
  std::uint64_t lost_position_ = 0;  // where a removed, empty segment began
  std::uint64_t lost_lines_ = 0;     // at most so many does what cannot be read at the end hold
  std::uint64_t highest_ = 0;        // the last mark before that
};

}  // namespace

Result<Recovered> recover_topic(const std::string& directory, const std::optional<layout::TopicMeta>& meta,
                                bool meta_corrupt, const RecoverOptions& options) {
  return Recovery(directory, meta ? meta->topic_id : 0, options).run(meta, meta_corrupt);
}

}  // namespace penstock::storage
