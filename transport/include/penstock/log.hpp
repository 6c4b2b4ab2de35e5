// Looking at logs without touching them: maps read-only, takes no locks, writes nothing. For dump and verify, of a live
// bus, of one that is not running, and of single segment files.
#pragma once

#include <functional>
#include <penstock/options.hpp>

namespace penstock {

// A stretch of a log that could not be read.
struct Damage {
  std::string file;                  // the segment
  std::uint64_t begin = 0, end = 0;  // bytes in the file
  Offset first_offset = 0;           // of the events that may be missing: [first_offset, end_offset)
  Offset end_offset = 0;
  std::string problem;
};

// What verify found in a file.
struct FileReport {
  std::string file;
  std::uint64_t events = 0;
  Offset first_offset = 0;
  Offset last_offset = 0;  // of the last event; meaningless when events is 0
  bool ok = true;
  std::vector<std::string> problems;
};

// What of a log is wanted.
struct ScanOptions {
  StartAt from = StartAt::beginning();
  std::optional<Offset> to_offset{};  // up to and not including
  std::optional<Timestamp> to_time{};
  bool reverse = false;
};

// What a scan hands over; return false to stop it.
struct LogVisitor {
  std::function<bool(const EventView&)> event;
  std::function<bool(Offset first, std::uint64_t count)> aborted;  // offsets that never became events
  std::function<bool(const Damage&)> damage;
  std::function<bool(Offset first, std::uint64_t count)> compacted{};  // offsets that compaction removed
};

// A log to look at: a topic, or a file.
class Log {
 public:
  // A topic of the bus in this directory, running or not. Errc::not_found.
  static Result<Log> open(const std::string& bus_directory, const std::string& topic);
  // One segment file. Errc::not_found, corrupt (its header cannot be read), incompatible.
  static Result<Log> open_file(const std::string& path);

  // Everything from the start to the end as it is now, disk first and then ring, each event once.
  Result<void> scan(const ScanOptions& options, const LogVisitor& visitor) const;
  // The next offset at the end, as it is now.
  Offset end() const;
  // What there is, or may be, behind the end that cannot be seen from here, and how it can: events in shared memory.
  // Nothing: all there is is shown.
  std::optional<std::string> not_shown() const;
  // Checks every byte that is kept on disk: a report a file. `each`: told of every file as soon as it was checked;
  // false ends it there.
  Result<std::vector<FileReport>> verify(const std::function<bool(const FileReport&)>& each = {}) const;

  // The bus's books (what topics and groups are, and where groups stand): a report for each file that is damaged.
  static Result<std::vector<FileReport>> verify_books(const std::string& bus_directory);

  Log(Log&&) noexcept;
  Log& operator=(Log&&) noexcept;
  ~Log();

 private:
  struct Impl;
  explicit Log(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace penstock
