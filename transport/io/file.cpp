#include "io/file.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <new>

namespace penstock::io {
namespace {

tl::unexpected<Error> failed() { return tl::unexpected(error_of(errno)); }

// Runs a call again as long as a signal interrupts it.
template <class Call>
auto retried(Call&& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

// Where a program's stdout is closed, a file of ours that got its number would be printed into.
Fd above_standard(int fd) {
  Fd opened(fd);
  if (fd < 0 || fd > STDERR_FILENO) return opened;
  return Fd(::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
}

Result<void> checked(int result) {
  if (result < 0) return failed();
  return {};
}

}  // namespace

Error error_of(int error_number) {
  const auto detail = static_cast<std::uint32_t>(error_number);
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      return {Errc::no_space, detail};
    case EIO:
      return {Errc::disk, detail};
    case EACCES:
    case EPERM:
    case EROFS:
      return {Errc::permission, detail};
    case ENOENT:
      return {Errc::not_found, detail};
    case EEXIST:
      return {Errc::already_exists, detail};
    default:
      return {Errc::system, detail};
  }
}

void Fd::reset() {
  // Not retried on EINTR: Linux has released the descriptor by then.
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Result<Fd> open_nofollow(const std::string& path, int flags) {
  // O_NONBLOCK: a FIFO put in a file's place must not hold the opener up; it means nothing to regular files.
  const int all = flags | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  Fd fd = above_standard(retried([&] { return ::open(path.c_str(), all); }));
  if (!fd) return failed();
  return fd;
}

void expect_sequential(int fd) { ::posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL); }

void read_ahead(const std::string& path, std::uint64_t bytes) {
  if (const Result<Fd> fd = open_nofollow(path, O_RDONLY))
    ::posix_fadvise(fd->get(), 0, off_t(bytes), POSIX_FADV_WILLNEED);
}

Result<Fd> create_file(const std::string& path, mode_t mode, int flags) {
  const int all = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | flags;
  Fd fd = above_standard(retried([&] { return ::open(path.c_str(), all, mode); }));
  if (!fd) return failed();
  if (::fchmod(fd.get(), mode) < 0) {
    const Error error = error_of(errno);
    ::unlink(path.c_str());
    return tl::unexpected(error);
  }
  return fd;
}

Result<Fd> open_or_create(const std::string& path, mode_t mode, bool* created) {
  for (int attempt = 0; attempt < 8; ++attempt) {  // another process may create or remove it in between
    if (created != nullptr) *created = false;
    Result<Fd> fd = open_nofollow(path, O_RDWR);
    if (fd || fd.error().code() != Errc::not_found) return fd;
    fd = create_file(path, mode);
    if (fd && created != nullptr) *created = true;
    if (fd || fd.error().code() != Errc::already_exists) return fd;
  }
  return tl::unexpected(Error(Errc::busy));
}

Result<Fd> open_directory(const std::string& path) { return open_nofollow(path, O_RDONLY | O_DIRECTORY); }

Result<std::uint64_t> file_size(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) < 0) return failed();
  return static_cast<std::uint64_t>(status.st_size);
}

Result<std::size_t> pread_some(int fd, std::span<std::byte> into, std::uint64_t offset) {
  std::size_t done = 0;
  while (done < into.size()) {
    const ssize_t n =
        retried([&] { return ::pread(fd, into.data() + done, into.size() - done, static_cast<off_t>(offset + done)); });
    if (n < 0) return failed();
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

Result<void> pread_exact(int fd, std::span<std::byte> into, std::uint64_t offset) {
  const Result<std::size_t> n = pread_some(fd, into, offset);
  if (!n) return tl::unexpected(n.error());
  if (*n != into.size()) return tl::unexpected(Error(Errc::corrupt));
  return {};
}

Result<void> pwrite_exact(int fd, std::span<const std::byte> bytes, std::uint64_t offset) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = retried(
        [&] { return ::pwrite(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done)); });
    if (n < 0) return failed();
    if (n == 0) return tl::unexpected(error_of(EIO));
    done += static_cast<std::size_t>(n);
  }
  return {};
}

