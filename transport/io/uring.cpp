// The Disk over io_uring: a job is one vectored write that ends when its bytes are on the medium, or one linked to a
// flush of the file, both in one submission.
#include <liburing.h>

#include <algorithm>
#include <cerrno>
#include <deque>

#include "io/disk.hpp"

namespace penstock::io {
namespace {

constexpr unsigned kEntries = 256;
constexpr std::size_t kOpsMost = kEntries / 2;  // each takes up to two entries

// One job on its way. Ends when every entry it submitted came back.
struct Op {
  int fd = -1;
  std::uint64_t at = 0;
  std::vector<iovec> pieces;
  std::span<iovec> left;  // of pieces: what is not written yet
  Flush flush = Flush::bytes;
  std::uint64_t tag = 0;
  unsigned pending = 0;  // entries in the ring
  int error = 0;
  bool flushed = false;
};

class UringDisk final : public Disk {
 public:
  UringDisk() = default;
  UringDisk(const UringDisk&) = delete;
  UringDisk& operator=(const UringDisk&) = delete;

  // 0, or the errno for which there is none.
  int open() {
    io_uring_params parameters{};
    if (const int error = -io_uring_queue_init_params(kEntries, &ring_, &parameters); error > 0) return error;
    open_ = true;
    ops_.resize(kOpsMost);
    for (std::size_t i = kOpsMost; i > 0; --i) free_.push_back(i - 1);
    // NODROP: completions are never lost. EXT_ARG: waiting with a timeout takes no entry of its own.
    constexpr unsigned kNeeded = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_SUBMIT_STABLE;
    return (parameters.features & kNeeded) == kNeeded ? 0 : EOPNOTSUPP;
  }

  ~UringDisk() override {
    if (!open_) return;
    // The kernel may still read the caller's bytes: wait for what is on its way.
    std::vector<Completion> ignored;
    while (in_flight() > 0) {
      if (!reap(ignored, std::chrono::seconds(1))) break;
    }
    io_uring_queue_exit(&ring_);
  }

  std::string_view name() const override { return "io_uring"; }

  Result<void> submit(const Job& job) override {
    if (job.pieces.size() > kMaxPieces) return tl::unexpected(Error(Errc::invalid_argument));
    Op op{.fd = job.fd, .at = job.file_offset, .pieces = {job.pieces.begin(), job.pieces.end()}};
    op.flush = job.flush, op.tag = job.tag;
    if (free_.empty()) {
      waiting_.push_back(std::move(op));
    } else {
      start(std::move(op));
      push();
    }
    return {};
  }

  Result<std::size_t> reap(std::vector<Completion>& done, std::chrono::nanoseconds timeout) override {
    const std::size_t before = done.size();
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    while (in_flight() > 0) {
      push();
      collect(done);
      if (done.size() > before || timeout.count() <= 0) break;
      const auto left = deadline - std::chrono::steady_clock::now();
      if (left.count() <= 0) break;
      if (Result<void> waited = wait(left); !waited) return tl::unexpected(waited.error());
    }
    push();  // remainders and waiting jobs that collect() prepared
    return done.size() - before;
  }

  std::size_t in_flight() const override { return kOpsMost - free_.size() + waiting_.size(); }

 private:
  void start(Op op) {
    const std::size_t index = free_.back();
    free_.pop_back();
    ops_[index] = std::move(op);
    ops_[index].left = drop_written(ops_[index].pieces, 0);
    prepare(index);
  }

