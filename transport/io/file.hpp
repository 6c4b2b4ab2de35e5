// The seam to files: descriptors that close themselves, whole reads and writes, what makes them durable. Links are
// never followed in a path's last component; every descriptor is close-on-exec. Any thread. Errors carry the errno as
// detail.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <penstock/error.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace penstock::io {

// no_space (ENOSPC, EDQUOT), disk (EIO), permission, not_found, already_exists, else system.
Error error_of(int error_number);

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Fd() { reset(); }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void reset();

 private:
  int fd_ = -1;
};

// `flags` as for open(2): O_RDONLY, O_RDWR, O_DIRECT and so on.
Result<Fd> open_nofollow(const std::string& path, int flags);
// The kernel reads further ahead in a file that is read from one end to the other.
void expect_sequential(int fd);
// Has the kernel read a file's first bytes from the disk, and does not wait. A file that is not there is no matter.
void read_ahead(const std::string& path, std::uint64_t bytes);
// A new file with exactly this mode, whatever the umask. Errc::already_exists. `flags`: O_DIRECT and the like.
Result<Fd> create_file(const std::string& path, mode_t mode, int flags = 0);
// Opens the file, made with this mode when missing; what it holds stays. `created` tells which.
Result<Fd> open_or_create(const std::string& path, mode_t mode, bool* created = nullptr);
Result<Fd> open_directory(const std::string& path);

Result<std::uint64_t> file_size(int fd);
// Reads until `into` is full or the file ends; the bytes read.
Result<std::size_t> pread_some(int fd, std::span<std::byte> into, std::uint64_t offset);
// Errc::corrupt when the file ends before.
Result<void> pread_exact(int fd, std::span<std::byte> into, std::uint64_t offset);
Result<void> pwrite_exact(int fd, std::span<const std::byte> bytes, std::uint64_t offset);
// A regular file that this user made, or any when none is named?
bool made_by(int fd, std::optional<uid_t> user);
// The whole file; Errc::too_large when it has more than `most` bytes. One that another than `user` made is not_found.
Result<std::vector<std::byte>> read_file(const std::string& path, std::uint64_t most,
                                         std::optional<uid_t> user = std::nullopt);

Result<void> sync_data(int fd);  // fdatasync
Result<void> sync_all(int fd);   // fsync
Result<void> sync_directory(const std::string& path);
// The directory that holds this path: "." when it names none.
std::string directory_of(const std::string& path);

// Reserves [offset, offset + bytes), so that writing there cannot end for want of space; grows the file.
Result<void> allocate(int fd, std::uint64_t offset, std::uint64_t bytes);
Result<void> truncate(int fd, std::uint64_t size);

// Rename, and the directory entry made durable when `sync` is set.
Result<void> rename_into_place(const std::string& from, const std::string& to, bool sync);
// Writes a temporary file beside `path`, syncs it and renames it: `path` holds the old bytes or the new ones, whenever
// the machine stops.
Result<void> replace_file(const std::string& path, std::span<const std::byte> bytes, mode_t mode, bool sync = true);
// Removing what is not there is no error.
Result<void> remove_file(const std::string& path);

// Names in a directory without "." and "..", in no order.
Result<std::vector<std::string>> list_directory(const std::string& path);

}  // namespace penstock::io
