#include "tools/measure/payload.hpp"

#include <algorithm>
#include <cstring>

namespace penstock::measure {
namespace {

constexpr std::uint64_t kWord = sizeof(std::uint64_t);

std::uint64_t name_of(Sent sent) { return std::uint64_t{sent.sender} << 56 | sent.number; }

// Odd, so that different events have different words everywhere.
std::uint64_t seed_of(std::uint64_t name) { return name * 0x9e3779b97f4a7c15ull; }

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
#define PENSTOCK_VECTORS __attribute__((target_clones("avx2", "default")))
#else
#define PENSTOCK_VECTORS
#endif

[[gnu::always_inline]] inline void write_here(std::uint64_t* words, std::size_t count, std::uint64_t seed) {
  for (std::size_t i = 0; i < count; ++i) words[i] = seed + i;
}
[[gnu::always_inline]] inline std::uint64_t compare_here(const std::uint64_t* words, std::size_t count,
                                                         std::uint64_t seed) {
  std::uint64_t found = 0;
  for (std::size_t i = 0; i < count; ++i) found |= words[i] ^ (seed + i);
  return found;
}

PENSTOCK_VECTORS void write_any(std::uint64_t* words, std::size_t count, std::uint64_t seed) {
  write_here(words, count, seed);
}
PENSTOCK_VECTORS std::uint64_t compare_any(const std::uint64_t* words, std::size_t count, std::uint64_t seed) {
  return compare_here(words, count, seed);
}

// What most cases send goes without a call: what is measured is not to be the measuring.
constexpr std::size_t kShort = 64 / kWord;

inline void write_words(std::uint64_t* words, std::size_t count, std::uint64_t seed) {
  if (count == kShort)
    write_here(words, kShort, seed);
  else
    write_any(words, count, seed);
}
// 0: they are as they were written, the first aside.
inline std::uint64_t differences(const std::uint64_t* words, std::size_t count, std::uint64_t seed) {
  return count == kShort ? compare_here(words + 1, kShort - 1, seed + 1) : compare_any(words + 1, count - 1, seed + 1);
}

}  // namespace

void fill(std::span<std::byte> payload, Sent sent) {
  const std::uint64_t name = name_of(sent);
  const std::uint64_t seed = seed_of(name);
  const std::size_t whole = payload.size() / kWord, rest = payload.size() % kWord;
  write_words(reinterpret_cast<std::uint64_t*>(payload.data()), whole, seed);
  std::memcpy(payload.data(), &name, kWord);
  const std::uint64_t last = seed + whole;
  if (rest != 0) std::memcpy(payload.data() + whole * kWord, &last, rest);
}

Sent named(std::span<const std::byte> payload) {
  std::uint64_t name = 0;
  std::memcpy(&name, payload.data(), std::min(payload.size(), kLeastPayload));
  return {static_cast<std::uint32_t>(name >> 56), name & (~0ull >> 8)};
}

std::uint64_t mark_of(Sent sent) {
  std::uint64_t mark = seed_of(name_of(sent) + 1);
  mark = (mark ^ mark >> 32) * 0xd6e8feb86659fd93ull;
  return mark ^ mark >> 29;
}

bool intact(std::span<const std::byte> payload, Sent& sent) {
  if (payload.size() < kLeastPayload) return false;
  sent = named(payload);
  const std::uint64_t seed = seed_of(name_of(sent));
  const std::size_t whole = payload.size() / kWord, rest = payload.size() % kWord;
  const auto* words = reinterpret_cast<const std::uint64_t*>(payload.data());
  const std::uint64_t last = seed + whole;
  return differences(words, whole, seed) == 0 &&
         (rest == 0 || std::memcmp(payload.data() + whole * kWord, &last, rest) == 0);
}

void Sequence::complain(std::span<const std::byte> payload, std::size_t size) {
  Sent sent;
  if (payload.size() != size)
    complaint_ = "an event of " + std::to_string(payload.size()) + " bytes where all have " + std::to_string(size);
  else if (!intact(payload, sent) || sent.sender >= next_.size())
    complaint_ = "a payload that nobody sent";
  else
    complaint_ = "event " + std::to_string(sent.number) + " of sender " + std::to_string(sent.sender) + " where " +
                 std::to_string(next_[sent.sender]) + " was to come";
}

}  // namespace penstock::measure
