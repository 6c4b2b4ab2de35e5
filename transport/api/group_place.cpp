#include "api/group_place.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "api/error_place.hpp"

namespace penstock::api {

GroupPlace GroupPlace::named(const State& state, std::string_view name) {
  GroupPlace out;
  out.disk_path_ = state.group_directory(name);
  out.live_path_ = state.live.group_path(std::string(name));
  return out;
}

Result<GroupPlace> GroupPlace::find(const State& state, std::string_view name, bool make) {
  GroupPlace out = named(state, name);
  const shm::Access& access = state.access();
  out.shared_ = access.shared;
  if (!out.shared_) {
    if (!make) return out;
    if (auto made = shm::make_directory(out.disk_path_, access.group_directory()); !made)
      return tl::unexpected(api::name(made.error(), out.disk_path_));
    return out;
  }
  struct stat bus {};
  if (::stat(state.directory.c_str(), &bus) != 0) return refuse(Errc::not_found, state.directory);
  out.owner_ = bus.st_uid;
  if (make)
    if (auto made = shm::make_directory(out.disk_path_, access.group_directory()); !made)
      return tl::unexpected(api::name(made.error(), out.disk_path_));
  auto disk = shm::open_directory(out.disk_path_);
  if (!disk) return tl::unexpected(api::name(disk.error(), "group " + std::string(name), out.disk_path_));
  auto user = shm::owner_of(*disk);
  if (!user) return tl::unexpected(user.error());
  out.disk_ = std::move(*disk);
  out.user_ = *user;
  if (auto opened = out.open_live(); !opened) return tl::unexpected(opened.error());
  return out;
}

Result<void> GroupPlace::open_live() {
  // The user is in the name, so that nobody can take it before him, as after a reboot.
  live_path_ += "@" + std::to_string(user_);
  auto live = shm::open_directory(live_path_);
  if (!live && live.error().code() != Errc::not_found) return tl::unexpected(api::name(live.error(), live_path_));
  if (live && shm::owner_of(*live) == user_) live_ = std::move(*live);
  return {};
}

Result<GroupPlace> GroupPlace::find_remains(const State& state, std::string_view name) {
  auto found = find(state, name);
  if (found || found.error().code() != Errc::not_found) return found;
  GroupPlace out = named(state, name);
  out.shared_ = true;
  out.user_ = ::geteuid();
  struct stat bus {};
  if (::stat(state.directory.c_str(), &bus) == 0) out.owner_ = bus.st_uid;
  if (!out.open_live() || !out.live_) return found;
  return out;
}

bool GroupPlace::ours() const { return !shared_ || user_ == ::geteuid(); }

tl::unexpected<Error> GroupPlace::refuse_others(const std::string& why) const {
  const std::string group = disk_path_.substr(disk_path_.rfind('/') + 1);
  return refuse(Errc::permission, "group " + group + " belongs to user " + user_text(user_) + why);
}

Result<void> GroupPlace::make_live(const State& state) {
  if (live_) return {};
  if (!ours()) return refuse_others(kNotMade);
  if (auto made = shm::make_directory(live_path_, state.access().group_directory()); !made)
    return tl::unexpected(api::name(made.error(), live_path_));
  if (!shared_) return {};
  auto live = shm::open_directory(live_path_);
  if (!live) return tl::unexpected(api::name(live.error(), live_path_));
  if (shm::owner_of(*live) != user_)
    return refuse(Errc::permission, live_path_ + " was made by another user; the owner of the bus can remove it.");
  live_ = std::move(*live);
  return {};
}

Result<shm::Fd> GroupPlace::open(const std::string& file, bool& writable) const {
  if (shared_ && !live_) return tl::unexpected(Error(Errc::not_found));
  auto fd = shm::open_file(live(file), writable);
  if (!fd && shared_ && writable && fd.error().code() == Errc::permission) {
    writable = false;
    fd = shm::open_file(live(file), false);
  }
  if (fd && shared_ && !shm::made_by(*fd, user_, owner_)) return refuse(Errc::corrupt, live_path_ + "/" + file);
  return fd;
}

Result<shm::Mapping> GroupPlace::map(const shm::Fd& fd, bool writable, std::uint64_t bytes) const {
  return shared_ ? shm::Mapping::guarded(fd, writable, bytes, false) : shm::Mapping::of(fd, writable, bytes);
}

// With [access] made where files take the owner's own group, so that his daemon can settle what the group gave up.
Result<shm::Fd> GroupPlace::create(const State& state, std::uint64_t bytes) const {
  const std::string directory = shared_ ? state.live.path() + "/groups" : live_path_;
  return shm::create_unnamed_file(directory, state.access().group_file(), bytes);
}

Result<void> GroupPlace::give_name(const shm::Fd& fd, const std::string& file) const {
  ::unlink(live(file).c_str());
  if (auto named = shm::give_name(fd, live(file)); !named)
    return tl::unexpected(api::name(named.error(), live_path_ + "/" + file));
  return {};
}

storage::Blob GroupPlace::meta(const State& state) const {
  return {
      disk("group.meta"),
      {.magic = layout::kMagicGroupMeta, .bus_id = state.bus_id, .mode = state.access().told_file(), .most = 1 << 16}};
}

storage::Blob GroupPlace::checkpoint(const State& state, std::string_view topic) const {
  storage::BlobOptions options{.magic = layout::kMagicCheckpoint,
                               .bus_id = state.bus_id,
                               .mode = state.access().told_file(),
                               .most = 1ull << 32};
  if (shared_) options.owner = owner_;
  return {disk(std::string(topic) + ".state"), options};
}

Result<GroupLock> GroupLock::take(const State& state, GroupPlace& place, std::int64_t timeout_ns) {
  GroupLock out;
  if (!state.access().shared) {
    auto bus = BusLock::take(state.directory, timeout_ns);
    if (!bus) return tl::unexpected(bus.error());
    out.bus_.emplace(std::move(*bus));
    return out;
  }
  if (auto live = place.make_live(state); !live) return tl::unexpected(live.error());
  // Other users can't open it, so none of them can hold it.
  auto fd = shm::create_file(place.live(kFile), 0600, 0);
  if (!fd && fd.error().code() == Errc::already_exists) fd = shm::open_file(place.live(kFile), true);
  if (!fd && fd.error().code() == Errc::permission) return place.refuse_others(GroupPlace::kHisToChange);
  if (!fd) return tl::unexpected(name(fd.error(), place.live_path()));
  if (auto locked = shm::lock(*fd, timeout_ns); !locked)
    return refuse(Errc::busy, place.live_path() + "/@lock stays locked: another process of this group does not end");
  out.fd_ = std::move(*fd);
  return out;
}

}  // namespace penstock::api
