#include "shm/handles.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>

namespace penstock::shm {

using layout::HandleKind;
using layout::HandlePage;

layout::Preamble preamble(std::uint64_t magic, std::uint32_t size, const Identity& identity) {
  return {magic, layout::kLayoutVersion, size, 0, 0, 0, identity.bus_id, identity.boot_id, 0};
}

Result<void> check(const layout::Preamble& preamble, std::uint64_t magic, const Identity& identity) {
  if (preamble.magic != magic || preamble.version != layout::kLayoutVersion || preamble.incompat != 0)
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

Handles::Handles(std::string directory, Identity identity, layout::LiveHeader* live, std::uint32_t mode)
    : directory_(std::move(directory)), identity_(identity), live_(live), mode_(mode) {
  install_fork_handler();
}

std::string Handles::path(std::uint32_t slot) const { return directory_ + "/" + std::to_string(slot); }

std::uint32_t Handles::slots() const {
  const std::uint64_t slots = live_->handle_slots.load(std::memory_order_acquire);
  return slots < layout::kNoSlot ? std::uint32_t(slots) : layout::kNoSlot;
}

std::optional<HandleCopy> Handles::copy(std::uint32_t slot) const {
  auto fd = open_file(path(slot), false);
  if (!fd) return std::nullopt;
  alignas(HandlePage) std::byte bytes[sizeof(HandlePage)];
  if (::pread(fd->get(), bytes, sizeof bytes, 0) != static_cast<ssize_t>(sizeof bytes)) return std::nullopt;
  const auto* page = reinterpret_cast<const HandlePage*>(bytes);
  if (!check(page->preamble, layout::kMagicHandle, identity_)) return std::nullopt;
  HandleCopy out;
  out.incarnation = std::uint32_t(page->incarnation.load(std::memory_order_relaxed)) & 0xfff;
  out.kind = HandleKind(page->kind.load(std::memory_order_relaxed));
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

Result<Handle> Handles::take_existing(std::uint32_t slot, const Reusable& reusable) {
  auto fd = open_file(path(slot), true);
  if (!fd) return tl::unexpected(fd.error());
  if (!try_lock(*fd)) return tl::unexpected(Error(Errc::busy));
  auto former = copy(slot);
  if (!former) return tl::unexpected(Error(Errc::incompatible));
  const bool claimed =
      layout::shape_lines(former->intents[0].shape) != 0 || layout::shape_lines(former->intents[1].shape) != 0;
  if (former->kind != HandleKind::none && claimed && !reusable(*former)) return tl::unexpected(Error(Errc::busy));
  auto mapping = Mapping::of(*fd, true, sizeof(HandlePage));
  if (!mapping) return tl::unexpected(mapping.error());
  Handle handle;
  handle.fd_ = std::move(*fd);
  handle.mapping_ = std::move(*mapping);
  handle.slot_ = slot;
  handle.former_ = std::move(*former);
  return handle;
}

Result<Handle> Handles::make_new(std::uint32_t slot) {
  // Without a name until it is whole: a kill leaves nothing behind.
  auto fd = create_unnamed_file(directory_, mode_, layout::kPage);
  if (!fd) return tl::unexpected(fd.error());
  auto mapping = Mapping::of(*fd, true, sizeof(HandlePage));
  if (!mapping) return tl::unexpected(mapping.error());
  if (!try_lock(*fd)) return tl::unexpected(Error(Errc::system, std::uint32_t(errno)));
  auto* page = mapping->as<HandlePage>();
  page->preamble = preamble(layout::kMagicHandle, sizeof(HandlePage), identity_);
  // Locked before it has its name: nobody ever sees this slot free while we live.
  if (auto named = give_name(*fd, path(slot)); !named) return tl::unexpected(named.error());
  std::uint64_t seen = live_->handle_slots.load(std::memory_order_relaxed);
  while (seen < slot + 1 && !live_->handle_slots.compare_exchange_weak(seen, slot + 1)) {
  }
  Handle handle;
  handle.fd_ = std::move(*fd);
  handle.mapping_ = std::move(*mapping);
  handle.slot_ = slot;
  return handle;
}

Result<Handle> Handles::acquire(HandleKind kind, std::uint64_t topic_id, std::string_view target,
                                const Reusable& reusable) {
  for (std::uint32_t slot = 0; slot < layout::kNoSlot; ++slot) {
    auto handle = take_existing(slot, reusable);
    if (!handle && handle.error().code() == Errc::not_found) {
      handle = make_new(slot);
      if (!handle && handle.error().code() != Errc::already_exists) return tl::unexpected(handle.error());
    }
    if (!handle) {
      if (handle.error().code() == Errc::permission || handle.error().code() == Errc::too_many)
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
  return tl::unexpected(Error(Errc::too_many, layout::kNoSlot));
}

const HandlePage* Handles::map(std::uint32_t slot, std::unordered_map<std::uint32_t, Mapping>& kept) const {
  if (const auto found = kept.find(slot); found != kept.end()) return found->second.as<HandlePage>();
  auto fd = open_file(path(slot), false);
  if (!fd) return nullptr;
  auto size = size_of(*fd);
  if (!size || *size < sizeof(HandlePage)) return nullptr;
  auto mapping = Mapping::of(*fd, false, sizeof(HandlePage));
  if (!mapping) return nullptr;
  return kept.emplace(slot, std::move(*mapping)).first->second.as<HandlePage>();
}

}  // namespace penstock::shm
