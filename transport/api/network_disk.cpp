#include "api/network_disk.hpp"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <sstream>
#include <utility>

#include "io/file.hpp"

namespace penstock::api {

std::optional<std::string_view> network_mount(std::istream& mountinfo, std::uint64_t device) {
  // What is served by a program of the host's own, as a mounted archive, is not among them.
  static constexpr std::string_view kKnown[] = {
      "fuse.sshfs",   "fuse.s3fs",    "fuse.glusterfs",   "fuse.ceph",      "fuse.ceph-fuse", "fuse.rclone",
      "fuse.gcsfuse", "fuse.goofys",  "fuse.mount-s3",    "fuse.blobfuse",  "fuse.blobfuse2", "fuse.juicefs",
      "fuse.mfs",     "fuse.moosefs", "fuse.lizardfs",    "fuse.seaweedfs", "fuse.curlftpfs", "fuse.davfs",
      "fuse.davfs2",  "fuse.dfs",     "fuse.vmhgfs-fuse", "virtiofs"};
  const std::string number = std::to_string(major(device)) + ":" + std::to_string(minor(device));
  for (std::string line; std::getline(mountinfo, line);) {
    // Mount, parent, device, root, place, options and optional fields, a dash, and the type.
    std::istringstream words(line.substr(0, line.find(" - ")));
    std::string mount, parent, of;
    if (!(words >> mount >> parent >> of) || of != number || line.find(" - ") == std::string::npos) continue;
    const std::string type = line.substr(line.find(" - ") + 3);
    const auto known = std::find(std::begin(kKnown), std::end(kKnown), type.substr(0, type.find(' ')));
    return known == std::end(kKnown) ? std::nullopt : std::optional(*known);
  }
  return std::nullopt;
}

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
  constexpr std::uint32_t kFuse = 0x65735546;  // whoever serves it
  struct stat info {};
  if (static_cast<std::uint32_t>(found.f_type) != kFuse || ::stat(path.c_str(), &info) != 0) return std::nullopt;
  std::ifstream mountinfo("/proc/self/mountinfo");
  return network_mount(mountinfo, info.st_dev);
}

}  // namespace penstock::api
