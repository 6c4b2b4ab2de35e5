#include "shm/mapping.hpp"

#include <sys/mman.h>

#include <boost/interprocess/exceptions.hpp>
#include <cerrno>

namespace penstock::shm {
namespace {

namespace bip = boost::interprocess;

// What Boost asks of a thing that can be mapped: we open files ourselves, following no link.
class Mappable {
 public:
  Mappable(int fd, bip::mode_t mode) : fd_(fd), mode_(mode) {}
  bip::mapping_handle_t get_mapping_handle() const { return bip::ipcdetail::mapping_handle_from_file_handle(fd_); }
  bip::mode_t get_mode() const { return mode_; }

 private:
  int fd_;
  bip::mode_t mode_;
};

}  // namespace

Result<Mapping> Mapping::of(const Fd& fd, bool writable, std::uint64_t bytes) {
  const bip::mode_t mode = writable ? bip::read_write : bip::read_only;
  try {
    Mapping mapping;
    mapping.region_ = bip::mapped_region(Mappable(fd.get(), mode), mode, 0, bytes);
    // A forked child holds nothing: touching a handle there faults instead of writing in its parent's name.
    ::madvise(mapping.region_.get_address(), bytes, MADV_DONTFORK);
    return mapping;
  } catch (const bip::interprocess_exception& failure) {
    const int error = failure.get_native_error();
    if (error == ENOMEM) return tl::unexpected(Error(Errc::too_many, ENOMEM, std::uint16_t(Limit::mappings)));
    return tl::unexpected(from_errno(error));
  }
}

Result<Mapping> Mapping::guarded(const Fd& fd, bool writable, std::uint64_t bytes, bool mend) {
  auto mapping = of(fd, writable, bytes);
  if (mapping) mapping->guard_ = Guard(mapping->data(), mapping->size(), mend ? fd.get() : -1);
  return mapping;
}

}  // namespace penstock::shm
