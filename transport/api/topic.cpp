#include "api/topic.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>

#include "api/error_place.hpp"
#include "group/pattern.hpp"
#include "io/file.hpp"
#include "storage/blob.hpp"
#include "storage/recover.hpp"

namespace penstock::api {
namespace {

constexpr std::uint64_t kRingMin = 64ull << 10, kRingMax = 16ull << 30;

constexpr std::uint32_t kDedupeMost = 16u << 20;  // a producer keeps them in memory, some 100 bytes each

// How far ahead of the claims the bound on disk is kept: a power cut leaves a hole of at most this many offsets.
std::uint64_t bound_step(const layout::TopicOptions& options) {
  return options.durability == layout::Durability::disk ? 1ull << 20 : 1ull << 32;
}

// Which wake ordinals the topics have. A kill can leave one taken that no topic has.
void count_ordinals_again(const State& state) {
  std::array<std::uint64_t, layout::kMaxTopics / 64> taken{};
  taken[0] = 1u << layout::kBusOrdinal;
  for (const std::string& name : list_names(state.live.path() + "/topics")) {
    auto fd = shm::open_file(state.live.topic_path(name), false);
    layout::TopicHeader header;
    if (!fd || ::pread(fd->get(), &header, sizeof header, 0) != ssize_t(sizeof header)) continue;
    if (header.ordinal < layout::kMaxTopics) taken[header.ordinal / 64] |= 1ull << (header.ordinal % 64);
  }
  for (std::size_t word = 0; word < taken.size(); ++word)
    state.live.header()->ordinals[word].store(taken[word], std::memory_order_relaxed);
}

Result<std::uint64_t> take_ordinal(const State& state, bool again = false) {
  layout::LiveHeader* live = state.live.header();
  for (std::uint64_t word = 0; word < layout::kMaxTopics / 64; ++word) {
    const std::uint64_t taken = live->ordinals[word].load(std::memory_order_relaxed);
    if (taken == ~0ull) continue;
    const int bit = std::countr_one(taken);
    live->ordinals[word].fetch_or(1ull << bit, std::memory_order_relaxed);
    return word * 64 + std::uint64_t(bit);
  }
  if (!again) {
    count_ordinals_again(state);
    return take_ordinal(state, true);
  }
  return refuse(Errc::too_many, "a bus has at most " + std::to_string(layout::kMaxTopics - 1) + " topics",
                layout::kMaxTopics);
}

// Makes the live file of a topic whose meta is on disk. Under the bus lock; killed anywhere, it is done again.
Result<void> make_live(const State& state, std::string_view name) {
  auto meta = read_topic_meta(state, name);
  if (!meta) return tl::unexpected(meta.error());
  auto recovered = storage::recover_topic(state.topic_directory(name), *meta, false,
                                          {.durable = {}, .bus_id = state.bus_id, .mode = state.access().topic_file()});
  if (!recovered) return tl::unexpected(api::name(recovered.error(), "topic " + std::string(name)));
  auto ordinal = take_ordinal(state);
  if (!ordinal) return tl::unexpected(ordinal.error());
  const std::uint64_t next = recovered->next_offset;
  meta->offset_bound = next + bound_step(meta->options);
  meta->clean = 0;
  const bool durable = meta->options.durability == layout::Durability::disk;
  if (auto written = write_topic_meta(state, *meta, durable); !written) return tl::unexpected(written.error());
  // Who made the topic may have been stopped before he could.
  if (durable)
    if (auto synced = io::sync_directory(state.directory + "/topics"); !synced) return tl::unexpected(synced.error());
  const std::uint64_t bytes = layout::kRingAt + meta->options.ring_bytes;
  const shm::NewFile file{state.live.topic_path(std::string(name)), state.live.topic_path("." + std::string(name)),
                          state.access().topic_file(), bytes};
  auto mapping = shm::create_mapped(file, [&](std::byte* at) {
    auto* control = reinterpret_cast<layout::TopicControl*>(at);
    layout::TopicHeader& header = control->header;
    header.preamble = shm::preamble(layout::kMagicTopic, sizeof(layout::TopicHeader), state.live.identity());
    header.topic_id = meta->topic_id;
    header.nonce = random64();
    header.ring_lines = meta->options.ring_bytes / layout::kLine;
    header.base_position = recovered->next_position;
    header.base_offset = next;
    header.ordinal = *ordinal;
    header.options = meta->options;
    header.name = meta->name;
    control->tail = pack(layout::TailFields{recovered->next_position, next, layout::kNoSlot});
    control->limit.store(recovered->next_position + header.ring_lines);
    control->reclaim.store(recovered->next_position);
    control->offset_bound.store(meta->offset_bound);
    control->durable = {recovered->next_position, next};
  });
  if (!mapping)
    return tl::unexpected(api::name(
        mapping.error(), "the ring of topic " + std::string(name) + ", " + bytes_text(bytes), state.live.path()));
  return {};
}

}  // namespace

storage::Blob topic_meta_blob(const State& state, std::string_view name) {
  return {
      state.topic_directory(name) + "/topic.meta",
      {.magic = layout::kMagicTopicMeta, .bus_id = state.bus_id, .mode = state.access().topic_file(), .most = 1 << 16}};
}

layout::TopicOptions to_layout(const TopicOptions& options) {
  layout::TopicOptions out;
  out.ring_bytes = std::bit_ceil(options.ring_bytes);
  out.max_payload = options.max_payload;
  out.retention_bytes = options.retention_bytes;
  out.retention_ns = std::uint64_t(options.retention_time.count());
  out.publish_dedupe = options.publish_dedupe;
  out.durability = layout::Durability(options.durability);
  out.full = layout::FullPolicy(options.full);
  out.single_producer = options.single_producer ? 1 : 0;
  out.flags =
      std::uint8_t((options.compact ? layout::kCompact : 0) | (options.retain_unacked ? layout::kRetainUnacked : 0));
  return out;
}

TopicOptions from_layout(const layout::TopicOptions& options) {
  TopicOptions out;
  out.durability = Durability(options.durability);
  out.ring_bytes = options.ring_bytes;
  out.full = Full(options.full);
  out.single_producer = options.single_producer != 0;
  out.max_payload = options.max_payload;
  out.retention_bytes = options.retention_bytes;
  out.retention_time = std::chrono::nanoseconds(options.retention_ns);
  out.publish_dedupe = options.publish_dedupe;
  out.compact = (options.flags & layout::kCompact) != 0;
  out.retain_unacked = (options.flags & layout::kRetainUnacked) != 0;
  return out;
}

Result<layout::TopicMeta> read_topic_meta(const State& state, std::string_view name) {
  auto bytes = topic_meta_blob(state, name).read();
  if (!bytes)
    return tl::unexpected(api::name(bytes.error(), "topic " + std::string(name), state.topic_directory(name)));
  layout::TopicMeta meta;
  if (bytes->size() != sizeof meta) return refuse(Errc::corrupt, state.topic_directory(name) + "/topic.meta");
  std::memcpy(&meta, bytes->data(), sizeof meta);
  // Its name says where it is written again.
  meta.name.text[sizeof meta.name.text - 1] = 0;
  const bool sane = std::has_single_bit(meta.options.ring_bytes) && meta.options.ring_bytes >= kRingMin &&
                    meta.options.ring_bytes <= kRingMax && meta.name.text == name && meta.offset_bound <= layout::k56 &&
                    meta.next_offset <= layout::k56 && meta.next_position <= layout::k56;
  if (!sane) return refuse(Errc::corrupt, state.topic_directory(name) + "/topic.meta");
  return meta;
}

Result<void> write_topic_meta(const State& state, const layout::TopicMeta& meta, bool sync) {
  auto blob = topic_meta_blob(state, meta.name.text);
  const auto bytes = std::as_bytes(std::span(&meta, 1));
  if (auto written = blob.write_both(bytes, sync); !written)
    return tl::unexpected(api::name(written.error(), state.topic_directory(meta.name.text) + "/topic.meta"));
  return {};
}

bool topic_exists(const State& state, std::string_view name) { return bool(topic_meta_blob(state, name).read()); }

std::vector<std::string> topic_names(const State& state) {
  std::vector<std::string> out;
  for (std::string& name : list_names(state.directory + "/topics"))
    if (group::valid_name(name)) out.push_back(std::move(name));
  return out;
}

std::vector<std::string> topic_names(const State& state, const std::vector<std::string>& patterns) {
  std::vector<std::string> out = patterns;
  if (std::any_of(patterns.begin(), patterns.end(), group::is_pattern)) {
    out = topic_names(state);
    std::erase_if(out, [&patterns](const std::string& name) {
      return std::none_of(patterns.begin(), patterns.end(),
                          [&name](const std::string& pattern) { return group::matches(pattern, name); });
    });
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

Result<void> may_write(const State& state, const std::string& title) {
  if (state.live.publishes()) return {};
  return refuse(Errc::permission, title +
                                      ": this process may only consume; who writes topics must be in the Unix group "
                                      "that [access] in bus.toml names for producers.");
}

void make_all_live(const StatePtr& state) {
  // One that can't be made is told to who opens it.
  for (const std::string& name : topic_names(*state)) static_cast<void>(Topic::open_locked(state, name, true));
}

namespace {

// What groups kept of a deleted topic. With [access] it is their users', in directories that could be links; it stays,
// and is known by the topic's id for what it is.
void forget_in_groups(const State& state, const std::string& topic) {
  if (state.access().shared) return;
  std::error_code ignored;
  for (const std::string& group : list_names(state.live.path() + "/groups"))
    std::filesystem::remove(state.live.group_path(group) + "/" + topic, ignored);
  for (const std::string& group : list_names(state.directory + "/groups"))
    for (const char* copy : {".a", ".b"})
      std::filesystem::remove(state.group_directory(group) + "/" + topic + ".state" + copy, ignored);
}

// Takes away what a topic has. Under the bus lock. Its live file, which is marked, goes last: killed anywhere, whoever
// comes to the name next finds the mark and does the rest.
Result<void> take_away(const State& state, const std::string& name, std::uint64_t ordinal) {
  std::error_code ignored;
  const std::string from = state.topic_directory(name);
  const std::string to = state.directory + "/topics/.deleted-" + name;
  std::filesystem::remove_all(to, ignored);
  // The directory leaves its name in one step.
  if (::rename(from.c_str(), to.c_str()) != 0 && errno != ENOENT)
    return tl::unexpected(api::name(io::error_of(errno), from));
  // On disk too, before anything in it goes: half a topic would be taken for a damaged one.
  if (auto synced = io::sync_directory(state.directory + "/topics"); !synced) return synced;
  forget_in_groups(state, name);
  std::filesystem::remove_all(to, ignored);
  ::unlink(state.live.topic_path(name).c_str());
  if (ordinal != 0 && ordinal < layout::kMaxTopics)
    state.live.header()->ordinals[ordinal / 64].fetch_and(~(1ull << (ordinal % 64)));
  state.announce_topics();
  return {};
}

// A deletion that was cut short is completed. Under the bus lock.
Result<void> finish_deletion(const State& state, std::string_view name) {
  const std::string path = state.live.topic_path(std::string(name));
  auto fd = shm::open_file(path, false);
  if (!fd) return {};
  layout::TopicHeader header;
  if (::pread(fd->get(), &header, sizeof header, 0) != ssize_t(sizeof header)) return refuse(Errc::incompatible, path);
  return take_away(state, std::string(name), header.ordinal);
}

}  // namespace

Result<void> may_compact(std::string_view name, bool durable) {
  const std::string title = "topic " + std::string(name);
  if (!durable)
    return refuse(Errc::invalid_argument,
                  title + ": only topics on disk are compacted; choose --durability disk, or leave --compact out.");
  if (name.ends_with(".dlq"))
    return refuse(Errc::invalid_argument, title + ": dead letters stay until they are purged; leave --compact out.");
  return {};
}

Result<void> create_topic(const StatePtr& state, std::string_view name, const TopicOptions& options) {
  const std::string title = "topic " + std::string(name);
  if (!group::valid_name(name)) return refuse(Errc::invalid_name, title);
  if (options.ring_bytes < kRingMin || options.ring_bytes > kRingMax)
    return refuse(Errc::invalid_argument, title + ": a ring has 64KiB to 16GiB.");
  if (options.max_payload > std::min(std::bit_ceil(options.ring_bytes) / 4, layout::kPayloadMax))
    return refuse(Errc::invalid_argument, title + ": the largest payload is at most a quarter of the ring, and 1GiB.");
  if (options.full == Full::drop_oldest && options.durability == Durability::disk)
    return refuse(
        Errc::invalid_argument,
        title + ": only memory topics can drop their oldest events; add --durability memory, or choose block or fail.");
  if (options.publish_dedupe > kDedupeMost)
    return refuse(Errc::invalid_argument,
                  title + ": at most " + std::to_string(kDedupeMost) + " ids are remembered at publish.");
  if (name.ends_with(".dlq") && options.durability == Durability::memory)
    return refuse(Errc::invalid_argument, title + ": dead letters are kept on disk; choose --durability disk.");
  if (options.compact)
    if (auto may = may_compact(name, options.durability == Durability::disk); !may) return may;
  if (auto may = may_write(*state, title); !may) return may;
  auto lock = BusLock::take(state->directory);
  if (!lock) return tl::unexpected(lock.error());
  if (auto there = Topic::look(state, name); !there && there.error().code() == Errc::deleted)
    if (auto done = finish_deletion(*state, name); !done) return done;
  if (topic_exists(*state, name)) return refuse(Errc::already_exists, title);
  if (auto made = shm::make_directory(state->topic_directory(name), state->access().topic_directory()); !made)
    return tl::unexpected(api::name(made.error(), title, state->topic_directory(name)));
  layout::TopicMeta meta{};
  meta.topic_id = random64();
  meta.options = to_layout(options);
  meta.clean = 1;
  std::memcpy(meta.name.text, name.data(), name.size());
  if (auto written = write_topic_meta(*state, meta, true); !written) return tl::unexpected(written.error());
  if (auto synced = io::sync_directory(state->directory + "/topics"); !synced) return tl::unexpected(synced.error());
  if (auto live = make_live(*state, name); !live) {
    const Error why = live.error();  // no space for the ring: no topic either
    static_cast<void>(take_away(*state, std::string(name), 0));
    return tl::unexpected(why);
  }
  state->announce_topics();
  return {};
}

Result<void> delete_topic(const StatePtr& state, std::string_view name) {
  if (auto may = may_write(*state, "topic " + std::string(name)); !may) return may;
  auto lock = BusLock::take(state->directory);
  if (!lock) return tl::unexpected(lock.error());
  auto topic = Topic::open_locked(state, name, true);
  // One whose meta cannot be read can still be removed.
  if (!topic && topic.error().code() != Errc::corrupt) return tl::unexpected(topic.error());
  std::uint64_t ordinal = 0;
  if (topic) {
    (*topic)->mark_deleted();
    (*topic)->ring_all();
    ordinal = (*topic)->header().ordinal;
  }
  return take_away(*state, std::string(name), ordinal);
}

Result<std::shared_ptr<Topic>> Topic::map(const StatePtr& state, std::string_view name, bool writable) {
  const std::string path = state->live.topic_path(std::string(name));
  auto fd = shm::open_file(path, writable);
  if (!fd && fd.error().code() == Errc::permission) return tl::unexpected(api::name(fd.error(), path));
  if (!fd) return tl::unexpected(fd.error());
  auto size = shm::size_of(*fd);
  if (!size || *size < layout::kRingAt) return refuse(Errc::corrupt, path);
  auto mapping = shm::Mapping::of(*fd, writable, *size);
  if (!mapping) return tl::unexpected(api::name(mapping.error(), path));
  const auto* control = mapping->as<layout::TopicControl>();
  if (auto good = shm::check(control->header.preamble, layout::kMagicTopic, state->live.identity(), writable); !good)
    return tl::unexpected(api::name(good.error(), path));
  auto topic = std::make_shared<Topic>();
  topic->state_ = state;
  topic->name_ = name;
  topic->ring_ = log::ring_of(control, *size);
  topic->mapping_ = std::move(*mapping);
  if (topic->ring_.control == nullptr) return refuse(Errc::corrupt, path);
  if (topic->deleted()) return refuse(Errc::deleted, "topic " + topic->name_);
  return topic;
}

Result<std::shared_ptr<Topic>> Topic::open_locked(const StatePtr& state, std::string_view name, bool writable) {
  auto topic = map(state, name, writable);
  if (!topic && topic.error().code() == Errc::deleted) {
    if (auto done = finish_deletion(*state, name); !done) return tl::unexpected(done.error());
    return refuse(Errc::not_found, "topic " + std::string(name));
  }
  if (topic || topic.error().code() != Errc::not_found) return topic;
  if (auto made = make_live(*state, name); !made) return tl::unexpected(made.error());
  state->announce_topics();  // who made it may have been stopped before he told; with [access] consumers wait for it
  return map(state, name, writable);
}

Result<std::shared_ptr<Topic>> Topic::open(const StatePtr& state, std::string_view name, bool writable) {
  if (!group::valid_name(name)) return refuse(Errc::invalid_name, "topic " + std::string(name));
  auto topic = map(state, name, writable);
  if (!topic && topic.error().code() == Errc::deleted) {
    // Whoever deletes it holds the lock. If nobody does, who did is dead.
    if (auto lock = BusLock::take(state->directory, 0)) return open_locked(state, name, writable);
    return refuse(Errc::not_found, "topic " + std::string(name));
  }
  if (topic || topic.error().code() != Errc::not_found) return topic;
  if (!topic_exists(*state, name)) {
    // Says whether it is missing or cannot be read; or it was made just now.
    if (auto meta = read_topic_meta(*state, name); !meta) return tl::unexpected(meta.error());
  }
  // Consumers of a bus with [access] can't make it: to them it is not there yet.
  if (!state->live.publishes()) return refuse(Errc::not_found, "topic " + std::string(name) + " in shared memory");
  auto lock = BusLock::take(state->directory);
  if (!lock) return tl::unexpected(lock.error());
  return open_locked(state, name, writable);
}

namespace {

// A dead producer's slot may begin another life when nothing in the ring needs its intents: each names a place that was
// overwritten, was never claimed, or has its header written. Lines that were given back are still there until then, for
// readers that nobody waits for.
bool explained(const StatePtr& state, const shm::HandleCopy& former) {
  if (!group::valid_name(former.target)) return true;  // no topic's: nobody waits for it
  auto topic = Topic::look(state, former.target);
  if (!topic || (*topic)->header().topic_id != former.topic_id) return true;
  const log::Ring& ring = (*topic)->ring();
  for (const auto& intent : former.intents) {
    if (layout::shape_lines(intent.shape) == 0) continue;
    const layout::TailFields start = layout::tail_of(intent.tail);
    const std::uint64_t end = ring.tail().end;
    if (end <= start.end || end > start.end + ring.size()) continue;
    if (ring.at(start.end)->tag.load(std::memory_order_acquire) != layout::tag_for(ring.nonce, start.offset))
      return false;
  }
  return true;
}

}  // namespace

Result<shm::Handle> acquire_handle(const StatePtr& state, layout::HandleKind kind, std::uint64_t topic_id,
                                   std::string_view target) {
  return state->live.handles().acquire(kind, topic_id, target,
                                       [&state](const shm::HandleCopy& former) { return explained(state, former); });
}

bool offsets_run_low(const Topic& topic) {
  return topic.control()->offset_bound.load(std::memory_order_relaxed) <
         topic.end().offset + bound_step(topic.header().options) / 2;
}

Result<void> raise_offset_bound(Topic& topic, std::int64_t timeout_ns) {
  const State& state = *topic.state();
  auto lock = BusLock::take(state.directory, timeout_ns);
  if (!lock) return tl::unexpected(lock.error());
  layout::TopicControl* control = topic.writable();
  const std::uint64_t step = bound_step(control->header.options);
  const std::uint64_t next = topic.end().offset;
  if (!offsets_run_low(topic)) return {};  // somebody else did
  auto meta = read_topic_meta(state, topic.name());
  if (!meta) return tl::unexpected(meta.error());
  meta->clean = 0;
  meta->offset_bound = next + step;
  if (auto written = write_topic_meta(state, *meta, topic.durable()); !written) return tl::unexpected(written.error());
  control->offset_bound.store(meta->offset_bound, std::memory_order_release);
  return {};
}

std::unordered_set<std::uint64_t> published_topics(const State& state) {
  std::unordered_set<std::uint64_t> out;
  const shm::Handles& handles = state.live.handles();
  for (std::uint32_t slot = 0; slot < handles.slots(); ++slot) {
    const auto handle = handles.copy(slot);
    if (handle && handle->kind == layout::HandleKind::producer && handles.alive(slot)) out.insert(handle->topic_id);
  }
  return out;
}

Result<void> settle_offset_bound(Topic& topic) {
  const State& state = *topic.state();
  layout::TopicControl* control = topic.writable();
  auto meta = read_topic_meta(state, topic.name());
  if (!meta) return tl::unexpected(meta.error());
  const Place end = topic.end();
  const bool settled = meta->clean != 0 && meta->next_offset == end.offset && meta->next_position == end.position &&
                       meta->offset_bound == end.offset;
  if (settled) return {};
  meta->clean = 1;
  meta->next_offset = end.offset;
  meta->next_position = end.position;
  meta->offset_bound = end.offset;
  control->offset_bound.store(end.offset, std::memory_order_seq_cst);
  return write_topic_meta(state, *meta, topic.durable());
}

}  // namespace penstock::api
