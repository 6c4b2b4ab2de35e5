// Looking at logs without touching them. Of a live bus everything is mapped read-only; of one that does not run, and of
// single files, only the segments are read.

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "api/log_impl.hpp"
#include "group/pattern.hpp"
#include "io/file.hpp"
#include "storage/segment_reader.hpp"
#include "storage/segment_set.hpp"

namespace penstock {

using api::Place;
using api::refuse;
using storage::Item;
using storage::ItemKind;

namespace {

bool before_end(const ScanOptions& options, Offset offset) { return !options.to_offset || offset < *options.to_offset; }

}  // namespace

// What one item of a scan means to the visitor; false ends the scan.
struct Window {
  const ScanOptions& options;
  Offset from;                            // nothing before
  std::optional<std::int64_t> from_time;  // nothing older
  const LogVisitor& visitor;

  bool event(const EventView& event) const {
    if (!before_end(options, event.offset())) return false;
    if (event.offset() < from) return true;
    const std::int64_t time = event.time().time_since_epoch().count();
    if (from_time && time < *from_time) return true;
    if (options.to_time && time >= options.to_time->time_since_epoch().count()) return true;
    return !visitor.event || visitor.event(event);
  }
  bool aborted(Offset first, std::uint64_t count) const { return offsets(visitor.aborted, first, count); }
  bool compacted(const Item& item) const { return offsets(visitor.compacted, item.offset, item.count); }
  // No more of a run of offsets than was asked for: it may be longer than the stretch that is looked at.
  bool offsets(const std::function<bool(Offset, std::uint64_t)>& visit, Offset first, std::uint64_t count) const {
    Offset end = first + count;
    if (count == 0 || end <= from) return true;
    if (!before_end(options, first)) return false;
    first = std::max(first, from);
    if (options.to_offset) end = std::min(end, *options.to_offset);
    return !visit || visit(first, end - first);
  }
  bool damage(const Item& item, const std::string& file) const {
    if (item.offset + item.count < from) return true;
    if (!before_end(options, item.offset)) return false;
    const Damage damage{file, item.file_begin, item.file_end, item.offset, item.offset + item.count, item.problem};
    return !visitor.damage || visitor.damage(damage);
  }
};

Log::Log(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Log::Log(Log&&) noexcept = default;
Log& Log::operator=(Log&&) noexcept = default;
Log::~Log() = default;

Result<Log> Log::open(const std::string& bus_directory, const std::string& topic) {
  if (!group::valid_name(topic)) return refuse(Errc::invalid_name, "topic " + topic);
  auto state = api::look_at_bus(bus_directory);
  if (!state) return tl::unexpected(state.error());
  auto meta = api::read_topic_meta(**state, topic);
  if (!meta) return tl::unexpected(meta.error());
  auto impl = std::make_unique<Impl>();
  impl->topic = topic;
  impl->directory = (*state)->topic_directory(topic);
  impl->topic_id = meta->topic_id;
  const bool durable = meta->options.durability == layout::Durability::disk;
  if (durable && meta->clean != 0) impl->known_end = {meta->next_position, meta->next_offset};
  if ((*state)->live.header() != nullptr) {
    auto live = api::Topic::look(*state, topic);
    if (live)
      impl->live = std::move(*live);
    else if (live.error().code() != Errc::not_found)
      return tl::unexpected(live.error());
  } else {
    impl->unseen = api::why_no_live(bus_directory, (*state)->bus_id);
  }
  return Log(std::move(impl));
}

namespace {

// The topic whose last segment this file is, if its bus runs here: more of it is in the ring than in any file.
std::shared_ptr<api::Topic> topic_above(const std::string& file, const std::string& topic, std::uint64_t topic_id) {
  std::error_code error;
  const std::string segment = std::filesystem::absolute(file, error).lexically_normal().string();
  const std::string directory = io::directory_of(segment);
  const std::string bus = io::directory_of(io::directory_of(directory));
  auto state = error ? tl::unexpected(Error(Errc::not_found)) : api::look_at_bus(bus);
  if (!state || (*state)->live.header() == nullptr) return nullptr;
  storage::SegmentSet segments((*state)->topic_directory(topic), topic_id);
  if (!segments.refresh() || segments.empty() || segments.path(segments.size() - 1) != segment) return nullptr;
  auto live = api::Topic::look(*state, topic);
  return live && (*live)->header().topic_id == topic_id ? std::move(*live) : nullptr;
}

}  // namespace

std::optional<std::string> Log::not_shown() const {
  if (impl_->unseen) return impl_->unseen;
  if (impl_->file.empty()) return std::nullopt;
  const auto live = topic_above(impl_->file, impl_->topic, impl_->topic_id);
  if (!live || !live->durable()) return std::nullopt;
  const Offset durable = live->durable_end().offset, end = live->end().offset;
  if (durable >= end) return std::nullopt;
  return "what begins at offset " + std::to_string(durable) + " and ends before " + std::to_string(end) +
         " is in shared memory and not on disk yet; see it with 'penstock --bus " + live->state()->directory +
         " dump " + impl_->topic + "'";
}

Result<Log> Log::open_file(const std::string& path) {
  auto reader = storage::SegmentReader::open(path, 1 << 16);
  if (!reader && reader.error().code() == Errc::not_found)
    return refuse(Errc::not_found, path +
                                       ": there is no such file; a topic is named without a slash, and its segments " +
                                       "are the files BUS/topics/TOPIC/*.seg.");
  if (!reader) return tl::unexpected(api::name(reader.error(), path));
  auto impl = std::make_unique<Impl>();
  impl->file = path;
  const char* text = reader->header().topic.text;
  impl->topic.assign(text, ::strnlen(text, layout::kNameMax));
  impl->topic_id = reader->header().topic_id;
  return Log(std::move(impl));
}

// The first offset that is asked for, of those from `first` to `end`.
Result<Offset> Log::Impl::wanted_from(const StartAt& from, Offset first, Offset end) const {
  if (from.kind() == StartAt::Kind::offset) return Offset(from.value());
  if (from.kind() == StartAt::Kind::end) return end;
  if (from.kind() != StartAt::Kind::last) return first;
  const auto count = std::uint64_t(from.value());
  if (!file.empty()) return std::max(first, end - std::min(end, count));
  const auto offset = live ? api::Feed(live, false).offset_back(count)
                           : storage::LogReader(directory, topic_id).offset_back(end, count);
  if (!offset) return tl::unexpected(api::name(offset.error(), directory));
  return std::max(first, *offset);
}

Result<void> Log::Impl::scan_file(const ScanOptions& options, const LogVisitor& visitor) const {
  auto reader = storage::SegmentReader::open(file);
  if (!reader) return tl::unexpected(api::name(reader.error(), file));
  const bool by_time = options.from.kind() == StartAt::Kind::time;
  Offset end = 0;
  if (options.from.kind() == StartAt::Kind::last || options.from.kind() == StartAt::Kind::end) {
    reader->seek_start();
    for (;;) {
      auto item = reader->next();
      if (!item) return tl::unexpected(api::name(item.error(), file));
      end = item->offset + (item->kind == ItemKind::event ? 1 : item->count);
      if (item->kind == ItemKind::end) break;
    }
  }
  const auto from = wanted_from(options.from, reader->header().first_offset, end);
  if (!from) return tl::unexpected(from.error());
  const Window window{options, *from, by_time ? std::optional(options.from.value()) : std::nullopt, visitor};
  reader->seek_start();
  for (;;) {
    auto item = reader->next();
    if (!item) return tl::unexpected(api::name(item.error(), file));
    bool on = true;
    if (item->kind == ItemKind::end) return {};
    if (item->kind == ItemKind::event) on = window.event(view(*item));
    if (item->kind == ItemKind::aborted) on = window.aborted(item->offset, item->count);
    if (item->kind == ItemKind::compacted) on = window.compacted(*item);
    if (item->kind == ItemKind::damage) on = window.damage(*item, file);
    if (!on) return {};
  }
}

// A log that ends before the place at which its topic was stopped has lost its end.
Result<void> Log::Impl::missing_end(Place end, const Window& window) const {
  if (!ends_early(end)) return {};
  Item item{.kind = ItemKind::damage, .offset = end.offset, .count = known_end.offset - end.offset};
  item.problem = "the end of the log is missing";
  window.damage(item, directory);
  return {};
}

// Disk first, up to what is durable, then the ring. What the daemon writes and the producers overwrite meanwhile is on
// disk by then: the scan goes back there and on.
Result<void> Log::Impl::forward(const ScanOptions& options, const LogVisitor& visitor,
                                std::optional<Place>& near) const {
  storage::LogReader reader(directory, topic_id);
  Place stop{~0ull, ~0ull};
  const auto limit = [&] {
    if (live) reader.set_limit(storage::Boundary{live->durable_end().position, live->durable_end().offset});
  };
  limit();
  if (auto sought = reader.seek_start(); !sought) return tl::unexpected(api::name(sought.error(), directory));
  const auto start = reader.place();
  if (live) stop = live->end();
  Place place = start ? Place{start->position, start->offset} : Place{};
  if (live && (!start || !live->durable()))
    place = live->durable() ? Place{live->ring().base_position, live->ring().base_offset} : live->oldest();
  // None of the files can be read: they are told from the first one's name on.
  if (live && !start && live->durable() && !reader.segments().empty())
    place.offset = std::min(place.offset, reader.segments().first_offsets().front());
  const bool by_time = options.from.kind() == StartAt::Kind::time;
  Offset end = stop.offset;
  if (!live && (options.from.kind() == StartAt::Kind::last || options.from.kind() == StartAt::Kind::end))
    end = api::end_on_disk(directory, topic_id).offset;
  const auto from = wanted_from(options.from, place.offset, end);
  if (!from) return tl::unexpected(from.error());
  const Window window{options, *from, by_time ? std::optional(options.from.value()) : std::nullopt, visitor};
  std::optional<Place> in_ring;
  if (live && by_time) in_ring = live->seek_back(stop, Timestamp(std::chrono::nanoseconds(options.from.value())));
  if (live && !by_time && window.from < end && window.from > place.offset)
    in_ring = live->seek_back(near.value_or(stop), window.from);
  if (in_ring) {
    near = place = *in_ring;
  } else if (start && !by_time && window.from > start->offset) {
    if (auto sought = reader.seek_offset(window.from); !sought)
      return tl::unexpected(api::name(sought.error(), directory));
    if (const auto at = reader.place()) place = {at->position, at->offset};
  } else if (start && by_time) {
    if (auto sought = reader.seek_time(std::uint64_t(options.from.value())); !sought)
      return tl::unexpected(api::name(sought.error(), directory));
    if (const auto at = reader.place()) place = {at->position, at->offset};
  }
  bool on_disk = !in_ring && !reader.segments().empty();
  std::vector<std::byte> copy;
  Place lost_at{~0ull, ~0ull};
  for (;;) {
    if (place.offset >= stop.offset) return {};
    if (on_disk) {
      auto item = reader.next();
      if (!item) return tl::unexpected(api::name(item.error(), directory));
      bool on = true;
      if (item->kind == ItemKind::event) on = window.event(view(*item));
      if (item->kind == ItemKind::aborted) on = window.aborted(item->offset, item->count);
      if (item->kind == ItemKind::compacted) on = window.compacted(*item);
      if (item->kind == ItemKind::damage) on = window.damage(*item, reader.file());
      if (!on) return {};
      place = {std::max(place.position, item->next.position), std::max(place.offset, item->next.offset)};
      if (item->kind != ItemKind::end) continue;
    }
    if (!live) return missing_end(place, window);
    if (on_disk) {
      const log::Ring& ring = live->ring();
      if (place.position < ring.base_position || place.offset < ring.base_offset)
        place = {ring.base_position, ring.base_offset};
      on_disk = false;
    }
    const log::Ring& ring = live->ring();
    // False: what is gone from here is nowhere else either, so that the ring's words cannot be.
    const auto lost = [&]() -> Result<bool> {
      if (!live->durable()) {
        const Place oldest = live->oldest();
        if (oldest.position <= place.position) return false;
        place = oldest;
        return true;
      }
      if (place == lost_at) return false;
      lost_at = place;
      limit();
      on_disk = true;
      if (auto sought = reader.seek(place.position, place.offset); !sought) return tl::unexpected(sought.error());
      return true;
    };
    log::Found found = log::event_at(ring, place.position, place.offset, *live);
    if (found.kind == log::Found::Kind::event) {
      const log::Record& record = found.record;
      copy.resize(record.attributes.size() + record.payload.size());
      if (!copy.empty()) std::memcpy(copy.data(), record.attributes.data(), copy.size());
    }
    if (found.kind == log::Found::Kind::gone || !ring.intact(place.position)) {
      const auto back = lost();
      if (!back) return tl::unexpected(api::name(back.error(), directory));
      if (*back) continue;
      Item item{.kind = ItemKind::damage, .offset = place.offset, .count = stop.offset - place.offset};
      item.problem = "the ring was overwritten before it was kept elsewhere";
      window.damage(item, directory);
      return {};
    }
    if (found.kind == log::Found::Kind::nothing || found.kind == log::Found::Kind::waiting) return {};
    bool on = true;
    if (found.kind == log::Found::Kind::skipped) on = window.aborted(place.offset, found.skipped);
    if (found.kind == log::Found::Kind::event) {
      const log::Record& record = found.record;
      const Bytes bytes(copy);
      on = window.event(EventView({topic, record.offset, record.time_ns, record.id_low, record.id_high,
                                   (record.flags & layout::kFlagGivenId) != 0, bytes.first(record.attributes.size()),
                                   bytes.subspan(record.attributes.size()), record.position}));
    }
    if (!on) return {};
    place = {found.next_position, found.next_offset};
  }
}

// Backwards in stretches: each is read forwards and told from its end. In the ring its beginning is found over the
// links.
Result<void> Log::Impl::backward(const ScanOptions& options, const LogVisitor& visitor) const {
  constexpr Offset kStretch = 4096;
  struct Told {
    std::optional<Event> event;
    Offset first = 0;
    std::uint64_t count = 0;
    std::optional<Damage> damage;
    bool compacted = false;
  };
  Offset first = 0, end = 0;
  ScanOptions forwards = options;
  forwards.reverse = false;
  std::optional<Place> near;
  bool any = false;
  const auto note = [&](Offset from, std::uint64_t count) {
    if (!any) first = from;
    any = true;
    end = std::max(end, from + count);
    return true;
  };
  if (options.from.kind() == StartAt::Kind::time || options.to_time || !file.empty() || !live) {
    const LogVisitor ends{
        [&](const EventView& event) { return note(event.offset(), 1); },
        [&](Offset from, std::uint64_t count) { return note(from, count); },
        [&](const Damage& damage) { return note(damage.first_offset, damage.end_offset - damage.first_offset); },
        [&](Offset from, std::uint64_t count) { return note(from, count); }};
    auto done = file.empty() ? forward(forwards, ends, near) : scan_file(forwards, ends);
    if (!done) return done;
    near.reset();
  } else {
    auto oldest = api::Feed(live, false).first();
    if (!oldest) return tl::unexpected(oldest.error());
    end = live->end().offset;
    const auto from = wanted_from(options.from, oldest->offset, end);
    if (!from) return tl::unexpected(from.error());
    first = std::max(oldest->offset, *from);
    if (options.to_offset) end = std::min(end, *options.to_offset);
  }
  Offset run_first = 0;
  std::uint64_t run_count = 0;  // 0: there is no run that was met and not told
  const auto tell_run = [&] {
    const bool on = run_count == 0 || !visitor.compacted || visitor.compacted(run_first, run_count);
    run_count = 0;
    return on;
  };
  while (end > first) {
    const Offset begin = end - first > kStretch ? end - kStretch : first;
    std::vector<Told> stretch;
    ScanOptions part = options;
    part.from = StartAt::offset(begin);
    part.to_offset = end;
    part.reverse = false;
    const LogVisitor gather{[&](const EventView& event) {
                              if (options.from.kind() == StartAt::Kind::time &&
                                  event.time().time_since_epoch().count() < options.from.value())
                                return true;
                              stretch.push_back({.event = Event(event)});
                              return true;
                            },
                            [&](Offset from, std::uint64_t count) {
                              stretch.push_back({.event = {}, .first = from, .count = count});
                              return true;
                            },
                            [&](const Damage& damage) {
                              stretch.push_back({.event = {}, .damage = damage});
                              return true;
                            },
                            [&](Offset from, std::uint64_t count) {
                              stretch.push_back({.event = {}, .first = from, .count = count, .compacted = true});
                              return true;
                            }};
    auto done = file.empty() ? forward(part, gather, near) : scan_file(part, gather);
    if (!done) return done;
    for (auto told = stretch.rbegin(); told != stretch.rend(); ++told) {
      bool on = true;
      // A run goes on in the stretch before: it is told when all of it was met.
      const bool goes_on = told->compacted && told->first + told->count == run_first;
      if (!goes_on && !tell_run()) return {};
      if (told->compacted)
        run_first = told->first, run_count += told->count;
      else if (told->event)
        on = !visitor.event || visitor.event(told->event->view());
      else if (told->damage)
        on = !visitor.damage || visitor.damage(*told->damage);
      else
        on = !visitor.aborted || visitor.aborted(told->first, told->count);
      if (!on) return {};
    }
    end = begin;
  }
  static_cast<void>(tell_run());
  return {};
}

Result<void> Log::scan(const ScanOptions& options, const LogVisitor& visitor) const {
  if (options.reverse) return impl_->backward(options, visitor);
  std::optional<Place> near;
  return impl_->file.empty() ? impl_->forward(options, visitor, near) : impl_->scan_file(options, visitor);
}

Offset Log::end() const {
  if (impl_->live) return impl_->live->end().offset;
  if (impl_->file.empty()) return api::end_on_disk(impl_->directory, impl_->topic_id).offset;
  Offset end = 0;
  static_cast<void>(impl_->scan_file({}, {[&end](const EventView& event) {
                                            end = event.offset() + 1;
                                            return true;
                                          },
                                          {},
                                          {}}));
  return end;
}

namespace api {

Place end_on_disk(const std::string& directory, std::uint64_t topic_id) {
  storage::LogReader reader(directory, topic_id);
  if (!reader.segments().empty() || reader.seek_start()) {
    const auto& firsts = reader.segments().first_offsets();
    if (firsts.empty() || !reader.seek_offset(firsts.back())) return {};
    Place end;  // of what can be read: behind it may stand a file that cannot
    for (;;) {
      auto item = reader.next();
      if (!item) return {};
      end = {std::max(end.position, item->next.position), std::max(end.offset, item->next.offset)};
      if (item->kind == ItemKind::end) return end;
    }
  }
  return {};
}

}  // namespace api
}  // namespace penstock
