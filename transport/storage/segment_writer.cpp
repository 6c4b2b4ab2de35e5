#include "storage/segment_writer.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace penstock::storage {
namespace {

using layout::kLine;
using layout::kPage;

constexpr std::uint64_t kStepLeast = 256 << 10;
constexpr std::uint64_t kStepMost = 64 << 20;
constexpr std::uint64_t kStepFactor = 4;
// A step up to this size is written with zeros when it is allocated: overwriting written blocks makes each small flush
// a third cheaper. Larger steps are for topics whose stream of bytes would only be doubled by that.
constexpr std::uint64_t kPrewriteMost = 1 << 20;
constexpr std::uint64_t kQuick = 1'000'000'000;      // ns: a step that lasted no longer was too small
constexpr std::uint64_t kSlow = 60'000'000'000;      // and one that lasted longer, too large
constexpr std::uint64_t kMarkEvery = 1'000'000'000;  // ns between marks
constexpr std::uint64_t kJobBytesMost = 32 << 20;
// Jobs from this size on end with a block, so that the next need not wait for them.
constexpr std::uint64_t kLargeJob = 256 << 10;

constexpr std::size_t kZeroBytes = 64 << 10;
alignas(layout::kPage) std::byte zeros[kZeroBytes];  // never written; aligned as O_DIRECT wants it

constexpr std::uint64_t round_up(std::uint64_t value) { return (value + kPage - 1) / kPage * kPage; }

// Walks the pieces as one run of bytes.
class Source {
 public:
  explicit Source(std::span<const Piece> pieces) : pieces_(pieces) { skip_empty(); }
  bool done() const { return pieces_.empty(); }
  std::uint64_t left_in_piece() const { return pieces_.front().bytes - at_; }
  // Where the next bytes stand; null: they are zeros.
  const std::byte* data() const { return pieces_.front().data == nullptr ? nullptr : pieces_.front().data + at_; }
  void take(std::uint64_t bytes) {
    at_ += bytes;
    skip_empty();
  }
  // Copies up to `bytes` and takes them; how many.
  std::size_t copy(std::byte* to, std::size_t bytes) {
    std::size_t done_bytes = 0;
    while (done_bytes < bytes && !done()) {
      const std::size_t n = std::min<std::uint64_t>(bytes - done_bytes, left_in_piece());
      if (data() == nullptr)
        std::memset(to + done_bytes, 0, n);
      else
        std::memcpy(to + done_bytes, data(), n);
      done_bytes += n;
      take(n);
    }
    return done_bytes;
  }

 private:
  void skip_empty() {
    while (!pieces_.empty() && at_ >= pieces_.front().bytes) {
      at_ = 0;
      pieces_ = pieces_.subspan(1);
    }
  }
  std::span<const Piece> pieces_;
  std::uint64_t at_ = 0;
};

}  // namespace

void SegmentWriter::Free::operator()(std::byte* bytes) const { std::free(bytes); }

Result<std::unique_ptr<SegmentWriter>> SegmentWriter::create(const SegmentOptions& options, std::uint64_t first_offset,
                                                             std::uint64_t first_position, std::uint64_t now_ns) {
  const layout::SegmentHeader header =
      make_header(options.bus_id, options.topic_id, options.nonce, options.topic, first_offset, first_position, now_ns);
  std::unique_ptr<SegmentWriter> writer(new SegmentWriter(options, header));
  constexpr std::size_t kShelf = kBounceBlocks * kPage;
  writer->bounce_.reset(static_cast<std::byte*>(std::aligned_alloc(kPage, kJobsInFlight * kShelf + kPage)));
  if (writer->bounce_ == nullptr) return tl::unexpected(io::error_of(ENOMEM));
  for (std::size_t i = 0; i < kJobsInFlight; ++i) writer->shelves_[i].blocks = writer->bounce_.get() + i * kShelf;
  writer->tail_ = writer->bounce_.get() + kJobsInFlight * kShelf;
  std::memset(writer->tail_, 0, kPage);  // lines before the first are zero
  writer->path_ = options.directory + "/" + segment_name(first_offset);
  writer->planned_ = first_position;
  writer->mark_ = writer->written_ = {first_position, first_offset, 0, 0};
  writer->grown_ns_ = writer->marked_ns_ = now_ns;
  const std::string temporary = writer->path_ + ".tmp";
  Result<void> done = io::remove_file(temporary);
  if (done) done = writer->prepare_file(temporary);
  if (done) done = io::rename_into_place(temporary, writer->path_, true);
  if (!done) {
    (void)io::remove_file(temporary);
    return tl::unexpected(done.error());
  }
  // An index of a segment that had this name before is about other positions.
  (void)io::remove_file(options.directory + "/" + index_name(first_offset));
  return writer;
}

