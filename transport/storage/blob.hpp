// A small checksummed file that is always there whole: two copies, <path>.a and <path>.b, written in turn, so that a
// write that is cut short anywhere harms only the older one. For topic.meta, group metas and group checkpoints.
// One writer at a time (who writes holds a lock of its own); readers may come at any moment from any process.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <penstock/error.hpp>
#include <span>
#include <string>
#include <vector>

namespace penstock::storage {

struct BlobOptions {
  std::uint64_t magic = 0;   // what the blob holds: layout::kMagicTopicMeta and so on
  std::uint64_t bus_id = 0;  // written into the preamble; a reader that names one refuses another's
  mode_t mode = 0600;
  std::uint64_t most = 1ull << 30;            // a larger file is not read
  std::optional<uid_t> owner = std::nullopt;  // a copy that another user made is as good as not there
};

class Blob {
 public:
  Blob(std::string path, const BlobOptions& options) : path_(std::move(path)), options_(options) {}

  // The newest copy that is whole. Errc::not_found: there is no copy at all; corrupt: none of those there is whole;
  // incompatible: whole, but of another layout version, kind or bus.
  Result<std::vector<std::byte>> read();
  // Replaces the older copy. With `sync` the bytes survive the machine once this returns; without, they survive the
  // death of the process, and a power cut falls back on the last synced copy. A failed write left the last copy whole.
  Result<void> write(std::span<const std::byte> bytes, bool sync);
  // Replaces one copy and then the other: where the file then rests, and one that goes bad must cost nothing.
  Result<void> write_both(std::span<const std::byte> bytes, bool sync);
  // The files of copies that are there and not whole. For verification.
  std::vector<std::string> damaged() const;
  // Removes both copies.
  Result<void> remove();
  // The number of the newest copy, raised by each write; 0: none. Known after a read or a write.
  std::uint64_t sequence() const { return sequence_; }

 private:
  Result<std::vector<std::byte>> look();
  Result<void> renew(int copy);
  Result<void> write_copy(int copy, std::span<const std::byte> bytes, bool sync);
  std::string copy_path(int copy) const { return path_ + (copy == 0 ? ".a" : ".b"); }

  std::string path_;
  BlobOptions options_;
  bool read_only_ = false;      // a copy has features that forbid writing
  bool known_ = false;          // newest_ and sequence_ were read from the files
  int newest_ = 1;              // which copy is the newest; the other is written next
  std::uint64_t sequence_ = 0;  //
  bool newest_synced_ = false;  // otherwise it must be flushed before the other, perhaps durable, copy is given up
  bool entry_synced_[2] = {};   // the copy's name is known to be durable
};

}  // namespace penstock::storage
