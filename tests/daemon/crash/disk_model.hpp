// A disk as a power cut sees it: what is surely on it, and what was written since and not synced, of which any part may
// be there. Files are 512-byte sectors and a size; directories are entries, as durable as their directory's last sync
// made them; a rename is one change. Pure data: tests hand it operations and take images from it.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace penstock::crash {

constexpr std::uint64_t kSector = 512;
using Sector = std::array<std::byte, kSector>;
using SectorPtr = std::shared_ptr<const Sector>;  // null: zeros
using NodeId = std::uint32_t;

struct Node {
  enum class Kind : std::uint8_t { file, directory, link } kind = Kind::file;
  mode_t mode = 0;
  std::uint64_t size = 0;
  std::map<std::uint64_t, SectorPtr> sectors;  // those that are not zeros
  std::map<std::string, NodeId> entries;
};

// All files there are. What no entry leads to is not there for anybody.
struct Tree {
  std::map<NodeId, Node> nodes;
  NodeId root = 0;
  NodeId next = 1;

  static Tree empty(mode_t mode);
  NodeId make(Node node);
  NodeId add(NodeId directory, const std::string& name, Node node);
  std::uint64_t hash() const;  // of what can be reached
  // Makes the files in an existing, empty folder; `made` is told each one's real path.
  void write_to(const std::string& folder, const std::function<void(NodeId, const std::string&)>& made) const;
};

// A change that is on the disk whole or not at all.
struct Effect {
  enum class Kind : std::uint8_t { sector, size, entries } kind = Kind::sector;
  NodeId node = 0;
  std::uint64_t at = 0;  // the sector's number, or the size
  SectorPtr sector;
  std::vector<std::pair<std::string, std::optional<NodeId>>> entries;  // a name's new file, or none
};
void apply(Tree& tree, const Effect& effect);

// Bytes of a file, from one to before the other.
struct Range {
  std::uint64_t begin = 0, end = 0;
};

// One call that changed files, or made changes durable.
struct Op {
  std::string what;  // for people
  std::vector<Effect> effects;
  std::vector<std::pair<NodeId, Node>> born;
  std::optional<NodeId> sync;
  bool data_only = false;                     // fdatasync: a file that became shorter may still be long
  std::optional<Range> range = std::nullopt;  // of the bytes that are synced; none: all
  bool sync_failed = false;  // what was to be synced is lost or not, and nobody tells; it is not written again
};

class DiskModel {
 public:
  explicit DiskModel(Tree tree) : durable_(tree), visible_(std::move(tree)) {}
  void run(const Op& op);
  const Tree& durable() const { return durable_; }
  const Tree& visible() const { return visible_; }
  std::size_t pending() const { return pending_.size(); }

  // Calls `use` with images that a power cut may leave now: with all of them where at most `most_exact` changes are
  // pending; else with none, all, all but each, only each, and `samples` random ones, where sectors also tear.
  void images(std::size_t most_exact, std::size_t samples, std::mt19937_64& random,
              const std::function<void(Tree&&)>& use) const;

 private:
  struct Pending {
    Effect effect;
    bool doubtful = false;  // never known to be durable
  };
  void sync(NodeId node, bool data_only, const std::optional<Range>& range);
  Tree with(const std::function<bool(std::size_t)>& chosen) const;
  Tree torn(std::mt19937_64& random) const;

  Tree durable_, visible_;
  std::vector<Pending> pending_;
  std::map<NodeId, bool> bad_;  // a sync failed here
};

}  // namespace penstock::crash
