#include "api/access.hpp"

#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "api/error.hpp"
#include "io/file.hpp"
#include "shm/fd.hpp"

namespace penstock::api {
namespace {

constexpr auto kKeep = gid_t(-1);

// By name, or by number for who has no name for it.
Result<gid_t> group_number(const std::string& group) {
  gid_t number = 0;
  const auto [end, error] = std::from_chars(group.data(), group.data() + group.size(), number);
  if (error == std::errc{} && end == group.data() + group.size()) return number;
  std::vector<char> room(1 << 16);
  ::group entry{}, *found = nullptr;
  ::getgrnam_r(group.c_str(), &entry, room.data(), room.size(), &found);
  if (found == nullptr)
    return refuse(Errc::invalid_argument,
                  "[access] names the Unix group " + group + ", which does not exist; make it with `groupadd`.");
  return found->gr_gid;
}

bool member_of(gid_t group) {
  if (::geteuid() == 0 || ::getegid() == group) return true;
  std::vector<gid_t> mine(std::size_t(std::max(::getgroups(0, nullptr), 0)));
  const int count = ::getgroups(int(mine.size()), mine.data());
  return std::find(mine.begin(), mine.begin() + std::max(count, 0), group) != mine.begin() + std::max(count, 0);
}

// One file or directory, by what it is and not by its name, so that nobody can swap it meanwhile.
Result<void> give(const std::string& path, mode_t mode, gid_t group) {
  const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
  const io::Fd fd(::open(path.c_str(), flags));
  struct stat info {};
  if (!fd || ::fstat(fd.get(), &info) != 0) {
    if (errno == ENOENT || errno == ELOOP || errno == ENXIO || errno == EACCES) return {};
    return tl::unexpected(name(io::error_of(errno), path));
  }
  const bool file = S_ISREG(info.st_mode) && info.st_nlink == 1;  // what has another name may be anything
  if (info.st_uid != ::geteuid() || (!S_ISDIR(info.st_mode) && !file)) return {};
  const bool moved = group != kKeep && info.st_gid != group;
  if ((moved && ::fchown(fd.get(), uid_t(-1), group) != 0) ||
      ((moved || (info.st_mode & 07777) != mode) && ::fchmod(fd.get(), mode) != 0))
    return tl::unexpected(name(io::error_of(errno), path));
  return {};
}

// A directory's entries, each a directory of files. Their users may turn a name into a link at any moment, so files are
// reached through the directory that was opened.
Result<void> give_below(const std::string& directory, mode_t each, mode_t files, gid_t group) {
  auto names = io::list_directory(directory);
  if (!names) return tl::unexpected(name(names.error(), directory));
  for (const std::string& entry : *names) {
    auto opened = shm::open_directory(directory + "/" + entry);
    if (!opened) continue;  // a file, or a link
    if (auto given = give(shm::inside(*opened, "."), each, group); !given) return given;
    auto inside = io::list_directory(shm::inside(*opened, "."));
    if (!inside) continue;  // another user's
    for (const std::string& file : *inside)
      if (auto given = give(shm::inside(*opened, file), files, group); !given) return given;
  }
  return {};
}

}  // namespace

Result<shm::Access> find_access(const Settings& settings) {
  shm::Access out;
  if (settings.producers.empty()) return out;
  auto producers = group_number(settings.producers), consumers = group_number(settings.consumers);
  if (!producers) return tl::unexpected(producers.error());
  if (!consumers) return tl::unexpected(consumers.error());
  out = {true, *producers, *consumers};
  if (out.producers == out.consumers)
    return refuse(Errc::invalid_argument,
                  "[access] names one Unix group twice; producers and consumers need one each.");
  for (const gid_t group : {out.producers, out.consumers})
    if (!member_of(group))
      return refuse(Errc::permission,
                    "the owner of a bus with [access] must be in both its Unix groups; this process is not in group " +
                        std::to_string(group) + ".");
  if (::getegid() == out.consumers)
    return refuse(Errc::permission,
                  "the owner of a bus with [access] needs a primary Unix group that is not the consumers', or they "
                  "could write each other's state.");
  return out;
}

Result<void> apply_access(const std::string& directory, const shm::Access& access) {
  const gid_t producers = access.shared ? access.producers : kKeep;
  const gid_t consumers = access.shared ? access.consumers : kKeep;
  Result<void> done = give(directory + "/topics", access.topic_directory(), producers);
  if (done) done = give_below(directory + "/topics", access.topic_directory(), access.topic_file(), producers);
  if (done) done = give(directory + "/groups", access.groups_directory(), ::getegid());
  if (done) done = give_below(directory + "/groups", access.group_directory(), access.told_file(), ::getegid());
  for (const char* file : {"/bus.id", "/bus.toml"})
    if (done) done = give(directory + file, access.told_file(), kKeep);
  for (const char* file : {"/bus.lock", "/daemon.lock"})
    if (done) done = give(directory + file, access.lock_file(), producers);
  // The gate last: nobody comes in before all is as it should be.
  if (done) done = give(directory, access.gate(), consumers);
  return done;
}

bool was_shared(const std::string& directory) {
  struct stat info {};
  return ::lstat((directory + "/topics").c_str(), &info) == 0 && (info.st_mode & S_ISGID) != 0;
}

}  // namespace penstock::api
