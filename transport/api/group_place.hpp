// Where a group's files are, and whose. With [access] a group belongs to the user who made it: its directories are his,
// so whoever has more rights reaches into them by what they are, not by a name that he could turn into a link, and
// takes no file there that neither he nor the bus's owner made. Any thread.
#pragma once

#include "api/state.hpp"
#include "storage/blob.hpp"

namespace penstock::api {

class GroupPlace {
 public:
  // Reasons for refuse_others().
  static constexpr const char* kHisToChange = "; its members and who changes it run as that user.";
  static constexpr const char* kNotMade =
      ", who has not opened it since the bus came into shared memory; its members, or a command such as `penstock "
      "group "
      "describe`, do so when they run as that user.";

  // Errc::not_found: there is no such group. `make`: then it is made, for this user.
  static Result<GroupPlace> find(const State& state, std::string_view name, bool make = false);
  // The same; or, where a deletion that was cut short has left nothing on disk, what it left of this user's in the live
  // side.
  static Result<GroupPlace> find_remains(const State& state, std::string_view name);
  // By name alone, for who only looks at what is on disk.
  static GroupPlace named(const State& state, std::string_view name);

  std::string disk(const std::string& file) const { return disk_ ? shm::inside(disk_, file) : disk_path_ + "/" + file; }
  std::string live(const std::string& file) const { return live_ ? shm::inside(live_, file) : live_path_ + "/" + file; }
  const std::string& disk_path() const { return disk_path_; }  // for people
  const std::string& live_path() const { return live_path_; }
  // Makes the live directory when it is missing.
  Result<void> make_live(const State& state);
  bool ours() const;  // may this process write the group's files?
  // Errc::permission: whose the group is, and `why` that keeps this user from what he asked for.
  tl::unexpected<Error> refuse_others(const std::string& why) const;
  bool on_disk() const { return !shared_ || disk_; }
  // A file of the live directory to be mapped. `writable` is given up when the file is another user's.
  Result<shm::Fd> open(const std::string& file, bool& writable) const;
  Result<shm::Mapping> map(const shm::Fd& fd, bool writable, std::uint64_t bytes) const;
  // A new file of the live directory, which has no name until it is whole: a kill leaves nothing behind. The name is
  // taken from what has it. Under the group's lock.
  Result<shm::Fd> create(const State& state, std::uint64_t bytes) const;
  Result<void> give_name(const shm::Fd& fd, const std::string& file) const;

  storage::Blob meta(const State& state) const;
  storage::Blob checkpoint(const State& state, std::string_view topic) const;

 private:
  Result<void> open_live();

  bool shared_ = false;
  uid_t user_ = 0, owner_ = 0;  // of the group, of the bus
  std::string disk_path_, live_path_;
  shm::Fd disk_, live_;  // with [access]; no live_: there is no live directory
};

// Held while a group's files come and go. Without [access] it is the bus's lock; with it a lock of the group's, for
// which nobody waits but who works for that group. Its file stays when the group is deleted: who waits for it would get
// one that is nobody's.
class GroupLock {
 public:
  static constexpr const char* kFile = "@lock";
  static Result<GroupLock> take(const State& state, GroupPlace& place, std::int64_t timeout_ns = 30'000'000'000);

 private:
  std::optional<BusLock> bus_;
  shm::Fd fd_;
};

}  // namespace penstock::api
