// Appends dead letters to a group's DLQ topic: the event as it was, and its history. The daemon's thread.
#pragma once

#include <set>
#include <string>
#include <tuple>

#include "api/feed.hpp"
#include "api/group.hpp"
#include "layout/dead_letter.hpp"

namespace penstock::daemon {

// What makes a letter the same letter: where it came from, how often it was given back, and when it failed last.
using LetterKey = std::tuple<std::string, std::uint64_t, std::uint32_t, std::int64_t>;

class LetterWriter {
 public:
  // Opens the DLQ, making it when it is missing: durable, kept for ever, with room for what `origin` may hold.
  static Result<std::unique_ptr<LetterWriter>> open(const api::StatePtr& state, const std::string& dlq,
                                                    std::uint64_t origin_ring);

  // Appends the event with its history. Errc::full: the DLQ's ring is full; the event stays where it is.
  Result<void> append(const EventView::Raw& event, const DeadLetter& letter, layout::Disposition disposition);
  // The letters that are there already, for who does not know whether a letter was appended before a crash.
  Result<std::set<LetterKey>> present();
  api::Topic& topic() { return *topic_; }

 private:
  LetterWriter(std::shared_ptr<api::Topic> topic, shm::Handle handle);
  std::shared_ptr<api::Topic> topic_;
  shm::Handle handle_;
  log::Publisher publisher_;
};

LetterKey key_of(const DeadLetter& letter);

}  // namespace penstock::daemon
