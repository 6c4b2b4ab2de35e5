// What the place where an error happened tells of its cause and remedy. Looked at when a message is asked for, so what
// it says is of that moment. Any thread may call these, on cold paths.
#pragma once

#include <cstdint>
#include <string>

namespace penstock::api {

// How much of the file system is free, and what makes room there.
std::string no_space_at(const std::string& path);
// Who was refused, whose the place is, and who may instead. `error`: the errno.
std::string no_permission_at(const std::string& path, int error);
// What is there beside it that may have been meant.
std::string not_found_at(const std::string& path);

// For people: 16 MiB; alice (1000), or the number alone.
std::string bytes_text(std::uint64_t bytes);
std::string user_text(std::uint32_t user);

}  // namespace penstock::api
