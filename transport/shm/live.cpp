#include "shm/live.hpp"

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

Result<Mapping> create_mapped(const std::string& path, std::uint64_t allocated, std::uint64_t size,
                              const std::function<void(std::byte*)>& fill, Fd* keep) {
  // Names of topics and groups never begin with a dot.
  const auto slash = path.rfind('/') + 1;
  const std::string temporary = path.substr(0, slash) + "." + path.substr(slash);
  ::unlink(temporary.c_str());
  auto fd = create_file(temporary, kFileMode, allocated);
  if (!fd) return tl::unexpected(fd.error());
  Result<Mapping> mapping = tl::unexpected(Error(Errc::system));
  if (size > allocated && ::ftruncate(fd->get(), static_cast<off_t>(size)) != 0)
    mapping = tl::unexpected(from_errno(errno));
  else
    mapping = Mapping::of(*fd, true, size);
  if (mapping) {
    fill(mapping->data());
    if (::rename(temporary.c_str(), path.c_str()) != 0) mapping = tl::unexpected(from_errno(errno));
  }
  if (!mapping) ::unlink(temporary.c_str());
  if (mapping && keep != nullptr) *keep = std::move(*fd);
  return mapping;
}

Result<Live> Live::open(const std::string& path, std::uint64_t bus_id, bool writable) {
  Live live;
  live.path_ = path;
  live.identity_ = {bus_id, shm::boot_id()};
  auto header = open_file(path + "/bus", writable);
  if (!header) return tl::unexpected(header.error());
  auto wake = open_file(path + "/wake", writable);
  if (!wake) return tl::unexpected(wake.error());
  const auto header_size = size_of(*header), wake_size = size_of(*wake);
  if (!header_size || *header_size < layout::kLiveBytes || !wake_size || *wake_size < sizeof(WakeFile))
    return tl::unexpected(Error(Errc::corrupt));
  auto header_mapping = Mapping::of(*header, writable, layout::kLiveBytes);
  if (!header_mapping) return tl::unexpected(header_mapping.error());
  auto wake_mapping = Mapping::of(*wake, writable, sizeof(WakeFile));
  if (!wake_mapping) return tl::unexpected(wake_mapping.error());
  live.header_ = std::move(*header_mapping);
  live.wake_ = std::move(*wake_mapping);
  if (auto good = check(live.header()->preamble, layout::kMagicLive, live.identity_); !good)
    return tl::unexpected(good.error());
  live.handles_ = std::make_unique<Handles>(path + "/handles", live.identity_, live.header(), kFileMode);
  return live;
}

Result<Live> Live::create(const std::string& path, std::uint64_t bus_id, const std::string& bus_path) {
  remove(path);
  for (const char* part : {"", "/handles", "/topics", "/groups"})
    if (auto made = make_directory(path + part, kDirectoryMode); !made) return tl::unexpected(made.error());
  const Identity identity{bus_id, shm::boot_id()};
  auto wake = create_mapped(path + "/wake", sizeof(WakeFile), sizeof(WakeFile), [&](std::byte* bytes) {
    reinterpret_cast<WakeFile*>(bytes)->preamble = preamble(layout::kMagicLive, sizeof(WakeFile), identity);
  });
  if (!wake) return tl::unexpected(wake.error());
  auto header = create_mapped(path + "/bus", layout::kLiveBytes, layout::kLiveBytes, [&](std::byte* bytes) {
    auto* live = reinterpret_cast<LiveHeader*>(bytes);
    live->preamble = preamble(layout::kMagicLive, sizeof(LiveHeader), identity);
    std::strncpy(live->bus_path, bus_path.c_str(), sizeof live->bus_path - 1);
    live->ordinals[0].store(1);  // kBusOrdinal
  });
  if (!header) return tl::unexpected(header.error());
  return open(path, bus_id);
}

void Live::remove(const std::string& path) {
  std::error_code ignored;
  // What opening it asks for goes first: nobody takes half a live side for a whole one.
  std::filesystem::remove(path + "/bus", ignored);
  std::filesystem::remove_all(path, ignored);
}

}  // namespace penstock::shm
