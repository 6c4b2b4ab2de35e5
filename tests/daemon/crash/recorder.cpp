#include "daemon/crash/recorder.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace penstock::crash {
namespace {

Recorder* recorder = nullptr;
std::atomic<std::int64_t> elapsed{0};  // since the program's start

Recorder* watching() { return recorder != nullptr && recorder->active() ? recorder : nullptr; }

// To the kernel itself; the C library's own functions are the ones replaced here.
template <class... Arguments>
long raw(long number, Arguments... arguments) {
  return ::syscall(number, arguments...);
}

int fail(int error) {
  errno = error;
  return -1;
}

}  // namespace

Recorder::Recorder(const Tree& tree, std::string folder) : folder_(std::move(folder)), base_(tree), visible_(tree) {
  recorder = nullptr;
  tree.write_to(folder_, [this](NodeId id, const std::string& path) { adopt_path(id, AT_FDCWD, path.c_str()); });
  recorder = this;
}

Recorder::~Recorder() { recorder = nullptr; }

void Recorder::adopt(NodeId id, int fd) {
  struct stat info {};
  if (::fstat(fd, &info) == 0) inodes_[{info.st_dev, info.st_ino}] = id;
}

void Recorder::adopt_path(NodeId id, int directory, const char* path) {
  struct stat info {};
  if (::fstatat(directory, path, &info, AT_SYMLINK_NOFOLLOW) == 0) inodes_[{info.st_dev, info.st_ino}] = id;
}

