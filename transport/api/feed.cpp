#include "api/feed.hpp"

#include <cstring>

namespace penstock::api {
namespace {

storage::Boundary durable_end(const Topic& topic) {
  const Place end = topic.durable_end();
  return {end.position, end.offset};
}

}  // namespace

bool Feed::copied(std::uint64_t head, EventView::Raw& out) {
  const std::size_t attributes = out.attributes.size(), bytes = attributes + out.payload.size();
  if (bytes > copy_.size()) copy_.resize(bytes);
  if (bytes != 0) std::memcpy(copy_.data(), out.attributes.data(), bytes);
  if (!topic_->ring().intact(head)) return false;
  out.attributes = {copy_.data(), attributes};
  out.payload = {copy_.data() + attributes, out.payload.size()};
  return true;
}

// One look at the ring. False: what stood at the place is overwritten. `done` when `out` is an answer; else the place
// moved past something that is no event.
bool Feed::from_ring(Place& place, Next& out, bool& done) {
  const log::Ring& ring = topic_->ring();
  done = true;
  out.next = place;
  out.event.topic = topic_->name();
  if (quick(out.next, out.event)) {
    out.kind = Kind::event;
    out.place = place;
    return true;
  }
  done = false;
  if (!ring.intact(place.position)) return false;
  const log::Found found = log::event_at(ring, place.position, place.offset, *topic_);
  switch (found.kind) {
    case log::Found::Kind::gone:
      return false;
    case log::Found::Kind::event:
      if (!give(found.record, log::claim_of(ring, place.position), out.event)) return false;
      out.kind = Kind::event;
      out.place = place;
      out.next = {found.next_position, found.next_offset};
      done = true;
      return true;
    case log::Found::Kind::skipped:
      if (!ring.intact(place.position)) return false;
      place = {found.next_position, found.next_offset};
      return true;
    default:
      if (!ring.intact(place.position)) return false;
      out.kind = found.kind == log::Found::Kind::waiting ? Kind::waiting : Kind::nothing;
      out.slot = found.slot;
      out.place = out.next = place;
      done = true;
      return true;
  }
}

// The next thing on disk at the place. True when `out` is an event; else the place moved, or the disk is at its end.
Result<bool> Feed::from_disk(Place& place, Next& out) {
  if (!disk_) disk_.emplace(topic_->directory(), topic_->header().topic_id);
  disk_->set_limit(durable_end(*topic_));
  const auto at = disk_->place();
  if (!at || at->position != place.position || at->offset != place.offset) {
    if (auto sought = disk_->seek(place.position, place.offset); !sought)
      return tl::unexpected(name(sought.error(), topic_->directory()));
  }
  auto item = disk_->next();
  if (!item) return tl::unexpected(name(item.error(), topic_->directory()));
  // Nothing was said of what lies between, so it is a hole between two lives.
  if ((item->kind == storage::ItemKind::event || item->kind == storage::ItemKind::aborted) &&
      item->offset > place.offset)
    out.never += item->offset - place.offset;
  switch (item->kind) {
    case storage::ItemKind::event: {
      const storage::Record& record = item->record;
      out.event = {topic_->name(),     item->offset,        std::int64_t(record.head.time),
                   record.head.id_low, record.head.id_high, record.given_id(),
                   record.attributes,  record.payload,      item->position};
      out.kind = Kind::event;
      out.place = {item->position, item->offset};
      out.next = {item->next.position, item->next.offset};
      return true;
    }
    case storage::ItemKind::aborted:
    case storage::ItemKind::compacted:
      place = {item->next.position, item->next.offset};
      return false;
    case storage::ItemKind::expired:
      if (item->next.offset > place.offset) out.missed += item->next.offset - place.offset;
      place = {item->next.position, item->next.offset};
      return false;
    case storage::ItemKind::damage:
      pass_over(place, {item->next.position, item->next.offset}, out);
      return false;
    case storage::ItemKind::end:
      break;
  }
  const log::Ring& ring = topic_->ring();
  const Place end{item->position, item->offset};
  if (end.position > place.position && end.offset >= place.offset)
    place = end;
  else if (place.position < ring.base_position)
    place = {ring.base_position, ring.base_offset};  // the end of an earlier life: what follows is this one
  return false;
}

// Goes on behind what cannot be read, never backwards: where nothing readable follows on disk, with what is durable, or
// with this life.
void Feed::pass_over(Place& place, Place next, Next& out) const {
  const log::Ring& ring = topic_->ring();
  if (next.position <= place.position) {
    next = topic_->durable_end();
    if (next.position <= place.position) next = {ring.base_position, ring.base_offset};
    if (next.position <= place.position) next = topic_->end();
  }
  if (next.offset > place.offset) out.damaged += next.offset - place.offset;
  place = {next.position, std::max(next.offset, place.offset)};
}

// A memory topic goes on at the oldest event it keeps. Where that is said to be what we found overwritten, its words
// cannot be, and it goes on at its end; never backwards. False: there is nothing to go on with.
bool Feed::skip_overwritten(Place& place, Next& out) const {
  Place next = topic_->oldest();
  if (next.position <= place.position) next = topic_->end();
  if (next.position <= place.position) {
    out.kind = Kind::nothing;
    out.place = out.next = place;
    return false;
  }
  if (next.offset > place.offset && place.offset >= topic_->ring().base_offset)
    out.missed += next.offset - place.offset;
  place = next;
  return true;
}

Result<Feed::Next> Feed::at(Place place) {
  const log::Ring& ring = topic_->ring();
  Next out;
  int stuck = 0;  // looks at the disk that led nowhere
  for (;;) {
    if (place.position >= ring.base_position && place.offset < ring.base_offset) {
      out.never += ring.base_offset - place.offset;
      place.offset = ring.base_offset;
    }
    if (place.position >= ring.base_position) {
      bool done = false;
      if (from_ring(place, out, done)) {
        if (done) return out;
        continue;
      }
    }
    if (topic_->deleted()) return refuse(Errc::deleted, "topic " + topic_->name());
    if (topic_->durable()) {
      const Place before = place;
      auto event = from_disk(place, out);
      if (!event) return tl::unexpected(event.error());
      if (*event) return out;
      // A look that led nowhere met the moment between a flush and its being told. Several: what was on disk is not.
      if (place == before && ++stuck > 3) pass_over(place, place, out);
    } else {
      if (!skip_overwritten(place, out)) return out;
    }
  }
}

Result<Place> Feed::first() {
  const log::Ring& ring = topic_->ring();
  if (!topic_->durable()) return topic_->oldest();
  storage::LogReader reader(topic_->directory(), topic_->header().topic_id);
  reader.set_limit(durable_end(*topic_));
  if (auto sought = reader.seek_start(); !sought) return tl::unexpected(name(sought.error(), topic_->directory()));
  const auto at = reader.place();
  const Place first = at ? Place{at->position, at->offset} : Place{ring.base_position, ring.base_offset};
  // A file before it that cannot be read is what the topic begins with: its events count as damaged. Where it stood in
  // the log only its header told, so from before everything.
  const auto& names = reader.segments().first_offsets();
  if (!names.empty() && names.front() < first.offset) return Place{0, names.front()};
  return first;
}

// Goes on from a place until an event at or after the wanted offset or time, or the end.
Result<Place> Feed::walk(Place from, StartAt start) {
  for (;;) {
    auto next = at(from);
    if (!next) return tl::unexpected(next.error());
    if (next->kind != Kind::event) return next->place;
    const bool reached = start.kind() == StartAt::Kind::time ? next->event.time_ns >= start.value()
                                                             : std::int64_t(next->event.offset) >= start.value();
    if (reached) return next->place;
    from = next->next;
  }
}

Result<Offset> Feed::offset_back(std::uint64_t count) {
  const Offset end = topic_->end().offset, base = topic_->ring().base_offset;
  if (!topic_->durable()) return end > count ? end - count : 0;
  if (count <= end - base) return end - count;
  storage::LogReader reader(topic_->directory(), topic_->header().topic_id);
  auto offset = reader.offset_back(base, count - (end - base));
  if (!offset) return tl::unexpected(name(offset.error(), topic_->directory()));
  return *offset;
}

Result<Place> Feed::start(StartAt start) {
  if (start.kind() == StartAt::Kind::end) return topic_->end();
  auto first = this->first();
  if (!first || start.kind() == StartAt::Kind::beginning) return first;
  if (start.kind() == StartAt::Kind::last) {
    auto offset = offset_back(std::uint64_t(start.value()));
    if (!offset) return tl::unexpected(offset.error());
    start = StartAt::offset(*offset);
  }
  if (start.kind() == StartAt::Kind::offset && std::uint64_t(start.value()) >= topic_->end().offset)
    return topic_->end();
  const auto in_ring = start.kind() == StartAt::Kind::time
                           ? topic_->seek_back(topic_->end(), Timestamp(std::chrono::nanoseconds(start.value())))
                           : topic_->seek_back(topic_->end(), Offset(start.value()));
  if (in_ring) return walk(*in_ring, start);
  if (!topic_->durable()) return walk(*first, start);
  storage::LogReader reader(topic_->directory(), topic_->header().topic_id);
  reader.set_limit(durable_end(*topic_));
  auto sought = start.kind() == StartAt::Kind::time ? reader.seek_time(std::uint64_t(start.value()))
                                                    : reader.seek_offset(std::uint64_t(start.value()));
  if (!sought) return tl::unexpected(name(sought.error(), topic_->directory()));
  const auto at = reader.place();
  return walk(at ? Place{at->position, at->offset} : *first, start);
}

}  // namespace penstock::api
