// A file descriptor that closes itself, and the ways the shared-memory side opens files: no link followed,
// close-on-exec, the mode as given whatever the umask.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
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

// Which limit an Errc::too_many is about (Error::what).
enum class Limit : std::uint16_t { others = 0, files, system_files, mappings, handles };

Error from_errno(int error);  // the errno as an Error that says what to do

// For programs of ours, which may have thousands of topics: as many open files as this process is allowed.
void raise_file_limit();
// For programs of ours, before they open anything: a closed stdin, stdout or stderr stays one that nobody can read or
// write, but its number is taken, so that what is meant for it does not go to a file of the bus.
void reserve_standard_descriptors();

// Regular files alone: what else somebody put in a file's place is Errc::corrupt, and holds nobody up.
Result<Fd> open_file(const std::string& path, bool writable);
// To reach what is in it, whatever becomes of its name: see inside(). Not through a link.
Result<Fd> open_directory(const std::string& path);
std::string inside(const Fd& directory, const std::string& name);
std::string temporary_name();  // that nobody can guess; begins with a dot
// Exclusive: Errc::already_exists when the path is there. Allocated in full.
Result<Fd> create_file(const std::string& path, std::uint32_t mode, std::uint64_t bytes);
// The same without a name, gone when its last descriptor is closed, unless it is given one.
Result<Fd> create_unnamed_file(const std::string& directory, std::uint32_t mode, std::uint64_t bytes);
Result<void> give_name(const Fd& fd, const std::string& path);  // Errc::already_exists when somebody else has it
// There already: fine.
Result<void> make_directory(const std::string& path, std::uint32_t mode, std::optional<gid_t> group = std::nullopt);
Result<std::uint64_t> size_of(const Fd& fd);
Result<uid_t> owner_of(const Fd& fd);
// Did one of these two make it, and has it no other name? What somebody else linked here is not his.
bool made_by(const Fd& fd, uid_t owner, uid_t other);
// Makes the range of a file touchable; Errc::no_space when the file system is full. Idempotent.
Result<void> allocate(int fd, std::uint64_t offset, std::uint64_t bytes);

// Open-file-description locks: they belong to the description, not to the process, and end with it.
bool try_lock(const Fd& fd);       // exclusive, whole file
bool try_read_lock(const Fd& fd);  // shared: nobody has it exclusively, and nobody gets it so
Result<void> lock(const Fd& fd, std::int64_t timeout_ns);
// Does somebody else's description hold a lock that excludes a reader's?
bool locked_by_other(const Fd& fd);

}  // namespace penstock::shm
