#include "log/checksum.hpp"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "log/checksum_avx2.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace penstock::log {
namespace {

std::vector<std::byte> some_bytes(std::size_t size) {
  std::vector<std::byte> bytes(size);
  std::uint64_t x = 88172645463325252ull;
  for (std::byte& b : bytes) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    b = static_cast<std::byte>(x);
  }
  return bytes;
}

TEST(Checksum, HashesAreThoseOfXxh3WhateverTheMachineAndTheSize) {
  const std::vector<std::byte> bytes = some_bytes(5000);
  for (std::size_t size = 0; size <= bytes.size(); size += size < 600 ? 1 : 97) {
    for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{0x9876543210ull}}) {
      ASSERT_EQ(hash64(bytes.data(), size, seed), XXH3_64bits_withSeed(bytes.data(), size, seed)) << size;
      const XXH128_hash_t wide = XXH3_128bits_withSeed(bytes.data(), size, seed);
      ASSERT_EQ(hash128(bytes.data(), size, seed), (layout::Id128{wide.low64, wide.high64})) << size;
      if (!avx2::supported()) continue;
      ASSERT_EQ(avx2::hash64(bytes.data(), size, seed), XXH3_64bits_withSeed(bytes.data(), size, seed)) << size;
      ASSERT_EQ(avx2::hash128(bytes.data(), size, seed), (layout::Id128{wide.low64, wide.high64})) << size;
    }
  }
}

TEST(Checksum, TheKnownValuesStay) {
  // On disk: a changed value would make every stored record unreadable.
  EXPECT_EQ(hash64("", 0), 0x2d06800538d394c2ull);
  EXPECT_EQ(hash64("penstock", 8), XXH3_64bits("penstock", 8));
  EXPECT_EQ(record_checksum(1, 2, 3, 4, 5, 6, 7, {}), 2630121097226755832ull);
}

TEST(Checksum, EveryFlippedBitOfARecordChangesItsChecksum) {
  std::array<std::uint64_t, 7> words{11, 22, 33, 44, 55, 66, 77};
  std::vector<std::byte> body = some_bytes(300);
  const auto sum = [&] {
    return record_checksum(words[0], words[1], words[2], words[3], words[4], words[5], words[6], body);
  };
  const std::uint64_t before = sum();
  for (std::uint64_t& word : words) {
    for (int bit = 0; bit < 64; ++bit) {
      word ^= 1ull << bit;
      EXPECT_NE(sum(), before);
      word ^= 1ull << bit;
    }
  }
  for (std::byte& b : body) {
    for (int bit = 0; bit < 8; ++bit) {
      b ^= std::byte(1 << bit);
      EXPECT_NE(sum(), before);
      b ^= std::byte(1 << bit);
    }
  }
  EXPECT_EQ(sum(), before);
}

TEST(Checksum, AnEmptyBodyIsCoveredByTheHeaderAlone) {
  const std::uint64_t before = record_checksum(1, 2, 3, 4, 5, 6, 7, {});
  EXPECT_NE(record_checksum(1, 2, 3, 4, 5, 7, 6, {}), before);
  EXPECT_NE(record_checksum(1, 2, 4, 4, 5, 6, 7, {}), before);
  const std::byte zero{};
  EXPECT_NE(record_checksum(1, 2, 3, 4, 5, 6, 7, {&zero, 1}), before);
}

}  // namespace
}  // namespace penstock::log
