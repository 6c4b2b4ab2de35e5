// A Disk that refuses: the nth job of all it is given ends with an error, and nothing of it is written.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "io/disk.hpp"

namespace penstock::io {

class FaultyDisk final : public Disk {
 public:
  explicit FaultyDisk(std::unique_ptr<Disk> below) : below_(std::move(below)) {}
  // Jobs are counted from 0.
  void fail(std::size_t job, int error) { faults_[job] = error; }
  std::size_t submitted() const { return count_; }

  std::string_view name() const override { return "faulty"; }
  Result<void> submit(const Job& job) override {
    const auto fault = faults_.find(count_++);
    if (fault == faults_.end()) return below_->submit(job);
    failed_.push_back({job.tag, fault->second});
    return {};
  }
  Result<std::size_t> reap(std::vector<Completion>& done, std::chrono::nanoseconds timeout) override {
    const std::size_t own = failed_.size();
    done.insert(done.end(), failed_.begin(), failed_.end());
    failed_.clear();
    const Result<std::size_t> n = below_->reap(done, own > 0 ? std::chrono::nanoseconds(0) : timeout);
    if (!n) return n;
    return *n + own;
  }
  std::size_t in_flight() const override { return below_->in_flight() + failed_.size(); }

 private:
  std::unique_ptr<Disk> below_;
  std::map<std::size_t, int> faults_;
  std::vector<Completion> failed_;
  std::size_t count_ = 0;
};

}  // namespace penstock::io
