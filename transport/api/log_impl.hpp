// What is behind penstock::Log.
#pragma once

#include <penstock/log.hpp>

#include "api/feed.hpp"

namespace penstock {

struct Window;  // of a scan, see log_scan.cpp

struct Log::Impl {
  std::string topic;
  api::Place known_end;              // of a topic that was stopped cleanly: where it ended
  std::string directory;             // of the topic; empty for a single file
  std::uint64_t topic_id = 0;        // the same topic's
  std::string file;                  // the single file
  std::shared_ptr<api::Topic> live;  // null: the bus does not run, or `unseen` says why its shared memory is not read
  std::optional<std::string> unseen{};

  // `near`: a place in the ring behind which nothing is wanted, to look from for the first that is; then that one.
  Result<void> forward(const ScanOptions& options, const LogVisitor& visitor, std::optional<api::Place>& near) const;
  Result<void> backward(const ScanOptions& options, const LogVisitor& visitor) const;
  Result<Offset> wanted_from(const StartAt& from, Offset first, Offset end) const;
  Result<void> scan_file(const ScanOptions& options, const LogVisitor& visitor) const;
  // A life that saw no event leaves no line behind, and yet its offsets begin far ahead.
  bool ends_early(api::Place end) const { return end.offset < known_end.offset && end.position < known_end.position; }
  Result<void> missing_end(api::Place end, const Window& window) const;
  EventView view(const storage::Item& item) const {
    const storage::Record& record = item.record;
    return EventView({topic, item.offset, std::int64_t(record.head.time), record.head.id_low, record.head.id_high,
                      record.given_id(), record.attributes, record.payload, item.position});
  }
};

}  // namespace penstock
