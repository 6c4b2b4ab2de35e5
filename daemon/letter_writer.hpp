// Appends dead letters to a group's DLQ topic: the event as it was, and its history. The daemon's thread.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <tuple>

#include "api/feed.hpp"
#include "api/group.hpp"
#include "layout/dead_letter.hpp"

namespace penstock::daemon {

// The event that a letter is of: where it came from, how often it was given back, its id and its time, which tell it
// from one at the same place of a topic of the same name that was deleted.
using LetterKey = std::tuple<std::string, std::uint64_t, std::uint32_t, std::uint64_t, std::uint64_t, std::int64_t>;

// The letters that are in the DLQ already, for who does not know whether one was appended before a crash.
class LettersPresent {
 public:
  void add(const LetterKey& key, Offset letter, std::int64_t last_failure) {
    letters_.emplace(key, Letter{letter, last_failure});
  }
  // Is this failure's letter there? If so it is not told of again. The same failure is known by its time. A letter of
  // another failure stands for it when it is older than the shared memory and `open`, neither redriven nor purged: then
  // the group may have been put back to where it was before that letter.
  template <class Open>
  bool take(const LetterKey& key, std::int64_t last_failure, Open open);

 private:
  struct Letter {
    Offset offset = 0;
    std::int64_t last_failure = 0;
  };
  std::multimap<LetterKey, Letter> letters_;
};

template <class Open>
bool LettersPresent::take(const LetterKey& key, std::int64_t last_failure, Open open) {
  const auto [begin, end] = letters_.equal_range(key);
  auto found = std::find_if(begin, end, [&](const auto& it) { return it.second.last_failure == last_failure; });
  if (found == end) found = std::find_if(begin, end, [&](const auto& it) { return open(it.second.offset); });
  if (found == end) return false;
  letters_.erase(found);
  return true;
}

class LetterWriter {
 public:
  // Opens the DLQ, making it when it is missing: durable, kept for ever, with room for what `origin` may hold.
  static Result<std::unique_ptr<LetterWriter>> open(const api::StatePtr& state, const std::string& dlq,
                                                    std::uint64_t origin_ring);

  // Appends the event with its history. Errc::full: the DLQ's ring is full; the event stays where it is.
  Result<void> append(const EventView::Raw& event, const DeadLetter& letter, layout::Disposition disposition);
  Result<LettersPresent> present();
  api::Topic& topic() { return *topic_; }

 private:
  LetterWriter(std::shared_ptr<api::Topic> topic, shm::Handle handle);
  std::shared_ptr<api::Topic> topic_;
  shm::Handle handle_;
  log::Publisher publisher_;
};

LetterKey key_of(const DeadLetter& letter, const EventView::Raw& event);

}  // namespace penstock::daemon
