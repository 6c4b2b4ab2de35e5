#include "shm/handles.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <numeric>

namespace penstock::shm {

using layout::HandleKind;
using layout::HandlePage;

layout::Preamble preamble(std::uint64_t magic, std::uint32_t size, const Identity& identity) {
  return {magic, layout::kLayoutVersion, size, 0, 0, 0, identity.bus_id, identity.boot_id, 0};
}

Result<void> check(const layout::Preamble& preamble, std::uint64_t magic, const Identity& identity, bool writing) {
  const bool forbidden = preamble.incompat != 0 || (writing && preamble.ro_compat != 0);
  if (preamble.magic != magic || preamble.version != layout::kLayoutVersion || forbidden)
    return tl::unexpected(Error(Errc::incompatible, preamble.version));
  // Of another bus, or of an earlier boot: as good as not there.
  if (preamble.bus_id != identity.bus_id || preamble.boot_id != identity.boot_id)
    return tl::unexpected(Error(Errc::not_found));
  return {};
}

std::uint64_t start_time_of_self() {
  std::ifstream stat("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(stat)), {});
  const auto after_name = text.rfind(')');
  if (after_name == std::string::npos) return 0;
  const char* at = text.c_str() + after_name + 1;
  for (int field = 3; field <= 22; ++field) {
    at = std::strchr(at, ' ');
    if (at == nullptr) return 0;
    ++at;
    if (field == 22) return std::strtoull(at, nullptr, 10);
  }
  return 0;
}

Handle& Handle::operator=(Handle&& other) noexcept {
  if (this != &other) {
    close();
    fd_ = std::move(other.fd_);
    mapping_ = std::move(other.mapping_);
    slot_ = other.slot_;
    incarnation_ = other.incarnation_;
    epoch_ = other.epoch_;
    former_ = std::move(other.former_);
  }
  return *this;
}

Handle::~Handle() { close(); }

bool Handle::removed() const {
  struct stat info {};
  return ::fstat(fd_.get(), &info) == 0 && info.st_nlink == 0;
}

void Handle::close() {
  if (!fd_) return;
  if (in_child()) {
    // The descriptor's number was closed by the fork handler and may be somebody else's by now.
    new (&fd_) Fd();
    return;
  }
  forget_in_child(fd_.get());
  page()->pin.store(layout::kNoPosition, std::memory_order_release);
  page()->kind.store(std::uint64_t(HandleKind::none), std::memory_order_release);
  fd_ = Fd();
}

Handles::Handles(std::string live_path, Identity identity, layout::LiveHeader* live, const Access& access, bool guest)
    : live_path_(std::move(live_path)), identity_(identity), live_(live), access_(access), guest_(guest) {
  install_fork_handler();
}

std::uint32_t Handles::slots() const {
  const std::uint64_t slots = live_->handle_slots.load(std::memory_order_acquire);
  return std::uint32_t(std::min<std::uint64_t>(slots, access_.shared ? layout::kGuestSlot : layout::kNoSlot));
}

// Nobody whom others could believe counts the guests' slots, so their directory is read; who fills it with junk makes
// us ask for each slot there can be.
void Handles::add_guests(std::vector<std::uint32_t>& out) const {
  constexpr std::size_t kJunkMost = 2 * layout::kMaxSlots;
  const std::size_t before = out.size();
  const auto close = [](DIR* directory) { ::closedir(directory); };
  const std::unique_ptr<DIR, decltype(close)> directory(::opendir((live_path_ + "/guests").c_str()), close);
  std::size_t entries = 0;
  for (const dirent* entry = nullptr; directory && (entry = ::readdir(directory.get())) != nullptr;) {
    if (++entries > kJunkMost) break;
    std::uint32_t slot = 0;
    const std::string_view name(entry->d_name);
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), slot);
    if (error == std::errc{} && end == name.data() + name.size() && guest(slot) && slot < layout::kNoSlot)
      out.push_back(slot);
  }
  if (directory && entries <= kJunkMost) return;
  out.resize(before + layout::kNoSlot - layout::kGuestSlot);
  std::iota(out.begin() + std::ptrdiff_t(before), out.end(), layout::kGuestSlot);
}

std::vector<std::uint32_t> Handles::all() const {
  std::vector<std::uint32_t> out(slots());
  std::iota(out.begin(), out.end(), 0u);
  if (access_.shared) add_guests(out);
  return out;
}

