// Everything that stands in a folder at one moment, to be put back as often as a test wants. Holes stay holes, so that
// the sparse files of groups cost what they hold.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace penstock::test {

struct FileImage {
  struct Piece {
    std::uint64_t at;
    std::vector<std::byte> bytes;
  };
  std::string name;  // below the folder
  mode_t mode = 0;
  std::string link;  // where a symbolic link points
  std::uint64_t size = 0;
  std::vector<Piece> pieces;

  std::uint64_t held() const {
    std::uint64_t sum = 0;
    for (const Piece& piece : pieces) sum += piece.bytes.size();
    return sum;
  }
  // The byte that is the `index`-th of those held.
  std::byte& byte(std::uint64_t index) {
    for (Piece& piece : pieces) {
      if (index < piece.bytes.size()) return piece.bytes[index];
      index -= piece.bytes.size();
    }
    std::abort();
  }
  void cut(std::uint64_t length) {
    size = length;
    std::erase_if(pieces, [&](const Piece& piece) { return piece.at >= length; });
    for (Piece& piece : pieces)
      if (piece.at + piece.bytes.size() > length) piece.bytes.resize(length - piece.at);
  }
};

class TreeImage {
 public:
  explicit TreeImage(const std::string& folder) {
    namespace fs = std::filesystem;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      FileImage file;
      file.name = entry.path().string().substr(folder.size());
      struct stat info {};
      check(::lstat(entry.path().c_str(), &info) == 0);
      file.mode = info.st_mode;
      if (entry.is_symlink()) file.link = fs::read_symlink(entry.path()).string();
      if (S_ISREG(info.st_mode)) read(entry.path().string(), file);
      files.push_back(std::move(file));
    }
    // Folders before what is in them, and always in one order.
    std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  }

  // The folder itself stays the one it is, and so does its inode.
  void put_into(const std::string& folder) const {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) std::filesystem::remove_all(entry.path());
    for (const FileImage& file : files) {
      const std::string path = folder + file.name;
      if (S_ISDIR(file.mode))
        check(::mkdir(path.c_str(), file.mode & 07777) == 0);
      else if (S_ISLNK(file.mode))
        check(::symlink(file.link.c_str(), path.c_str()) == 0);
      else
        write(path, file);
    }
  }
  static void write(const std::string& path, const FileImage& file) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, file.mode & 07777);
    check(fd >= 0 && ::ftruncate(fd, off_t(file.size)) == 0);
    for (const auto& piece : file.pieces)
      check(::pwrite(fd, piece.bytes.data(), piece.bytes.size(), off_t(piece.at)) == ssize_t(piece.bytes.size()));
    ::close(fd);
  }

  std::vector<FileImage> files;

 private:
  static void check(bool good) {
    if (!good) std::perror("a tree's image"), std::abort();
  }
  static void read(const std::string& path, FileImage& file) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    check(fd >= 0);
    file.size = std::uint64_t(::lseek(fd, 0, SEEK_END));
    for (off_t at = 0; at < off_t(file.size);) {
      const off_t begin = ::lseek(fd, at, SEEK_DATA);
      if (begin < 0) break;
      const off_t end = ::lseek(fd, begin, SEEK_HOLE);
      FileImage::Piece piece{std::uint64_t(begin), std::vector<std::byte>(std::size_t(end - begin))};
      check(::pread(fd, piece.bytes.data(), piece.bytes.size(), begin) == end - begin);
      file.pieces.push_back(std::move(piece));
      at = end;
    }
    ::close(fd);
  }
};

}  // namespace penstock::test
