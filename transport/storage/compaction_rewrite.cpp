// A segment's compacted successor: what stays is copied to the same place, everything else becomes runs.
#include <algorithm>
#include <array>
#include <cstring>

#include "io/file.hpp"
#include "storage/compaction.hpp"

namespace penstock::storage {
namespace {

using layout::kLine;
using layout::kPage;

constexpr std::uint64_t kSyncEvery = 4 << 20;  // bytes written: no burst for the persister's flushes to wait behind

// Bytes at rising places of a file. Pages that get none are never written: they stay holes.
class SparseWriter {
 public:
  explicit SparseWriter(int fd) : fd_(fd) {}

  Result<void> put(std::uint64_t at, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      if (!used_ || at / kPage != page_) {
        if (Result<void> done = flush(); !done) return done;
        page_ = at / kPage, used_ = true;
      }
      const std::size_t n = std::min<std::size_t>(bytes.size(), kPage - at % kPage);
      std::memcpy(bytes_.data() + at % kPage, bytes.data(), n);
      bytes = bytes.subspan(n), at += n;
    }
    return {};
  }
  Result<void> flush() {
    if (!used_) return {};
    Result<void> done = io::pwrite_exact(fd_, bytes_, page_ * kPage);
    bytes_.fill(std::byte{0});
    used_ = false;
    unsynced_ += kPage;
    if (!done || unsynced_ < kSyncEvery) return done;
    unsynced_ = 0;
    return io::sync_data(fd_);
  }

 private:
  int fd_;
  bool used_ = false;
  std::uint64_t page_ = 0, unsynced_ = 0;
  std::array<std::byte, kPage> bytes_{};
};

// Claims at rising positions, with runs between them.
class Successor {
 public:
  Successor(std::uint64_t nonce, Boundary first, int fd)
      : nonce_(nonce), first_(first), run_(first), end_(first), out_(fd) {}

  // Nothing stays up to this place, which lies between two records.
  Result<void> skip(const Boundary& to) {
    // What lies between is no longer than a claim, so a run is never too long for one.
    if (to.position - run_.position > layout::kMaxClaimLines) {
      if (Result<void> done = put_run(); !done) return done;
    }
    end_ = to;
    return {};
  }

  Result<void> put(const Item& event) {
    Result<void> done = skip({event.position, event.offset});
    if (done) done = put_run();
    if (!done) return done;
    const Record& record = event.record;
    const std::span<const std::byte> body(record.attributes.data(), record.attributes.size() + record.payload.size());
    Head head = record.head;
    if (event.inner || record.count != 1) make_single(head, event.next.position - event.position, body);
    done = put_bytes(event.position, std::as_bytes(std::span(&head, 1)));
    if (done) done = put_bytes(event.position + 1, body);
    run_ = end_ = {event.next.position, event.next.offset};
    return done;
  }

  Result<void> finish(const Boundary& end) {
    Result<void> done = skip(end);
    if (done) done = put_run();
    return done ? out_.flush() : done;
  }

 private:
  // A batch's record, as an event of its own: the batch is on disk, so nobody waits for the rest of it any more.
  static void make_single(Head& head, std::uint64_t lines, std::span<const std::byte> body) {
    layout::SizeFields sizes = layout::sizes_of(head.sizes);
    sizes.count = 1;
    head.sizes = layout::pack(sizes);
    head.word = layout::pack(layout::WordFields{.state = layout::State::committed,
                                                .lines = static_cast<std::uint32_t>(lines),
                                                .slot = layout::slot_of(head.word),
                                                .incarnation = layout::incarnation_of(head.word),
                                                .generation = layout::generation_of(head.word)});
    head.link = 0;  // the claim before is not known
    head.checksum = checksum_of(head, body);
  }
  Result<void> put_run() {
    if (end_.position == run_.position) return {};
    const Head head = compacted_head(nonce_, run_.offset, end_.offset - run_.offset, end_.position - run_.position);
    const std::uint64_t at = run_.position;
    run_ = end_;
    return put_bytes(at, std::as_bytes(std::span(&head, 1)));
  }
  Result<void> put_bytes(std::uint64_t position, std::span<const std::byte> bytes) {
    return out_.put(layout::segment_file_offset(first_.position, position), bytes);
  }

  std::uint64_t nonce_;
  Boundary first_;
  Boundary run_, end_;  // what was passed over and is not put yet
  SparseWriter out_;
};

// Errc::corrupt: damage was met.
Result<Mark> copy(SegmentReader& from, int fd, const CompactionRule& rule, const std::atomic<bool>& stop) {
  const layout::SegmentHeader& header = from.header();
  Successor to(header.nonce, {header.first_position, header.first_offset}, fd);
  Mark mark;
  from.seek_start();
  for (;;) {
    if (stop.load(std::memory_order_relaxed)) return tl::unexpected(Error(Errc::interrupted));
    const Result<Item> item = from.next();
    if (!item) return tl::unexpected(item.error());
    if (item->kind == ItemKind::damage) return tl::unexpected(Error(Errc::corrupt));
    const bool stays = item->kind == ItemKind::event && rule.stays(*item);
    Result<void> done;
    if (item->kind == ItemKind::end) {
      mark.position = item->position, mark.offset = item->offset;
      done = to.finish({item->position, item->offset});
      if (!done) return tl::unexpected(done.error());
      return mark;
    }
    done = stays ? to.put(*item) : to.skip({item->next.position, item->next.offset});
    if (!done) return tl::unexpected(done.error());
    if (!stays) continue;
    ++mark.events;
    mark.last_time_ns = std::max(mark.last_time_ns, item->record.head.time);
    if (is_tombstone(*item)) mark.compacted = 1;
  }
}

}  // namespace

Result<Mark> rewrite_segment(SegmentReader& from, const std::string& to, mode_t mode, const CompactionRule& rule,
                             std::uint64_t compacted, const std::atomic<bool>& stop) {
  const layout::SegmentHeader header = compacted_header(from.header());
  Result<io::Fd> fd = io::create_file(to, mode);
  if (!fd) return tl::unexpected(fd.error());
  Result<void> done = write_front(fd->get(), header);
  if (!done) return tl::unexpected(done.error());
  Result<Mark> mark = copy(from, fd->get(), rule, stop);
  if (!mark) return mark;
  mark->compacted |= compacted & ~std::uint64_t{1};
  const std::uint64_t end = layout::segment_file_offset(header.first_position, mark->position);
  done = io::truncate(fd->get(), (end + kPage - 1) / kPage * kPage);
  // Both slots, as sealing does. Nobody reads them before the file has its name.
  ProgressWriter progress(header.nonce);
  for (int i = 0; i < 2 && done; ++i) done = progress.write(fd->get(), *mark, true);
  if (done) done = io::sync_all(fd->get());
  if (!done) return tl::unexpected(done.error());
  return mark;
}

}  // namespace penstock::storage
