#include "storage/verify.hpp"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "io/file.hpp"
#include "storage/index.hpp"
#include "storage/segment_set.hpp"

namespace penstock::storage {
namespace {

void problem(FileReport& report, std::string text) {
  report.ok = false;
  report.problems.push_back(std::move(text));
}

// The first byte in [from, to) that is not zero; nothing beyond the file's end counts.
Result<std::optional<std::uint64_t>> first_nonzero(int fd, std::uint64_t from, std::uint64_t to) {
  std::array<std::byte, 64 * 1024> buffer;
  while (from < to) {
    const auto wanted = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), to - from));
    const Result<std::size_t> n = io::pread_some(fd, wanted, from);
    if (!n) return tl::unexpected(n.error());
    for (std::size_t i = 0; i < *n; ++i) {
      if (buffer[i] != std::byte{0}) return std::optional<std::uint64_t>(from + i);
    }
    if (*n < wanted.size()) break;
    from += *n;
  }
  return std::optional<std::uint64_t>{};
}

class Check {
 public:
  Check(SegmentReader& reader, int fd, FileReport& report) : reader_(reader), fd_(fd), report_(report) {}

  Result<void> run() {
    check_front();
    if (Result<void> done = check_zeros(layout::kSegmentDataAt, file_offset(reader_.header().first_position),
                                        "before its first record");
        !done) {
      return done;
    }
    if (Result<void> done = check_records(); !done) return done;
    if (reader_.sealed()) {
      if (Result<void> done = check_end(); !done) return done;
    }
    check_index();
    return {};
  }

 private:
  std::uint64_t file_offset(std::uint64_t position) const {
    return layout::segment_file_offset(reader_.header().first_position, position);
  }

  void check_front() {
    const Front& front = reader_.front();
    for (std::size_t i = 0; i < 2; ++i) {
      const std::string copy = i == 0 ? "first" : "second";
      if (!front.header_good[i]) problem(report_, "the " + copy + " copy of the header is damaged");
      if (!front.progress_good[i]) problem(report_, "the " + copy + " mark of progress is damaged");
    }
    if (front.header_good[0] && front.header_good[1] && !front.headers_equal) {
      problem(report_, "the copies of the header differ");
    }
    if (reader_.sealed() && front.progress_good[0] && front.progress_good[1] && !front.marks_equal) {
      problem(report_, "sealing was not finished: the marks of progress differ");
    }
    if (!front.rest_zero) problem(report_, "bytes of the first page that should be zero are not");
    const std::string& path = reader_.path();
    const std::size_t slash = path.rfind('/');
    const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
    const auto named = offset_in_name(name);
    if (named && *named != reader_.header().first_offset) problem(report_, "the name is another first offset's");
  }

  Result<void> check_zeros(std::uint64_t from, std::uint64_t to, const char* where) {
    const Result<std::optional<std::uint64_t>> found = first_nonzero(fd_, from, to);
    if (!found) return tl::unexpected(found.error());
    if (*found) problem(report_, "byte " + std::to_string(**found) + " " + where + " is not zero");
    return {};
  }

  Result<void> check_records() {
    reader_.seek_start();
    for (;;) {
      const Result<Item> item = reader_.next();
      if (!item) return tl::unexpected(item.error());
      if (item->kind == ItemKind::end) return {};
      if (item->kind == ItemKind::damage) {
        problem(report_, "bytes " + std::to_string(item->file_begin) + " to " + std::to_string(item->file_end) + ": " +
                             item->problem + "; " + std::to_string(item->count) + " offsets from " +
                             std::to_string(item->offset) + " on may be missing");
        damaged_ = true;
        continue;
      }
      if (item->kind == ItemKind::compacted) {
        const std::uint64_t body = file_offset(item->position) + layout::kLine;
        if (Result<void> done = check_zeros(body, file_offset(item->next.position), "of a compacted run"); !done) {
          return done;
        }
      }
      if (item->kind != ItemKind::event) continue;
      ++report_.events;
      report_.last_offset = item->offset;
      latest_ = std::max(latest_, item->record.head.time);
    }
  }

  Result<void> check_end() {
    const layout::SegmentProgress& seal = *reader_.front().progress;
    const bool whole = reader_.boundary().position == seal.position;
    if (!damaged_ && whole && (report_.events != seal.events || latest_ != seal.last_time_ns)) {
      problem(report_, "holds " + std::to_string(report_.events) + " events, but was sealed with " +
                           std::to_string(seal.events) + " or another latest time");
    }
    return check_zeros(file_offset(seal.position), ~std::uint64_t{0}, "after its end");
  }

