// Opening, unloading and removing buses. A bus is its directory; its live side is made anew whenever it is missing, and
// the `live` link is published last, so that whoever finds it finds it finished.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <random>

#include "api/access.hpp"
#include "api/network_disk.hpp"
#include "api/state.hpp"
#include "api/topic.hpp"
#include "io/file.hpp"
#include "log/checksum.hpp"

namespace penstock {

void Bus::State::announce_topics() const {
  live.header()->topics_epoch.fetch_add(1, std::memory_order_seq_cst);
  shm::ring_all(live.wake(), live.mask(layout::kBusOrdinal));
}

void Bus::State::announce_groups() const {
  live.groups_epoch().fetch_add(1, std::memory_order_seq_cst);
  shm::ring_all(live.wake(), live.mask(layout::kBusOrdinal));
}

namespace api {
namespace fs = std::filesystem;
namespace {

constexpr const char* kIdFile = "/bus.id";

std::string id_line(std::uint64_t id) {
  char text[64];
  std::snprintf(text, sizeof text, "penstock bus %u %016llx\n", layout::kLayoutVersion,
                static_cast<unsigned long long>(id));
  return text;
}

Result<std::uint64_t> read_bus_id(const std::string& directory) {
  const std::string path = directory + kIdFile;
  auto bytes = io::read_file(path, 4096);
  const auto corrupt = [&path] {
    return refuse(Errc::corrupt, path + " is damaged; remove it, it is made again from what the bus holds.");
  };
  if (!bytes && bytes.error().code() == Errc::too_large) return corrupt();
  if (!bytes) return tl::unexpected(name(bytes.error(), path));
  const std::string text(reinterpret_cast<const char*>(bytes->data()), bytes->size());
  unsigned version = 0;
  unsigned long long id = 0;
  if (std::sscanf(text.c_str(), "penstock bus %u %llx", &version, &id) != 2) return corrupt();
  if (version != layout::kLayoutVersion) return refuse(Errc::incompatible, path, version);
  if (text != id_line(id)) return corrupt();
  return id;
}

// The id that the books of a bus were written with, when bus.id itself is gone.
std::optional<std::uint64_t> id_of_books(const std::string& directory) {
  for (const std::string& topic : list_names(directory + "/topics")) {
    for (const char* copy : {"/topic.meta.a", "/topic.meta.b"}) {
      auto bytes = io::read_file(directory + "/topics/" + topic + copy, 1 << 16);
      layout::Preamble preamble;
      if (!bytes || bytes->size() < sizeof preamble) continue;
      std::memcpy(&preamble, bytes->data(), sizeof preamble);
      if (preamble.magic == layout::kMagicTopicMeta && preamble.bus_id != 0) return preamble.bus_id;
    }
  }
  return std::nullopt;
}

// A directory is found after a power cut if the ones above it were synced. Whoever made them may have been killed
// before he could, so all of them are; one that may not be read, or knows no sync, was there before.
Result<void> sync_way_to(std::string directory) {
  while (directory != "/" && directory != ".") {
    directory = io::directory_of(directory);
    auto synced = io::sync_directory(directory);
    if (!synced && synced.error().code() == Errc::disk) return tl::unexpected(name(synced.error(), directory));
  }
  return {};
}

// Before a bus has its id, it holds nothing.
Result<std::uint64_t> create_bus_id(const std::string& directory) {
  if (auto synced = sync_way_to(directory); !synced) return tl::unexpected(synced.error());
  const std::uint64_t id = id_of_books(directory).value_or(random64() | 1);
  const std::string text = id_line(id);
  if (auto done = io::replace_file(directory + kIdFile, std::as_bytes(std::span(text)), 0600); !done)
    return tl::unexpected(name(done.error(), directory));
  return id;
}

// Is this a bus, or something that may become one? bus.toml may be there first; so may what a killed creator left.
Result<bool> has_bus(const std::string& directory) {
  struct stat info {};
  if (::stat(directory.c_str(), &info) != 0) {
    if (errno == ENOENT) return false;
    return tl::unexpected(name(io::error_of(errno), directory));
  }
  if (!S_ISDIR(info.st_mode)) return refuse(Errc::invalid_argument, directory + " is not a directory; a bus is one.");
  if (::access((directory + kIdFile).c_str(), F_OK) == 0) return true;
  auto entries = io::list_directory(directory);
  if (!entries) return tl::unexpected(name(entries.error(), directory));
  for (const std::string& entry : *entries) {
    const bool ours = entry == "bus.toml" || entry == "bus.lock" || entry.starts_with("bus.id") || entry == "topics" ||
                      entry == "groups" || entry == "daemon.lock" || entry == "live" || entry == "live.new" ||
                      entry == "lost+found";
    if (!ours)
      return refuse(Errc::not_found,
                    directory + " is no bus and holds other files (" + entry + "); name another directory.");
  }
  return false;
}

tl::unexpected<Error> no_bus_in(const std::string& directory) {
  return refuse(Errc::not_found, "there is no bus in " + directory +
                                     "; name another directory (--bus, PENSTOCK_BUS), or make one: `penstock topic "
                                     "create` and penstockd do.");
}

// One name for each bus directory, so that what a killed creator left is found again and made anew.
std::string live_name(const Settings& settings, const std::string& directory, std::uint64_t bus_id) {
  struct stat info {};
  ::stat(directory.c_str(), &info);
  const std::uint64_t parts[3] = {info.st_dev, info.st_ino, bus_id};
  char text[64];
  std::snprintf(text, sizeof text, "/penstock-%u-%016llx", static_cast<unsigned>(::geteuid()),
                static_cast<unsigned long long>(log::hash64(parts, sizeof parts)));
  return settings.shared_memory + text;
}

Result<shm::Live> open_live(const std::string& directory, std::uint64_t bus_id, bool writable = true) {
  std::error_code error;
  const std::string target = fs::read_symlink(directory + "/live", error).string();
  if (error) return tl::unexpected(Error(Errc::not_found));
  struct stat info {};
  if (::stat(directory.c_str(), &info) != 0) return tl::unexpected(name(io::error_of(errno), directory));
  auto live = shm::Live::open(target, bus_id, info.st_uid, writable);
  // What is there and cannot be opened (another version's, another user's) may be in use: it is not made anew.
  if (!live) return tl::unexpected(name(live.error(), target));
  return live;
}

Result<void> publish_live(const std::string& directory, const std::string& target) {
  const std::string temporary = directory + "/live.new", link = directory + "/live";
  ::unlink(temporary.c_str());
  std::error_code error;
  if (fs::read_symlink(link, error) == target) return {};  // made anew under the name it had
  if (::symlink(target.c_str(), temporary.c_str()) != 0 || ::rename(temporary.c_str(), link.c_str()) != 0)
    return tl::unexpected(name(io::error_of(errno), link));
  return {};
}

Result<void> make_directories(const std::string& directory) {
  const std::string above = io::directory_of(directory);
  std::error_code error;
  fs::create_directories(above, error);
  if (error) return tl::unexpected(name(io::error_of(error.value()), above));
  for (const char* part : {"", "/topics", "/groups"})
    if (auto made = shm::make_directory(directory + part, 0700); !made)
      return tl::unexpected(name(made.error(), directory + part));
  return {};
}

std::string user_of(const std::string& directory) {
  struct stat info {};
  return ::stat(directory.c_str(), &info) == 0 ? std::to_string(info.st_uid) : "unknown";
}

bool owns(const std::string& directory) {
  struct stat info {};
  return ::stat(directory.c_str(), &info) == 0 && info.st_uid == ::geteuid();
}

// With [access] the live side is the owner's to make: what stands in it is safe because it is his. Settings that can't
// be had here say nothing about that to who is not the owner.
Result<void> may_make_live(const std::string& directory, const Result<shm::Access>& access) {
  const bool shared = !access || access->shared;
  if (!shared || owns(directory)) return {};
  return refuse(Errc::permission, directory + " has nothing in shared memory yet; its owner (user " +
                                      user_of(directory) + ") must open it first, as penstockd does.");
}

// Another host has shared memory of its own: it would take the link to this one's for a reboot, recover, and give out
// the same offsets again. Which hosts open a directory cannot be seen, so somebody has to say it.
Result<void> belongs_to_one_host(const std::string& directory, const Settings& settings) {
  const auto network = network_file_system(directory);
  if (!network || settings.network_disk) return {};
  return refuse(Errc::unsupported,
                directory + " is on a network file system (" + std::string(*network) +
                    "), where a second host that opened the bus would destroy it; put it on a local "
                    "disk, or, if no other host ever opens it, write network_disk = true under [bus] in " +
                    directory + "/bus.toml.");
}

// A live side of another version may be in use, and have what is not on disk: it is not ours to remove.
Result<void> not_of_another_version(const std::string& directory, std::uint64_t bus_id) {
  const auto live = open_live(directory, bus_id, false);
  if (!live && live.error().code() == Errc::incompatible) return tl::unexpected(live.error());
  return {};
}

std::optional<std::uint32_t> daemon_holding(const std::string& directory, const shm::Live* live) {
  auto fd = shm::open_file(directory + "/daemon.lock", false);
  if (!fd || !shm::locked_by_other(*fd)) return std::nullopt;
  return live != nullptr ? std::uint32_t(live->header()->daemon_pid.load(std::memory_order_relaxed)) : 0;
}

}  // namespace

std::int64_t deadline_after(std::chrono::nanoseconds timeout) {
  const std::int64_t now = monotonic_ns();
  return timeout.count() > INT64_MAX - now ? INT64_MAX : now + std::max<std::int64_t>(timeout.count(), 0);
}

std::uint64_t random64() {
  static thread_local std::random_device device;
  return std::uint64_t{device()} << 32 | device();
}

Result<BusLock> BusLock::take(const std::string& directory, std::int64_t timeout_ns) {
  const std::string path = directory + "/bus.lock";
  auto fd = shm::create_file(path, 0600, 0);
  if (!fd && fd.error().code() == Errc::already_exists) fd = shm::open_file(path, true);
  if (!fd) return tl::unexpected(name(fd.error(), path));
  if (auto locked = shm::lock(*fd, timeout_ns); !locked)
    return refuse(Errc::busy, path + " stays locked: another process creates or recovers something and does not end");
  return BusLock(std::move(*fd));
}

std::optional<std::uint32_t> daemon_of(const State& state) { return daemon_holding(state.directory, &state.live); }

Result<StatePtr> open_bus(const std::string& given, bool create) {
  std::error_code error;
  std::string directory = fs::absolute(given, error).lexically_normal().string();
  while (directory.size() > 1 && directory.back() == '/') directory.pop_back();
  if (given.empty() || error) return refuse(Errc::invalid_argument, "an empty bus directory");
  auto there = has_bus(directory);
  if (!there) return tl::unexpected(there.error());
  if (!*there && !create) return no_bus_in(directory);

  auto state = std::make_shared<State>();
  state->directory = directory;
  auto settings = load_settings(directory + "/bus.toml");
  if (!settings) return tl::unexpected(settings.error());
  state->settings = *settings;
  if (*there) {
    auto id = read_bus_id(directory);
    if (!id) return tl::unexpected(id.error());
    state->bus_id = *id;
    auto live = open_live(directory, *id);
    if (live) {
      state->live = std::move(*live);
      return state;
    }
    if (live.error().code() != Errc::not_found) return tl::unexpected(live.error());
  }
  auto access = find_access(*settings);
  if (auto ours = may_make_live(directory, access); !ours) return tl::unexpected(ours.error());
  if (!access) return tl::unexpected(access.error());
  if (auto local = belongs_to_one_host(directory, *settings); !local) return tl::unexpected(local.error());
  if (auto made = make_directories(directory); !made) return tl::unexpected(made.error());
  auto lock = BusLock::take(directory);
  if (!lock) return tl::unexpected(lock.error());
  auto id = read_bus_id(directory);
  if (!id && id.error().code() == Errc::not_found) id = create_bus_id(directory);
  if (!id) return tl::unexpected(id.error());
  state->bus_id = *id;
  auto live = open_live(directory, *id);  // somebody else may have made it while we waited
  if (!live && live.error().code() != Errc::not_found) return tl::unexpected(live.error());
  if (!live) {
    const std::string path = live_name(state->settings, directory, *id);
    if (access->shared || was_shared(directory))
      if (auto applied = apply_access(directory, *access); !applied) return tl::unexpected(applied.error());
    live = shm::Live::create(path, *id, directory, *access);
    if (!live) return tl::unexpected(name(live.error(), path));
    state->live = std::move(*live);
    // Consumers can't make a topic's live file, so they find all of them made.
    if (access->shared) make_all_live(state);
    if (auto published = publish_live(directory, state->live.path()); !published)
      return tl::unexpected(published.error());
    return state;
  }
  state->live = std::move(*live);
  return state;
}

Result<void> nobody_uses(const State& state) {
  if (const auto pid = daemon_of(state))
    return refuse(Errc::busy,
                  state.directory + " is in use by penstockd (pid " + std::to_string(*pid) + "); stop it first.", *pid);
  for (const std::uint32_t slot : state.live.handles().all()) {
    if (!state.live.handles().alive(slot)) continue;
    const auto handle = state.live.handles().copy(slot);
    const std::uint64_t pid = handle ? handle->pid : 0;
    return refuse(Errc::busy, state.directory + " is in use by process " + std::to_string(pid) + "; end it first.",
                  std::uint32_t(pid));
  }
  return {};
}

Result<StatePtr> look_at_bus(const std::string& directory) {
  auto there = has_bus(directory);
  if (!there) return tl::unexpected(there.error());
  if (!*there) return no_bus_in(directory);
  auto id = read_bus_id(directory);
  if (!id) return tl::unexpected(id.error());
  auto state = std::make_shared<State>();
  state->directory = directory;
  state->bus_id = *id;
  if (auto live = open_live(directory, *id, false)) state->live = std::move(*live);
  return state;
}

std::optional<std::string> why_no_live(const std::string& directory, std::uint64_t bus_id) {
  std::error_code error;
  const std::string target = fs::read_symlink(directory + "/live", error).string();
  if (error) return std::nullopt;
  const auto live = open_live(directory, bus_id, false);
  if (live) return std::nullopt;  // made a moment ago
  if (live.error().code() != Errc::not_found)
    return "only what is on disk is shown, and not what may be in shared memory alone: " + live.error().message();
  if (fs::exists(target, error)) return std::nullopt;  // of a former boot: gone
  return "only what is on disk is shown: " + target +
         " is not there. After a reboot that is all; if the bus runs, in another container, look there or mount its "
         "shared memory here";
}

Result<void> only_owner(const std::string& directory) {
  if (::geteuid() == 0 || owns(directory)) return {};
  return refuse(Errc::permission, directory + " belongs to user " + user_of(directory) + ", who alone may do this.");
}

Result<void> remove_bus(const std::string& directory) {
  auto there = has_bus(directory);
  if (!there) return tl::unexpected(there.error());
  if (!*there) return no_bus_in(directory);
  if (auto ours = only_owner(directory); !ours) return ours;
  auto state = look_at_bus(directory);
  if (!state) return tl::unexpected(state.error());
  if (auto known = not_of_another_version(directory, (*state)->bus_id); !known) return known;
  if ((*state)->live.header() != nullptr) {
    if (auto free = nobody_uses(**state); !free) return free;
    if (auto gone = remove_live(directory); !gone) return gone;
  }
  // What an unloading or a creation that was killed left behind stands under this name and no other.
  auto settings = load_settings(directory + "/bus.toml");
  if (settings) shm::Live::remove(live_name(*settings, directory, (*state)->bus_id));
  // Names go in one step, so that nobody who uses what a kill left takes half a topic or group for a whole one.
  for (const char* part : {"/topics/", "/groups/"})
    for (const std::string& entry : list_names(directory + part)) {
      std::error_code ignored;
      const std::string aside = directory + part + ".deleted-" + entry;
      fs::remove_all(aside, ignored);
      fs::rename(directory + part + entry, aside, ignored);
    }
  // The id goes last: a removal that was cut short is still a bus, and can be removed again.
  for (const char* part :
       {"/topics", "/groups", "/live", "/live.new", "/bus.toml", "/daemon.lock", "/bus.lock", kIdFile}) {
    std::error_code error;
    fs::remove_all(directory + part, error);
    if (error) return refuse(Errc::permission, directory + part, std::uint32_t(error.value()));
  }
  ::rmdir(directory.c_str());  // stays when somebody keeps files of their own there
  return {};
}

Result<void> remove_live(const std::string& directory) {
  auto id = read_bus_id(directory);
  if (!id) return tl::unexpected(id.error());
  if (auto known = not_of_another_version(directory, *id); !known) return known;
  std::error_code error;
  const std::string target = fs::read_symlink(directory + "/live", error).string();
  if (error) return refuse(Errc::not_found, directory + " has nothing in shared memory.");
  // The link goes last: what a kill leaves behind is found again, by what is in it or by its name.
  struct stat info {};
  const bool good = ::stat(directory.c_str(), &info) == 0 && shm::Live::open(target, *id, info.st_uid);
  auto settings = load_settings(directory + "/bus.toml");
  if (good || (settings && target == live_name(*settings, directory, *id))) shm::Live::remove(target);
  ::unlink((directory + "/live").c_str());
  return {};
}

std::vector<std::string> list_names(const std::string& directory) {
  std::vector<std::string> out;
  if (auto names = io::list_directory(directory))
    for (std::string& entry : *names)
      if (!entry.starts_with('.')) out.push_back(std::move(entry));
  std::sort(out.begin(), out.end());
  return out;
}

std::uint64_t bytes_of(const std::string& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) ? std::uint64_t(info.st_blocks) * 512 : 0;
}

std::uint64_t bytes_under(const std::string& directory) {
  std::uint64_t sum = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    sum += bytes_of(it->path().string());
  }
  return sum;
}

}  // namespace api
}  // namespace penstock
