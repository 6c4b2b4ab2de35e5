// Reading a topic's segments as one log, from any place forwards, while the daemon writes and deletes them. One thread
// a reader; the spans of an item are valid until the reader is used again.
#pragma once

#include <cstdint>
#include <optional>
#include <penstock/error.hpp>
#include <string>

#include "storage/segment_reader.hpp"
#include "storage/segment_set.hpp"

namespace penstock::storage {

class LogReader {
 public:
  // `topic_id`: whose log it is, see SegmentSet.
  explicit LogReader(std::string directory, std::uint64_t topic_id = 0, std::size_t window_bytes = 1 << 20)
      : set_(std::move(directory), topic_id), window_bytes_(window_bytes) {}

  // The durable end of a running topic: everything below is on disk, nothing at or past it is looked at. Raise it as it
  // moves. Without a limit (a bus that does not run) the last segment is read up to where its records hold.
  void set_limit(const std::optional<Boundary>& limit);

  // A place before the oldest event kept means the oldest. Each begins with a fresh listing.
  Result<void> seek_start();
  Result<void> seek_offset(std::uint64_t offset);
  Result<void> seek_time(std::uint64_t time_ns);
  // To a place met before; falls back on the offset when nothing of it stands there.
  Result<void> seek(std::uint64_t position, std::uint64_t offset);

  // The offset `count` before `base` among those that the segments before it give: what a power cut left out between
  // two lives of a topic is no offset. The oldest where there are not so many. The disk's errors; moves nothing.
  Result<std::uint64_t> offset_back(std::uint64_t base, std::uint64_t count);

  // Errors are the disk's. At the end it costs no system call as long as the limit is where it was.
  Result<Item> next();

  // The segment the last item came from; where a segment is missing, the name it would have.
  const std::string& file() const { return file_; }
  const SegmentSet& segments() const { return set_; }
  // What comes next; nothing before the first seek or when there are no segments.
  std::optional<Place> place() const {
    if (!reader_) return std::nullopt;
    return reader_->place();
  }

 private:
  Result<const char*> open(std::size_t index);
  Result<void> open_from(std::size_t index);
  Result<void> open_at(std::uint64_t offset);
  void bound();
  Result<bool> look_again();
  Result<std::optional<Item>> advance();
  Item end_item() const;
  void note_removed(const Boundary& from);

  SegmentSet set_;
  std::size_t window_bytes_;
  std::optional<Boundary> limit_;
  std::optional<SegmentReader> reader_;
  std::optional<Boundary> successor_;  // where the next segment begins
  // To be told before anything else: what a file that could not be opened held, or was removed.
  std::optional<Item> skipped_;
  std::optional<std::uint64_t> told_;  // first offset of the last unreadable segment that was told
  std::string file_;
};

}  // namespace penstock::storage
