#include "storage/compaction.hpp"

#include <fcntl.h>

#include <algorithm>
#include <new>

#include "io/file.hpp"
#include "log/attributes.hpp"
#include "log/checksum.hpp"
#include "storage/index.hpp"
#include "storage/segment_set.hpp"

namespace penstock::storage {
namespace {

std::optional<std::string_view> key_of(const Item& event) {
  return log::find_attribute(event.record.attributes, layout::Attribute::key);
}

// Visits each event. Errc::corrupt: damage was met; interrupted.
template <class Visit>
Result<void> each_event(SegmentReader& reader, const std::atomic<bool>& stop, Visit visit) {
  reader.seek_start();
  for (;;) {
    if (stop.load(std::memory_order_relaxed)) return tl::unexpected(Error(Errc::interrupted));
    const Result<Item> item = reader.next();
    if (!item) return tl::unexpected(item.error());
    if (item->kind == ItemKind::end) return {};
    if (item->kind == ItemKind::damage) return tl::unexpected(Error(Errc::corrupt));
    if (item->kind == ItemKind::event) visit(*item);
  }
}

class Pass {
 public:
  Pass(const CompactionPlan& plan, const Replace& replace, const std::atomic<bool>& stop)
      : plan_(plan), replace_(replace), stop_(stop), newest_(plan.seed) {}

  Result<Compacted> run() {
    const Result<std::size_t> covered = take_newest();
    if (!covered) return tl::unexpected(covered.error());
    for (std::size_t i = 0; i < *covered; ++i) {
      const Result<bool> on = treat(plan_.segments[i]);
      if (!on) return tl::unexpected(on.error());
      if (!*on) break;
    }
    return out_;
  }

 private:
  std::string path(std::uint64_t first) const { return plan_.directory + "/" + segment_name(first); }
  static bool is_damage(const Error& error) { return error.code() == Errc::corrupt; }

  // How many segments the newest offsets now known are good for.
  Result<std::size_t> take_newest() {
    for (std::size_t i = 0; i < plan_.segments.size(); ++i) {
      Result<SegmentReader> reader = SegmentReader::open(path(plan_.segments[i]));
      if (!reader) {
        if (is_damage(reader.error()) || reader.error().code() == Errc::not_found) continue;
        return tl::unexpected(reader.error());
      }
      if (!reader->sealed() || reader->front().progress->compacted != 0) continue;
      const Result<void> done = each_event(*reader, stop_, [this](const Item& event) {
        if (const auto key = key_of(event)) newest_.add(*key, event.offset);
      });
      if (!done && !is_damage(done.error())) return tl::unexpected(done.error());
      if (newest_.size() >= plan_.keys_most) return i + 1;
    }
    return plan_.segments.size();
  }

  // One segment. False: the pass ends here.
  Result<bool> treat(std::uint64_t first) {
    Result<SegmentReader> reader = SegmentReader::open(path(first));
    if (!reader) {
      if (reader.error().code() == Errc::not_found) return true;  // retention took it, and all before it
      if (is_damage(reader.error())) return damaged(first);
      return tl::unexpected(reader.error());
    }
    if (!reader->sealed()) return damaged(first);
    const std::uint64_t before = reader->front().progress->compacted;
    // As long as something before it cannot be rewritten, an older event of their keys may be there.
    const bool old = before != 0 && before <= plan_.tombstones_before_ns;
    const CompactionRule rule{&newest_, old && out_.unreadable.empty()};
    std::uint64_t removed = 0;
    bool tombstones = false;
    const Result<void> looked = each_event(*reader, stop_, [&](const Item& event) {
      const bool stays = rule.stays(event);
      removed += stays ? 0 : 1;
      tombstones |= stays && is_tombstone(event);
    });
    if (!looked && is_damage(looked.error())) return damaged(first);
    if (!looked) return tl::unexpected(looked.error());
    const std::uint64_t since = before != 0 ? before : std::max<std::uint64_t>(plan_.now_ns, 2);
    const std::uint64_t compacted = (since & ~std::uint64_t{1}) | (tombstones ? 1 : 0);
    if (removed == 0) {
      if (compacted == before) return true;
      if (Result<void> done = note(*reader, compacted); !done) return tl::unexpected(done.error());
      return true;
    }
    const Result<bool> done = rewrite(*reader, rule, compacted);
    if (done && *done) ++out_.segments, out_.events += removed;
    return done;
  }

  Result<bool> damaged(std::uint64_t first) {
    out_.unreadable.push_back(first);
    return true;
  }

  // Nothing of it goes: it only says that this was found. One slot is enough: should it be lost, the other says that
  // compaction was not here yet.
  Result<void> note(SegmentReader& reader, std::uint64_t compacted) {
    const Result<io::Fd> fd = io::open_nofollow(reader.path(), O_RDWR);
    if (!fd) return tl::unexpected(fd.error());
    Mark mark = mark_of(*reader.front().progress);
    mark.compacted = compacted;
    ProgressWriter progress(reader.front());
    Result<void> done = progress.write(fd->get(), mark, true);
    return done ? io::sync_data(fd->get()) : done;
  }