std::optional<NodeId> Recorder::node_of(int fd) const {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return std::nullopt;
  const auto found = inodes_.find({info.st_dev, info.st_ino});
  return found == inodes_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<Recorder::Place> Recorder::place_of(int directory, const char* path) const {
  std::string text = path;
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  const std::size_t slash = text.rfind('/');
  const std::string parent = slash == std::string::npos ? "" : text.substr(0, slash + 1);
  struct stat info {};
  const int looked = parent.empty() && directory != AT_FDCWD
                         ? ::fstat(directory, &info)
                         : ::fstatat(directory, parent.empty() ? "." : parent.c_str(), &info, 0);
  if (looked != 0) return std::nullopt;
  const auto found = inodes_.find({info.st_dev, info.st_ino});
  if (found == inodes_.end()) return std::nullopt;
  return Place{found->second, slash == std::string::npos ? text : text.substr(slash + 1)};
}

std::optional<NodeId> Recorder::at(const Place& place) const {
  const auto& entries = visible_.nodes.at(place.directory).entries;
  const auto found = entries.find(place.name);
  return found == entries.end() ? std::nullopt : std::optional(found->second);
}

Fault Recorder::begin(const Op& op) {
  if (before) before();
  return decide ? decide(calls_++, op) : Fault{};
}

void Recorder::done(Op op) {
  for (const auto& [id, node] : op.born) {
    visible_.nodes[id] = node;
    visible_.next = std::max(visible_.next, id + 1);
  }
  for (const Effect& effect : op.effects) apply(visible_, effect);
  if (op.sync && !op.sync_failed) {
    const bool directory = visible_.nodes.at(*op.sync).kind == Node::Kind::directory;
    const bool forgotten = !directory && !negligence.file_sync.empty() &&
                           path_of(*op.sync).find(negligence.file_sync) != std::string::npos;
    if (forgotten || (directory && negligence.directories)) op.sync.reset();
  }
  ops_.push_back(std::move(op));
}

std::string Recorder::path_of(NodeId id) const {
  for (const auto& [directory, node] : visible_.nodes)
    for (const auto& [name, child] : node.entries)
      if (child == id) return (directory == visible_.root ? std::string() : path_of(directory)) + "/" + name;
  return "";
}

std::vector<Effect> Recorder::written(NodeId id, std::uint64_t at, std::span<const std::byte> bytes) const {
  std::vector<Effect> out;
  const Node& node = visible_.nodes.at(id);
  if (at + bytes.size() > node.size)
    out.push_back({.kind = Effect::Kind::size, .node = id, .at = at + bytes.size(), .sector = {}, .entries = {}});
  while (!bytes.empty()) {
    const std::uint64_t number = at / kSector, into = at % kSector;
    const std::size_t n = std::min<std::size_t>(kSector - into, bytes.size());
    const auto old = node.sectors.find(number);
    Sector sector = old == node.sectors.end() ? Sector{} : *old->second;
    if (std::memcmp(sector.data() + into, bytes.data(), n) != 0) {
      std::memcpy(sector.data() + into, bytes.data(), n);
      const bool zero = std::all_of(sector.begin(), sector.end(), [](std::byte b) { return b == std::byte{0}; });
      out.push_back({.kind = Effect::Kind::sector,
                     .node = id,
                     .at = number,
                     .sector = zero ? nullptr : std::make_shared<const Sector>(sector),
                     .entries = {}});
    }
    at += n;
    bytes = bytes.subspan(n);
  }
  return out;
}

void Recorder::compare() const {
  const auto differs = [](const std::string& path) {
    std::fprintf(stderr, "%s is not as the recorded operations tell\n", path.c_str());
    std::abort();
  };
  const std::function<void(NodeId, const std::string&)> check = [&](NodeId id, const std::string& path) {
    const Node& node = visible_.nodes.at(id);
    struct stat info {};
    if (::lstat(path.c_str(), &info) != 0) differs(path);
    if (node.kind == Node::Kind::directory) {
      for (const auto& [name, child] : node.entries) check(child, path + "/" + name);
      const std::filesystem::directory_iterator real(path), end;
      if (std::size_t(std::distance(real, end)) != node.entries.size()) differs(path);
    } else if (node.kind == Node::Kind::file) {
      if (std::uint64_t(info.st_size) != node.size) differs(path);
      const int fd = int(raw(SYS_openat, AT_FDCWD, path.c_str(), O_RDONLY));
      Sector sector;
      for (std::uint64_t at = 0; at * kSector < node.size; ++at) {
        sector.fill(std::byte{0});
        static_cast<void>(::pread(fd, sector.data(), kSector, off_t(at * kSector)));
        const auto known = node.sectors.find(at);
        if (sector != (known == node.sectors.end() ? Sector{} : *known->second)) differs(path);
      }
      ::close(fd);
    }
  };
  check(visible_.root, folder_);
}

void advance_clock(std::int64_t ns) { elapsed += ns; }

namespace {
int sync_file(int fd, bool data_only, std::optional<Range> range = std::nullopt);
}
bool sync_bytes(int fd, std::uint64_t begin, std::uint64_t end) { return sync_file(fd, true, Range{begin, end}) == 0; }

namespace {

int create(Recorder& disk, const Recorder::Place& place, int directory, const char* path, int flags, mode_t mode) {
  Op op{.what = "create " + disk.name_of(place), .effects = {}, .born = {}};
  const Fault fault = disk.begin(op);
  if (fault.error != 0) return fail(fault.error);
  const int fd = int(raw(SYS_openat, directory, path, flags, mode));
  if (fd < 0) return fd;
  const NodeId id = disk.next();
  op.born.push_back({id, {.kind = Node::Kind::file, .mode = mode, .sectors = {}, .entries = {}}});
  op.effects.push_back(
      {.kind = Effect::Kind::entries, .node = place.directory, .sector = {}, .entries = {{place.name, id}}});
  disk.adopt(id, fd);
  disk.done(std::move(op));
  return fd;
}

int open_at(int directory, const char* path, int flags, mode_t mode) {
  Recorder* disk = watching();
  if (disk != nullptr && (flags & O_CREAT) != 0)
    if (const auto place = disk->place_of(directory, path); place && !disk->at(*place))
      return create(*disk, *place, directory, path, flags, mode);
  return int(raw(SYS_openat, directory, path, flags, mode));
}

ssize_t write_at(int fd, const void* bytes, std::size_t size, off_t at) {
  Recorder* disk = watching();
  const auto node = disk != nullptr && size > 0 ? disk->node_of(fd) : std::nullopt;
  if (!node) return raw(SYS_pwrite64, fd, bytes, size, at);
  Op op{.what = "write " + std::to_string(size) + " at " + std::to_string(at) + " of " + disk->path_of(*node),
        .effects = {},
        .born = {}};
  const Fault fault = disk->begin(op);
  if (fault.error != 0) return fail(fault.error);
  if (fault.half) size = std::max<std::size_t>(1, size / 2 / kSector * kSector);
  const ssize_t n = raw(SYS_pwrite64, fd, bytes, size, at);
  if (n <= 0) return n;
  op.effects = disk->written(*node, std::uint64_t(at), {static_cast<const std::byte*>(bytes), std::size_t(n)});
  disk->done(std::move(op));
  return n;
}

ssize_t writev_at(int fd, const iovec* pieces, int count, off_t at) {
  Recorder* disk = watching();
  const auto node = disk != nullptr ? disk->node_of(fd) : std::nullopt;
  if (!node) return raw(SYS_pwritev, fd, pieces, count, at, 0);
  std::vector<std::byte> joined;
  for (const iovec& piece : std::span(pieces, std::size_t(count))) {
    const auto* from = static_cast<const std::byte*>(piece.iov_base);
    joined.insert(joined.end(), from, from + piece.iov_len);
  }
  // Memory aligned as O_DIRECT wants it.
  std::unique_ptr<std::byte[], void (*)(void*)> aligned(
      static_cast<std::byte*>(std::aligned_alloc(4096, (joined.size() + 4095) / 4096 * 4096)), std::free);
  std::copy(joined.begin(), joined.end(), aligned.get());
  return write_at(fd, aligned.get(), joined.size(), at);
}

int resize(int fd, std::uint64_t size, const char* what, bool only_grow, const std::function<int()>& call) {
  Recorder* disk = watching();
  const auto node = disk != nullptr ? disk->node_of(fd) : std::nullopt;
  if (!node) return call();
  Op op{.what = what + (" " + std::to_string(size)) + " of " + disk->path_of(*node), .effects = {}, .born = {}};
  const Fault fault = disk->begin(op);
  if (fault.error != 0) return fail(fault.error);
  const int result = call();
  if (result != 0) return result;
  if (!only_grow || size > disk->visible().nodes.at(*node).size)
    op.effects.push_back({.kind = Effect::Kind::size, .node = *node, .at = size, .sector = {}, .entries = {}});
  disk->done(std::move(op));
  return 0;
}

int sync_file(int fd, bool data_only, std::optional<Range> range) {
  Recorder* disk = watching();
  const auto node = disk != nullptr ? disk->node_of(fd) : std::nullopt;
  if (!node) return int(raw(data_only ? SYS_fdatasync : SYS_fsync, fd));
  Op op{.what = "sync " + disk->path_of(*node), .effects = {}, .born = {}, .sync = *node, .data_only = data_only};
  op.range = range;
  const Fault fault = disk->begin(op);
  op.sync_failed = fault.error != 0;
  disk->done(std::move(op));
  return fault.error != 0 ? fail(fault.error) : 0;
}

int rename_at(int from_directory, const char* from, int to_directory, const char* to) {
  const auto call = [&] { return int(raw(SYS_renameat, from_directory, from, to_directory, to)); };
  Recorder* disk = watching();
  const auto old = disk != nullptr ? disk->place_of(from_directory, from) : std::nullopt;
  const auto fresh = disk != nullptr ? disk->place_of(to_directory, to) : std::nullopt;
  const auto node = old ? disk->at(*old) : std::nullopt;
  if (!node || !fresh) return call();
  Op op{.what = "rename " + disk->name_of(*old) + " to " + fresh->name, .effects = {}, .born = {}};
  const Fault fault = disk->begin(op);
  if (fault.error != 0) return fail(fault.error);
  if (const int result = call(); result != 0) return result;
  Effect effect{
      .kind = Effect::Kind::entries, .node = fresh->directory, .sector = {}, .entries = {{fresh->name, *node}}};
  if (old->directory == fresh->directory) {
    effect.entries.push_back({old->name, std::nullopt});
  } else {
    op.effects.push_back(
        {.kind = Effect::Kind::entries, .node = old->directory, .sector = {}, .entries = {{old->name, std::nullopt}}});
  }
  op.effects.push_back(std::move(effect));
  disk->done(std::move(op));
  return 0;
}

int remove_at(int directory, const char* path, const std::function<int()>& call) {
  Recorder* disk = watching();
  const auto place = disk != nullptr ? disk->place_of(directory, path) : std::nullopt;
  if (!place || !disk->at(*place)) return call();
  Op op{.what = "remove " + disk->name_of(*place), .effects = {}, .born = {}};
  const Fault fault = disk->begin(op);
  if (fault.error != 0) return fail(fault.error);
  if (const int result = call(); result != 0) return result;
  op.effects.push_back({.kind = Effect::Kind::entries,
                        .node = place->directory,
                        .sector = {},
                        .entries = {{place->name, std::nullopt}}});
  disk->done(std::move(op));
  return 0;
}

int make(int directory, const char* path, Node node, const std::function<int()>& call) {
  Recorder* disk = watching();
  const auto place = disk != nullptr ? disk->place_of(directory, path) : std::nullopt;
  if (!place || disk->at(*place)) return call();
  Op op{.what = "make " + disk->name_of(*place), .effects = {}, .born = {}};
  const Fault fault = disk->begin(op);
  if (fault.error != 0) return fail(fault.error);
  if (const int result = call(); result != 0) return result;
  const NodeId id = disk->next();
  op.born.push_back({id, std::move(node)});
  op.effects.push_back(
      {.kind = Effect::Kind::entries, .node = place->directory, .sector = {}, .entries = {{place->name, id}}});
  disk->adopt_path(id, directory, path);
  disk->done(std::move(op));
  return 0;
}

Node directory_node(mode_t mode) { return {.kind = Node::Kind::directory, .mode = mode, .sectors = {}, .entries = {}}; }

mode_t mode_of(int flags, va_list arguments) {
  return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(arguments, mode_t) : 0;
}

}  // namespace
}  // namespace penstock::crash

