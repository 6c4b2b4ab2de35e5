#include "io/disk.hpp"

namespace penstock::io {

std::unique_ptr<Disk> make_disk(bool force_pwrite, int* refused) {
  if (refused != nullptr) *refused = 0;
  std::unique_ptr<Disk> disk = force_pwrite ? nullptr : make_uring_disk(refused);
  return disk != nullptr ? std::move(disk) : make_pwrite_disk();
}

std::span<iovec> drop_written(std::span<iovec> pieces, std::size_t bytes) {
  while (!pieces.empty() && bytes >= pieces.front().iov_len) {
    bytes -= pieces.front().iov_len;
    pieces = pieces.subspan(1);
  }
  if (!pieces.empty() && bytes > 0) {
    pieces.front().iov_base = static_cast<std::byte*>(pieces.front().iov_base) + bytes;
    pieces.front().iov_len -= bytes;
  }
  return pieces;
}

}  // namespace penstock::io
