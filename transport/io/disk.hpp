// Writing and flushing without waiting: jobs go in, completions come out. The persister's view of a disk.
// A Disk belongs to one thread; its backend may use others. The bytes of a job must stay as they are until its
// completion was reaped. Backends: io_uring, pwrite on a few threads, and those of tests, which lose, tear and refuse.
#pragma once

#include <sys/uio.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <penstock/error.hpp>
#include <span>
#include <string_view>
#include <vector>

namespace penstock::io {

// What is on the medium when a job is complete, besides what it takes to find the bytes there.
enum class Flush : std::uint8_t {
  none,
  bytes,  // what the job wrote: one request to the kernel, and what else is dirty in the file is left alone
  file,   // the same and all that was written to the file before
};

// Write these pieces one after another at file_offset, all of them, and flush. A job without pieces only flushes the
// file, if asked for any flush. Jobs in flight know no order among each other.
struct Job {
  int fd = -1;
  std::uint64_t file_offset = 0;
  std::span<const iovec> pieces;  // copied by submit; at most kMaxPieces
  Flush flush = Flush::bytes;
  std::uint64_t tag = 0;  // handed back
};
inline constexpr std::size_t kMaxPieces = 256;

struct Completion {
  std::uint64_t tag = 0;
  int error = 0;  // an errno; 0: every byte was written and flushed. Otherwise nothing is known of what was.
};

class Disk {
 public:
  virtual ~Disk() = default;
  virtual std::string_view name() const = 0;  // "io_uring", "pwrite"
  // Takes the job. An error means that it was not taken, and why; a job that was taken is completed exactly once.
  virtual Result<void> submit(const Job& job) = 0;
  // Waits until a job is done or the timeout passed, and appends what is done; returns how many. 0 only looks. With
  // nothing in flight it returns 0 at once.
  virtual Result<std::size_t> reap(std::vector<Completion>& done, std::chrono::nanoseconds timeout) = 0;
  virtual std::size_t in_flight() const = 0;
};

// io_uring where the kernel grants it, else pwrite; `force_pwrite` does not ask. `refused`: gets the errno for which it
// is not io_uring, 0 when it is or was not asked for.
std::unique_ptr<Disk> make_disk(bool force_pwrite = false, int* refused = nullptr);
// Null when the kernel refuses (ENOSYS, EPERM, ENOMEM) or lacks what is needed (EOPNOTSUPP).
std::unique_ptr<Disk> make_uring_disk(int* refused = nullptr);
// `threads` 0: each submit does the whole job before it returns.
std::unique_ptr<Disk> make_pwrite_disk(unsigned threads = 4);

// Drops the first `bytes` from what is still to be written; the pieces that are left.
std::span<iovec> drop_written(std::span<iovec> pieces, std::size_t bytes);

}  // namespace penstock::io