Result<void> SegmentWriter::prepare_file(const std::string& temporary) {
  Result<io::Fd> fd = io::create_file(temporary, options_.mode);
  if (!fd) return tl::unexpected(fd.error());
  fd_ = std::move(*fd);
  if (options_.direct) open_direct(temporary);
  Result<void> done = grow(kPage + kPage, grown_ns_);
  if (done) done = write_front(fd_.get(), header_);
  if (done) done = io::sync_all(fd_.get());
  return done;
}

// Some file systems refuse O_DIRECT when opened, some when written to. Either way buffered writing does as well.
void SegmentWriter::open_direct(const std::string& temporary) {
  Result<io::Fd> direct = io::open_nofollow(temporary, O_RDWR | O_DIRECT);
  if (direct && io::pwrite_exact(direct->get(), std::span(zeros).first(kPage), 0)) direct_ = std::move(*direct);
}

bool SegmentWriter::fits(std::uint64_t position, std::uint64_t lines) const {
  if (position == header_.first_position) return true;
  return layout::segment_file_offset(header_.first_position, position + lines) <= options_.segment_bytes;
}

std::uint64_t SegmentWriter::next_step(std::uint64_t now_ns) const {
  const std::uint64_t lasted = now_ns - grown_ns_;
  const std::uint64_t step = lasted < kQuick ? step_ * kStepFactor : lasted > kSlow ? step_ / kStepFactor : step_;
  return std::clamp(step, kStepLeast, kStepMost);
}

Result<void> SegmentWriter::grow(std::uint64_t needed, std::uint64_t now_ns) {
  if (needed <= allocated_) return {};
  const std::uint64_t step = allocated_ == 0 ? std::clamp(options_.step, kStepLeast, kStepMost) : next_step(now_ns);
  std::uint64_t end = std::max(round_up(needed), allocated_ + step);
  // Not past the segment's size without need.
  if (round_up(needed) <= options_.segment_bytes) end = std::min(end, round_up(options_.segment_bytes));
  Result<void> done = io::allocate(fd_.get(), allocated_, end - allocated_);
  if (!done && done.error().code() == Errc::no_space && end > round_up(needed)) {
    end = round_up(needed);  // what is left may be just enough
    done = io::allocate(fd_.get(), allocated_, end - allocated_);
  }
  if (!done) return done;
  if (end - allocated_ <= kPrewriteMost) {
    done = write_zeros(allocated_, end - allocated_);
    if (!done) return done;
  }
  allocated_ = end;
  step_ = step;
  grown_ns_ = now_ns;
  return {};
}

Result<void> SegmentWriter::write_zeros(std::uint64_t from, std::uint64_t bytes) {
  while (bytes > 0) {
    const std::uint64_t n = std::min<std::uint64_t>(bytes, kZeroBytes);
    if (Result<void> done = io::pwrite_exact(data_fd(), std::span(zeros).first(n), from); !done) return done;
    from += n, bytes -= n;
  }
  return {};
}

