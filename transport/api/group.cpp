#include "api/group.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "api/feed.hpp"
#include "group/pattern.hpp"
#include "io/file.hpp"

namespace penstock::api {
namespace fs = std::filesystem;

namespace {

Result<void> check_options(const std::string& title, const layout::GroupOptions& options,
                           const std::vector<std::string>& patterns) {
  for (const std::string& pattern : patterns)
    if (!group::valid_pattern(pattern)) return refuse(Errc::invalid_name, "topic or pattern " + pattern);
  std::size_t bytes = 0;
  for (const std::string& pattern : patterns) bytes += pattern.size() + 1;
  if (bytes > layout::kPatternBytes)
    return refuse(Errc::too_many,
                  title + ": its patterns have more than " + std::to_string(layout::kPatternBytes) + " bytes");
  const auto wrong = [&title](const char* what) { return refuse(Errc::invalid_argument, title + ": " + what + "."); };
  if (options.max_attempts == 0 || options.max_attempts > 1000) return wrong("max_attempts is 1 to 1000");
  if (options.max_in_flight == 0) return wrong("max_in_flight is at least 1");
  if (options.lease_ns < 1'000'000 || options.lease_ns > 86'400'000'000'000ull * 7)
    return wrong("a lease is 1ms to 7d");
  if (options.dedupe > layout::kDedupeMax) return wrong("dedupe remembers at most 4194304 ids");
  return {};
}

void write_file(layout::GroupFile& file, const layout::GroupOptions& options,
                const std::vector<std::string>& patterns) {
  file.options = options;
  file.pattern_count = std::uint32_t(patterns.size());
  std::memset(file.patterns, 0, sizeof file.patterns);
  char* at = file.patterns;
  for (const std::string& pattern : patterns) {
    std::memcpy(at, pattern.data(), pattern.size());
    at += pattern.size() + 1;
  }
}

std::vector<std::string> patterns_of(const layout::GroupFile& file) {
  std::vector<std::string> out;
  const char* at = file.patterns;
  const char* const end = file.patterns + sizeof file.patterns;
  for (std::uint32_t i = 0; i < file.pattern_count && at < end; ++i) {
    const std::size_t size = ::strnlen(at, std::size_t(end - at));
    out.emplace_back(at, size);
    at += size + 1;
  }
  return out;
}

Result<void> write_meta(const State& state, const GroupPlace& place, const layout::GroupFile& file) {
  auto written = place.meta(state).write_both(std::as_bytes(std::span(&file, 1)), true);
  if (!written) return tl::unexpected(api::name(written.error(), place.disk_path()));
  return io::sync_directory(state.directory + "/groups");
}

Result<void> read_meta(const State& state, const GroupPlace& place, std::string_view name, layout::GroupFile& file) {
  auto bytes = place.meta(state).read();
  if (!bytes) return tl::unexpected(api::name(bytes.error(), "group " + std::string(name), place.disk_path()));
  if (bytes->size() != sizeof file) return refuse(Errc::corrupt, place.disk_path() + "/group.meta");
  std::memcpy(static_cast<void*>(&file), bytes->data(), sizeof file);
  file.name.text[sizeof file.name.text - 1] = 0;
  if (file.name.text != name) return refuse(Errc::corrupt, place.disk_path() + "/group.meta");
  return {};
}

Result<void> make_live(const State& state, GroupPlace& place, const layout::GroupFile& file) {
  // Who made the group may have been stopped before he could.
  if (auto synced = io::sync_directory(state.directory + "/groups"); !synced) return synced;
  if (auto made = place.make_live(state); !made) return made;
  auto fd = place.create(state, layout::kPage);
  if (!fd) return tl::unexpected(api::name(fd.error(), place.live_path()));
  auto mapping = shm::Mapping::of(*fd, true, layout::kPage);
  if (!mapping) return tl::unexpected(api::name(mapping.error(), place.live_path()));
  auto* live = mapping->as<layout::GroupFile>();
  std::memcpy(static_cast<void*>(live), &file, sizeof file);
  live->preamble = shm::preamble(layout::kMagicGroup, sizeof(layout::GroupFile), state.live.identity());
  live->version.store(2);
  live->deleted.store(0);
  return place.give_name(*fd, "@group");
}

std::string told(const std::vector<std::string>& patterns) {
  std::string out;
  for (const std::string& pattern : patterns) out += (out.empty() ? "" : " ") + pattern;
  return out;
}

// Naming both: what the group has and what was asked for.
std::string difference(const layout::GroupOptions& has, const layout::GroupOptions& asked) {
  const auto number = [](const char* what, std::uint64_t a, std::uint64_t b) {
    return std::string(what) + " " + std::to_string(a) + ", not " + std::to_string(b);
  };
  if (has.max_attempts != asked.max_attempts) return number("max-attempts", has.max_attempts, asked.max_attempts);
  if (has.max_in_flight != asked.max_in_flight) return number("max-in-flight", has.max_in_flight, asked.max_in_flight);
  if (has.dedupe != asked.dedupe) return number("dedupe", has.dedupe, asked.dedupe);
  if (has.lease_ns != asked.lease_ns) return number("lease (ms)", has.lease_ns / 1000000, asked.lease_ns / 1000000);
  if (has.dedupe_age_ns != asked.dedupe_age_ns)
    return number("dedupe-age (ms)", has.dedupe_age_ns / 1000000, asked.dedupe_age_ns / 1000000);
  if (has.ordering != asked.ordering)
    return number("ordering", std::uint64_t(has.ordering), std::uint64_t(asked.ordering));
  if (has.expired != asked.expired) return number("expired", std::uint64_t(has.expired), std::uint64_t(asked.expired));
  const auto list = [](const layout::GroupOptions& options) {
    std::string out;
    for (std::uint32_t i = 0; i < std::min<std::uint32_t>(options.backoff_count, layout::kBackoffSteps); ++i)
      out += (i == 0 ? "" : ",") + std::to_string(options.backoff_ns[i] / 1000000) + "ms";
    return out;
  };
  return "backoff " + list(has) + ", not " + list(asked);
}

}  // namespace

layout::GroupOptions merged(layout::GroupOptions out, const ConsumerOptions& given) {
  if (given.max_attempts) out.max_attempts = *given.max_attempts;
  if (!given.backoff.empty()) {
    std::fill(std::begin(out.backoff_ns), std::end(out.backoff_ns), 0);
    out.backoff_count = std::uint32_t(std::min(given.backoff.size(), layout::kBackoffSteps));
    for (std::uint32_t i = 0; i < out.backoff_count; ++i) out.backoff_ns[i] = std::uint64_t(given.backoff[i].count());
  }
  if (given.lease) out.lease_ns = std::uint64_t(given.lease->count());
  if (given.ordering) out.ordering = layout::Ordering(*given.ordering);
  if (given.max_in_flight) out.max_in_flight = *given.max_in_flight;
  if (given.dedupe) out.dedupe = *given.dedupe;
  if (given.dedupe_age) out.dedupe_age_ns = std::uint64_t(given.dedupe_age->count());
  if (given.expired) out.expired = layout::Expired(*given.expired);
  return out;
}

ConsumerOptions from_layout(const layout::GroupOptions& options) {
  ConsumerOptions out;
  out.max_attempts = options.max_attempts;
  for (std::uint32_t i = 0; i < std::min<std::uint32_t>(options.backoff_count, layout::kBackoffSteps); ++i)
    out.backoff.emplace_back(options.backoff_ns[i]);
  out.lease = std::chrono::nanoseconds(options.lease_ns);
  out.ordering = Ordering(options.ordering);
  out.max_in_flight = options.max_in_flight;
  out.dedupe = options.dedupe;
  out.dedupe_age = std::chrono::nanoseconds(options.dedupe_age_ns);
  out.expired = Expired(options.expired);
  return out;
}

std::vector<std::string> group_names(const State& state) {
  std::vector<std::string> out;
  for (std::string& name : list_names(state.directory + "/groups"))
    if (group::valid_name(name)) out.push_back(std::move(name));
  return out;
}

std::vector<std::string> Group::topic_names() const {
  std::vector<std::string> out = api::topic_names(*state_, patterns_);
  if (!wants(dlq())) out.insert(std::lower_bound(out.begin(), out.end(), dlq()), dlq());
  return out;
}

bool Group::wants(std::string_view topic) const {
  return std::any_of(patterns_.begin(), patterns_.end(),
                     [&](const std::string& pattern) { return group::matches(pattern, topic); });
}

std::vector<std::string> Group::live_names() const {
  std::vector<std::string> out;
  for (std::string& name : list_names(place_.live(".")))
    if (group::valid_name(name)) out.push_back(std::move(name));
  return out;
}

// An odd version: somebody is writing, or died writing; what we have stays good until it is even.
bool Group::refresh() {
  const std::uint64_t version = file()->version.load(std::memory_order_acquire);
  if (version == version_ || version % 2 != 0) return false;
  const layout::GroupOptions options = file()->options;
  std::vector<std::string> patterns = patterns_of(*file());
  std::atomic_thread_fence(std::memory_order_acquire);
  if (file()->version.load(std::memory_order_relaxed) != version) return false;
  options_ = options;
  patterns_ = std::move(patterns);
  version_ = version;
  return true;
}

Result<std::shared_ptr<Group>> Group::map(const StatePtr& state, std::string_view name) {
  auto place = GroupPlace::find_remains(*state, name);
  if (!place) return tl::unexpected(place.error());
  const std::string path = place->live_path() + "/@group";
  bool writable = true;
  auto fd = place->open("@group", writable);
  if (!fd && fd.error().code() == Errc::permission) return tl::unexpected(api::name(fd.error(), path));
  if (!fd) return tl::unexpected(fd.error());
  auto size = shm::size_of(*fd);
  if (!size || *size < layout::kPage) return refuse(Errc::corrupt, path);
  auto mapping = place->map(*fd, writable, layout::kPage);
  if (!mapping) return tl::unexpected(api::name(mapping.error(), path));
  auto group = std::make_shared<Group>();
  group->state_ = state;
  group->name_ = name;
  group->mapping_ = std::move(*mapping);
  group->place_ = std::move(*place);
  group->writable_ = writable;
  if (auto good = shm::check(group->file()->preamble, layout::kMagicGroup, state->live.identity(), writable); !good)
    return tl::unexpected(api::name(good.error(), path));
  if (group->deleted()) return refuse(Errc::deleted, "group " + group->name_);
  if (!group->place_.on_disk()) return refuse(Errc::not_found, "group " + group->name_);
  if (!group->refresh())
    if (auto known = group->recall(); !known) return tl::unexpected(known.error());
  return group;
}

Result<std::shared_ptr<Group>> Group::from_meta(const StatePtr& state, std::string_view name, GroupPlace place) {
  auto group = std::make_shared<Group>();
  group->state_ = state;
  group->name_ = name;
  group->place_ = std::move(place);
  group->from_disk_ = std::make_unique<layout::GroupFile>();
  layout::GroupFile& file = *group->from_disk_;
  if (auto read = read_meta(*state, group->place_, name, file); !read) return tl::unexpected(read.error());
  file.version.store(2);
  group->refresh();
  return group;
}

// Somebody is changing the live file, or died doing so. The books were written before; the dead one's change is
// completed from them.
Result<void> Group::recall() {
  Result<GroupLock> lock = tl::unexpected(Error(Errc::permission));
  if (writable_ && place_.ours()) lock = GroupLock::take(*state_, place_, 0);
  layout::GroupFile books;
  if (auto read = read_meta(*state_, place_, name_, books); !read) return read;
  options_ = books.options;
  patterns_ = patterns_of(books);
  const std::uint64_t version = file()->version.load(std::memory_order_acquire);
  if (!lock || version % 2 == 0) return {};  // its writer lives: refresh() sees the end of it
  write_file(*file(), options_, patterns_);
  file()->version.store(version + 1, std::memory_order_seq_cst);
  version_ = version + 1;
  state_->announce_groups();
  return {};
}

Result<void> Group::take_away(const State& state, const GroupPlace& place, std::string_view name) {
  std::error_code ignored, error;
  const std::string& from = place.disk_path();
  std::string to = state.directory + "/groups/.deleted-" + std::string(name);
  fs::remove_all(to, ignored);
  // The name goes in one step. The DLQ stays: it is a topic.
  fs::rename(from, to, error);
  if (error && error != std::errc::no_such_file_or_directory && state.access().shared) {
    // Another user may have taken that name.
    to += "-" + std::to_string(random64());
    fs::rename(from, to, error);
  }
  if (error && error != std::errc::no_such_file_or_directory)
    return refuse(Errc::permission, from, std::uint32_t(error.value()));
  // On disk too, before anything in it goes: half a group would be taken for a damaged one.
  if (auto synced = io::sync_directory(state.directory + "/groups"); !synced) return synced;
  fs::remove_all(to, ignored);
  for (const auto& entry : fs::directory_iterator(place.live("."), ignored)) {
    const std::string file = entry.path().filename().string();
    if (file != "@group" && file != GroupLock::kFile) fs::remove_all(place.live(file), ignored);
  }
  fs::remove(place.live("@group"), ignored);
  fs::remove(place.live_path(), ignored);  // stays with a lock of its own: who waits for that must get this one
  state.announce_groups();
  return {};
}

Result<std::shared_ptr<Group>> Group::open_locked(const StatePtr& state, std::string_view name,
                                                  const GroupPlace& locked) {
  auto group = map(state, name);
  if (!group && group.error().code() == Errc::deleted) {
    if (auto done = take_away(*state, locked, name); !done) return tl::unexpected(done.error());
    return refuse(Errc::not_found, "group " + std::string(name));
  }
  if (group || group.error().code() != Errc::not_found) return group;
  auto place = GroupPlace::find(*state, name);
  if (!place) return tl::unexpected(place.error());
  auto known = from_meta(state, name, std::move(*place));
  if (!known) return known;
  if (auto made = make_live(*state, (*known)->place_, *(*known)->from_disk_); !made)
    return tl::unexpected(made.error());
  return map(state, name);
}

Result<std::shared_ptr<Group>> Group::open(const StatePtr& state, std::string_view name) {
  if (!group::valid_name(name)) return refuse(Errc::invalid_name, "group " + std::string(name));
  if (name.ends_with(".dlq"))
    return refuse(Errc::invalid_name,
                  "group " + std::string(name) + ": names that end in .dlq are dead-letter queues.");
  auto group = map(state, name);
  if (!group && group.error().code() == Errc::deleted) {
    // Whoever deletes it holds the lock. If nobody does, who did is dead.
    auto place = GroupPlace::find_remains(*state, name);
    if (place && place->ours())
      if (auto lock = GroupLock::take(*state, *place, 0)) return open_locked(state, name, *place);
    return refuse(Errc::not_found, "group " + std::string(name));
  }
  if (group || group.error().code() != Errc::not_found) return group;
  auto place = GroupPlace::find(*state, name);
  if (!place) return tl::unexpected(place.error());
  auto known = from_meta(state, name, std::move(*place));
  if (!known || !(*known)->place_.ours()) return known;
  auto lock = GroupLock::take(*state, (*known)->place_);
  if (!lock) return tl::unexpected(lock.error());
  return open_locked(state, name, (*known)->place_);
}

namespace {

// The starting point is for the topics that are there now; what comes later is read from its beginning.
Result<void> start_at(const StatePtr& state, const std::shared_ptr<Group>& group, StartAt start) {
  if (start.kind() == StartAt::Kind::beginning) return {};
  for (const std::string& topic : topic_names(*state)) {
    if (!group->wants(topic)) continue;
    auto opened = GroupState::topic_of(state, topic);
    if (!opened) continue;
    auto place = Feed(*opened, false).start(start);
    if (!place) return tl::unexpected(place.error());
    auto made = GroupState::open_locked(group, topic, {});
    if (!made) return tl::unexpected(made.error());
    (*made)->engine().start({place->offset, place->position});
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<Group>> Group::make(const StatePtr& state, std::string_view name,
                                           const std::vector<std::string>& patterns, const ConsumerOptions& options) {
  const std::string title = "group " + std::string(name);
  if (patterns.empty()) return refuse(Errc::not_found, title + " is new; name the topics or patterns it wants.");
  const layout::GroupOptions merged_options = merged(layout::GroupOptions{}, options);
  if (auto good = check_options(title, merged_options, patterns); !good) return tl::unexpected(good.error());
  auto place = GroupPlace::find(*state, name, true);
  if (!place) return tl::unexpected(place.error());
  auto lock = GroupLock::take(*state, *place);
  if (!lock) return tl::unexpected(lock.error());
  auto group = open_locked(state, name, *place);
  if (group || group.error().code() != Errc::not_found) return group;  // somebody else was quicker
  place = GroupPlace::find(*state, name, true);  // a deletion that we waited for, or completed, took it away
  if (!place) return tl::unexpected(place.error());
  layout::GroupFile file{};
  file.group_id = random64();
  std::memcpy(file.name.text, name.data(), name.size());
  write_file(file, merged_options, patterns);
  if (auto written = write_meta(*state, *place, file); !written) return tl::unexpected(written.error());
  group = open_locked(state, name, *place);
  if (!group) return group;
  if (auto started = start_at(state, *group, options.start.value_or(StartAt::beginning())); !started)
    return tl::unexpected(started.error());
  state->announce_groups();
  return group;
}

Result<std::shared_ptr<Group>> Group::join(const StatePtr& state, std::string_view name,
                                           const std::vector<std::string>& patterns, const ConsumerOptions& options) {
  const std::string title = "group " + std::string(name);
  auto group = open(state, name);
  if (!group && group.error().code() == Errc::not_found) group = make(state, name, patterns, options);
  if (group)
    if (auto may = (*group)->may_change(); !may) return tl::unexpected(may.error());
  if (!group) return group;
  if (!patterns.empty()) {
    auto has = (*group)->patterns_, asked = patterns;
    std::sort(has.begin(), has.end());
    std::sort(asked.begin(), asked.end());
    if (has != asked)
      return refuse(Errc::options_differ,
                    title + " (it has " + told((*group)->patterns_) + ", not " + told(patterns) + ")");
  }
  const layout::GroupOptions asked = merged((*group)->options_, options);
  if (!(asked == (*group)->options_))
    return refuse(Errc::options_differ, title + " (it has " + difference((*group)->options_, asked) + ")");
  return group;
}

Result<void> Group::may_change() const {
  if (writable_) return {};
  return place_.refuse_others(GroupPlace::kHisToChange);
}

Result<void> Group::change(const layout::GroupOptions& options, const std::vector<std::string>& patterns) {
  if (auto may = may_change(); !may) return may;
  if (auto good = check_options("group " + name_, options, patterns); !good) return good;
  layout::GroupFile next{};
  next.group_id = file()->group_id;
  std::memcpy(next.name.text, name_.data(), name_.size());  // members can write the page
  write_file(next, options, patterns);
  if (auto written = write_meta(*state_, place_, next); !written) return written;
  const std::uint64_t version = file()->version.load() / 2 * 2;
  file()->version.store(version + 1, std::memory_order_seq_cst);
  write_file(*file(), options, patterns);
  file()->version.store(version + 2, std::memory_order_seq_cst);
  refresh();
  state_->announce_groups();
  return {};
}

Result<void> Group::mark_deleted() {
  if (auto may = may_change(); !may) return may;
  file()->deleted.store(1, std::memory_order_seq_cst);
  state_->announce_groups();
  return {};
}

}  // namespace penstock::api
