#include "log/checksum.hpp"

#include "log/checksum_avx2.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace penstock::log {
namespace {

// XXH3 takes another path above this size, and only that one is vectorised; below it the call is not worth making.
constexpr std::size_t kVectorFrom = 241;

// Asked once. Whoever hashes before this is set (another file's static initialiser) gets the portable code, which
// computes the same.
const bool use_avx2 = avx2::supported();

// One word into the chain: a bijection of h for each x and of x for each h, so no single changed word goes unseen.
constexpr std::uint64_t mix(std::uint64_t h, std::uint64_t x) {
  h = (h ^ x) * 0x9E3779B97F4A7C15ull;
  return h ^ (h >> 32);
}

}  // namespace

std::uint64_t hash64(const void* data, std::size_t size, std::uint64_t seed) {
  if (size >= kVectorFrom && use_avx2) return avx2::hash64(data, size, seed);
  return XXH3_64bits_withSeed(data, size, seed);
}

layout::Id128 hash128(const void* data, std::size_t size, std::uint64_t seed) {
  if (size >= kVectorFrom && use_avx2) return avx2::hash128(data, size, seed);
  const XXH128_hash_t hash = XXH3_128bits_withSeed(data, size, seed);
  return {hash.low64, hash.high64};
}

std::uint64_t record_checksum(std::uint64_t word, std::uint64_t link, std::uint64_t tag, std::uint64_t time,
                              std::uint64_t id_low, std::uint64_t id_high, std::uint64_t sizes,
                              std::span<const std::byte> body) {
  std::uint64_t h = mix(tag, word);
  h = mix(h, link);
  h = mix(h, time);
  h = mix(h, id_low);
  h = mix(h, id_high);
  h = mix(h, sizes);
  if (body.empty()) return mix(h, 0xD6E8FEB86659FD93ull);
  return hash64(body.data(), body.size(), h);
}

const char* hash_backend() { return use_avx2 ? "avx2" : "portable"; }

}  // namespace penstock::log
