#include "tools/measure/histogram.hpp"

#include <algorithm>
#include <cmath>

namespace penstock::measure {

std::uint64_t Histogram::middle_of(std::size_t bucket) {
  if (bucket < kFine) return bucket;
  const std::uint64_t shift = bucket / kFine - 1;
  return ((kFine + bucket % kFine) << shift) + ((1ull << shift) >> 1);
}

void Histogram::add(const Histogram& other) {
  for (std::size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  max_ = std::max(max_, other.max_);
}

std::uint64_t Histogram::percentile(double percent) const {
  if (count_ == 0) return 0;
  const double wanted = std::ceil(static_cast<double>(count_) * percent / 100.0);
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    seen += buckets_[i];
    if (buckets_[i] != 0 && static_cast<double>(seen) >= wanted) return std::min(middle_of(i), max_);
  }
  return max_;
}

Json Histogram::json() const {
  return {{"p50_ns", percentile(50)},
          {"p90_ns", percentile(90)},
          {"p99_ns", percentile(99)},
          {"p999_ns", percentile(99.9)},
          {"p9999_ns", percentile(99.99)},
          {"max_ns", max_},
          {"count", count_}};
}

}  // namespace penstock::measure
