// File systems that more hosts than one may have mounted. A bus belongs to one host: another that opened the same
// directory would make a second shared-memory side over the same logs.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>

namespace penstock::api {

// "NFS", "SMB", "fuse.sshfs" and so on where the path, or what of the way to it is there, is on such a file system. Of
// those mounted by FUSE the usual ones are known, by the type of the mount.
std::optional<std::string_view> network_file_system(std::string path);

// The same of a mounted device, for which all FUSE is one: by its line in /proc/self/mountinfo.
std::optional<std::string_view> network_mount(std::istream& mountinfo, std::uint64_t device);

}  // namespace penstock::api
