// How often each duration was seen: 128 buckets between a power of two and the next, so a percentile is right to
// within 1%. Plain bytes of a fixed size, so that a process can keep one in shared memory; one writer at a time.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <nlohmann/json.hpp>

namespace penstock::measure {

using Json = nlohmann::ordered_json;

class Histogram {
 public:
  void add(std::uint64_t ns) {
    ++buckets_[bucket_of(ns)];
    ++count_;
    if (ns > max_) max_ = ns;
  }
  void add(const Histogram& other);
  void clear() { *this = Histogram(); }
  std::uint64_t count() const { return count_; }
  std::uint64_t max() const { return max_; }  // exact
  // The duration that `percent` of all stay at or below; 0 when there are none.
  std::uint64_t percentile(double percent) const;
  // p50_ns, p90_ns, p99_ns, p999_ns, p9999_ns, max_ns, count.
  Json json() const;

 private:
  static constexpr unsigned kBits = 7;
  static constexpr std::uint64_t kFine = 1ull << kBits;  // below this every value has its own bucket
  static constexpr unsigned kOctaves = 40 - kBits;       // up to 2^40 ns, 18 minutes; longer counts as that
  static std::size_t bucket_of(std::uint64_t ns) {
    if (ns < kFine) return ns;
    if (ns >> 40 != 0) ns = (1ull << 40) - 1;
    const unsigned shift = static_cast<unsigned>(std::bit_width(ns)) - kBits - 1;
    return static_cast<std::size_t>((shift + 1) * kFine + ((ns >> shift) & (kFine - 1)));
  }
  static std::uint64_t middle_of(std::size_t bucket);

  std::array<std::uint64_t, (kOctaves + 1) * kFine> buckets_{};
  std::uint64_t count_ = 0;
  std::uint64_t max_ = 0;
};

}  // namespace penstock::measure
