#include "shm/fd.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <random>

namespace penstock::shm {
namespace {

struct flock whole(short type) {
  struct flock range {};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  return range;
}

// Where a program's stdout is closed, a file of ours that got its number would be printed into.
Fd above_standard(int fd) {
  Fd opened(fd);
  if (fd < 0 || fd > STDERR_FILENO) return opened;
  return Fd(::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
}

}  // namespace

Fd::~Fd() {
  if (fd_ >= 0) ::close(fd_);
}

Error from_errno(int error) {
  const auto detail = static_cast<std::uint32_t>(error);
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return {Errc::not_found, detail};
    case EEXIST:
      return {Errc::already_exists, detail};
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
      return {Errc::no_space, detail};
    case EACCES:
    case EPERM:
    case EROFS:
      return {Errc::permission, detail};
    case EIO:
      return {Errc::disk, detail};
    case EMFILE:
      return {Errc::too_many, detail, std::uint16_t(Limit::files)};
    case ENFILE:
      return {Errc::too_many, detail, std::uint16_t(Limit::system_files)};
    default:
      return {Errc::system, detail};
  }
}

void raise_file_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

void reserve_standard_descriptors() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    // The lowest free number is this one. Opened the wrong way round, so that its use is an error as before.
    static_cast<void>(::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY));
  }
}

Result<Fd> open_file(const std::string& path, bool writable) {
  // Without O_NONBLOCK a FIFO that somebody put here would hold us up.
  const int flags = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
  Fd fd = above_standard(::open(path.c_str(), flags));
  struct stat info {};
  if (!fd || ::fstat(fd.get(), &info) != 0) return tl::unexpected(from_errno(errno));
  if (!S_ISREG(info.st_mode)) return tl::unexpected(Error(Errc::corrupt));
  return fd;
}

Result<Fd> open_directory(const std::string& path) {
  Fd fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return tl::unexpected(from_errno(errno));
  return fd;
}

// The dot keeps the directory's own name from being a link.
std::string inside(const Fd& directory, const std::string& name) {
  return "/proc/self/fd/" + std::to_string(directory.get()) + "/./" + name;
}

std::string temporary_name() {
  std::random_device device;
  return ".new-" + std::to_string(std::uint64_t{device()} << 32 | device());
}

Result<Fd> create_file(const std::string& path, std::uint32_t mode, std::uint64_t bytes) {
  Fd fd = above_standard(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!fd || ::fchmod(fd.get(), mode) != 0) return tl::unexpected(from_errno(errno));
  if (bytes != 0) {
    if (auto done = allocate(fd.get(), 0, bytes); !done) {
      ::unlink(path.c_str());
      return tl::unexpected(done.error());
    }
  }
  return fd;
}

Result<Fd> create_unnamed_file(const std::string& directory, std::uint32_t mode, std::uint64_t bytes) {
  Fd fd = above_standard(::open(directory.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, mode));
  if (!fd || ::fchmod(fd.get(), mode) != 0) return tl::unexpected(from_errno(errno));
  if (auto done = allocate(fd.get(), 0, bytes); !done) return tl::unexpected(done.error());
  return fd;
}

Result<void> give_name(const Fd& fd, const std::string& path) {
  // Linking the descriptor itself takes a capability; its entry in /proc does not.
  const std::string self = "/proc/self/fd/" + std::to_string(fd.get());
  if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) != 0)
    return tl::unexpected(from_errno(errno));
  return {};
}

Result<void> make_directory(const std::string& path, std::uint32_t mode, std::optional<gid_t> group) {
  if (::mkdir(path.c_str(), mode) == 0) {
    if (group && ::chown(path.c_str(), uid_t(-1), *group) != 0) return tl::unexpected(from_errno(errno));
    if (::chmod(path.c_str(), mode) != 0) return tl::unexpected(from_errno(errno));
    return {};
  }
  if (errno != EEXIST) return tl::unexpected(from_errno(errno));
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return tl::unexpected(from_errno(errno));
  if (!S_ISDIR(info.st_mode)) return tl::unexpected(Error(Errc::already_exists, ENOTDIR));
  return {};
}

Result<std::uint64_t> size_of(const Fd& fd) {
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return tl::unexpected(from_errno(errno));
  return static_cast<std::uint64_t>(info.st_size);
}

Result<uid_t> owner_of(const Fd& fd) {
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return tl::unexpected(from_errno(errno));
  return info.st_uid;
}

bool made_by(const Fd& fd, uid_t owner, uid_t other) {
  struct stat info {};
  return ::fstat(fd.get(), &info) == 0 && info.st_nlink == 1 && (info.st_uid == owner || info.st_uid == other);
}

Result<void> allocate(int fd, std::uint64_t offset, std::uint64_t bytes) {
  for (;;) {
    if (::fallocate(fd, 0, static_cast<off_t>(offset), static_cast<off_t>(bytes)) == 0) return {};
    if (errno != EINTR) return tl::unexpected(from_errno(errno));
  }
}

bool try_lock(const Fd& fd) {
  struct flock range = whole(F_WRLCK);
  return ::fcntl(fd.get(), F_OFD_SETLK, &range) == 0;
}

bool try_read_lock(const Fd& fd) {
  struct flock range = whole(F_RDLCK);
  return ::fcntl(fd.get(), F_OFD_SETLK, &range) == 0;
}

Result<void> lock(const Fd& fd, std::int64_t timeout_ns) {
  // The kernel's blocking wait has no deadline; holders keep this lock for moments, so looking again is cheap.
  for (std::int64_t waited = 0;; waited += 1'000'000) {
    if (try_lock(fd)) return {};
    if (errno != EAGAIN && errno != EACCES) return tl::unexpected(from_errno(errno));
    if (waited >= timeout_ns) return tl::unexpected(Error(Errc::timed_out));
    const timespec pause{0, 1'000'000};
    ::nanosleep(&pause, nullptr);
  }
}

bool locked_by_other(const Fd& fd) {
  struct flock range = whole(F_RDLCK);
  return ::fcntl(fd.get(), F_OFD_GETLK, &range) == 0 && range.l_type != F_UNLCK;
}

}  // namespace penstock::shm