  Result<bool> rewrite(SegmentReader& reader, const CompactionRule& rule, std::uint64_t compacted) {
    const std::uint64_t first = reader.header().first_offset;
    const std::string temporary = reader.path() + ".tmp";
    const auto give_up = [&](const Error& error) {
      (void)io::remove_file(temporary);
      return tl::unexpected(error);
    };
    if (Result<void> done = io::remove_file(temporary); !done) return tl::unexpected(done.error());
    const Result<Mark> written = rewrite_segment(reader, temporary, plan_.mode, rule, compacted, stop_);
    if (!written) return give_up(written.error());
    if (Result<void> good = look_again(temporary, *written); !good) return give_up(good.error());
    const Result<bool> replaced = replace_(first, temporary);
    if (!replaced) return give_up(replaced.error());
    if (!*replaced) {
      (void)io::remove_file(temporary);
      return false;
    }
    // On disk before a later segment loses what only this one's loss allows.
    if (Result<void> done = io::sync_directory(plan_.directory); !done) return tl::unexpected(done.error());
    // A cache: without it, whoever needs it walks the segment.
    (void)rebuild_index(plan_.directory, first, plan_.mode);
    if (!SegmentReader::open(path(first), layout::kPage)) {  // retention was faster
      (void)io::remove_file(plan_.directory + "/" + index_name(first));
    }
    return true;
  }

  // What is about to replace a segment is read as everybody will read it.
  Result<void> look_again(const std::string& temporary, const Mark& mark) {
    Result<SegmentReader> reader = SegmentReader::open(temporary);
    if (!reader) return tl::unexpected(reader.error());
    std::uint64_t events = 0;
    if (Result<void> done = each_event(*reader, stop_, [&events](const Item&) { ++events; }); !done) return done;
    const Place end = reader->place();
    if (events != mark.events || end.position != mark.position || end.offset != mark.offset) {
      return tl::unexpected(Error(Errc::corrupt));
    }
    return {};
  }

  const CompactionPlan& plan_;
  const Replace& replace_;
  const std::atomic<bool>& stop_;
  NewestOfKeys newest_;
  Compacted out_;
};

}  // namespace

std::size_t NewestOfKeys::slot_of(const layout::Id128& hash) const {
  const std::size_t mask = entries_.size() - 1;
  std::size_t slot = hash.low & mask;
  while (entries_[slot].after != 0 && !(entries_[slot].hash == hash)) slot = (slot + 1) & mask;
  return slot;
}

void NewestOfKeys::grow() {
  std::vector<Entry> before(entries_.size() * 2);
  before.swap(entries_);
  for (const Entry& entry : before) {
    if (entry.after != 0) entries_[slot_of(entry.hash)] = entry;
  }
}

void NewestOfKeys::add(std::string_view key, std::uint64_t offset) {
  const layout::Id128 hash = log::hash128(key.data(), key.size(), seed_);
  std::size_t slot = slot_of(hash);
  if (entries_[slot].after == 0) {
    if (++size_ * 4 > entries_.size() * 3) grow(), slot = slot_of(hash);
    entries_[slot].hash = hash;
  }
  entries_[slot].after = std::max(entries_[slot].after, offset + 1);
}

std::optional<std::uint64_t> NewestOfKeys::newest(std::string_view key) const {
  const Entry& entry = entries_[slot_of(log::hash128(key.data(), key.size(), seed_))];
  return entry.after == 0 ? std::nullopt : std::optional(entry.after - 1);
}

bool is_tombstone(const Item& event) { return event.record.payload.empty() && key_of(event).has_value(); }

bool CompactionRule::stays(const Item& event) const {
  const std::optional<std::string_view> key = key_of(event);
  if (!key) return true;
  if (const auto last = newest->newest(*key); last && *last > event.offset) return false;
  return !(tombstones_go && event.record.payload.empty());
}

Result<Compacted> compact(const CompactionPlan& plan, const Replace& replace, const std::atomic<bool>& stop) {
  try {
    return Pass(plan, replace, stop).run();
  } catch (const std::bad_alloc&) {
    return tl::unexpected(io::error_of(ENOMEM));
  }
}

void remove_unfinished(const std::string& directory) {
  const Result<std::vector<std::string>> names = io::list_directory(directory);
  if (!names) return;
  for (const std::string& name : *names) {
    if (offset_in_name(name, ".seg.tmp") || offset_in_name(name, ".idx.tmp")) {
      (void)io::remove_file(directory + "/" + name);
    }
  }
}

}  // namespace penstock::storage
