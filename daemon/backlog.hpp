// Settled claims of one topic that are not durable yet, in the order of the log: gathered from the ring, handed out as
// runs of lines to write, kept until the disk has them. Belongs to the daemon's thread.
#pragma once

#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "api/topic.hpp"
#include "storage/record.hpp"
#include "storage/segment_writer.hpp"

namespace penstock::daemon {

class Backlog {
 public:
  explicit Backlog(api::Topic& topic) : topic_(&topic) {}

  // Forgets everything; what is gathered begins here.
  void begin(const storage::Mark& mark);
  // Adds the settled claims that follow and belong into this segment, up to a job's worth.
  void gather(const storage::SegmentWriter& segment);
  // What was gathered and not handed out; stays as it is in memory until it is durable.
  std::span<const storage::Piece> pieces() const { return pieces_; }
  std::uint64_t taken() const { return taken_; }  // the line at which they begin
  void take(std::uint64_t lines);                 // these were handed out
  const storage::Mark& end() const { return end_; }

  // The oldest claim, if all its lines are below `line`; and it is one less.
  bool pop(std::uint64_t line, storage::Mark& end);

 private:
  void add_lines(const std::byte* data, std::uint64_t lines);
  void add_dead(const log::Look& look);

  struct MadeHead {
    std::uint64_t end;  // the line after the claim
    std::unique_ptr<storage::Head> head;
  };
  api::Topic* topic_;
  std::vector<storage::Piece> pieces_;
  std::uint64_t taken_ = 0;
  storage::Mark end_;                 // after the last one gathered
  std::deque<storage::Mark> claims_;  // the end of each
  std::deque<MadeHead> made_;         // of the dead
};

}  // namespace penstock::daemon
