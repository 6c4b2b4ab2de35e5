// The Disk where io_uring is not to be had: pwritev2 and fdatasync, on a few threads so that one topic's flush does not
// wait for another's.
#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>

#include "io/disk.hpp"

namespace penstock::io {
namespace {

struct Task {
  int fd = -1;
  std::uint64_t file_offset = 0;
  std::vector<iovec> pieces;
  Flush flush = Flush::bytes;
  std::uint64_t tag = 0;
};

int run(Task& task) {
  std::span<iovec> left = drop_written(task.pieces, 0);
  const bool with_bytes = task.flush == Flush::bytes && !left.empty();
  std::uint64_t at = task.file_offset;
  while (!left.empty()) {
    const ssize_t n = ::pwritev2(task.fd, left.data(), static_cast<int>(left.size()), static_cast<off_t>(at),
                                 with_bytes ? RWF_DSYNC : 0);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n < 0) return errno;
    if (n == 0) return EIO;
    at += static_cast<std::uint64_t>(n);
    left = drop_written(left, static_cast<std::size_t>(n));
  }
  // A failed flush is not tried again: the kernel may have forgotten which pages it concerned.
  return task.flush != Flush::none && !with_bytes && ::fdatasync(task.fd) < 0 ? errno : 0;
}

class PwriteDisk final : public Disk {
 public:
  explicit PwriteDisk(unsigned threads) {
    // The workers take no signals: those are for the program's own threads.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      for (unsigned i = 0; i < threads; ++i) workers_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
      // As many as the system grants; without any, submit does the work itself.
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  PwriteDisk(const PwriteDisk&) = delete;
  PwriteDisk& operator=(const PwriteDisk&) = delete;

  ~PwriteDisk() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wanted_.notify_all();
    for (std::thread& worker : workers_) worker.join();  // each ends once nothing waits: the bytes are the caller's
  }

  std::string_view name() const override { return "pwrite"; }

  Result<void> submit(const Job& job) override {
    if (job.pieces.size() > kMaxPieces) return tl::unexpected(Error(Errc::invalid_argument));
    Task task{job.fd, job.file_offset, {job.pieces.begin(), job.pieces.end()}, job.flush, job.tag};
    if (workers_.empty()) {
      const int error = run(task);
      const std::lock_guard lock(mutex_);
      finished_.push_back({task.tag, error});
    } else {
      const std::lock_guard lock(mutex_);
      waiting_.push_back(std::move(task));
    }
    ++in_flight_;
    wanted_.notify_one();
    return {};
  }

  Result<std::size_t> reap(std::vector<Completion>& done, std::chrono::nanoseconds timeout) override {
    if (in_flight_ == 0) return std::size_t{0};
    std::unique_lock lock(mutex_);
    if (timeout.count() > 0) ended_.wait_for(lock, timeout, [this] { return !finished_.empty(); });
    const std::size_t n = finished_.size();
    done.insert(done.end(), finished_.begin(), finished_.end());
    finished_.clear();
    in_flight_ -= n;
    return n;
  }

  std::size_t in_flight() const override { return in_flight_; }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wanted_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      Task task = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      const int error = run(task);
      lock.lock();
      finished_.push_back({task.tag, error});
      ended_.notify_one();
    }
  }

  std::size_t in_flight_ = 0;  // the caller's thread only
  std::mutex mutex_;
  std::condition_variable wanted_, ended_;
  std::deque<Task> waiting_;
  std::vector<Completion> finished_;
  bool stopping_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace

std::unique_ptr<Disk> make_pwrite_disk(unsigned threads) { return std::make_unique<PwriteDisk>(threads); }

}  // namespace penstock::io
