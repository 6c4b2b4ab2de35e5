#include "daemon/crash/disk_model.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "log/checksum.hpp"

namespace penstock::crash {
namespace {

void must(bool good, const std::string& what) {
  if (!good) std::perror(what.c_str()), std::abort();
}

std::uint64_t mix(std::uint64_t hash, const void* bytes, std::size_t size) { return log::hash64(bytes, size, hash); }

std::uint64_t hash_of(const Tree& tree, NodeId id, std::uint64_t hash) {
  const Node& node = tree.nodes.at(id);
  const std::uint64_t head[] = {std::uint64_t(node.kind), node.size};
  hash = mix(hash, head, sizeof head);
  for (const auto& [at, sector] : node.sectors) {
    if (at * kSector >= node.size) break;
    hash = mix(mix(hash, &at, sizeof at), sector->data(), kSector);
  }
  for (const auto& [name, child] : node.entries) {
    hash = mix(hash, name.data(), name.size() + 1);
    hash = hash_of(tree, child, hash);
  }
  return hash;
}

void write_node(const Tree& tree, NodeId id, const std::string& path,
                const std::function<void(NodeId, const std::string&)>& made) {
  const Node& node = tree.nodes.at(id);
  if (node.kind == Node::Kind::link) {
    // The shared memory it led to is gone, as after any power cut.
    must(::symlink("/nonexistent/penstock-live", path.c_str()) == 0, path);
  } else if (node.kind == Node::Kind::directory) {
    if (id != tree.root) must(::mkdir(path.c_str(), node.mode) == 0, path);
    for (const auto& [name, child] : node.entries) write_node(tree, child, path + "/" + name, made);
  } else {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, node.mode);
    must(fd >= 0 && ::ftruncate(fd, off_t(node.size)) == 0, path);
    for (const auto& [at, sector] : node.sectors) {
      if (at * kSector >= node.size) break;
      const std::uint64_t bytes = std::min(kSector, node.size - at * kSector);
      must(::pwrite(fd, sector->data(), bytes, off_t(at * kSector)) == ssize_t(bytes), path);
    }
    ::close(fd);
  }
  made(id, path);
}

}  // namespace

Tree Tree::empty(mode_t mode) {
  Tree tree;
  tree.nodes[0] = {.kind = Node::Kind::directory, .mode = mode, .sectors = {}, .entries = {}};
  return tree;
}

NodeId Tree::make(Node node) {
  nodes[next] = std::move(node);
  return next++;
}

NodeId Tree::add(NodeId directory, const std::string& name, Node node) {
  const NodeId id = make(std::move(node));
  nodes.at(directory).entries[name] = id;
  return id;
}

std::uint64_t Tree::hash() const { return hash_of(*this, root, 1); }

void Tree::write_to(const std::string& folder, const std::function<void(NodeId, const std::string&)>& made) const {
  write_node(*this, root, folder, made);
}

void apply(Tree& tree, const Effect& effect) {
  Node& node = tree.nodes.at(effect.node);
  switch (effect.kind) {
    case Effect::Kind::sector:
      if (effect.sector)
        node.sectors[effect.at] = effect.sector;
      else
        node.sectors.erase(effect.at);
      break;
    case Effect::Kind::size: {
      if (effect.at < node.size) {
        node.sectors.erase(node.sectors.lower_bound((effect.at + kSector - 1) / kSector), node.sectors.end());
        const std::uint64_t part = effect.at % kSector;
        if (const auto last = node.sectors.find(effect.at / kSector); part != 0 && last != node.sectors.end()) {
          Sector cut = *last->second;
          std::fill(cut.begin() + std::ptrdiff_t(part), cut.end(), std::byte{0});
          last->second = std::make_shared<const Sector>(cut);
        }
      }
      node.size = effect.at;
      break;
    }
    case Effect::Kind::entries:
      for (const auto& [name, file] : effect.entries) {
        if (file)
          node.entries[name] = *file;
        else
          node.entries.erase(name);
      }
      break;
  }
}

void DiskModel::run(const Op& op) {
  for (const auto& [id, node] : op.born) {
    durable_.nodes[id] = visible_.nodes[id] = node;
    durable_.next = visible_.next = std::max(visible_.next, id + 1);
  }
  for (const Effect& effect : op.effects) {
    apply(visible_, effect);
    pending_.push_back({effect, bad_[effect.node]});
  }
  if (op.sync && op.sync_failed) {
    bad_[*op.sync] = visible_.nodes.at(*op.sync).kind == Node::Kind::file;
    for (Pending& pending : pending_) pending.doubtful |= pending.effect.node == *op.sync && bad_[*op.sync];
  } else if (op.sync) {
    sync(*op.sync, op.data_only, op.range);
  }
}

void DiskModel::sync(NodeId node, bool data_only, const std::optional<Range>& range) {
  const auto outside = [&range](const Effect& effect) {
    if (!range || effect.kind != Effect::Kind::sector) return false;
    return (effect.at + 1) * kSector <= range->begin || effect.at * kSector >= range->end;
  };
  const bool shorter = data_only && visible_.nodes.at(node).size < durable_.nodes.at(node).size;
  std::optional<Effect> cut;
  std::vector<Pending> left;
  for (Pending& pending : pending_) {
    if (pending.effect.node != node || pending.doubtful || outside(pending.effect)) {
      left.push_back(std::move(pending));
    } else if (shorter && pending.effect.kind == Effect::Kind::size) {
      cut = pending.effect;
    } else {
      apply(durable_, pending.effect);
    }
  }
  pending_ = std::move(left);
  if (cut) pending_.push_back({*cut, false});
}

Tree DiskModel::with(const std::function<bool(std::size_t)>& chosen) const {
  Tree image = durable_;
  for (std::size_t i = 0; i < pending_.size(); ++i)
    if (chosen(i)) apply(image, pending_[i].effect);
  return image;
}

// Each change is there or not by chance; a sector may have its first bytes of the new and its last of the old.
Tree DiskModel::torn(std::mt19937_64& random) const {
  Tree image = durable_;
  const std::uint64_t kept = random() % 5;  // of four, how many reached the disk
  for (const Pending& pending : pending_) {
    if (random() % 4 >= kept) continue;
    Effect effect = pending.effect;
    if (effect.kind == Effect::Kind::sector && random() % 8 == 0) {
      const auto& sectors = image.nodes.at(effect.node).sectors;
      const auto old = sectors.find(effect.at);
      Sector bytes = old == sectors.end() ? Sector{} : *old->second;
      const std::size_t part = random() % kSector;
      const Sector fresh = effect.sector ? *effect.sector : Sector{};
      std::copy_n(fresh.begin(), part, bytes.begin());
      effect.sector = std::make_shared<const Sector>(bytes);
    }
    apply(image, effect);
  }
  return image;
}

void DiskModel::images(std::size_t most_exact, std::size_t samples, std::mt19937_64& random,
                       const std::function<void(Tree&&)>& use) const {
  const std::size_t n = pending_.size();
  if (n <= most_exact) {
    for (std::uint64_t set = 0; set < 1ull << n; ++set) use(with([set](std::size_t i) { return (set >> i & 1) != 0; }));
    return;
  }
  use(with([](std::size_t) { return false; }));
  use(with([](std::size_t) { return true; }));
  for (std::size_t sample = 0; sample < samples; ++sample) {
    const std::size_t one = random() % n;
    if (sample % 4 == 0)
      use(with([one](std::size_t i) { return i == one; }));
    else if (sample % 4 == 1)
      use(with([one](std::size_t i) { return i != one; }));
    else
      use(torn(random));
  }
}

}  // namespace penstock::crash
