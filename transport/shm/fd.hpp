// A file descriptor that closes itself, and the ways the shared-memory side opens files: no link followed,
// close-on-exec, the mode as given whatever the umask.
#pragma once

#include <cstdint>
#include <penstock/error.hpp>
#include <string>
#include <utility>

namespace penstock::shm {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd();
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

Error from_errno(int error);  // the errno as an Error that says what to do

Result<Fd> open_file(const std::string& path, bool writable);
// Exclusive: Errc::already_exists when the path is there. Allocated in full.
Result<Fd> create_file(const std::string& path, std::uint32_t mode, std::uint64_t bytes);
// The same without a name, gone when its last descriptor is closed, unless it is given one.
Result<Fd> create_unnamed_file(const std::string& directory, std::uint32_t mode, std::uint64_t bytes);
Result<void> give_name(const Fd& fd, const std::string& path);  // Errc::already_exists when somebody else has it
Result<void> make_directory(const std::string& path, std::uint32_t mode);  // there already: fine
Result<std::uint64_t> size_of(const Fd& fd);
// Makes the range of a file touchable; Errc::no_space when the file system is full. Idempotent.
Result<void> allocate(int fd, std::uint64_t offset, std::uint64_t bytes);

// Open-file-description locks: they belong to the description, not to the process, and end with it.
bool try_lock(const Fd& fd);  // exclusive, whole file
Result<void> lock(const Fd& fd, std::int64_t timeout_ns);
// Does somebody else's description hold a lock that excludes a reader's?
bool locked_by_other(const Fd& fd);

}  // namespace penstock::shm
