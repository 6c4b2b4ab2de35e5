#include "daemon/crash/simulated_disk.hpp"

#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/crash/recorder.hpp"

namespace penstock::crash {

Result<void> SimulatedDisk::submit(const io::Job& job) {
  Task task{.job = job, .pieces = {job.pieces.begin(), job.pieces.end()}, .left = {}, .at = job.file_offset};
  task.left = task.pieces;
  tasks_.push_back(std::move(task));
  return {};
}

bool SimulatedDisk::step(Task& task, int& error) {
  if (!task.left.empty()) {
    const ssize_t n = ::pwritev(task.job.fd, task.left.data(), int(task.left.size()), off_t(task.at));
    if (n < 0) {
      error = errno;
      return true;
    }
    task.at += std::uint64_t(n);
    const auto left = io::drop_written(task.left, std::size_t(n));
    task.left = std::vector<iovec>(left.begin(), left.end());
    return false;
  }
  if (task.job.flush == io::Flush::none || vice_ == Vice::no_flush) return true;
  if (vice_ == Vice::late_flush) {
    late_.push_back(task.job.fd);
    return true;
  }
  // What the job wrote, and no more than it promises.
  const bool bytes = task.job.flush == io::Flush::bytes;
  if (bytes ? sync_bytes(task.job.fd, task.job.file_offset, task.at) : ::fdatasync(task.job.fd) == 0) return true;
  error = errno;
  if (vice_ != Vice::same_again) return true;
  error = 0;
  task.left = task.pieces;
  task.at = task.job.file_offset;
  return false;
}

Result<std::size_t> SimulatedDisk::reap(std::vector<io::Completion>& done, std::chrono::nanoseconds) {
  if (!late_.empty()) {
    static_cast<void>(::fdatasync(late_.back()));
    late_.pop_back();
  }
  if (tasks_.empty()) return std::size_t{0};
  const auto which = tasks_.begin() + std::ptrdiff_t(random_() % tasks_.size());
  int error = 0;
  if (!step(*which, error)) return std::size_t{0};
  done.push_back({which->job.tag, error});
  tasks_.erase(which);
  return std::size_t{1};
}

}  // namespace penstock::crash
