// Keeps this process alive when a file it has mapped is cut short by somebody who may write it, which makes touching
// the mapping a bus error. Used for files that consumers can write in buses with [access]; without any, no handler is
// installed. The first guard installs one for SIGBUS, which stays; bus errors elsewhere go to the handler there was.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace penstock::shm {

class Guard {
 public:
  Guard() = default;
  // Over a mapping from the file's beginning, which must outlive the guard. A page that is gone comes back: the file is
  // made as long as it was through `fd` (duplicated here); where that does not help, or `fd` is -1, the page is
  // zeros of this process's own from then on.
  Guard(void* at, std::size_t bytes, int fd);
  Guard(Guard&& other) noexcept : entry_(std::exchange(other.entry_, nullptr)) {}
  Guard& operator=(Guard&& other) noexcept {
    std::swap(entry_, other.entry_);
    return *this;
  }
  ~Guard();

  struct Entry;

 private:
  Entry* entry_ = nullptr;
};

}  // namespace penstock::shm
