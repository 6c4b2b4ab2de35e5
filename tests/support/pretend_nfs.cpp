// To be preloaded: statfs() says of everything below the directory in PRETEND_NFS that it is on NFS. A real one takes a
// kernel with its client and a server.
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

extern "C" int statfs(const char* path, struct statfs* out) noexcept {
  const long result = ::syscall(SYS_statfs, path, out);
  const char* below = std::getenv("PRETEND_NFS");
  if (result == 0 && below != nullptr && std::string_view(path).starts_with(below)) out->f_type = 0x6969;
  return static_cast<int>(result);
}
