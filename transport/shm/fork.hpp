// A forked child holds nothing: descriptors of handles are closed there without unlocking, and every handle made before
// the fork knows that it is in the wrong process.
#pragma once

#include <cstdint>

namespace penstock::shm {

// Raised in the child of every fork. A handle remembers the value it was made under.
extern std::uint32_t g_fork_epoch;

void install_fork_handler();  // once a process; later calls do nothing

// A handle's lock descriptor is closed in forked children: an inherited copy would keep the lock after its owner died.
void close_in_child(int fd);
void forget_in_child(int fd);

}  // namespace penstock::shm
