#include "api/error_place.hpp"

#include <pwd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstdio>

#include "api/near.hpp"
#include "api/state.hpp"
#include "io/file.hpp"

namespace penstock::api {
namespace {

// The path, or what of the way to it can be seen; what is missing or closed to us is below that.
std::string seen_of(std::string path, struct stat& info) {
  while (::stat(path.c_str(), &info) != 0 && path != "/" && path != ".") path = io::directory_of(path);
  return path;
}

std::string mount_of(std::string path, const struct stat& inside) {
  while (path != "/" && path != ".") {
    const std::string above = io::directory_of(path);
    struct stat info {};
    if (::stat(above.c_str(), &info) != 0 || info.st_dev != inside.st_dev) break;
    path = above;
  }
  return path;
}

}  // namespace

std::string bytes_text(std::uint64_t bytes) {
  constexpr const char* kUnits[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, value < 10 && unit > 0 ? "%.1f " : "%.0f ", value);
  return text + std::string(kUnits[unit]);
}

std::string user_text(std::uint32_t user) {
  passwd entry{}, *found = nullptr;
  char buffer[4096];
  const bool named = ::getpwuid_r(user, &entry, buffer, sizeof buffer, &found) == 0 && found != nullptr;
  return named ? std::string(entry.pw_name) + " (" + std::to_string(user) + ")" : std::to_string(user);
}

std::string no_space_at(const std::string& path) {
  struct stat info {};
  const std::string seen = seen_of(path, info), mount = mount_of(seen, info);
  struct statvfs space {};
  if (::statvfs(seen.c_str(), &space) != 0) return "no space left; free some in " + mount;
  if (space.f_files != 0 && space.f_favail == 0)
    return "no space left: " + mount + " has no room for another file (inodes); remove some there";
  const std::uint64_t size = std::uint64_t{space.f_blocks} * space.f_frsize;
  const std::uint64_t free = std::uint64_t{space.f_bavail} * space.f_frsize;
  const std::string left = "no space left: " + bytes_text(free) + " of " + bytes_text(size) + " are free in " + mount;
  if (mount != "/dev/shm") return left + "; free some there, set retentions, or use a larger disk";
  const std::uint64_t megabytes = std::bit_ceil(size >> 20) * 2;
  return left + "; make it larger (mount -o remount,size=" + std::to_string(megabytes) +
         "M /dev/shm; in a container --shm-size=" + std::to_string(megabytes) +
         "m), make topics with a smaller --ring, or delete some";
}

std::string no_permission_at(const std::string& path, int error) {
  struct stat info {};
  const std::string seen = seen_of(path, info);
  const std::string of = seen == path ? "it" : seen;
  if (error == EROFS)
    return "permission denied: " + of +
           " is on a file system that is mounted read-only; mount it for writing, or name "
           "another directory";
  const std::string me = "permission denied to user " + user_text(::geteuid());
  if (info.st_uid == ::geteuid()) return me + ", though " + of + " is his: look at its mode with 'ls -ld " + seen + "'";
  return me + ": " + of + " belongs to user " + user_text(info.st_uid) +
         "; run as that user, or name another directory; users share a bus by [access] in its bus.toml";
}

std::string not_found_at(const std::string& path) {
  const std::string above = io::directory_of(path);
  const std::string meant = did_you_mean(path.substr(above.size() + 1), list_names(above));
  return "does not exist" + (meant.empty() ? "; check the name, or create it" : meant);
}

}  // namespace penstock::api