bool made_by(int fd, std::optional<uid_t> user) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && (!user || status.st_uid == *user);
}

Result<std::vector<std::byte>> read_file(const std::string& path, std::uint64_t most, std::optional<uid_t> user) {
  const Result<Fd> fd = open_nofollow(path, O_RDONLY);
  // A link is nobody's file.
  if (!fd && user && fd.error().detail() == ELOOP) return tl::unexpected(Error(Errc::not_found));
  if (!fd) return tl::unexpected(fd.error());
  if (user && !made_by(fd->get(), user)) return tl::unexpected(Error(Errc::not_found));
  const Result<std::uint64_t> size = file_size(fd->get());
  if (!size) return tl::unexpected(size.error());
  if (*size > most) return tl::unexpected(Error(Errc::too_large));
  std::vector<std::byte> bytes;
  try {
    bytes.resize(*size);
  } catch (const std::bad_alloc&) {
    return tl::unexpected(error_of(ENOMEM));
  }
  const Result<std::size_t> n = pread_some(fd->get(), bytes, 0);
  if (!n) return tl::unexpected(n.error());
  bytes.resize(*n);
  return bytes;
}

// A failed flush is not retried: the kernel may have dropped the pages, and a second flush would lie.
Result<void> sync_data(int fd) { return checked(::fdatasync(fd)); }
Result<void> sync_all(int fd) { return checked(::fsync(fd)); }

Result<void> sync_directory(const std::string& path) {
  const Result<Fd> fd = open_directory(path);
  if (!fd) return tl::unexpected(fd.error());
  return sync_all(fd->get());
}

std::string directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Result<void> allocate(int fd, std::uint64_t offset, std::uint64_t bytes) {
  const auto at = static_cast<off_t>(offset);
  const auto length = static_cast<off_t>(bytes);
  if (retried([&] { return ::fallocate(fd, 0, at, length); }) == 0) return {};
  if (errno != EOPNOTSUPP && errno != ENOSYS) return failed();
  const int error_number = ::posix_fallocate(fd, at, length);
  if (error_number != 0) return tl::unexpected(error_of(error_number));
  return {};
}

Result<void> truncate(int fd, std::uint64_t size) {
  return checked(retried([&] { return ::ftruncate(fd, static_cast<off_t>(size)); }));
}

Result<void> rename_into_place(const std::string& from, const std::string& to, bool sync) {
  if (::rename(from.c_str(), to.c_str()) < 0) return failed();
  return sync ? sync_directory(directory_of(to)) : Result<void>{};
}

Result<void> replace_file(const std::string& path, std::span<const std::byte> bytes, mode_t mode, bool sync) {
  const std::string temporary = path + ".tmp";
  if (Result<void> removed = remove_file(temporary); !removed) return removed;
  Result<Fd> fd = create_file(temporary, mode);
  if (!fd) return tl::unexpected(fd.error());
  Result<void> done = pwrite_exact(fd->get(), bytes, 0);
  if (done && sync) done = sync_all(fd->get());
  if (done) done = rename_into_place(temporary, path, sync);
  if (!done) ::unlink(temporary.c_str());
  return done;
}

Result<void> remove_file(const std::string& path) {
  if (::unlink(path.c_str()) < 0 && errno != ENOENT) return failed();
  return {};
}

Result<std::vector<std::string>> list_directory(const std::string& path) {
  Result<Fd> fd = open_directory(path);
  if (!fd) return tl::unexpected(fd.error());
  const int duplicate = ::fcntl(fd->get(), F_DUPFD_CLOEXEC, 0);  // fdopendir takes it over
  if (duplicate < 0) return failed();
  const auto close = [](DIR* directory) { ::closedir(directory); };
  const std::unique_ptr<DIR, decltype(close)> directory(::fdopendir(duplicate), close);
  if (directory == nullptr) {
    const Error error = error_of(errno);
    ::close(duplicate);
    return tl::unexpected(error);
  }
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  if (errno != 0) return failed();
  return names;
}

}  // namespace penstock::io
