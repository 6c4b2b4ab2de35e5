#include "api/network_disk.hpp"

#include <gtest/gtest.h>
#include <sys/sysmacros.h>

#include <sstream>

namespace penstock::api {
namespace {

// As in proc(5): optional fields may be there or not, and places have blanks as \\040.
constexpr const char* kMounts =
    "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    "40 22 0:51 / /srv/far\\040away rw,nosuid shared:7 master:2 - fuse.sshfs me@host:/srv rw,user_id=0\n"
    "41 22 0:52 / /srv/brick rw - fuse.glusterfs gluster:/v rw\n"
    "42 22 0:53 / /srv/archive rw - fuse.archivemount a.tar rw\n"
    "43 22 0:54 / /srv/none rw\n";

std::optional<std::string_view> type_of(unsigned minor) {
  std::istringstream mounts(kMounts);
  return network_mount(mounts, makedev(0, minor));
}

TEST(NetworkDisk, FuseIsKnownByTheTypeOfItsMount) {
  EXPECT_EQ(type_of(51), "fuse.sshfs");
  EXPECT_EQ(type_of(52), "fuse.glusterfs");
}
TEST(NetworkDisk, WhatAProgramOfTheHostServesIsLocal) { EXPECT_FALSE(type_of(53)); }
TEST(NetworkDisk, AMountThatIsNotListedOrNotWholeIsNotKnown) {
  EXPECT_FALSE(type_of(54));
  EXPECT_FALSE(type_of(5));
}
TEST(NetworkDisk, ALocalDirectoryIsNone) { EXPECT_FALSE(network_file_system("/proc/self/not/there")); }

}  // namespace
}  // namespace penstock::api
