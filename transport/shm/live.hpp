// The shared-memory side of a bus: one directory, made under its final name but published last, by the `live` link in
// the bus directory. Holds the mappings that every handle of this process shares.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "shm/access.hpp"
#include "shm/handles.hpp"
#include "shm/wake.hpp"

namespace penstock::shm {

std::uint64_t boot_id();  // hash of the kernel's boot id

class Live {
 public:
  // Opens a finished live side that `owner` or root made. Errc::not_found, incompatible. Where [access] is set, one who
  // may only consume gets what a consumer may write; else without the right to write there is Errc::permission.
  static Result<Live> open(const std::string& path, std::uint64_t bus_id, uid_t owner, bool writable = true);
  // Makes the directory, `path` or, when that cannot be had, one that begins so, and its bus-wide files; what stood
  // there is removed first. Call under the bus lock.
  static Result<Live> create(const std::string& path, std::uint64_t bus_id, const std::string& bus_path,
                             const Access& access);
  static void remove(const std::string& path);

  const std::string& path() const { return path_; }
  const Identity& identity() const { return identity_; }
  const Access& access() const { return access_; }
  bool publishes() const { return publishes_; }  // may write topics; false: a consumer, or who only looks
  layout::LiveHeader* header() const { return header_.as<layout::LiveHeader>(); }  // null: not open
  layout::WakeFile* wake() const { return wake_.as<layout::WakeFile>(); }
  layout::Word& groups_epoch() const { return access_.shared ? wake()->groups_epoch : header()->groups_epoch; }
  Sleeper sleeper(std::uint32_t slot) const { return {wake(), slot, access_.shared}; }
  Mask& mask(std::uint64_t ordinal) const { return wake()->masks[ordinal % layout::kMaxTopics].mask; }
  Mask& disk_mask(std::uint64_t ordinal) const { return wake()->masks[ordinal % layout::kMaxTopics].disk; }
  Handles& handles() const { return *handles_; }
  std::string topic_path(const std::string& topic) const { return path_ + "/topics/" + topic; }
  std::string group_path(const std::string& group) const { return path_ + "/groups/" + group; }

 private:
  Result<void> map(bool writable);

  std::string path_;
  Identity identity_;
  Access access_;
  bool publishes_ = false;
  Mapping header_;
  Mapping wake_;
  std::unique_ptr<Handles> handles_;
};

// A file made under a temporary name and renamed to `path` when `fill` has filled it in. Replaces what is there: call
// under the bus lock, or the group's.
struct NewFile {
  std::string path;
  std::string temporary;  // in the directory whose Unix group the file takes; what a killed creator left there goes
  std::uint32_t mode;
  std::uint64_t bytes;  // allocated in full
};
Result<Mapping> create_mapped(const NewFile& file, const std::function<void(std::byte*)>& fill);

}  // namespace penstock::shm
