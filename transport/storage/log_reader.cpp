#include "storage/log_reader.hpp"

#include <fcntl.h>

#include <algorithm>

namespace penstock::storage {
namespace {

// Of the next segment, asked for when this one is entered: the kernel itself reads ahead within a file.
constexpr std::uint64_t kReadAhead = 8 << 20;

// Where a segment begins, when its header can be read, is the topic's and says what its name does. The order of
// segments is their names': one that begins elsewhere would lead back to itself.
std::optional<layout::SegmentHeader> header_of(const SegmentSet& set, std::size_t index) {
  const Result<io::Fd> fd = io::open_nofollow(set.path(index), O_RDONLY);
  if (!fd) return std::nullopt;
  const Result<Front> front = read_front(fd->get());
  if (!front || front->incompatible || !front->header) return std::nullopt;
  return set.holds(index, *front->header) ? front->header : std::nullopt;
}

bool same(const std::optional<Boundary>& a, const std::optional<Boundary>& b) {
  return a.has_value() == b.has_value() && (!a || (a->position == b->position && a->offset == b->offset));
}

}  // namespace

void LogReader::set_limit(const std::optional<Boundary>& limit) {
  limit_ = limit;
  if (reader_) bound();
}

void LogReader::bound() {
  std::optional<Boundary> bound = limit_;
  if (successor_ && (!bound || successor_->position < bound->position)) bound = successor_;
  reader_->set_limit(bound);
}

// Opens this segment at its start and finds out where the next begins. Else why it can't be read: it is gone, its
// header does not hold, or it is not this topic's.
Result<const char*> LogReader::open(std::size_t index) {
  constexpr const char* kBroken = "the segment's header does not hold";
  Result<SegmentReader> reader = SegmentReader::open(set_.path(index), window_bytes_);
  if (!reader) {
    const Errc code = reader.error().code();
    if (code == Errc::not_found || code == Errc::corrupt) return kBroken;
    return tl::unexpected(reader.error());
  }
  if (set_.foreign(reader->header())) return "the segment is another topic's";
  if (!set_.holds(index, reader->header())) return kBroken;
  reader_.emplace(std::move(*reader));
  successor_.reset();
  if (index + 1 < set_.size()) {
    if (const auto header = header_of(set_, index + 1)) {
      successor_ = Boundary{header->first_position, header->first_offset};
    }
  }
  bound();
  return nullptr;
}

// Opens the first readable segment from `index` on; none: there is nothing to read yet.
Result<void> LogReader::open_from(std::size_t index) {
  reader_.reset();
  skipped_.reset();
  for (std::size_t i = index; i < set_.size(); ++i) {
    const Result<const char*> refused = open(i);
    if (!refused) return tl::unexpected(refused.error());
    if (*refused == nullptr) return {};
    const Result<std::uint64_t> size = [&]() -> Result<std::uint64_t> {
      const Result<io::Fd> fd = io::open_nofollow(set_.path(i), O_RDONLY);
      if (!fd) return tl::unexpected(fd.error());
      return io::file_size(fd->get());
    }();
    if (!size) continue;  // deleted meanwhile
    if (!skipped_) skipped_ = Item{.kind = ItemKind::damage, .offset = set_.first_offsets()[i]};
    skipped_->problem = *refused;
    skipped_->file_end = std::max(skipped_->file_end, *size);
    file_ = set_.path(i);
    told_ = set_.first_offsets()[i];
    if (i + 1 < set_.size()) skipped_->count = set_.first_offsets()[i + 1] - skipped_->offset;
  }
  return {};
}

// Opens the segment that has this offset: the last readable one that begins at or before it, since what another file's
// name says it has may stand there. None begins so early: the first there is.
Result<void> LogReader::open_at(std::uint64_t offset) {
  const std::optional<std::size_t> named = set_.find(offset);
  skipped_.reset();
  for (std::size_t i = named ? *named + 1 : 0; i-- > 0;) {
    const Result<const char*> refused = open(i);
    if (!refused) return tl::unexpected(refused.error());
    if (*refused == nullptr) return {};
  }
  return open_from(named.value_or(0));
}

Result<void> LogReader::seek_start() {
  if (Result<void> done = set_.refresh(); !done) return done;
  told_.reset();
  return open_from(0);
}

Result<void> LogReader::seek_offset(std::uint64_t offset) {
  if (Result<void> done = set_.refresh(); !done) return done;
  if (Result<void> done = open_at(offset); !done || !reader_) return done;
  if (offset <= reader_->header().first_offset) return {};
  return reader_->seek_offset(offset);
}

Result<void> LogReader::seek(std::uint64_t position, std::uint64_t offset) {
  if (Result<void> done = set_.refresh(); !done) return done;
  if (Result<void> done = open_at(offset); !done || !reader_) return done;
  if (offset < reader_->header().first_offset) {
    note_removed({position, offset});
    return {};
  }
  const Result<void> sought = reader_->seek(position, offset);
  if (sought || sought.error().code() != Errc::corrupt) return sought;
  return reader_->seek_offset(offset);
}

// A place before the oldest segment is told of once as removed, unless its offsets were never given: then positions
// follow each other.
void LogReader::note_removed(const Boundary& from) {
  const layout::SegmentHeader& first = reader_->header();
  const bool oldest = first.first_offset == set_.first_offsets().front();
  if (!oldest || skipped_ || first.first_position <= from.position) return;
  skipped_ = Item{.kind = ItemKind::expired, .position = from.position, .offset = from.offset};
  skipped_->count = first.first_offset - from.offset;
  skipped_->problem = "removed by retention";
  file_ = set_.directory() + "/" + segment_name(from.offset);
}

Result<void> LogReader::seek_time(std::uint64_t time_ns) {
  if (Result<void> done = set_.refresh(); !done) return done;
  for (std::size_t i = 0; i < set_.size(); ++i) {
    if (Result<void> done = open_from(i); !done || !reader_) return done;
    // A sealed segment tells its latest time; the last one is searched in any case, to stand at its end.
    const bool last = reader_->header().first_offset >= set_.first_offsets().back();
    if (reader_->sealed() && reader_->front().progress->last_time_ns < time_ns && !last) continue;
    if (Result<void> done = reader_->seek_time(time_ns); !done) return done;
    if (last || reader_->place().position < reader_->boundary().position) return {};
  }
  return {};
}

Result<std::uint64_t> LogReader::offset_back(std::uint64_t base, std::uint64_t count) {
  if (Result<void> done = set_.refresh(); !done) return tl::unexpected(done.error());
  for (std::size_t i = set_.size(); i-- > 0;) {
    const std::uint64_t first = set_.first_offsets()[i];
    if (first >= base) continue;
    // A segment that another life follows is sealed; whatever it says, it ends where the next begins.
    const Result<io::Fd> fd = io::open_nofollow(set_.path(i), O_RDONLY);
    if (!fd) continue;  // deleted meanwhile
    const Result<Front> front = read_front(fd->get());
    if (!front) return tl::unexpected(front.error());
    if (front->header && set_.foreign(*front->header)) continue;
    const bool sealed = front->progress && front->progress->sealed == 1;
    const std::uint64_t end = sealed ? std::clamp(front->progress->offset, first, base) : base;
    if (count <= end - first) return end - count;
    count -= end - first;
    base = first;
  }
  return base;
}

Item LogReader::end_item() const {
  Item item;
  if (reader_) item.next = reader_->place(), item.position = item.next.position, item.offset = item.next.offset;
  return item;
}

// The segment may have been sealed, or have got a successor, since it was opened. true: it ends elsewhere than we
// thought.
Result<bool> LogReader::look_again() {
  if (reader_->sealed() && successor_) return false;
  const bool sealed = reader_->sealed();
  const Boundary before = reader_->boundary();
  if (Result<void> done = reader_->refresh(); !done) return tl::unexpected(done.error());
  if (Result<void> done = set_.refresh(); !done) return tl::unexpected(done.error());
  const std::optional<Boundary> had = successor_;
  if (const auto next = set_.after(reader_->header().first_offset)) {
    if (const auto header = header_of(set_, *next)) {
      successor_ = Boundary{header->first_position, header->first_offset};
    }
  }
  bound();
  return sealed != reader_->sealed() || !same(had, successor_) || !same(before, reader_->boundary());
}

// On to the next segment. An item: something lies between, or there is no more.
Result<std::optional<Item>> LogReader::advance() {
  const layout::SegmentHeader left = reader_->header();
  const Place place = reader_->place();
  if (Result<void> done = set_.refresh(); !done) return tl::unexpected(done.error());
  const auto next = set_.after(left.first_offset);
  if (!next) return std::optional<Item>(end_item());
  if (Result<void> done = open_from(*next); !done) return tl::unexpected(done.error());
  if (*next + 1 < set_.size()) io::read_ahead(set_.path(*next + 1), kReadAhead);
  if (skipped_) {
    // What the segment left held is not lost with a file that is named as if it had it.
    const std::uint64_t end = std::max(skipped_->offset + skipped_->count, place.offset);
    skipped_->offset = std::max(skipped_->offset, place.offset);
    skipped_->count = end - skipped_->offset;
    if (reader_ && reader_->header().first_offset < place.offset)
      if (Result<void> done = reader_->seek_offset(place.offset); !done) return tl::unexpected(done.error());
    return std::optional<Item>{};
  }
  if (!reader_) return std::optional<Item>(end_item());
  const layout::SegmentHeader& entered = reader_->header();
  file_ = reader_->path();
  if (entered.first_offset < place.offset) {
    // The segment left held lines past what was durable when it was given up; here they stand again.
    if (Result<void> done = reader_->seek_offset(place.offset); !done) return tl::unexpected(done.error());
  }
  if (entered.first_offset <= place.offset) return std::optional<Item>{};
  // Offsets jump. Between two lives of a topic, positions still follow each other: those offsets were never given.
  if (entered.nonce != left.nonce && entered.first_position == place.position) return std::optional<Item>{};
  // Retention removes the oldest first: what it took is told apart from what is missing in the middle.
  if (Result<void> done = set_.refresh(); !done) return tl::unexpected(done.error());
  const std::optional<std::size_t> still = set_.find(left.first_offset);
  const bool deleted = !still || set_.first_offsets()[*still] != left.first_offset;
  Item item{.kind = deleted ? ItemKind::expired : ItemKind::damage, .position = place.position, .offset = place.offset};
  item.count = entered.first_offset - place.offset;
  item.next = reader_->place();
  item.problem = deleted ? "removed by retention" : "a segment is missing";
  file_ = set_.directory() + "/" + segment_name(place.offset);
  return std::optional<Item>(item);
}

Result<Item> LogReader::next() {
  if (skipped_) {
    Item item = *skipped_;
    skipped_.reset();
    if (reader_) {
      item.next = reader_->place();
    } else if (limit_ && limit_->offset > item.offset) {
      // Nothing readable follows: all that is known is where the log ends.
      item.next.position = limit_->position;
      item.next.offset = limit_->offset;
      item.count = limit_->offset - item.offset;
    } else {
      item.next.offset = item.offset + item.count;
    }
    return item;
  }
  if (!reader_) {
    if (Result<void> done = set_.refresh(); !done) return tl::unexpected(done.error());
    const std::optional<std::size_t> from = told_ ? set_.after(*told_) : 0;
    if (!from) return end_item();
    if (Result<void> done = open_from(*from); !done) return tl::unexpected(done.error());
    if (skipped_) return next();
    if (!reader_) return end_item();
  }
  for (;;) {
    const Place before = reader_->place();
    if (limit_ && before.position >= limit_->position && !before.within()) return end_item();
    Result<Item> item = reader_->next();
    if (!item) return item;
    file_ = reader_->path();
    if (item->kind != ItemKind::end && item->kind != ItemKind::damage) return item;
    // Not what we thought to find here: was it sealed or followed by another meanwhile?
    const Result<bool> changed = look_again();
    if (!changed) return tl::unexpected(changed.error());
    if (*changed) {
      reader_->return_to(before);
      continue;
    }
    if (item->kind == ItemKind::damage) return item;
    Result<std::optional<Item>> between = advance();
    if (!between) return tl::unexpected(between.error());
    if (*between) return **between;
    if (skipped_) return next();
  }
}

}  // namespace penstock::storage
