#include "storage/blob.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "io/file.hpp"
#include "layout/base.hpp"
#include "log/checksum.hpp"

namespace penstock::storage {
namespace {

struct Header {
  layout::Preamble preamble;
  std::uint64_t sequence;
  std::uint64_t body;  // bytes that follow
};
static_assert(sizeof(Header) == 80);

std::uint64_t checksum(Header header, std::span<const std::byte> body) {
  header.preamble.checksum = 0;
  return log::hash64(body.data(), body.size(), log::hash64(&header, sizeof header));
}

struct Copy {
  enum class Is { absent, damaged, foreign, whole } is = Is::absent;
  std::uint64_t sequence = 0;
  std::vector<std::byte> body;
  std::uint32_t version = 0;  // of the foreign
  bool read_only = false;     // it has features that forbid writing to who does not know them
};

Result<Copy> read_copy(const std::string& path, const BlobOptions& options) {
  Result<std::vector<std::byte>> bytes = io::read_file(path, options.most, options.owner);
  if (!bytes) {
    if (bytes.error().code() == Errc::not_found) return Copy{};
    if (bytes.error().code() == Errc::too_large) return Copy{.is = Copy::Is::damaged};
    return tl::unexpected(bytes.error());
  }
  // Made by who died before writing: as good as not there.
  if (bytes->empty()) return Copy{};
  Header header;
  if (bytes->size() < sizeof header) return Copy{.is = Copy::Is::damaged};
  std::memcpy(&header, bytes->data(), sizeof header);
  if (header.body > bytes->size() - sizeof header) return Copy{.is = Copy::Is::damaged};
  const auto body = std::span<const std::byte>(*bytes).subspan(sizeof header, header.body);
  if (checksum(header, body) != header.preamble.checksum) return Copy{.is = Copy::Is::damaged};
  const layout::Preamble& preamble = header.preamble;
  const bool ours = preamble.magic == options.magic && preamble.version == layout::kLayoutVersion &&
                    preamble.size == sizeof header && preamble.incompat == 0 &&
                    (options.bus_id == 0 || preamble.bus_id == options.bus_id);
  if (!ours) return Copy{Copy::Is::foreign, header.sequence, {}, preamble.version, false};
  bytes->resize(sizeof header + header.body);
  bytes->erase(bytes->begin(), bytes->begin() + sizeof header);
  return Copy{Copy::Is::whole, header.sequence, std::move(*bytes), 0, preamble.ro_compat != 0};
}

}  // namespace

Result<std::vector<std::byte>> Blob::read() {
  // A writer may replace one copy and then the other while we look at them; then look again.
  Result<std::vector<std::byte>> body = look();
  for (int again = 0; again < 4 && !body && body.error().code() == Errc::corrupt; ++again) body = look();
  return body;
}

Result<std::vector<std::byte>> Blob::look() {
  std::array<Copy, 2> copies;
  for (int i = 0; i < 2; ++i) {
    Result<Copy> copy = read_copy(copy_path(i), options_);
    if (!copy) return tl::unexpected(copy.error());
    copies[static_cast<std::size_t>(i)] = std::move(*copy);
  }
  const auto any = [&](Copy::Is is) { return copies[0].is == is || copies[1].is == is; };
  for (const Copy& copy : copies)
    if (copy.is == Copy::Is::foreign) return tl::unexpected(Error(Errc::incompatible, copy.version));
  read_only_ = copies[0].read_only || copies[1].read_only;
  if (!any(Copy::Is::whole)) {
    known_ = true;  // what is damaged or absent may be written over
    newest_ = 1, sequence_ = 0, newest_synced_ = true;
    return tl::unexpected(Error(any(Copy::Is::damaged) ? Errc::corrupt : Errc::not_found));
  }
  const bool second = copies[1].is == Copy::Is::whole &&
                      (copies[0].is != Copy::Is::whole || std::int64_t(copies[1].sequence - copies[0].sequence) > 0);
  Copy& newest = copies[second ? 1 : 0];
  if (!known_ || sequence_ != newest.sequence) newest_synced_ = false;  // who knows how it was written
  known_ = true, newest_ = second ? 1 : 0, sequence_ = newest.sequence;
  return std::move(newest.body);
}

Result<void> Blob::write(std::span<const std::byte> bytes, bool sync) {
  if (!known_) {
    const Result<std::vector<std::byte>> old = look();
    if (!old && !known_) return tl::unexpected(old.error());
  }
  if (read_only_) return tl::unexpected(Error(Errc::incompatible, layout::kLayoutVersion));
  if (sync && !newest_synced_) {
    // The older copy may be the only durable one: make the newest durable before giving that up.
    const Result<io::Fd> newest = io::open_nofollow(copy_path(newest_), O_RDONLY);
    if (!newest) return tl::unexpected(newest.error());
    if (!io::sync_data(newest->get()))
      if (Result<void> done = renew(newest_); !done) return done;
    if (Result<void> done = io::sync_directory(io::directory_of(path_)); !done) return done;
    newest_synced_ = true;
  }
  const int older = 1 - newest_;
  if (Result<void> done = write_copy(older, bytes, sync); !done) {
    // Its blocks may be bad and its pages falsely clean: the next write begins with a new file.
    ::unlink(copy_path(older).c_str());
    entry_synced_[older] = false;
    return done;
  }
  newest_ = older, ++sequence_, newest_synced_ = sync;
  return {};
}

// A file whose flush failed may never be durable, whatever a later flush says: what it holds goes to a new one.
Result<void> Blob::renew(int copy) {
  const Result<std::vector<std::byte>> bytes = io::read_file(copy_path(copy), options_.most, options_.owner);
  if (!bytes) return tl::unexpected(bytes.error());
  return io::replace_file(copy_path(copy), *bytes, options_.mode, true);
}

Result<void> Blob::write_both(std::span<const std::byte> bytes, bool sync) {
  const Result<void> done = write(bytes, sync);
  return done ? write(bytes, sync) : done;
}

std::vector<std::string> Blob::damaged() const {
  std::vector<std::string> out;
  for (int i = 0; i < 2; ++i) {
    // A copy that is being written is not whole for a moment.
    for (int look = 0; look < 20; ++look) {
      const Result<Copy> copy = read_copy(copy_path(i), options_);
      if (copy && copy->is != Copy::Is::damaged) break;
      if (look == 19) out.push_back(copy_path(i));
      ::usleep(1000);
    }
  }
  return out;
}

Result<void> Blob::write_copy(int copy, std::span<const std::byte> bytes, bool sync) {
  Header header{};
  header.preamble.magic = options_.magic;
  header.preamble.version = layout::kLayoutVersion;
  header.preamble.size = sizeof header;
  header.preamble.bus_id = options_.bus_id;
  header.sequence = sequence_ + 1;
  header.body = bytes.size();
  header.preamble.checksum = checksum(header, bytes);
  Result<io::Fd> fd = io::open_nofollow(copy_path(copy), O_RDWR);
  if (options_.owner && !(fd && io::made_by(fd->get(), options_.owner))) {
    // Another user's, or what he put there: not written to, but replaced.
    if (Result<void> removed = io::remove_file(copy_path(copy)); !removed) return removed;
    fd = tl::unexpected(Error(Errc::not_found));
  }
  if (!fd && fd.error().code() == Errc::not_found) {
    // A new file gets its name when it is whole.
    std::vector<std::byte> whole(sizeof header + bytes.size());
    std::memcpy(whole.data(), &header, sizeof header);
    if (!bytes.empty()) std::memcpy(whole.data() + sizeof header, bytes.data(), bytes.size());
    Result<void> made = io::replace_file(copy_path(copy), whole, options_.mode, sync);
    if (made) entry_synced_[copy] = sync;
    return made;
  }
  if (!fd) return tl::unexpected(fd.error());
  Result<void> done = io::pwrite_exact(fd->get(), std::as_bytes(std::span(&header, 1)), 0);
  if (done) done = io::pwrite_exact(fd->get(), bytes, sizeof header);
  if (done) done = io::truncate(fd->get(), sizeof header + bytes.size());
  if (done && sync) done = io::sync_data(fd->get());
  if (done && sync && !entry_synced_[copy]) {
    done = io::sync_directory(io::directory_of(path_));
    entry_synced_[copy] = done.has_value();
  }
  return done;
}

Result<void> Blob::remove() {
  known_ = false;
  entry_synced_[0] = entry_synced_[1] = false;
  Result<void> first = io::remove_file(copy_path(0));
  Result<void> second = io::remove_file(copy_path(1));
  return first ? second : first;
}

}  // namespace penstock::storage