// Adds bytes to the job; false: it is full.
bool SegmentWriter::Shelf::append(const std::byte* data, std::size_t bytes) {
  if (count > 0) {
    iovec& last = pieces[count - 1];
    if (static_cast<const std::byte*>(last.iov_base) + last.iov_len == data) {
      last.iov_len += bytes;
      return true;
    }
  }
  if (count == kPiecesMost) return false;
  pieces[count++] = {const_cast<std::byte*>(data), bytes};  // iovec knows no const; the job only reads
  return true;
}

Result<Plan> SegmentWriter::plan(std::uint64_t position, std::span<const Piece> pieces, std::uint64_t now_ns) {
  std::uint64_t bytes = 0;
  for (const Piece& piece : pieces) {
    if (piece.bytes % kLine != 0) return tl::unexpected(Error(Errc::invalid_argument));
    bytes += piece.bytes;
  }
  if (position != planned_ || bytes == 0) return tl::unexpected(Error(Errc::invalid_argument));
  bytes = std::min(bytes, kJobBytesMost);
  const std::uint64_t begin = layout::segment_file_offset(header_.first_position, position);
  std::uint64_t end = begin + bytes;
  if (bytes >= kLargeJob) end = end / kPage * kPage;
  if (Result<void> done = grow(round_up(end), now_ns); !done) return tl::unexpected(done.error());

  Source source(pieces);
  Shelf& shelf = shelves_[turn_++ % kJobsInFlight];
  shelf.used = shelf.count = 0;
  std::uint64_t at = begin;
  while (at < end) {
    const std::size_t into = at % kPage;
    const std::size_t wanted = std::min<std::uint64_t>(kPage - into, end - at);
    if (wanted == kPage && source.left_in_piece() >= kPage) {
      // A block that needs no copy: zeros, or memory aligned as the file is.
      const std::byte* data = source.data() == nullptr ? zeros : source.data();
      if (reinterpret_cast<std::uintptr_t>(data) % kPage == 0) {
        if (!shelf.append(data, kPage)) break;
        source.take(kPage), at += kPage;
        continue;
      }
    }
    if (shelf.used == kBounceBlocks || shelf.count == kPiecesMost) break;
    std::byte* const block = shelf.blocks + shelf.used++ * kPage;
    if (into > 0) std::memcpy(block, tail_, into);
    source.copy(block + into, wanted);
    if (into + wanted < kPage) {
      std::memset(block + into + wanted, 0, kPage - into - wanted);
      std::memcpy(tail_, block, kPage);
    }
    shelf.append(block, kPage);
    at += wanted;
  }
  planned_ = position + (at - begin) / kLine;
  Plan plan;
  plan.job.fd = data_fd();
  plan.job.file_offset = begin / kPage * kPage;
  plan.job.pieces = std::span<const iovec>(shelf.pieces).first(shelf.count);
  plan.job.flush = std::exchange(flush_file_, false) ? io::Flush::file : io::Flush::bytes;
  plan.lines = (at - begin) / kLine;
  plan.ends_block = at % kPage == 0;
  return plan;
}

Result<void> SegmentWriter::flushed(const Mark& mark, std::uint64_t now_ns) {
  mark_ = mark;
  return write_mark(now_ns);
}

Result<void> SegmentWriter::write_mark(std::uint64_t now_ns) {
  if (mark_ == written_ || now_ns - marked_ns_ < kMarkEvery) return {};
  marked_ns_ = now_ns;
  Result<void> done = progress_.write(fd_.get(), mark_, false);
  if (done) written_ = mark_, flush_file_ = true;
  return done;
}

Result<void> SegmentWriter::seal() {
  Result<void> done = storage::seal(fd_.get(), header_, progress_, mark_);
  if (!done) return done;
  allocated_ = round_up(layout::segment_file_offset(header_.first_position, mark_.position));
  // A cache: without it, whoever needs it walks the segment.
  (void)write_index(options_.directory, header_, index_.entries(), options_.mode, true);
  return {};
}

void SegmentWriter::abandon() {
  if (mark_.position == header_.first_position) {
    (void)io::remove_file(path_);  // nothing in it is durable; its successor has the same name
    return;
  }
  (void)seal();
}

}  // namespace penstock::storage
