// Reading one topic from any place on: in the ring while it is there, from the segments before that, and back, without
// the caller noticing. One thread's.
#pragma once

#include <optional>
#include <penstock/event.hpp>
#include <vector>

#include "api/topic.hpp"
#include "storage/log_reader.hpp"

namespace penstock::api {

class Feed {
 public:
  enum class Kind : std::uint8_t {
    nothing,  // the end: wait for an event
    waiting,  // a living owner has to settle its claim first
    event,
  };
  struct Next {
    Kind kind = Kind::nothing;
    Place place;                // where the event stands; aborted claims and gaps before it are passed over
    Place next;                 // after it
    EventView::Raw event;       // valid until the feed is used again
    std::uint64_t missed = 0;   // events that were overwritten or removed before they were read, found at this look
    std::uint64_t damaged = 0;  // offsets on disk that cannot be read, found at this look
    std::uint64_t never = 0;    // offsets between two lives of the topic, which no event was given, found at this look
    std::uint32_t slot = layout::kNoSlot;  // waiting: whom for
  };

  // `held`: producers wait for this reader, so ring bytes need no copy. Else each event is copied and checked.
  Feed(std::shared_ptr<Topic> topic, bool held) : topic_(std::move(topic)), held_(held) {}

  Topic& topic() const { return *topic_; }
  Result<Next> at(Place place);
  // The event at the place, when it stands there plainly: in the ring and committed. Moves the place behind it. False
  // says nothing: ask at(). Looks at the event's own lines only, and leaves out what each event of a topic has: its
  // name.
  bool quick(Place& place, EventView::Raw& out);
  // Whether quick() or at() would find something settled in the ring.
  bool glance(Place place) const {
    log::Look ignored;
    return log::glance(topic_->ring(), place.position, place.offset, ignored);
  }

  // The place a reader begins at.
  Result<Place> start(StartAt start);
  Result<Place> first();  // the oldest event that can be read
  // So many offsets before the end, of those that were given: a power cut leaves a hole between two lives of a topic.
  Result<Offset> offset_back(std::uint64_t count);

 private:
  struct Batch {  // the claim of several events that was found last
    std::uint64_t head = 0, end = 0, end_offset = 0;
    bool holds(Place place) const { return place.offset < end_offset && place.position > head && place.position < end; }
  };

  bool give(const log::Record& record, std::uint64_t head, EventView::Raw& out);
  bool copied(std::uint64_t head, EventView::Raw& out);
  bool from_ring(Place& place, Next& out, bool& done);
  Result<bool> from_disk(Place& place, Next& out);
  void pass_over(Place& place, Place next, Next& out) const;
  bool skip_overwritten(Place& place, Next& out) const;
  Result<Place> walk(Place from, StartAt start);

  std::shared_ptr<Topic> topic_;
  bool held_;
  Batch batch_;
  std::vector<std::byte> copy_;
  std::optional<storage::LogReader> disk_;
};

// What the ring has of an event, as readers get it: in place, or a copy that is whole. False: it was overwritten
// meanwhile, or the head of its claim was, without which a batch's later record proves nothing.
[[gnu::always_inline]] inline bool Feed::give(const log::Record& record, std::uint64_t head, EventView::Raw& out) {
  out.offset = record.offset;
  out.time_ns = record.time_ns;
  out.id_low = record.id_low;
  out.id_high = record.id_high;
  out.given_id = (record.flags & layout::kFlagGivenId) != 0;
  out.attributes = record.attributes;
  out.payload = record.payload;
  out.position = record.position;
  return held_ || copied(head, out);
}

[[gnu::always_inline]] inline bool Feed::quick(Place& place, EventView::Raw& out) {
  const log::Ring& ring = topic_->ring();
  log::Record record;
  std::uint64_t next = 0, head = place.position;
  if (batch_.holds(place)) {
    head = batch_.head;
    if (!log::inner_record(ring, place.position, place.offset, batch_.end, next, record)) return false;
    if (place.offset + 1 == batch_.end_offset) next = batch_.end;
  } else {
    log::Look seen;
    if (!log::glance(ring, place.position, place.offset, seen)) return false;
    const std::uint64_t end = place.position + seen.lines;
    if (seen.state != layout::State::committed || seen.count == 0 ||
        !log::read_record(ring, place.position, place.offset, end, next, record))
      return false;
    if (seen.count == 1)
      next = end;
    else
      batch_ = {place.position, end, place.offset + seen.count};
  }
  if (!give(record, head, out)) return false;
  place = {next, place.offset + 1};
  return true;
}

}  // namespace penstock::api
