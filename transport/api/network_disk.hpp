// File systems that more hosts than one may have mounted. A bus belongs to one host: another that opened the same
// directory would make a second shared-memory side over the same logs.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace penstock::api {

// "NFS", "SMB" and so on where the path, or what of the way to it is there, is on such a file system. One mounted by
// FUSE is not known as such.
std::optional<std::string_view> network_file_system(std::string path);

}  // namespace penstock::api
