// Pairs of words that change together. Everybody who writes a pair does it with cas16, or with store16 where nobody
// else may write it (or, before anybody else can see the pair, with plain stores); everybody who reads one takes it in
// halves, so that reading never dirties the line.
//
// Which load to use:
//   load16_halves  read-only mappings (cmpxchg16b faults there even when it writes nothing). Correct where the low half
//                  never takes the same value twice with another high half, as where it only grows.
//   load16_guess   the result is only the expectation of a cas16, or is looked at again by one: a torn pair makes the
//                  cas16 fail and costs one more round.
//   load16         read-write mappings where any half may change and the pair itself is the answer.
#pragma once

#include <emmintrin.h>

#include <atomic>

#include "layout/base.hpp"

// ThreadSanitizer sees atomics of 8 bytes and the __sync calls; both are used here, so that the pairs are known to it.
namespace penstock::layout {

namespace detail {
__extension__ using Raw16 = unsigned __int128;

inline Raw16 raw16(Pair pair) { return Raw16(pair.high) << 64 | pair.low; }
inline Pair pair16(Raw16 raw) { return {std::uint64_t(raw), std::uint64_t(raw >> 64)}; }

// std::atomic_ref of a const object comes with C++26; nothing is written through this one.
inline std::uint64_t load_word(const std::uint64_t& word, std::memory_order order) {
  return std::atomic_ref<std::uint64_t>(const_cast<std::uint64_t&>(word)).load(order);
}
}  // namespace detail

static_assert(__GCC_HAVE_SYNC_COMPARE_AND_SWAP_16, "compile with -mcx16: pairs need cmpxchg16b");

// Replaces *pair by `desired` if it is `expected`; sequentially consistent and a full barrier either way.
inline bool cas16(Pair* pair, Pair expected, Pair desired) {
  return __sync_bool_compare_and_swap(reinterpret_cast<detail::Raw16*>(pair), detail::raw16(expected),
                                      detail::raw16(desired));
}

// Both halves, perhaps of two different moments.
inline Pair load16_guess(const Pair* pair) {
  const std::uint64_t low = detail::load_word(pair->low, std::memory_order_seq_cst);
  return {low, detail::load_word(pair->high, std::memory_order_seq_cst)};
}

// Whether this machine stores 16 aligned bytes at once: what has AVX does, by its makers' word. ThreadSanitizer does
// not see through the assembly.
#if defined(__SANITIZE_THREAD__)
inline constexpr bool kStoresPairs = false;
#else
inline const bool kStoresPairs = [] {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx") != 0;
}();
#endif

// Replaces *pair with release, without a locked instruction; only where kStoresPairs, and nobody else writes it.
inline void store16(Pair* pair, Pair desired) {
  const __m128i value = _mm_set_epi64x(static_cast<long long>(desired.high), static_cast<long long>(desired.low));
  __asm__ volatile("movaps %1, %0" : "=m"(*pair) : "x"(value) : "memory");
}

// Low, high, low again, until the low half held still. Never writes. Sequentially consistent loads cost nothing extra
// on x86-64 and let callers argue about orders between several words.
inline Pair load16_halves(const Pair* pair) {
  std::uint64_t low = detail::load_word(pair->low, std::memory_order_seq_cst);
  for (;;) {
    const std::uint64_t high = detail::load_word(pair->high, std::memory_order_seq_cst);
    const std::uint64_t again = detail::load_word(pair->low, std::memory_order_seq_cst);
    if (again == low) return {low, high};
    low = again;
  }
}

// Both halves of one moment: a compare-and-swap of the guess with itself confirms it. Dirties the line.
inline Pair load16(Pair* pair) {
  Pair seen = load16_guess(pair);
  for (;;) {
    const detail::Raw16 found =
        __sync_val_compare_and_swap(reinterpret_cast<detail::Raw16*>(pair), detail::raw16(seen), detail::raw16(seen));
    if (found == detail::raw16(seen)) return seen;
    seen = detail::pair16(found);
  }
}

// One half alone, when the other is of no interest.
inline std::uint64_t load16_low(const Pair* pair, std::memory_order order = std::memory_order_seq_cst) {
  return detail::load_word(pair->low, order);
}
inline std::uint64_t load16_high(const Pair* pair, std::memory_order order = std::memory_order_seq_cst) {
  return detail::load_word(pair->high, order);
}

}  // namespace penstock::layout
