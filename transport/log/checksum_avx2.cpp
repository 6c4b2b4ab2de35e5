#include "log/checksum_avx2.hpp"

#if defined(__x86_64__)

// All that xxhash.h includes comes first: only its own functions may be compiled for AVX2, since the linker could pick
// an inline function of another header from this file for a machine without it.
#include <immintrin.h>

#include <cassert>
#include <climits>
#include <cstdlib>
#include <cstring>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif

#define XXH_INLINE_ALL
#define XXH_VECTOR 2  // XXH_AVX2
#include <xxhash.h>

namespace penstock::log::avx2 {

std::uint64_t hash64(const void* data, std::size_t size, std::uint64_t seed) {
  return XXH3_64bits_withSeed(data, size, seed);
}

layout::Id128 hash128(const void* data, std::size_t size, std::uint64_t seed) {
  const XXH128_hash_t hash = XXH3_128bits_withSeed(data, size, seed);
  return {hash.low64, hash.high64};
}

}  // namespace penstock::log::avx2

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace penstock::log::avx2 {
bool supported() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") != 0;
}
}  // namespace penstock::log::avx2

#else

namespace penstock::log::avx2 {
bool supported() { return false; }
std::uint64_t hash64(const void*, std::size_t, std::uint64_t) { return 0; }
layout::Id128 hash128(const void*, std::size_t, std::uint64_t) { return {}; }
}  // namespace penstock::log::avx2

#endif