  // The write that is left. Linked to a flush of the file, a short or failed write cancels that.
  void prepare(std::size_t index) {
    Op& op = ops_[index];
    op.flushed = op.flush == Flush::none || (op.flush == Flush::bytes && !op.left.empty());
    if (!op.left.empty()) {
      io_uring_sqe* write = io_uring_get_sqe(&ring_);  // never null: kOpsMost leaves room for two an op
      const int how = op.flush == Flush::bytes ? RWF_DSYNC : 0;
      io_uring_prep_writev2(write, op.fd, op.left.data(), static_cast<unsigned>(op.left.size()), op.at, how);
      io_uring_sqe_set_data64(write, index << 1);
      if (!op.flushed) io_uring_sqe_set_flags(write, IOSQE_IO_LINK);
      ++op.pending;
    }
    if (!op.flushed) {
      io_uring_sqe* flush = io_uring_get_sqe(&ring_);
      io_uring_prep_fsync(flush, op.fd, IORING_FSYNC_DATASYNC);
      io_uring_sqe_set_data64(flush, index << 1 | 1);
      ++op.pending;
    }
    if (op.pending == 0) empty_.push_back(index);  // nothing to write and nothing to flush
  }

  // Hands prepared entries to the kernel. What it refuses now (EAGAIN, EBUSY, EINTR) stays in the ring for the next
  // time.
  void push() {
    while (io_uring_sq_ready(&ring_) > 0 && io_uring_submit(&ring_) > 0) {
    }
  }

  Result<void> wait(std::chrono::nanoseconds timeout) {
    if (io_uring_sq_ready(&ring_) > 0)
      timeout = std::min<std::chrono::nanoseconds>(timeout, std::chrono::milliseconds(1));
    __kernel_timespec limit{timeout.count() / 1'000'000'000, timeout.count() % 1'000'000'000};
    io_uring_cqe* cqe = nullptr;
    const int result = io_uring_wait_cqe_timeout(&ring_, &cqe, &limit);
    if (result >= 0 || result == -ETIME || result == -EINTR || result == -EAGAIN) return {};
    return tl::unexpected(Error(Errc::system, static_cast<std::uint32_t>(-result)));
  }

  void collect(std::vector<Completion>& done) {
    io_uring_cqe* cqe = nullptr;
    while (io_uring_peek_cqe(&ring_, &cqe) == 0 && cqe != nullptr) {
      const std::uint64_t data = io_uring_cqe_get_data64(cqe);
      const int result = cqe->res;
      io_uring_cqe_seen(&ring_, cqe);
      took(data >> 1, (data & 1) != 0, result);
      if (ops_[data >> 1].pending == 0) settle(data >> 1, done);
    }
    for (const std::size_t index : empty_) settle(index, done);
    empty_.clear();
  }

  void took(std::size_t index, bool flush, int result) {
    Op& op = ops_[index];
    --op.pending;
    if (flush) {
      if (result >= 0) op.flushed = true;
      // ECANCELED: its write was short or failed, and says why. A flush that failed is never tried again.
      if (result < 0 && result != -ECANCELED && op.error == 0) op.error = -result;
    } else if (result > 0) {
      op.at += static_cast<std::uint64_t>(result);
      op.left = drop_written(op.left, static_cast<std::size_t>(result));
    } else if (result == 0) {
      op.error = EIO;
    } else if (result != -EINTR && result != -EAGAIN && result != -ECANCELED) {
      op.error = -result;
    }
  }

  // All entries of an op are back: report it, or submit what is left.
  void settle(std::size_t index, std::vector<Completion>& done) {
    Op& op = ops_[index];
    if (op.error == 0 && (!op.left.empty() || !op.flushed)) return prepare(index);
    done.push_back({op.tag, op.error});
    op = Op{};
    free_.push_back(index);
    if (!waiting_.empty()) {
      start(std::move(waiting_.front()));
      waiting_.pop_front();
    }
  }

  io_uring ring_{};
  bool open_ = false;
  std::vector<Op> ops_;
  std::vector<std::size_t> free_;
  std::vector<std::size_t> empty_;  // ops without an entry, to be reported by the next reap
  std::deque<Op> waiting_;          // no op was free
};

}  // namespace

std::unique_ptr<Disk> make_uring_disk(int* refused) {
  auto disk = std::make_unique<UringDisk>();
  const int error = disk->open();
  if (refused != nullptr) *refused = error;
  if (error != 0) return nullptr;
  return disk;
}

}  // namespace penstock::io
