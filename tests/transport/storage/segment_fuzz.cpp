// A segment file and its index that hold anything, at any length. Reading, seeking, verifying and recovering end, say
// what they could not read, and hand over nothing whose checksum does not hold.
#include <fcntl.h>

#include "io/file.hpp"
#include "log/checksum.hpp"
#include "log_builder.hpp"
#include "storage/compaction.hpp"
#include "storage/index.hpp"
#include "storage/log_reader.hpp"
#include "storage/recover.hpp"
#include "storage/segment_set.hpp"
#include "storage/verify.hpp"
#include "tests/support/fuzz.hpp"
#include "tests/support/scratch.hpp"

namespace penstock::fuzz {
namespace {

using namespace storage;

constexpr std::uint64_t kFirst = 3;  // the first offset, which is the file's name

// What an input begins with; the index's bytes follow, and the segment's.
struct Words {
  std::uint64_t mend;   // a bit for each checksum that is made to fit: 0, 1 headers, 2, 3 marks, 4 index, 8.. lines
  std::uint64_t limit;  // 0: none; else the durable end is so many lines from the first
  std::uint64_t seek;   // an offset, a time
  std::uint32_t index_bytes;
  std::uint32_t second;  // odd: a good segment follows
};

LogBuilder small_log() {
  LogBuilder log(kFirst, 70);
  log.event("a").batch({"b", "cc", std::string(90, 'd')}).aborted(2, 3).event(std::string(200, 'e'), 2).pad(4);
  log.event("f");
  return log;
}
LogBuilder second_log() {
  const Mark end = small_log().mark();
  LogBuilder log(end.offset, end.position);
  log.event("g").event("h");
  return log;
}

Bytes input_of(const Words& words, const Bytes& index, const Bytes& segment) {
  Words out = words;
  out.index_bytes = std::uint32_t(index.size());
  return Maker().put(out).put(index).put(segment).done();
}

std::vector<Bytes> seeds() {
  const test::Scratch directory;
  const LogBuilder log = small_log();
  log.write_open(directory.path());
  const Bytes open = read_all(log.path_in(directory.path()));
  std::filesystem::remove(log.path_in(directory.path()));
  log.write_sealed(directory.path());
  const Bytes sealed = read_all(log.path_in(directory.path()));
  static_cast<void>(rebuild_index(directory.path(), kFirst, 0600));
  const Bytes index = read_all(directory / index_name(kFirst));
  std::vector<Bytes> out;
  for (const std::uint32_t second : {0u, 1u}) {
    out.push_back(input_of({.second = second}, {}, open));
    out.push_back(input_of({.limit = 20, .seek = 5, .second = second}, {}, open));
    out.push_back(input_of({.mend = ~0ull, .seek = 7, .second = second}, index, sealed));
  }
  {
    const test::Scratch other;
    LogBuilder keyed(kFirst, 70);
    keyed.keyed("a", "1").batch_of({"2", "3"}, {"a", "b"}).aborted(1, 2).keyed("b", "4").keyed("a", "");
    keyed.write_sealed(other.path());
    const Replace replace = [&](std::uint64_t first, const std::string& temporary) -> Result<bool> {
      std::filesystem::rename(temporary, other / segment_name(first));
      return true;
    };
    const std::atomic<bool> stop{false};
    const auto compacted = compact({.directory = other.path(), .segments = {kFirst}, .now_ns = 1000}, replace, stop);
    if (!compacted || compacted->segments != 1) std::abort();
    const Bytes index_there = read_all(other / index_name(kFirst)), bytes = read_all(keyed.path_in(other.path()));
    out.push_back(input_of({.mend = ~0ull, .seek = 4}, index_there, bytes));
    out.push_back(input_of({.mend = ~0ull, .seek = 6}, {}, bytes));
  }
  // Marks that no file reaches to: counted in bytes they come round to small numbers.
  for (const std::uint64_t far : {1ull << 56, 1ull << 58, ~0ull << 8}) {
    Bytes bytes = open;
    for (const std::uint64_t at : layout::kProgressAt)
      std::memcpy(bytes.data() + at + offsetof(layout::SegmentProgress, position), &far, sizeof far);
    out.push_back(input_of({.mend = 12}, {}, bytes));
  }
  // A segment under another's name.
  Bytes renamed = sealed;
  const std::uint64_t other = 1;
  for (const std::uint64_t at : layout::kHeaderAt)
    std::memcpy(renamed.data() + at + offsetof(layout::SegmentHeader, first_offset), &other, sizeof other);
  out.push_back(input_of({.mend = 3}, {}, renamed));
  out.push_back(input_of({.mend = 3, .second = 1}, {}, renamed));
  return out;
}

template <class T>
T load(const Bytes& bytes, std::uint64_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

// Mutations hardly ever leave a checksum whole: where asked to, it is computed anew.
void mend_front(Bytes& bytes, std::uint64_t mend) {
  if (bytes.size() < layout::kPage) return;
  for (std::size_t i = 0; i < 2; ++i) {
    if ((mend >> i & 1) == 0) continue;
    auto header = load<layout::SegmentHeader>(bytes, layout::kHeaderAt[i]);
    header.preamble.checksum = 0;
    header.preamble.checksum = log::hash64(&header, sizeof header);
    std::memcpy(bytes.data() + layout::kHeaderAt[i], &header, sizeof header);
  }
  const auto nonce = load<layout::SegmentHeader>(bytes, 0).nonce;
  for (std::size_t i = 0; i < 2; ++i) {
    if ((mend >> (2 + i) & 1) == 0) continue;
    auto mark = load<layout::SegmentProgress>(bytes, layout::kProgressAt[i]);
    mark.checksum = log::hash64(&mark.sequence, sizeof mark - sizeof mark.checksum, nonce);
    std::memcpy(bytes.data() + layout::kProgressAt[i], &mark, sizeof mark);
  }
}

void mend_records(Bytes& bytes, std::uint64_t lines) {
  for (std::uint64_t i = 0; i < 56; ++i) {
    const std::uint64_t at = layout::segment_file_offset(70, 70 + i);
    if ((lines >> i & 1) == 0 || at + layout::kLine > bytes.size()) continue;
    Head head = load<Head>(bytes, at);
    const std::uint64_t size = record_size(head);
    if (size < layout::kLine || size > bytes.size() - at) continue;
    head.checksum = checksum_of(head, Input(bytes).subspan(at + layout::kLine, size - layout::kLine));
    std::memcpy(bytes.data() + at, &head, sizeof head);
  }
}

void mend_index(Bytes& bytes) {
  if (bytes.size() < sizeof(layout::IndexHeader)) return;
  auto header = load<layout::IndexHeader>(bytes, 0);
  header.preamble.checksum = 0;
  const Input body = Input(bytes).subspan(sizeof header);
  header.preamble.checksum = log::hash64(body.data(), body.size(), log::hash64(&header, sizeof header));
  std::memcpy(bytes.data(), &header, sizeof header);
}

template <class Reader>
void walk(Reader& reader, std::uint64_t most) {
  for (std::uint64_t items = 0;; ++items) {
    must(items <= most, "reading ends");
    const Result<Item> item = reader.next();
    if (!item || item->kind == ItemKind::end) return;
    if (item->kind != ItemKind::event) continue;
    const std::span<const std::byte> body{item->record.attributes.data(),
                                          item->record.attributes.size() + item->record.payload.size()};
    must(checksum_of(item->record.head, body) == item->record.head.checksum, "an event's checksum holds");
    must(item->record.offset == item->offset, "an event has its offset");
  }
}

void run(Input input) {
  static const test::Scratch directory;
  Taker taker(input);
  const auto words = taker.take<Words>();
  const Input index_bytes = taker.take(words.index_bytes);
  Bytes index(index_bytes.begin(), index_bytes.end());
  const Input rest = taker.rest();
  Bytes segment(rest.begin(), rest.end());
  mend_front(segment, words.mend);
  mend_records(segment, words.mend >> 8);
  if ((words.mend >> 4 & 1) != 0) mend_index(index);

  const std::string topic = directory / "topic", path = topic + "/" + segment_name(kFirst);
  std::filesystem::remove_all(topic);
  std::filesystem::create_directory(topic);
  test::write_file(path, segment);
  if (!index.empty()) test::write_file(topic + "/" + index_name(kFirst), index);
  const std::uint64_t most = segment.size() / layout::kLine + 64;  // items: each a line or more
  if (words.second % 2 == 1) second_log().write_sealed(topic);

  std::optional<Boundary> limit;
  if (words.limit != 0) limit = Boundary{70 + words.limit % 200, kFirst + words.limit % 200};
  if (Result<SegmentReader> reader = SegmentReader::open(path, layout::kPage)) {
    reader->set_limit(limit);
    walk(*reader, most);
    static_cast<void>(reader->seek(words.seek, kFirst + words.limit));
    walk(*reader, most);
    static_cast<void>(reader->seek_offset(words.seek));
    static_cast<void>(reader->seek_time(words.seek));
    walk(*reader, most);
  }
  LogReader log(topic, 0, layout::kPage);
  log.set_limit(limit);
  static_cast<void>(log.seek_start());
  walk(log, 2 * most);
  static_cast<void>(log.seek(words.seek, words.limit));
  walk(log, 2 * most);
  static_cast<void>(log.seek_time(words.seek));
  walk(log, 2 * most);
  static_cast<void>(verify_directory(topic, limit));

  RecoverOptions options{.durable = limit, .bus_id = 9, .change = false};
  static_cast<void>(recover_topic(topic, std::nullopt, true, options));
  options.change = true;
  const auto first = recover_topic(topic, std::nullopt, true, options);
  const auto again = recover_topic(topic, std::nullopt, true, options);
  must(first.has_value() == again.has_value(), "a recovery can be done again");
  // A first one may have removed a segment that held nothing.
  must(!first || again->found == RecoveryCase::nothing || first->log_offset == again->log_offset,
       "and finds what the first one left");

  const auto replace = [&](std::uint64_t offset, const std::string& temporary) -> Result<bool> {
    std::filesystem::rename(temporary, topic + "/" + segment_name(offset));
    return true;
  };
  SegmentSet left(topic);
  if (!left.refresh()) return;
  const CompactionPlan plan{.directory = topic, .segments = left.first_offsets(), .now_ns = words.seek};
  const auto compacted = compact(plan, replace, std::atomic<bool>(false));
  const auto reports = verify_directory(topic, std::nullopt);
  must(!compacted || compacted->segments == 0 || reports.has_value(), "what compaction wrote can be looked at");
}

}  // namespace

const Target target{seeds, run, 1'500};

}  // namespace penstock::fuzz
