// The registry of living handles: one small file a handle, locked for as long as its owner lives. Says who is dead, and
// only with proof: a free lock, or a slot that has begun another life. Time proves nothing.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "layout/handle.hpp"
#include "layout/live.hpp"
#include "shm/access.hpp"
#include "shm/fork.hpp"
#include "shm/mapping.hpp"

namespace penstock::shm {

// What identifies the files of one bus in one boot.
struct Identity {
  std::uint64_t bus_id = 0;
  std::uint64_t boot_id = 0;
};

layout::Preamble preamble(std::uint64_t magic, std::uint32_t size, const Identity& identity);
// Errc::incompatible for a foreign file, another version or bits that are not known and forbid this; not_found for one
// of another bus or of an earlier boot.
Result<void> check(const layout::Preamble& preamble, std::uint64_t magic, const Identity& identity, bool writing);

// A copy of what a slot file says, read with pread: whoever owns the file cannot hurt the reader.
struct HandleCopy {
  std::uint32_t incarnation = 0;
  layout::HandleKind kind = layout::HandleKind::none;
  std::uint64_t pid = 0;
  std::uint64_t topic_id = 0;
  struct IntentWords {
    layout::Pair tail;
    std::uint64_t shape = 0;
  };
  std::array<IntentWords, 2> intents{};
  std::uint64_t pin = layout::kNoPosition;
  std::string target;
};

// A living handle. Closing it (its destructor) frees the slot; dying does too.
class Handle {
 public:
  Handle() = default;
  Handle(Handle&&) = default;
  Handle& operator=(Handle&& other) noexcept;
  ~Handle();
  layout::HandlePage* page() const { return mapping_.as<layout::HandlePage>(); }
  std::uint32_t slot() const { return slot_; }
  std::uint32_t incarnation() const { return incarnation_; }
  explicit operator bool() const { return static_cast<bool>(fd_); }
  // What the slot's last owner but this left in its page; its intents may still describe the newest claim of a topic.
  const HandleCopy& former() const { return former_; }
  bool removed() const;                                     // its file, as when somebody removes the live side under us
  bool in_child() const { return epoch_ != g_fork_epoch; }  // used after a fork in the wrong process

 private:
  friend class Handles;
  void close();
  Fd fd_;
  Mapping mapping_;
  std::uint32_t slot_ = layout::kNoSlot;
  std::uint32_t incarnation_ = 0;
  std::uint32_t epoch_ = 0;
  HandleCopy former_;
};

class Handles {
 public:
  // May the slot's former owner, which published and did not close, be forgotten? Not while a claim of its
  // can only be explained by its intents.
  using Reusable = std::function<bool(const HandleCopy&)>;

  // `live_path`: of the live side. `guest`: this process may only consume, and its handles are among the guests'.
  Handles(std::string live_path, Identity identity, layout::LiveHeader* live, const Access& access, bool guest);

  Result<Handle> acquire(layout::HandleKind kind, std::uint64_t topic_id, std::string_view target,
                         const Reusable& reusable);

  bool dead(std::uint32_t slot, std::uint32_t incarnation) const;
  std::optional<HandleCopy> copy(std::uint32_t slot) const;
  bool alive(std::uint32_t slot) const;    // somebody holds the slot's lock
  std::uint32_t slots() const;             // those of producers are below; without [access] all are
  std::vector<std::uint32_t> all() const;  // slots that may have a file
  // A mapped view of a producer's page, kept for the life of this registry's owner; null when it cannot be.
  const layout::HandlePage* map(std::uint32_t slot, std::unordered_map<std::uint32_t, Mapping>& kept) const;

 private:
  bool guest(std::uint32_t slot) const { return access_.shared && slot >= layout::kGuestSlot; }
  std::string directory(std::uint32_t slot) const { return live_path_ + (guest(slot) ? "/guests/" : "/handles/"); }
  std::string path(std::uint32_t slot) const { return directory(slot) + std::to_string(slot); }
  std::string aside(std::uint32_t slot) const { return directory(slot) + ".former-" + std::to_string(slot); }
  Result<Handle> take_existing(std::uint32_t slot, const Reusable& reusable);
  Result<Handle> make_new(std::uint32_t slot);
  Result<Handle> replace(std::uint32_t slot, const Fd& former, const Reusable& reusable);
  Result<Handle> new_file(std::uint32_t slot);
  void put_away(std::uint32_t slot) const;
  bool may_take(const HandleCopy& former, const Reusable& reusable) const;
  void add_guests(std::vector<std::uint32_t>& out) const;

  std::string live_path_;
  Identity identity_;
  layout::LiveHeader* live_;
  Access access_;
  bool guest_;
};

std::uint64_t start_time_of_self();  // clock ticks since boot

}  // namespace penstock::shm
