#include "api/network_disk.hpp"

#include <sys/vfs.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "io/file.hpp"

namespace penstock::api {

std::optional<std::string_view> network_file_system(std::string path) {
  // As in linux/magic.h, which does not have them all.
  static constexpr std::pair<std::uint32_t, std::string_view> kKnown[] = {
      {0x6969, "NFS"},     {0xff534d42, "CIFS"}, {0xfe534d42, "SMB"},  {0x517b, "SMB"},
      {0x5346414f, "AFS"}, {0x6b414653, "AFS"},  {0x00c36400, "Ceph"}, {0x0bd00bd0, "Lustre"}};
  struct statfs found {};
  while (::statfs(path.c_str(), &found) != 0) {
    if (errno != ENOENT || path == "/" || path == ".") return std::nullopt;
    path = io::directory_of(path);
  }
  for (const auto& [magic, name] : kKnown)
    if (static_cast<std::uint32_t>(found.f_type) == magic) return name;
  return std::nullopt;
}

}  // namespace penstock::api
