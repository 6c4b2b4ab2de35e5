// Which dead letters were given back or purged: one bit a letter, in the group's state for its own dead-letter queue.
// Marks are set and never cleared. Any thread.
#pragma once

#include "group/region.hpp"

namespace penstock::group {

bool marked(const Region& region, std::uint64_t letter);
// Errc::too_many: beyond the letters a group can mark. Errc::no_space.
Result<void> mark(const Region& region, std::uint64_t letter);

}  // namespace penstock::group