std::optional<HandleCopy> Handles::copy(std::uint32_t slot) const {
  auto fd = open_file(path(slot), false);
  if (!fd) return std::nullopt;
  alignas(HandlePage) std::byte bytes[sizeof(HandlePage)];
  if (::pread(fd->get(), bytes, sizeof bytes, 0) != static_cast<ssize_t>(sizeof bytes)) return std::nullopt;
  const auto* page = reinterpret_cast<const HandlePage*>(bytes);
  if (!check(page->preamble, layout::kMagicHandle, identity_, false)) return std::nullopt;
  HandleCopy out;
  out.incarnation = std::uint32_t(page->incarnation.load(std::memory_order_relaxed)) & 0xfff;
  out.kind = HandleKind(page->kind.load(std::memory_order_relaxed));
  if (guest(slot) && out.kind != HandleKind::consumer && out.kind != HandleKind::reader) out.kind = HandleKind::none;
  out.pid = page->pid.load(std::memory_order_relaxed);
  out.topic_id = page->topic_id.load(std::memory_order_relaxed);
  for (int i = 0; i < 2; ++i)
    out.intents[i] = {{page->intents[i].tail_low.load(std::memory_order_relaxed),
                       page->intents[i].tail_high.load(std::memory_order_relaxed)},
                      page->intents[i].shape.load(std::memory_order_relaxed)};
  out.pin = page->pin.load(std::memory_order_relaxed);
  out.target.assign(page->target.text, ::strnlen(page->target.text, layout::kNameMax));
  return out;
}

bool Handles::alive(std::uint32_t slot) const {
  auto fd = open_file(path(slot), false);
  return fd && locked_by_other(*fd);
}

bool Handles::dead(std::uint32_t slot, std::uint32_t incarnation) const {
  auto fd = open_file(path(slot), false);
  if (!fd) return false;  // no proof
  // Whoever asks has met this life before, so a free lock is its end, whatever the page says by now. Another
  // incarnation is the end of the one asked about: a new owner raises it once it has the lock.
  if (!locked_by_other(*fd)) return true;
  const auto now = copy(slot);
  return now && now->incarnation != (incarnation & 0xfff);
}

bool Handles::may_take(const HandleCopy& former, const Reusable& reusable) const {
  const bool claimed =
      layout::shape_lines(former.intents[0].shape) != 0 || layout::shape_lines(former.intents[1].shape) != 0;
  return former.kind == HandleKind::none || !claimed || reusable(former);
}

Result<Handle> Handles::take_existing(std::uint32_t slot, const Reusable& reusable) {
  auto fd = open_file(path(slot), true);
  if (!fd) return tl::unexpected(fd.error());
  // Somebody who made this file for us to find could write it while we use it.
  if (guest(slot) && !made_by(*fd, ::geteuid(), ::geteuid())) return tl::unexpected(Error(Errc::busy));
  if (!try_lock(*fd))
    return access_.shared && !guest(slot) ? replace(slot, *fd, reusable) : tl::unexpected(Error(Errc::busy));
  struct stat ours {
  }, named{};
  if (::fstat(fd->get(), &ours) != 0 || ::lstat(path(slot).c_str(), &named) != 0 || ours.st_ino != named.st_ino)
    return tl::unexpected(Error(Errc::busy));  // replaced meanwhile
  auto former = copy(slot);
  if (!former) return tl::unexpected(Error(Errc::incompatible));
  if (!may_take(*former, reusable)) return tl::unexpected(Error(Errc::busy));
  auto mapping = Mapping::of(*fd, true, sizeof(HandlePage));
  if (!mapping) return tl::unexpected(mapping.error());
  if (access_.shared && !guest(slot)) put_away(slot);
  Handle handle;
  handle.fd_ = std::move(*fd);
  handle.mapping_ = std::move(*mapping);
  handle.slot_ = slot;
  handle.former_ = std::move(*former);
  return handle;
}

// A new file without a name, so that a kill leaves nothing behind; locked before others can open it.
Result<Handle> Handles::new_file(std::uint32_t slot) {
  auto fd = create_unnamed_file(directory(slot), 0600, layout::kPage);
  if (!fd) return tl::unexpected(fd.error());
  auto mapping = Mapping::of(*fd, true, sizeof(HandlePage));
  if (!mapping) return tl::unexpected(mapping.error());
  if (!try_lock(*fd) || ::fchmod(fd->get(), access_.handle_file()) != 0) return tl::unexpected(from_errno(errno));
  mapping->as<HandlePage>()->preamble = preamble(layout::kMagicHandle, sizeof(HandlePage), identity_);
  Handle handle;
  handle.fd_ = std::move(*fd);
  handle.mapping_ = std::move(*mapping);
  handle.slot_ = slot;
  return handle;
}

Result<Handle> Handles::make_new(std::uint32_t slot) {
  auto handle = new_file(slot);
  if (!handle) return handle;
  // Locked before it has its name: nobody ever sees this slot free while we live.
  if (auto named = give_name(handle->fd_, path(slot)); !named) return tl::unexpected(named.error());
  std::uint64_t seen = guest(slot) ? slot + 1 : live_->handle_slots.load(std::memory_order_relaxed);
  while (seen < slot + 1 && !live_->handle_slots.compare_exchange_weak(seen, slot + 1)) {
  }
  return handle;
}

