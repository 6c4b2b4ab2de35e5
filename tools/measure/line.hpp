// The bare cache line: two processes answer each other through one word each, in shared memory, and nothing else. What
// no transport between the same two cores can beat.
#pragma once

#include <atomic>
#include <cstdint>

#include "tools/measure/crew.hpp"
#include "tools/measure/histogram.hpp"

namespace penstock::measure {

// Below this p50 the two cores are siblings, or as near as that.
constexpr std::uint64_t kNearNs = 250;

class Line {
 public:
  // One process asks so many times and measures each round trip, the other answers. False: somebody failed.
  bool ask(Board& board, std::uint64_t times, Histogram& trips);
  bool answer(Board& board, std::uint64_t times);

 private:
  static bool await(const std::atomic<std::uint64_t>& word, std::uint64_t value, const Board& board);
  alignas(128) std::atomic<std::uint64_t> question_{0};
  alignas(128) std::atomic<std::uint64_t> answer_{0};
};

}  // namespace penstock::measure
