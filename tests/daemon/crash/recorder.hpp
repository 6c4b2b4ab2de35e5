// Stands between the program and the kernel: every call that changes a file below one folder, by whomever it is made
// (the library, the daemon, libstdc++), is written down, and may be made to fail or to do less than it was asked. The
// files themselves are real ones in shared memory, so reading needs no model. The C library's functions are replaced
// in the program that links recorder.cpp; without a Recorder they do what they always do. One thread.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "daemon/crash/disk_model.hpp"

namespace penstock::crash {

// What becomes of a call.
struct Fault {
  int error = 0;      // this errno, and nothing done
  bool half = false;  // a write that writes half
};

// Precautions left out, to see that their want is found.
struct Negligence {
  std::string file_sync;     // files whose path contains this are not synced, though the call says so
  bool directories = false;  // no directory is
};

class Recorder {
 public:
  // Puts the tree's files into the folder, which is empty, and watches it from now on.
  Recorder(const Tree& tree, std::string folder);
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  const std::vector<Op>& ops() const { return ops_; }
  const Tree& tree() const { return base_; }  // before the first operation
  // What stands in the folder now, as the operations tell it. Aborts when the real files tell another story: then a
  // call escaped.
  void compare() const;
  void pause() { paused_ = true; }
  void resume() { paused_ = false; }

  std::function<void()> before;                                   // each operation
  std::function<Fault(std::size_t number, const Op& op)> decide;  // may be empty
  Negligence negligence;

  // For the replaced functions.
  struct Place {
    NodeId directory;
    std::string name;
  };
  bool active() const { return !paused_; }
  std::optional<NodeId> node_of(int fd) const;
  std::optional<Place> place_of(int directory, const char* path) const;
  std::optional<NodeId> at(const Place& place) const;
  Fault begin(const Op& op);
  void done(Op op);
  void adopt(NodeId id, int fd);
  void adopt_path(NodeId id, int directory, const char* path);
  NodeId next() const { return visible_.next; }
  const Tree& visible() const { return visible_; }
  std::string path_of(NodeId id) const;  // below the folder
  std::string name_of(const Place& place) const { return path_of(place.directory) + "/" + place.name; }
  std::vector<Effect> written(NodeId id, std::uint64_t at, std::span<const std::byte> bytes) const;

 private:
  using Inode = std::pair<std::uint64_t, std::uint64_t>;
  std::string folder_;
  Tree base_, visible_;
  std::vector<Op> ops_;
  std::map<Inode, NodeId> inodes_;
  std::size_t calls_ = 0;
  bool paused_ = false;
};

// Syncs these bytes of a file, as a write with O_DSYNC does when it has written them. False: errno says why.
bool sync_bytes(int fd, std::uint64_t begin, std::uint64_t end);

// The simulated time, of all clocks: moves on a little with every look at it.
void advance_clock(std::int64_t ns);

}  // namespace penstock::crash
