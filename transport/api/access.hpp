// [access] of bus.toml made real: the groups' numbers, and the modes of what stands on disk. Used when the live side is
// made; from then on the live side says who may do what.
#pragma once

#include "api/settings.hpp"
#include "shm/access.hpp"

namespace penstock::api {

// Errc::invalid_argument: a group that does not exist. Errc::permission: this process can't give files to the groups,
// or its own group is the consumers', so that what it makes would be theirs.
Result<shm::Access> find_access(const Settings& settings);

// Gives what stands in the bus's directory the modes and groups that these settings ask for, also when they changed.
// What belongs to another user is left alone.
Result<void> apply_access(const std::string& directory, const shm::Access& access);

// Was the bus shared when its live side was made last?
bool was_shared(const std::string& directory);

}  // namespace penstock::api
