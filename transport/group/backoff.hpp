// How long a failed event waits before it comes back. Pure functions; any thread.
#pragma once

#include <cstdint>

#include "layout/group.hpp"

namespace penstock::group {

inline constexpr std::int64_t kDefaultBackoff = 100'000'000;                     // of a group whose list is empty
inline constexpr std::int64_t kLongestBackoff = 3'650ll * 86'400'000'000'000ll;  // ten years: anything longer is a slip

// The delay in nanoseconds after the `failed`th failure (from 1): the list's entry of that number, the last one
// repeating, give or take a tenth by the random word. A list that says zero gets zero; an empty one the default.
std::int64_t backoff_delay(const layout::GroupOptions& options, std::uint32_t failed, std::uint64_t random);

}  // namespace penstock::group