// A dead producer's slot on whose file somebody holds a reader's lock, for which nobody waits: another file takes its
// place. Our own reader's lock is the proof that its owner is dead, and keeps others from taking the old file until the
// new one has its name; another who replaces it at the same time waits for nothing, but finds the directory's lock
// held.
Result<Handle> Handles::replace(std::uint32_t slot, const Fd& former, const Reusable& reusable) {
  const tl::unexpected<Error> busy{Error(Errc::busy)};
  const std::string lock_path = live_path_ + "/handles/.lock";
  auto guard = create_file(lock_path, access_.lock_file(), 0);
  if (!guard && guard.error().code() == Errc::already_exists) guard = open_file(lock_path, true);
  struct stat old {
  }, named{};
  if (!guard || !try_lock(*guard) || !try_read_lock(former) || ::fstat(former.get(), &old) != 0 ||
      ::lstat(path(slot).c_str(), &named) != 0 || old.st_ino != named.st_ino)
    return busy;
  const auto life = copy(slot);
  if (!life || !may_take(*life, reusable)) return busy;
  put_away(slot);
  auto handle = new_file(slot);
  if (!handle) return handle;
  handle->page()->incarnation.store(life->incarnation, std::memory_order_seq_cst);
  handle->former_ = *life;
  if (!give_name(handle->fd_, aside(slot)) ||
      ::renameat2(AT_FDCWD, aside(slot).c_str(), AT_FDCWD, path(slot).c_str(), RENAME_EXCHANGE) != 0) {
    ::unlink(aside(slot).c_str());
    return busy;
  }
  put_away(slot);
  return handle;
}

// What a replacement put aside goes. Who still has its page mapped sees that it is nobody's: see map(). One that was
// killed before it came here is completed by who has the slot next.
void Handles::put_away(std::uint32_t slot) const {
  const std::uint64_t gone = 0;
  if (auto former = open_file(aside(slot), true))
    static_cast<void>(::pwrite(former->get(), &gone, sizeof gone, offsetof(layout::Preamble, magic)) == sizeof gone);
  ::unlink(aside(slot).c_str());
}

Result<Handle> Handles::acquire(HandleKind kind, std::uint64_t topic_id, std::string_view target,
                                const Reusable& reusable) {
  const std::uint32_t first = guest_ ? layout::kGuestSlot : 0;
  const std::uint32_t end = access_.shared && !guest_ ? layout::kGuestSlot : layout::kNoSlot;
  for (std::uint32_t slot = first; slot < end; ++slot) {
    auto handle = take_existing(slot, reusable);
    if (!handle && handle.error().code() == Errc::not_found) {
      handle = make_new(slot);
      if (!handle && handle.error().code() != Errc::already_exists) return tl::unexpected(handle.error());
    }
    if (!handle) {
      const bool anothers = access_.shared && handle.error().code() == Errc::permission;  // another user's file
      if ((handle.error().code() == Errc::permission && !anothers) || handle.error().code() == Errc::too_many)
        return tl::unexpected(handle.error());
      continue;
    }
    close_in_child(handle->fd_.get());
    handle->epoch_ = g_fork_epoch;
    HandlePage* page = handle->page();
    // Another life first: from here on, what the former owner left open is judged dead.
    handle->incarnation_ = std::uint32_t(page->incarnation.load(std::memory_order_relaxed) % 4094) + 1;
    page->incarnation.store(handle->incarnation_, std::memory_order_seq_cst);
    page->pin.store(layout::kNoPosition, std::memory_order_release);
    for (auto& intent : page->intents) intent.shape.store(0, std::memory_order_release);
    page->pid.store(std::uint64_t(::getpid()), std::memory_order_relaxed);
    page->start_time.store(start_time_of_self(), std::memory_order_relaxed);
    page->topic_id.store(topic_id, std::memory_order_relaxed);
    std::memset(page->target.text, 0, sizeof page->target.text);
    std::memcpy(page->target.text, target.data(), std::min(target.size(), layout::kNameMax));
    page->kind.store(std::uint64_t(kind), std::memory_order_release);
    return handle;
  }
  return tl::unexpected(Error(Errc::too_many, end - first, std::uint16_t(Limit::handles)));
}

const HandlePage* Handles::map(std::uint32_t slot, std::unordered_map<std::uint32_t, Mapping>& kept) const {
  if (guest(slot)) return nullptr;
  if (const auto found = kept.find(slot); found != kept.end()) {
    auto* page = found->second.as<HandlePage>();
    const std::atomic_ref magic(page->preamble.magic);
    if (magic.load(std::memory_order_acquire) == layout::kMagicHandle) return page;
    kept.erase(found);  // replaced by another file
  }
  auto fd = open_file(path(slot), false);
  if (!fd) return nullptr;
  auto size = size_of(*fd);
  if (!size || *size < sizeof(HandlePage)) return nullptr;
  auto mapping = Mapping::of(*fd, false, sizeof(HandlePage));
  if (!mapping) return nullptr;
  return kept.emplace(slot, std::move(*mapping)).first->second.as<HandlePage>();
}

}  // namespace penstock::shm
