#include "bench/support/plain.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <vector>

#include "tools/measure/clock.hpp"

namespace penstock::bench {
namespace {

using measure::now_ns;

constexpr std::size_t kPiece = 1 << 20;
constexpr std::size_t kBlock = 4096;

// Closes, and removes the file if it was made here.
struct File {
  int fd;
  std::string made;
  explicit File(int opened, std::string remove = {}) : fd(opened), made(std::move(remove)) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (fd >= 0) ::close(fd);
    if (!made.empty()) ::unlink(made.c_str());
  }
};

// Not every file system takes O_DIRECT.
int create(const std::string& path) {
  constexpr int kFlags = O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC;
  const int fd = ::open(path.c_str(), kFlags | O_DIRECT, 0600);
  return fd >= 0 ? fd : ::open(path.c_str(), kFlags, 0600);
}

std::unique_ptr<std::byte, decltype(&std::free)> aligned(std::size_t bytes) {
  std::unique_ptr<std::byte, decltype(&std::free)> out(static_cast<std::byte*>(std::aligned_alloc(kBlock, bytes)),
                                                       &std::free);
  std::memset(out.get(), 0x5a, bytes);
  return out;
}

tl::unexpected<std::string> refused(const std::string& what) {
  return tl::unexpected(what + ": " + std::strerror(errno));
}

double mb_per_second(std::uint64_t bytes, std::int64_t ns) {
  return static_cast<double>(bytes) * 1e3 / static_cast<double>(std::max<std::int64_t>(ns, 1));
}

std::vector<std::string> files_in(const std::string& directory, const std::string& suffix) {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    if (entry.path().string().ends_with(suffix)) found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

tl::expected<double, std::string> plain_write(const std::string& directory, std::uint64_t bytes) {
  const std::string path = directory + "/plain";
  const File file(create(path), path);
  if (file.fd < 0) return refused(path);
  const auto piece = aligned(kPiece);
  const std::int64_t begin = now_ns();
  for (std::uint64_t done = 0; done < bytes; done += kPiece)
    if (::write(file.fd, piece.get(), kPiece) != static_cast<ssize_t>(kPiece)) return refused(path);
  if (::fdatasync(file.fd) != 0) return refused(path);
  return mb_per_second(bytes, now_ns() - begin);
}

void forget_cached(const std::string& directory, const std::string& suffix) {
  for (const std::string& path : files_in(directory, suffix)) {
    const File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.fd < 0) continue;
    ::fdatasync(file.fd);
    ::posix_fadvise(file.fd, 0, 0, POSIX_FADV_DONTNEED);
  }
}

tl::expected<double, std::string> plain_read(const std::string& directory, const std::string& suffix) {
  forget_cached(directory, suffix);
  const auto piece = aligned(kPiece);
  std::uint64_t bytes = 0;
  const std::int64_t begin = now_ns();
  for (const std::string& path : files_in(directory, suffix)) {
    const File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.fd < 0) return refused(path);
    ::posix_fadvise(file.fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    for (ssize_t got = 1; got > 0; bytes += static_cast<std::uint64_t>(got)) {
      got = ::read(file.fd, piece.get(), kPiece);
      if (got < 0) return refused(path);
    }
  }
  return mb_per_second(bytes, now_ns() - begin);
}

tl::expected<measure::Histogram, std::string> plain_fdatasync(const std::string& directory, std::uint64_t times) {
  constexpr std::uint64_t kBlocks = 256;
  const std::string path = directory + "/plain";
  const File file(create(path), path);
  if (file.fd < 0) return refused(path);
  const auto block = aligned(kBlock);
  for (std::uint64_t i = 0; i < kBlocks; ++i)
    if (::write(file.fd, block.get(), kBlock) != static_cast<ssize_t>(kBlock)) return refused(path);
  if (::fsync(file.fd) != 0) return refused(path);
  measure::Histogram took;
  for (std::uint64_t i = 0; i < times; ++i) {
    const std::int64_t begin = now_ns();
    const auto at = static_cast<off_t>(i % kBlocks * kBlock);
    if (::pwrite(file.fd, block.get(), kBlock, at) != static_cast<ssize_t>(kBlock) || ::fdatasync(file.fd) != 0)
      return refused(path);
    took.add(static_cast<std::uint64_t>(now_ns() - begin));
  }
  return took;
}

}  // namespace penstock::bench
