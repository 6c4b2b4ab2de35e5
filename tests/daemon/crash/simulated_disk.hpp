// The persister's Disk over recorded files: jobs do not run when they are submitted but a call at a time, in an order
// drawn by chance, so that other work falls between a job's write, its flush and its completion.
#pragma once

#include <random>
#include <vector>

#include "io/disk.hpp"

namespace penstock::crash {

// What a Disk must not do, to see that it is found.
enum class Vice : std::uint8_t {
  none,
  no_flush,    // a job is complete when it is written
  late_flush,  // it is flushed, but after it was told to be complete
  same_again,  // a flush that failed is asked for again, on the same pages
};

class SimulatedDisk final : public io::Disk {
 public:
  SimulatedDisk(std::uint64_t seed, Vice vice) : random_(seed), vice_(vice) {}
  std::string_view name() const override { return "simulated"; }
  Result<void> submit(const io::Job& job) override;
  Result<std::size_t> reap(std::vector<io::Completion>& done, std::chrono::nanoseconds timeout) override;
  std::size_t in_flight() const override { return tasks_.size(); }

 private:
  struct Task {
    io::Job job;
    std::vector<iovec> pieces;
    std::vector<iovec> left;  // to be written
    std::uint64_t at = 0;
  };
  // One call for this job; true: it is complete, with this error.
  bool step(Task& task, int& error);

  std::vector<Task> tasks_;
  std::vector<int> late_;  // descriptors to be flushed
  std::mt19937_64 random_;
  Vice vice_;
};

}  // namespace penstock::crash
