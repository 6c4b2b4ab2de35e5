// Mapped files. Whole-file mappings that forked children do not inherit.
#pragma once

#include <boost/interprocess/mapped_region.hpp>
#include <cstddef>

#include "shm/fd.hpp"
#include "shm/guard.hpp"

namespace penstock::shm {

class Mapping {
 public:
  Mapping() = default;
  // Maps `bytes` of the file from its beginning. The caller knows that they are allocated, or never touches the rest.
  static Result<Mapping> of(const Fd& fd, bool writable, std::uint64_t bytes);
  // The same of a file that others may cut short: see guard.hpp. `mend`: it may be made whole again.
  static Result<Mapping> guarded(const Fd& fd, bool writable, std::uint64_t bytes, bool mend);

  std::byte* data() const { return static_cast<std::byte*>(region_.get_address()); }
  std::uint64_t size() const { return region_.get_size(); }
  template <class T>
  T* as(std::uint64_t offset = 0) const {
    return reinterpret_cast<T*>(data() + offset);
  }
  explicit operator bool() const { return region_.get_address() != nullptr; }

 private:
  boost::interprocess::mapped_region region_;
  Guard guard_;  // goes before the mapping does
};

}  // namespace penstock::shm
