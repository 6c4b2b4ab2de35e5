// Reading one segment with pread through a buffer of its own: no mapping, so nobody who truncates the file can hurt the
// reader. Everything it hands over was checked; what does not hold is reported as a range and passed over.
// One thread a reader. The spans of an item are valid until the reader is used again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <penstock/error.hpp>
#include <string>
#include <vector>

#include "io/file.hpp"
#include "storage/record.hpp"
#include "storage/segment.hpp"

namespace penstock::storage {

enum class ItemKind {
  event,      // `record` is an event
  aborted,    // `count` offsets from `offset` on never became events
  compacted,  // `count` offsets from `offset` on were removed: their keys have newer events, or were deleted
  damage,     // [file_begin, file_end) can't be read; `count` events from `offset` on may be missing
  expired,    // `count` offsets from `offset` on were removed by retention (LogReader only)
  end,        // nothing more for now; `position` and `offset` are where it would go on
};

struct Item {
  ItemKind kind = ItemKind::end;
  std::uint64_t position = 0;
  std::uint64_t offset = 0;
  std::uint64_t count = 0;
  Place next;          // where reading goes on after it
  bool inner = false;  // a batch's later event
  Record record;
  std::uint64_t file_begin = 0, file_end = 0;
  const char* problem = "";
};

struct Boundary {
  std::uint64_t position = 0;
  std::uint64_t offset = 0;
};

class SegmentReader {
 public:
  // Errc::not_found, corrupt (no copy of the header holds), incompatible.
  static Result<SegmentReader> open(const std::string& path, std::size_t window_bytes = 1 << 20);
  SegmentReader(SegmentReader&&) = default;
  SegmentReader& operator=(SegmentReader&&) = default;

  const layout::SegmentHeader& header() const { return *front_.header; }
  const Front& front() const { return front_; }
  const std::string& path() const { return path_; }
  bool sealed() const { return front_.progress && front_.progress->sealed == 1; }
  // Reads the first page again: a segment that is being written has a new mark, or was sealed.
  Result<void> refresh();

  // Everything below is there and nothing at or past it is read: the durable end of a live topic, or where the next
  // segment begins. Without a limit, an unsealed segment is read up to its first break past its last mark.
  void set_limit(const std::optional<Boundary>& limit);
  // What is known to be whole: the seal, the limit, or the last mark.
  Boundary boundary() const { return boundary_; }

  void seek_start() { place_ = {header().first_position, header().first_offset}; }
  // To a place that was met before (an item's, or one kept in a cursor). Errc::corrupt when no record of that offset
  // stands there under a committed head; then seek_offset finds it or what is left.
  Result<void> seek(std::uint64_t position, std::uint64_t offset);
  // To the first item that ends after this offset.
  Result<void> seek_offset(std::uint64_t offset);
  // To the first event, in the order of the log, of this time or a later one; or to the end.
  Result<void> seek_time(std::uint64_t time_ns);
  const Place& place() const { return place_; }
  void return_to(const Place& place) { place_ = place; }  // one that place() gave

  // Errors are the disk's; damage is an item.
  Result<Item> next();

 private:
  SegmentReader() = default;
  void bound();
  std::uint64_t file_offset(std::uint64_t position) const {
    return layout::segment_file_offset(header().first_position, position);
  }
  Result<std::span<const std::byte>> bytes_at(std::uint64_t position, std::uint64_t bytes);
  Result<void> fill(std::uint64_t from, std::uint64_t bytes);
  Result<Parsed> parse(const Place& place, std::uint64_t stop, Record& record);
  Result<Parsed> parse_batch(Record& record);
  Result<std::optional<Place>> resync(std::uint64_t stop);
  Result<std::optional<Place>> try_place(std::uint64_t position, std::uint64_t stop);
  Result<Item> damage_or_end(Parsed why);
  Item item_of(const Record& record) const;
  Item end_item();
  Result<void> jump(std::uint64_t offset_most, std::uint64_t time_below);
  std::uint64_t readable_end() const;

  struct Free {
    void operator()(std::byte* bytes) const;
  };

  std::string path_;
  io::Fd fd_;
  Front front_;
  std::optional<Boundary> limit_;
  Boundary boundary_;
  bool open_tail_ = false;  // go on past the boundary as long as records hold
  bool no_mark_ = false;    // neither a mark nor a limit tells how far the segment is whole
  Place place_;

  std::unique_ptr<std::byte[], Free> window_;
  std::size_t window_capacity_ = 0;
  std::size_t window_bytes_ = 1 << 20;
  std::uint64_t window_from_ = 0;  // in the file
  std::size_t window_size_ = 0;

  bool index_read_ = false;
  std::vector<layout::IndexEntry> index_;
};

}  // namespace penstock::storage