  // A cache that may be missing; if it is there it must be whole and name claims that stand where it says.
  void check_index() {
    const std::string directory = io::directory_of(reader_.path());
    const Result<std::vector<layout::IndexEntry>> entries = read_index(directory, reader_.header());
    if (!entries) {
      if (entries.error().code() == Errc::corrupt)
        problem(report_, "its index is damaged; remove it to have it rebuilt");
      return;
    }
    if (damaged_) return;
    for (const layout::IndexEntry& entry : *entries) {
      if (reader_.seek(entry.position, entry.offset)) continue;
      problem(report_, "its index is wrong; remove it to have it rebuilt");
      return;
    }
  }

  SegmentReader& reader_;
  int fd_;
  FileReport& report_;
  std::uint64_t latest_ = 0;
  bool damaged_ = false;
};

// A file that is not this topic's, told as one that holds nothing of it.
std::optional<FileReport> foreign_file(const SegmentSet& set, std::size_t index) {
  const Result<SegmentReader> reader = SegmentReader::open(set.path(index), layout::kPage);
  if (!reader || !set.foreign(reader->header())) return std::nullopt;
  FileReport report;
  report.file = set.path(index);
  const char* text = reader->header().topic.text;
  problem(report, "it is a segment of another topic, " + std::string(text, ::strnlen(text, layout::kNameMax)) +
                      "; move it back, or out of this folder");
  return report;
}

}  // namespace

Result<FileReport> verify_segment(const std::string& path, const std::optional<Boundary>& limit) {
  FileReport report;
  report.file = path;
  Result<SegmentReader> reader = SegmentReader::open(path);
  if (!reader) {
    if (reader.error().code() != Errc::corrupt) return tl::unexpected(reader.error());
    problem(report, "no copy of the header holds");
    return report;
  }
  const Result<io::Fd> fd = io::open_nofollow(path, O_RDONLY);
  if (!fd) return tl::unexpected(fd.error());
  if (limit) reader->set_limit(limit);
  report.first_offset = report.last_offset = reader->header().first_offset;
  if (Result<void> done = Check(*reader, fd->get(), report).run(); !done) return tl::unexpected(done.error());
  return report;
}

Result<std::vector<FileReport>> verify_directory(const std::string& directory, const std::optional<Boundary>& limit,
                                                 std::uint64_t topic_id,
                                                 const std::function<bool(const FileReport&)>& each) {
  SegmentSet set(directory, topic_id);
  if (Result<void> done = set.refresh(); !done) return tl::unexpected(done.error());
  std::vector<FileReport> reports;
  const auto keep = [&](FileReport&& report) {
    reports.push_back(std::move(report));
    return !each || each(reports.back());
  };
  std::optional<layout::SegmentProgress> before;
  std::uint64_t nonce = 0;
  for (std::size_t i = 0; i < set.size(); ++i) {
    if (auto foreign = foreign_file(set, i)) {
      if (!keep(std::move(*foreign))) break;
      continue;
    }
    std::optional<Boundary> bound = limit;
    if (i + 1 < set.size()) {
      const Result<SegmentReader> next = SegmentReader::open(set.path(i + 1), layout::kPage);
      if (next && !set.foreign(next->header()) && (!bound || next->header().first_position < bound->position)) {
        bound = Boundary{next->header().first_position, next->header().first_offset};
      }
    }
    Result<FileReport> report = verify_segment(set.path(i), bound);
    if (!report && report.error().code() == Errc::not_found) {  // deleted meanwhile
      before.reset();
      continue;
    }
    if (!report) return tl::unexpected(report.error());
    const Result<SegmentReader> reader = SegmentReader::open(set.path(i), layout::kPage);
    if (reader && before) {
      const layout::SegmentHeader& header = reader->header();
      if (header.first_offset > before->offset &&
          (header.nonce == nonce || header.first_position != before->position)) {
        problem(*report, "offsets " + std::to_string(before->offset) + " to " +
                             std::to_string(header.first_offset - 1) + " before it are missing");
      }
    }
    before.reset();
    if (reader && reader->sealed()) before = reader->front().progress, nonce = reader->header().nonce;
    if (!keep(std::move(*report))) break;
  }
  return reports;
}

}  // namespace penstock::storage