// The C library's functions, as the linker finds them first.
namespace crash = penstock::crash;
extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = crash::mode_of(flags, arguments);
  va_end(arguments);
  return crash::open_at(AT_FDCWD, path, flags, mode);
}
int openat(int directory, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = crash::mode_of(flags, arguments);
  va_end(arguments);
  return crash::open_at(directory, path, flags, mode);
}
ssize_t pwrite(int fd, const void* bytes, size_t size, off_t at) { return crash::write_at(fd, bytes, size, at); }
ssize_t pwritev(int fd, const struct iovec* pieces, int count, off_t at) {
  return crash::writev_at(fd, pieces, count, at);
}
int ftruncate(int fd, off_t size) noexcept {
  return crash::resize(fd, std::uint64_t(size), "truncate", false,
                       [&] { return int(crash::raw(SYS_ftruncate, fd, size)); });
}
int fallocate(int fd, int mode, off_t at, off_t bytes) {
  return crash::resize(fd, std::uint64_t(at + bytes), "allocate", true,
                       [&] { return int(crash::raw(SYS_fallocate, fd, mode, at, bytes)); });
}
int fsync(int fd) { return crash::sync_file(fd, false); }
int fdatasync(int fd) { return crash::sync_file(fd, true); }
int rename(const char* from, const char* to) noexcept { return crash::rename_at(AT_FDCWD, from, AT_FDCWD, to); }
int renameat(int from_directory, const char* from, int to_directory, const char* to) noexcept {
  return crash::rename_at(from_directory, from, to_directory, to);
}
int unlinkat(int directory, const char* path, int flags) noexcept {
  return crash::remove_at(directory, path, [&] { return int(crash::raw(SYS_unlinkat, directory, path, flags)); });
}
int unlink(const char* path) noexcept { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char* path) noexcept { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char* path) noexcept {
  const int result = unlink(path);
  return result != 0 && errno == EISDIR ? rmdir(path) : result;
}
int mkdir(const char* path, mode_t mode) noexcept {
  return crash::make(AT_FDCWD, path, crash::directory_node(mode),
                     [&] { return int(crash::raw(SYS_mkdirat, AT_FDCWD, path, mode)); });
}
int symlink(const char* target, const char* path) noexcept {
  return crash::make(AT_FDCWD, path, {.kind = crash::Node::Kind::link, .sectors = {}, .entries = {}},
                     [&] { return int(crash::raw(SYS_symlinkat, target, AT_FDCWD, path)); });
}
int clock_gettime(clockid_t clock, struct timespec* out) noexcept {
  static std::array<std::atomic<std::int64_t>, 16> starts{};
  std::atomic<std::int64_t>& start = starts[std::size_t(clock) % starts.size()];
  if (start == 0) {
    timespec real{};
    if (const long result = crash::raw(SYS_clock_gettime, clock, &real); result != 0) return int(result);
    std::int64_t none = 0;
    start.compare_exchange_strong(none, std::int64_t{real.tv_sec} * 1'000'000'000 + real.tv_nsec);
  }
  const std::int64_t now = start + (crash::elapsed += 1000);
  out->tv_sec = now / 1'000'000'000;
  out->tv_nsec = now % 1'000'000'000;
  return 0;
}

}  // extern "C"
