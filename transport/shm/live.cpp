#include "shm/live.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "layout/topic.hpp"

namespace penstock::shm {

using layout::LiveHeader;
using layout::WakeFile;

std::uint64_t boot_id() {
  static const std::uint64_t id = [] {
    std::ifstream file("/proc/sys/kernel/random/boot_id");
    std::string text;
    std::getline(file, text);
    std::uint64_t hash = 0xcbf29ce484222325ull;  // FNV-1a: this need only differ between boots
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
    return hash;
  }();
  return id;
}

Result<Mapping> create_mapped(const NewFile& file, const std::function<void(std::byte*)>& fill) {
  ::unlink(file.temporary.c_str());
  auto fd = create_file(file.temporary, file.mode, file.bytes);
  if (!fd) return tl::unexpected(fd.error());
  auto mapping = Mapping::of(*fd, true, file.bytes);
  if (mapping) {
    fill(mapping->data());
    if (::rename(file.temporary.c_str(), file.path.c_str()) != 0) mapping = tl::unexpected(from_errno(errno));
  }
  if (!mapping) ::unlink(file.temporary.c_str());
  return mapping;
}

namespace {

// Who can make a directory in /dev/shm could make ours before us.
Result<void> owned_by(const std::string& path, uid_t owner) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return tl::unexpected(from_errno(errno));
  if (!S_ISDIR(info.st_mode) || (info.st_uid != owner && info.st_uid != 0))
    return tl::unexpected(Error(Errc::not_found));
  return {};
}

Result<void> at_least(const Fd& fd, std::uint64_t bytes) {
  const auto size = size_of(fd);
  if (!size) return tl::unexpected(size.error());
  if (*size < bytes) return tl::unexpected(Error(Errc::corrupt));
  return {};
}

}  // namespace

Result<void> Live::map(bool writable) {
  auto header = open_file(path_ + "/bus", writable);
  publishes_ = writable && header;
  const bool refused = writable && !header && header.error().code() == Errc::permission;
  if (refused) header = open_file(path_ + "/bus", false);
  if (!header) return tl::unexpected(header.error());
  if (auto whole = at_least(*header, layout::kLiveBytes); !whole) return whole;
  auto header_mapping = Mapping::of(*header, publishes_, layout::kLiveBytes);
  if (!header_mapping) return tl::unexpected(header_mapping.error());
  header_ = std::move(*header_mapping);
  if (auto good = check(this->header()->preamble, layout::kMagicLive, identity_, publishes_); !good) return good;
  access_.shared = this->header()->producers_group != 0;
  access_.producers = gid_t(this->header()->producers_group - 1);
  access_.consumers = gid_t(this->header()->consumers_group - 1);
  if (refused && !access_.shared) return tl::unexpected(Error(Errc::permission, EACCES));

  auto wake = open_file(path_ + "/wake", writable);
  if (!wake) return tl::unexpected(wake.error());
  const auto whole = at_least(*wake, sizeof(WakeFile));
  if (!whole && !access_.shared) return whole;  // a shared one may have been cut short: the guard mends it
  auto wake_mapping = access_.shared ? Mapping::guarded(*wake, writable, sizeof(WakeFile), writable)
                                     : Mapping::of(*wake, writable, sizeof(WakeFile));
  if (!wake_mapping) return tl::unexpected(wake_mapping.error());
  wake_ = std::move(*wake_mapping);
  return {};
}

Result<Live> Live::open(const std::string& path, std::uint64_t bus_id, uid_t owner, bool writable) {
  Live live;
  live.path_ = path;
  live.identity_ = {bus_id, shm::boot_id()};
  if (auto ours = owned_by(path, owner); !ours) return tl::unexpected(ours.error());
  if (auto mapped = live.map(writable); !mapped) return tl::unexpected(mapped.error());
  live.handles_ = std::make_unique<Handles>(path, live.identity_, live.header(), live.access_,
                                            live.access_.shared && !live.publishes_);
  return live;
}

Result<Live> Live::create(const std::string& wanted, std::uint64_t bus_id, const std::string& bus_path,
                          const Access& access) {
  std::string path = wanted;
  remove(path);
  // What stays is another user's, or has things of consumers in it that are not ours to remove.
  if (::mkdir(path.c_str(), access.gate()) != 0) {
    if (errno != EEXIST) return tl::unexpected(from_errno(errno));
    path += temporary_name();
    if (::mkdir(path.c_str(), access.gate()) != 0) return tl::unexpected(from_errno(errno));
  }
  if ((access.shared && ::chown(path.c_str(), uid_t(-1), access.consumers) != 0) ||
      ::chmod(path.c_str(), access.gate()) != 0)
    return tl::unexpected(from_errno(errno));
  const auto producers = access.shared ? std::optional(access.producers) : std::nullopt;
  Result<void> made = make_directory(path + "/handles", access.topic_directory(), producers);
  if (made) made = make_directory(path + "/topics", access.topic_directory(), producers);
  if (made) made = make_directory(path + "/groups", access.groups_directory());
  if (made && access.shared) made = make_directory(path + "/guests", access.guests_directory());
  if (!made) return tl::unexpected(made.error());
  const Identity identity{bus_id, shm::boot_id()};
  auto wake =
      create_mapped({path + "/wake", path + "/.wake", access.wake_file(), sizeof(WakeFile)}, [&](std::byte* bytes) {
        reinterpret_cast<WakeFile*>(bytes)->preamble = preamble(layout::kMagicLive, sizeof(WakeFile), identity);
      });
  if (!wake) return tl::unexpected(wake.error());
  // Made where files take the producers' group, so that producers may write it.
  auto header = create_mapped({path + "/bus", path + "/topics/.bus", access.topic_file(), layout::kLiveBytes},
                              [&](std::byte* bytes) {
                                auto* live = reinterpret_cast<LiveHeader*>(bytes);
                                live->preamble = preamble(layout::kMagicLive, sizeof(LiveHeader), identity);
                                std::strncpy(live->bus_path, bus_path.c_str(), sizeof live->bus_path - 1);
                                live->ordinals[0].store(1);  // kBusOrdinal
                                if (!access.shared) return;
                                live->producers_group = std::uint64_t{access.producers} + 1;
                                live->consumers_group = std::uint64_t{access.consumers} + 1;
                              });
  if (!header) return tl::unexpected(header.error());
  return open(path, bus_id, ::geteuid());
}

void Live::remove(const std::string& path) {
  std::error_code ignored;
  // What opening it asks for goes first: nobody takes half a live side for a whole one.
  if (const auto directory = open_directory(path)) std::filesystem::remove(inside(*directory, "bus"), ignored);
  std::filesystem::remove_all(path, ignored);
}

}  // namespace penstock::shm
