#include "api/group.hpp"

#include <algorithm>
#include <cstring>

#include "api/feed.hpp"
#include "group/pattern.hpp"
#include "io/file.hpp"

namespace penstock::api {

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
  if (options.ordering == layout::Ordering::key) return refuse(Errc::unsupported, title + ": ordering by key");
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

Result<void> make_live(const State& state, GroupPlace& place, const layout::GroupFile& file) {
  if (auto made = place.make_live(state); !made) return made;
  const shm::NewFile wanted{place.live("@group"), place.temporary(state, "@group"), state.access().group_file(),
                            layout::kPage};
  auto mapping = shm::create_mapped(wanted, [&](std::byte* at) {
    std::memcpy(at, &file, sizeof file);
    auto* live = reinterpret_cast<layout::GroupFile*>(at);
    live->preamble = shm::preamble(layout::kMagicGroup, sizeof(layout::GroupFile), state.live.identity());
    live->version.store(2);
    live->deleted.store(0);
  });
  if (!mapping) return tl::unexpected(api::name(mapping.error(), place.live_path()));
  return {};
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
  auto place = GroupPlace::find(*state, name);
  if (!place) return tl::unexpected(place.error());
  const std::string path = place->live_path() + "/@group";
  bool writable = true;
  auto fd = place->open("@group", writable);
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
  group->refresh();
  return group;
}

Result<std::shared_ptr<Group>> Group::from_meta(const StatePtr& state, std::string_view name, GroupPlace place) {
  auto bytes = place.meta(*state).read();
  if (!bytes) return tl::unexpected(api::name(bytes.error(), "group " + std::string(name)));
  if (bytes->size() != sizeof(layout::GroupFile)) return refuse(Errc::corrupt, place.disk_path() + "/group.meta");
  auto group = std::make_shared<Group>();
  group->state_ = state;
  group->name_ = name;
  group->place_ = std::move(place);
  group->from_disk_ = std::make_unique<layout::GroupFile>();
  std::memcpy(static_cast<void*>(group->from_disk_.get()), bytes->data(), sizeof(layout::GroupFile));
  layout::GroupFile& file = *group->from_disk_;
  file.name.text[sizeof file.name.text - 1] = 0;
  if (file.name.text != name) return refuse(Errc::corrupt, group->place_.disk_path() + "/group.meta");
  file.version.store(2);
  group->refresh();
  return group;
}

Result<std::shared_ptr<Group>> Group::open_locked(const StatePtr& state, std::string_view name) {
  auto group = map(state, name);
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
  if (group || group.error().code() != Errc::not_found) return group;
  auto place = GroupPlace::find(*state, name);
  if (!place) return tl::unexpected(place.error());
  auto known = from_meta(state, name, std::move(*place));
  if (!known || !(*known)->place_.ours()) return known;
  auto lock = GroupLock::take(*state, (*known)->place_);
  if (!lock) return tl::unexpected(lock.error());
  return open_locked(state, name);
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
  auto group = open_locked(state, name);
  if (group || group.error().code() != Errc::not_found) return group;  // somebody else was quicker
  layout::GroupFile file{};
  file.group_id = random64();
  std::memcpy(file.name.text, name.data(), name.size());
  write_file(file, merged_options, patterns);
  if (auto written = write_meta(*state, *place, file); !written) return tl::unexpected(written.error());
  group = open_locked(state, name);
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
  return refuse(Errc::permission, "group " + name_ + " belongs to another user (" + place_.live_path() +
                                      "); its members and who changes it run as that user.");
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
