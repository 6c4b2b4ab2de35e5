// The shared-memory side of a bus: one directory, made under its final name but published last, by the `live` link in
// the bus directory. Holds the mappings that every handle of this process shares.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "shm/handles.hpp"
#include "shm/wake.hpp"

namespace penstock::shm {

inline constexpr std::uint32_t kFileMode = 0600;
inline constexpr std::uint32_t kDirectoryMode = 0700;

std::uint64_t boot_id();  // hash of the kernel's boot id

class Live {
 public:
  // Opens a finished live side. Errc::not_found, incompatible.
  static Result<Live> open(const std::string& path, std::uint64_t bus_id, bool writable = true);
  // Makes the directory and its bus-wide files; whatever stood there is removed first. Call under the bus lock.
  static Result<Live> create(const std::string& path, std::uint64_t bus_id, const std::string& bus_path);
  static void remove(const std::string& path);

  const std::string& path() const { return path_; }
  const Identity& identity() const { return identity_; }
  layout::LiveHeader* header() const { return header_.as<layout::LiveHeader>(); }  // null: not open
  layout::WakeFile* wake() const { return wake_.as<layout::WakeFile>(); }
  Mask& mask(std::uint64_t ordinal) const { return wake()->masks[ordinal % layout::kMaxTopics].mask; }
  Handles& handles() const { return *handles_; }
  std::string topic_path(const std::string& topic) const { return path_ + "/topics/" + topic; }
  std::string group_path(const std::string& group) const { return path_ + "/groups/" + group; }

 private:
  std::string path_;
  Identity identity_;
  Mapping header_;
  Mapping wake_;
  std::unique_ptr<Handles> handles_;
};

// A file made under a temporary name beside its place and renamed to it when `fill` has filled it in. Replaces what is
// there: call under the bus lock.
Result<Mapping> create_mapped(const std::string& path, std::uint64_t allocated, std::uint64_t size,
                              const std::function<void(std::byte*)>& fill, Fd* keep = nullptr);

}  // namespace penstock::shm
