// Writing one segment: creating it, turning runs of ring lines into jobs for a Disk, marking progress, sealing. The
// writer plans and keeps the books; the jobs it plans are submitted by its owner. One thread a writer.
//
// Data is written straight from the caller's pages where a whole block stands in them at the same alignment, else from
// a bounce buffer; a block that was begun by an earlier job is written again from a copy kept here, so the ring's lines
// may be reused as soon as they are durable. Jobs in flight know no order, so no two of them may write to one block: a
// job that ended within a block is waited for before the next is planned, and large jobs end with a block.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <penstock/error.hpp>
#include <span>
#include <string>

#include "io/disk.hpp"
#include "io/file.hpp"
#include "storage/index.hpp"
#include "storage/segment.hpp"

namespace penstock::storage {

struct SegmentOptions {
  std::string directory;  // the topic's
  std::string topic;
  std::uint64_t bus_id = 0;
  std::uint64_t topic_id = 0;
  std::uint64_t nonce = 0;
  std::uint64_t segment_bytes = 64ull << 20;
  mode_t mode = 0600;
  bool direct = true;              // O_DIRECT where the file system has it
  std::uint64_t step = 256 << 10;  // bytes to allocate at once; see SegmentWriter::next_step
};

// A run of lines to be written; pieces follow each other in the log. Without data: zeros.
struct Piece {
  const std::byte* data = nullptr;
  std::uint64_t bytes = 0;  // a multiple of a line
};

// What to hand to the disk. Valid until the next plan but one: so many jobs of a segment may be in flight.
inline constexpr std::size_t kJobsInFlight = 2;
struct Plan {
  io::Job job;              // all but the tag
  std::uint64_t lines = 0;  // how many of the lines given it writes; plan the rest after it
  bool ends_block = false;  // the next may be planned while it is in flight
};

class SegmentWriter {
 public:
  // Makes the segment: allocated, its header synced, its name durable. A segment of this name that holds no offset (it
  // was begun and nothing in it became durable) is replaced. Errc::no_space leaves nothing behind.
  static Result<std::unique_ptr<SegmentWriter>> create(const SegmentOptions& options, std::uint64_t first_offset,
                                                       std::uint64_t first_position, std::uint64_t now_ns);

  // Whether a claim of so many lines at `position` belongs in here. If not: seal, and create the next one there. The
  // first claim always does.
  bool fits(std::uint64_t position, std::uint64_t lines) const;

  // The job that writes these pieces from `position` on, which is where the last plan ended. Grows the file first:
  // Errc::no_space changed nothing, plan again when there is space. A plan whose job failed must not be repeated: the
  // segment is to be left (`abandon`) and the lines written to a new one. See above for what may be in flight.
  Result<Plan> plan(std::uint64_t position, std::span<const Piece> pieces, std::uint64_t now_ns);

  // A claim that begins at `position`: an entry for the index. In order, while or after it is planned.
  void note_claim(std::uint64_t position, std::uint64_t offset, std::uint64_t latest_ns) {
    index_.claim(position, offset, latest_ns);
  }

  // The lines below the mark are flushed. About once a second it goes into the file, which the next job flushes.
  Result<void> flushed(const Mark& mark, std::uint64_t now_ns);

  // Writes the mark if the file's is older than a second; for a topic that fell silent. Unflushed: the kernel's to
  // write.
  Result<void> write_mark(std::uint64_t now_ns);

  // Seals at the last mark, and writes the index. Blocks for a few flushes.
  Result<void> seal();
  // The same for a segment whose disk refused: tries to cut and seal what is durable. What stands in the way is no
  // matter: the next segment's first position bounds this one.
  void abandon();

  const layout::SegmentHeader& header() const { return header_; }
  const Mark& mark() const { return mark_; }
  std::uint64_t planned() const { return planned_; }  // the line after the last plan
  bool empty() const { return planned_ == header_.first_position; }
  bool direct() const { return static_cast<bool>(direct_); }
  const std::string& path() const { return path_; }
  std::uint64_t file_bytes() const { return allocated_; }
  // What to allocate next, here or in the segment after this one. Growing waits for all that is in flight, so it had
  // better be rare; and what is allocated and not filled is taken from others.
  std::uint64_t next_step(std::uint64_t now_ns) const;

 private:
  struct Free {
    void operator()(std::byte* bytes) const;
  };
  using Buffer = std::unique_ptr<std::byte[], Free>;
  static constexpr std::size_t kBounceBlocks = 16;
  static constexpr std::size_t kPiecesMost = 64;

  SegmentWriter(const SegmentOptions& options, const layout::SegmentHeader& header)
      : options_(options), header_(header), progress_(header.nonce) {}
  Result<void> prepare_file(const std::string& temporary);
  void open_direct(const std::string& temporary);
  Result<void> grow(std::uint64_t needed, std::uint64_t now_ns);
  Result<void> write_zeros(std::uint64_t from, std::uint64_t bytes);
  int data_fd() const { return direct_ ? direct_.get() : fd_.get(); }

  SegmentOptions options_;
  layout::SegmentHeader header_;
  std::string path_;
  io::Fd fd_;      // buffered: the first page, sealing
  io::Fd direct_;  // data; none where the file system has no O_DIRECT
  ProgressWriter progress_;
  IndexBuilder index_;
  Mark mark_;
  std::uint64_t planned_ = 0;
  std::uint64_t marked_ns_ = 0;  // when the mark was last written
  Mark written_;                 // the one in the file

  std::uint64_t allocated_ = 0;  // bytes
  std::uint64_t step_ = 0;
  std::uint64_t grown_ns_ = 0;

  // What a job reads until it is complete, besides the caller's lines.
  struct Shelf {
    std::byte* blocks = nullptr;  // kBounceBlocks of them
    std::size_t used = 0;
    std::array<iovec, kPiecesMost> pieces{};
    std::size_t count = 0;
    bool append(const std::byte* data, std::size_t bytes);
  };
  Buffer bounce_;              // the shelves' blocks, and the last, partly filled block
  std::byte* tail_ = nullptr;  // that one
  std::array<Shelf, kJobsInFlight> shelves_;
  std::size_t turn_ = 0;
  bool flush_file_ = false;  // the mark was written: the next job flushes it, too
};

}  // namespace penstock::storage
