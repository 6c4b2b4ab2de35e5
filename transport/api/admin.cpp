// What operators ask of a bus.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <penstock/bus.hpp>
#include <unordered_map>

#include "api/feed.hpp"
#include "api/group.hpp"
#include "api/retention.hpp"
#include "group/pattern.hpp"

namespace penstock {

using api::refuse;

Result<Bus> Bus::open(const std::string& directory, const BusOptions& options) {
  auto state = api::open_bus(directory, options.create);
  if (!state) return tl::unexpected(state.error());
  return Bus(std::move(*state));
}

const std::string& Bus::directory() const { return state_->directory; }
Result<void> Bus::unload(const std::string& directory) { return api::unload_bus(directory); }
Result<void> Bus::remove(const std::string& directory) { return api::remove_bus(directory); }

Result<std::string> Bus::settings(const std::string& directory) {
  auto settings = api::load_settings(directory + "/bus.toml");
  if (!settings) return tl::unexpected(settings.error());
  return api::print_settings(*settings);
}

TopicOptions Bus::topic_defaults() const { return state_->settings.topic; }
Result<void> Bus::create_topic(std::string_view name, const TopicOptions& options) {
  if (auto good = state_->usable(); !good) return tl::unexpected(good.error());
  return api::create_topic(state_, name, options);
}
Result<void> Bus::create_topic(std::string_view name) { return create_topic(name, topic_defaults()); }
Result<void> Bus::delete_topic(std::string_view name) {
  if (auto good = state_->usable(); !good) return good;
  return api::delete_topic(state_, name);
}

namespace {

// A list that is closed to this user is not an empty one.
Result<void> may_list(const std::string& directory) {
  if (::faccessat(AT_FDCWD, directory.c_str(), R_OK | X_OK, AT_EACCESS) == 0 || errno != EACCES) return {};
  return refuse(Errc::permission, directory, EACCES);
}

}  // namespace

Result<std::vector<std::string>> Bus::topics() const {
  if (auto good = state_->usable(); !good) return tl::unexpected(good.error());
  if (auto may = may_list(state_->directory + "/topics"); !may) return tl::unexpected(may.error());
  std::vector<std::string> out = api::topic_names(*state_);
  // A directory whose meta was never written is a creation that was cut short.
  std::erase_if(out, [this](const std::string& name) { return !api::topic_exists(*state_, name); });
  return out;
}

Result<TopicInfo> Bus::describe_topic(std::string_view name) const {
  if (auto good = state_->usable(); !good) return tl::unexpected(good.error());
  auto topic = api::Topic::open(state_, name, false);
  if (!topic) return tl::unexpected(topic.error());
  api::Topic& opened = **topic;
  TopicInfo out;
  out.name = name;
  out.options = api::from_layout(opened.header().options);
  out.options.max_payload = opened.max_payload();
  if (auto meta = api::read_topic_meta(*state_, name)) {
    out.options.retention_bytes = meta->options.retention_bytes;
    out.options.retention_time = std::chrono::nanoseconds(meta->options.retention_ns);
    const TopicOptions now = api::from_layout(meta->options);
    out.options.compact = now.compact;
    out.options.retain_unacked = now.retain_unacked;
    out.retention_waits_for = api::retention_waits_for(opened, meta->options);
  }
  const api::Place end = opened.end();
  if (auto first = api::Feed(*topic, false).first()) out.first_offset = first->offset;
  out.next_offset = end.offset;
  out.durable_offset = opened.durable() ? opened.durable_end().offset : 0;
  out.ring_bytes = opened.header().options.ring_bytes;
  out.shm_bytes = api::bytes_of(state_->live.topic_path(out.name));
  out.disk_bytes = api::bytes_under(opened.directory());
  out.durable_error = int(opened.control()->durable_error.load(std::memory_order_relaxed));
  const shm::Handles& handles = state_->live.handles();
  for (const std::uint32_t slot : handles.all()) {
    const auto handle = handles.copy(slot);
    if (!handle || handle->topic_id != opened.header().topic_id || !handles.alive(slot)) continue;
    if (handle->kind == layout::HandleKind::producer) ++out.producers;
    if (handle->kind == layout::HandleKind::reader) ++out.readers;
  }
  // Who is waited for: the first open claim behind what is durable, or behind what was given up.
  api::Place place = opened.durable() ? opened.durable_end() : opened.oldest();
  while (place.position < end.position) {
    const log::Look look = log::look(opened.ring(), place.position, place.offset, opened);
    if (look.kind == log::Look::Kind::nothing) break;
    if (look.kind == log::Look::Kind::waiting) {
      const auto holder = handles.copy(look.slot);
      out.blocked_by = "slot " + std::to_string(look.slot) + ", pid " + std::to_string(holder ? holder->pid : 0);
      break;
    }
    place = {place.position + look.lines, place.offset + look.count};
  }
  if (!out.blocked_by) out.blocked_by = api::held_by(opened);
  if (out.options.compact) out.compaction_waits_for = api::compaction_waits_for(opened);
  return out;
}

namespace {

// What topic.meta says of the topic is changed, on disk. The daemon reads it again when the version is another one, and
// each time it looks while it is odd: whoever dies in between leaves it so.
template <class Change>
Result<void> change_topic(const api::StatePtr& state, std::string_view topic, Change&& change) {
  if (auto good = state->usable(); !good) return good;
  if (auto may = api::may_write(*state, "topic " + std::string(topic)); !may) return may;
  auto lock = api::BusLock::take(state->directory);
  if (!lock) return tl::unexpected(lock.error());
  auto meta = api::read_topic_meta(*state, topic);
  if (!meta) return tl::unexpected(meta.error());
  if (auto changed = change(meta->options); !changed) return changed;
  const auto live = api::Topic::open_locked(state, topic, true);
  if (!live) return api::write_topic_meta(*state, *meta, true);  // nobody has one open that cannot be
  layout::Word& version = (*live)->writable()->meta_version;
  version.store(version.load() | 1, std::memory_order_seq_cst);
  auto written = api::write_topic_meta(*state, *meta, true);
  version.fetch_add(1, std::memory_order_seq_cst);
  state->announce_topics();
  return written;
}

void set_flag(layout::TopicOptions& options, std::uint8_t flag, bool on) {
  options.flags = std::uint8_t(on ? options.flags | flag : options.flags & ~flag);
}

}  // namespace

Result<void> Bus::set_retention(std::string_view topic, std::uint64_t bytes, std::chrono::nanoseconds time) {
  return change_topic(state_, topic, [&](layout::TopicOptions& options) -> Result<void> {
    options.retention_bytes = bytes;
    options.retention_ns = std::uint64_t(time.count());
    return {};
  });
}

Result<void> Bus::set_retain_unacked(std::string_view topic, bool retain) {
  return change_topic(state_, topic, [&](layout::TopicOptions& options) -> Result<void> {
    set_flag(options, layout::kRetainUnacked, retain);
    return {};
  });
}

Result<void> Bus::set_compaction(std::string_view topic, bool compact) {
  return change_topic(state_, topic, [&](layout::TopicOptions& options) -> Result<void> {
    set_flag(options, layout::kCompact, compact);
    return compact ? api::may_compact(topic, options.durability == layout::Durability::disk) : Result<void>();
  });
}

Result<std::vector<std::string>> Bus::groups() const {
  if (auto good = state_->usable(); !good) return tl::unexpected(good.error());
  if (auto may = may_list(state_->directory + "/groups"); !may) return tl::unexpected(may.error());
  std::vector<std::string> out = api::group_names(*state_);
  // One that only others may look into is there all the same.
  std::erase_if(out, [this](const std::string& name) {
    const auto group = api::Group::open(state_, name);
    return !group && group.error().code() != Errc::permission;
  });
  return out;
}

namespace {

std::uint32_t members_of(const api::State& state, std::string_view group) {
  std::uint32_t count = 0;
  const shm::Handles& handles = state.live.handles();
  for (const std::uint32_t slot : handles.all()) {
    const auto handle = handles.copy(slot);
    if (handle && handle->kind == layout::HandleKind::consumer && handle->target == group && handles.alive(slot))
      ++count;
  }
  return count;
}

// Nothing: they are being moved.
std::optional<std::string> why_letters_wait(const api::State& state, const api::GroupState& group) {
  if (!api::daemon_of(state)) return "no daemon runs; start penstockd";
  const auto code = Errc(group.control()->letters_error.load(std::memory_order_relaxed));
  if (code == Errc::ok) return std::nullopt;
  return api::name(Error(code), "dead-letter queue " + group.group().dlq()).message();
}

// Fresh events: what lies between the cursor and the end, without what never became an event where that can be told
// cheaply, which is in the ring.
std::uint64_t fresh_events(api::Topic& topic, api::Place place) {
  const api::Place end = topic.end();
  if (place.offset < topic.ring().base_offset && place.position >= topic.ring().base_position)
    place.offset = topic.ring().base_offset;
  std::uint64_t offsets = end.offset > place.offset ? end.offset - place.offset : 0;
  if (offsets == 0 || place.position < topic.ring().base_position) return offsets;
  std::uint64_t skipped = 0;
  while (place.position < end.position) {
    const log::Found found = log::event_at(topic.ring(), place.position, place.offset, topic);
    if (found.kind == log::Found::Kind::gone || !topic.ring().intact(place.position)) return offsets;
    if (found.kind == log::Found::Kind::nothing || found.kind == log::Found::Kind::waiting) break;
    skipped += found.skipped;
    place = {found.next_position, found.next_offset};
  }
  return offsets > skipped ? offsets - skipped : 0;
}

}  // namespace

Result<GroupInfo> Bus::describe_group(std::string_view name) const {
  if (auto good = state_->usable(); !good) return tl::unexpected(good.error());
  auto group = api::Group::open(state_, name);
  if (!group) return tl::unexpected(group.error());
  GroupInfo out;
  out.group = name;
  out.patterns = (*group)->patterns();
  out.options = api::from_layout((*group)->options());
  out.paused = (*group)->options().paused != 0;
  out.members = members_of(*state_, name);
  if (api::topic_exists(*state_, (*group)->dlq())) {
    auto letters = api::GroupState::open(*group, (*group)->dlq(), {});
    if (letters) out.redriven = (*letters)->engine().info().redriven;
  }
  return out;
}

Result<std::vector<GroupTopicInfo>> Bus::group_topics(std::string_view name) const {
  if (auto good = state_->usable(); !good) return tl::unexpected(good.error());
  auto group = api::Group::open(state_, name);
  if (!group) return tl::unexpected(group.error());
  const std::uint32_t members = members_of(*state_, name);
  std::vector<GroupTopicInfo> out;
  for (const std::string& topic_name : (*group)->topic_names()) {
    const bool letters = topic_name == (*group)->dlq() && !(*group)->wants(topic_name);
    auto topic = api::Topic::open(state_, topic_name, false);
    if (!topic) continue;
    auto state = api::GroupState::open_for_operator(*group, topic_name, {});
    if (!state && letters && state.error().code() == Errc::permission) continue;  // nothing was given back
    if (!state) return tl::unexpected(state.error());
    const group::Info info = (*state)->engine().info();
    GroupTopicInfo told;
    told.group = name;
    told.topic = topic_name;
    told.members = members;
    told.shm_bytes = api::bytes_of((*group)->place().live(topic_name));
    told.in_flight = info.in_flight;
    told.retrying = info.waiting + info.dead;
    told.queued = info.queued;
    told.full = info.full;
    told.delivered = info.delivered;
    told.acked = info.acked;
    told.redelivered = info.redelivered;
    told.duplicates_skipped = info.duplicates;
    told.dead_lettered = info.dead_lettered;
    told.missed = (*state)->control()->missed.load(std::memory_order_relaxed);
    told.damaged = (*state)->control()->damaged.load(std::memory_order_relaxed);
    if (info.dead != 0) told.dead_letters_wait = why_letters_wait(*state_, **state);
    if (letters) {
      if (info.in_flight + told.retrying == 0)
        continue;  // redriven events that are under way; otherwise nothing to tell
      told.lag = info.in_flight + told.retrying;
      told.next_offset = (*topic)->end().offset;
      told.committed = info.oldest ? info.oldest->offset : told.next_offset;
      out.push_back(told);
      continue;
    }
    api::Place cursor{info.cursor.position, info.cursor.offset};
    if (!info.started) {
      auto first = api::Feed(*topic, false).first();
      if (!first) return tl::unexpected(first.error());
      cursor = *first;
    }
    told.next_offset = (*topic)->end().offset;
    const std::uint64_t fresh = fresh_events(**topic, cursor);
    told.committed = info.started ? info.committed.offset : cursor.offset;
    if (fresh == 0 && !info.oldest) told.committed = told.next_offset;  // only what never became events is left
    told.lag = info.in_flight + told.retrying + info.queued + fresh;
    if (told.lag != 0) {
      const api::Place oldest = info.oldest ? api::Place{info.oldest->position, info.oldest->offset} : cursor;
      api::Feed feed(*topic, false);
      if (auto found = feed.at(oldest); found && found->kind == api::Feed::Kind::event)
        told.oldest_pending_ms = std::max<std::int64_t>(0, (api::now_ns() - found->event.time_ns) / 1'000'000);
    }
    out.push_back(told);
  }
  return out;
}

Result<std::vector<PendingInfo>> Bus::group_pending(std::string_view name) const {
  if (auto good = state_->usable(); !good) return tl::unexpected(good.error());
  auto group = api::Group::open(state_, name);
  if (!group) return tl::unexpected(group.error());
  std::vector<PendingInfo> out;
  const auto member_of = [this](std::uint32_t slot) {
    const auto holder = state_->live.handles().copy(slot);
    return "slot " + std::to_string(slot) + (holder ? ", pid " + std::to_string(holder->pid) : std::string());
  };
  const auto name_of = [](layout::CellState state) {
    switch (state) {
      case layout::CellState::waiting:
        return "waiting";
      case layout::CellState::queued:
        return "queued";
      case layout::CellState::dead:
        return "dead";
      default:
        return "leased";
    }
  };
  for (const std::string& topic : (*group)->live_names()) {
    auto state = api::GroupState::open(*group, topic, {});
    if (!state) continue;
    const group::Instant at = api::instant();
    (*state)->engine().for_each_pending([&](const group::CellView& cell) {
      PendingInfo told;
      told.topic = topic;
      told.offset = cell.offset;
      const layout::CellState kind = cell.fields.state;
      const bool queued = kind == layout::CellState::queued;
      told.state = name_of(kind);
      if (!queued) told.member = member_of(cell.fields.slot);
      told.attempts = cell.fields.failed;
      told.delivered = cell.fields.delivered;
      // One whose turn came is due since then, whenever that was.
      const bool turn = kind == layout::CellState::waiting && cell.time() == 0;
      if (!queued) told.due = Timestamp(std::chrono::nanoseconds(turn ? at.wall : cell.time() - at.now + at.wall));
      if (auto note = (*state)->engine().note(cell)) {
        told.error_class = note->error_class;
        told.reason = note->reason;
      }
      out.push_back(std::move(told));
      return true;
    });
  }
  std::sort(out.begin(), out.end(), [](const PendingInfo& a, const PendingInfo& b) {
    return a.topic != b.topic ? a.topic < b.topic : a.offset < b.offset;
  });
  return out;
}

Result<std::vector<KeyInfo>> Bus::group_keys(std::string_view name) const {
  if (auto good = state_->usable(); !good) return tl::unexpected(good.error());
  auto group = api::Group::open(state_, name);
  if (!group) return tl::unexpected(group.error());
  std::vector<KeyInfo> out;
  for (const std::string& topic_name : (*group)->live_names()) {
    auto state = api::GroupState::open(*group, topic_name, {});
    auto topic = api::Topic::open(state_, topic_name, false);
    if (!state || !topic) continue;
    std::unordered_map<std::uint64_t, std::uint64_t> behind;
    std::vector<group::CellView> first;
    (*state)->engine().for_each_pending([&](const group::CellView& cell) {
      if (cell.key == 0 || cell.fields.state == layout::CellState::dead) return true;
      if (cell.fields.state == layout::CellState::queued)
        ++behind[cell.key];
      else
        first.push_back(cell);
      return true;
    });
    std::sort(first.begin(), first.end(), [](const auto& a, const auto& b) { return a.offset < b.offset; });
    api::Feed feed(*topic, false);
    for (const group::CellView& cell : first) {
      KeyInfo told;
      told.topic = topic_name;
      told.offset = cell.offset;
      told.state = cell.fields.state == layout::CellState::waiting ? "retrying" : "leased";
      told.attempt = cell.fields.failed + 1;
      told.behind = behind[cell.key];
      told.since = Timestamp(std::chrono::nanoseconds(cell.taken));
      const auto found = feed.at({cell.position, cell.offset});
      if (found && found->kind == api::Feed::Kind::event && found->event.offset == cell.offset) {
        if (const auto key = EventView(found->event).key()) told.key = std::string(*key);
      }
      out.push_back(std::move(told));
    }
  }
  return out;
}

Result<BusInfo> Bus::describe() const {
  if (auto good = state_->usable(); !good) return tl::unexpected(good.error());
  BusInfo out;
  out.path = state_->directory;
  out.live_path = state_->live.path();
  out.shm_bytes = api::bytes_under(out.live_path);
  out.disk_bytes = api::bytes_under(out.path);
  out.topics = std::uint32_t(topics()->size());
  out.groups = std::uint32_t(api::group_names(*state_).size());
  const shm::Handles& handles = state_->live.handles();
  for (const std::uint32_t slot : handles.all()) out.handles += handles.alive(slot) ? 1 : 0;
  out.daemon_pid = api::daemon_of(*state_);
  if (out.daemon_pid) {
    const std::uint64_t backend = state_->live.header()->daemon_backend.load(std::memory_order_relaxed);
    out.backend = backend == 1 ? "io_uring" : "pwrite";
    out.uring_error = int(backend >> 8);
  }
  return out;
}

}  // namespace penstock
