// The ids that a topic's newest events were given, for topics that refuse duplicates at publish. Nothing of it is
// shared: each producer reads the log as far as the tail and then claims only if the tail is still there, so between
// its look and its claim nobody else's event can come. Killed anywhere, there is nothing to repair. One thread's.
#pragma once

#include <deque>
#include <unordered_map>

#include "api/feed.hpp"
#include "layout/base.hpp"

namespace penstock::api {

class RecentIds {
 public:
  // An id is a duplicate while the first event that has it is among the newest `window` of the topic. They are counted
  // by the offsets given: the hole that a power cut leaves makes nothing older.
  RecentIds(std::shared_ptr<Topic> topic, std::uint32_t window) : feed_(std::move(topic), false), window_(window) {}

  struct Verdict {
    enum class Kind : std::uint8_t {
      fresh,      // no event before the tail has it: claim there, and only there
      duplicate,  // committed before, at `first`
      open,       // a claim with this id, or one that does not tell its ids yet, is still to be settled by its owner
    } kind = Kind::fresh;
    Offset first = 0;
    layout::Pair tail;
    std::uint32_t slot = layout::kNoSlot;  // open: the owner
  };
  Result<Verdict> look(std::span<const layout::Id128> ids);

 private:
  struct Hash {
    std::size_t operator()(const layout::Id128& id) const { return id.low; }  // ids are hashes
  };
  struct Open {
    Place place;
    layout::Id128 id;
    bool told;  // whether the id is known: a batch tells its ids when it is committed
    std::uint32_t count;
    std::uint32_t slot;
  };

  Result<void> catch_up();
  Result<void> settle_open();
  Result<bool> pass_open(Place place);
  void remember(const EventView::Raw& event);
  void forget(std::uint64_t end);

  struct First {           // the first event of an id
    std::uint64_t number;  // its offset without the holes before it
    Offset offset;
  };

  Feed feed_;
  std::uint32_t window_;
  std::optional<Place> place_;
  std::uint64_t never_ = 0;  // offsets in holes passed so far
  std::unordered_map<layout::Id128, First, Hash> ids_;
  std::deque<std::pair<std::uint64_t, layout::Id128>> order_;  // by number
  std::vector<Open> open_;                                     // claims passed over that are not settled yet
};

}  // namespace penstock::api
