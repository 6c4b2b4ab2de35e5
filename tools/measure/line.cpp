#include "tools/measure/line.hpp"

#include <sched.h>

#include "tools/measure/clock.hpp"
#include "tools/measure/cores.hpp"

namespace penstock::measure {

bool Line::await(const std::atomic<std::uint64_t>& word, std::uint64_t value, const Board& board) {
  for (std::uint64_t looks = 1; word.load(std::memory_order_acquire) != value; ++looks) {
    if (looks % 4096 != 0) continue;
    if (board.stopped()) return false;
    ::sched_yield();  // in case both are on one core
  }
  return true;
}

bool Line::ask(Board& board, std::uint64_t times, Histogram& trips) {
  const Ticks ticks;
  std::uint64_t value = answer_.load();
  for (std::uint64_t i = 0; i < times; ++i) {
    const std::uint64_t begin = ticks.now();
    question_.store(++value, std::memory_order_release);
    if (!await(answer_, value, board)) return false;
    trips.add(ticks.ns(ticks.now() - begin));
  }
  return true;
}

bool Line::answer(Board& board, std::uint64_t times) {
  std::uint64_t value = answer_.load();
  for (std::uint64_t i = 0; i < times; ++i) {
    if (!await(question_, ++value, board)) return false;
    answer_.store(value, std::memory_order_release);
  }
  return true;
}

}  // namespace penstock::measure
