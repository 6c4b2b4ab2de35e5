#include "tools/measure/payload.hpp"

#include <algorithm>
#include <cstring>

namespace penstock::measure {
namespace {

using detail::kWord, detail::name_of, detail::seed_of;

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
#define PENSTOCK_VECTORS __attribute__((target_clones("avx2", "default")))
#else
#define PENSTOCK_VECTORS
#endif

PENSTOCK_VECTORS void write_any(std::uint64_t* words, std::size_t count, std::uint64_t seed) {
  detail::write(words, count, seed);
}
PENSTOCK_VECTORS std::uint64_t compare_any(const std::uint64_t* words, std::size_t count, std::uint64_t seed) {
  return detail::differences(words, count, seed);
}

}  // namespace

void fill_any(std::span<std::byte> payload, Sent sent) {
  const std::uint64_t name = name_of(sent);
  const std::uint64_t seed = seed_of(name);
  const std::size_t whole = payload.size() / kWord, rest = payload.size() % kWord;
  write_any(reinterpret_cast<std::uint64_t*>(payload.data()), whole, seed);
  std::memcpy(payload.data(), &name, kWord);
  const std::uint64_t last = seed + whole;
  if (rest != 0) std::memcpy(payload.data() + whole * kWord, &last, rest);
}

std::uint64_t mark_of(Sent sent) {
  std::uint64_t mark = seed_of(name_of(sent) + 1);
  mark = (mark ^ mark >> 32) * 0xd6e8feb86659fd93ull;
  return mark ^ mark >> 29;
}

bool intact_any(std::span<const std::byte> payload, Sent& sent) {
  if (payload.size() < kLeastPayload) return false;
  sent = named(payload);
  const std::uint64_t seed = seed_of(name_of(sent));
  const std::size_t whole = payload.size() / kWord, rest = payload.size() % kWord;
  const auto* words = reinterpret_cast<const std::uint64_t*>(payload.data());
  const std::uint64_t last = seed + whole;
  return compare_any(words + 1, whole - 1, seed + 1) == 0 &&
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
