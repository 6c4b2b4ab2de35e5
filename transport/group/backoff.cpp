#include "group/backoff.hpp"

#include <algorithm>

namespace penstock::group {

std::int64_t backoff_delay(const layout::GroupOptions& options, std::uint32_t failed, std::uint64_t random) {
  // The count comes from shared bytes: it may say anything.
  const std::uint32_t count = std::min<std::uint32_t>(options.backoff_count, layout::kBackoffSteps);
  std::int64_t base = kDefaultBackoff;
  if (count > 0) {
    const std::uint32_t step = std::clamp<std::uint32_t>(failed, 1, count) - 1;
    base = std::int64_t(std::min<std::uint64_t>(options.backoff_ns[step], kLongestBackoff));
  }
  const std::int64_t tenth = base / 10;
  return base - tenth + std::int64_t(random % (2 * std::uint64_t(tenth) + 1));
}

}  // namespace penstock::group
