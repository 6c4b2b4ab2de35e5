#include "group/region.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace penstock::group {
namespace {

using namespace layout;

constexpr std::uint32_t kGrowthMost = 4096;        // cells a step: 256 KiB
constexpr std::uint64_t kLettersStep = kPage * 8;  // marks a page holds
constexpr std::uint64_t kDedupeEntriesMax = std::uint64_t{kDedupeMax} * 4;

void raise(Word& word, std::uint64_t to) {
  std::uint64_t seen = word.load();
  while (seen < to && !word.compare_exchange_weak(seen, to)) {
  }
}

void copy_name(Name& name, std::string_view text) {
  const std::size_t size = std::min(text.size(), kNameMax);
  std::memcpy(name.text, text.data(), size);
}

}  // namespace

Result<Region> Region::open(std::span<std::byte> mapping, Allocate allocate) {
  if (mapping.size() < kGroupTopicBytes) return tl::unexpected(Error(Errc::corrupt));
  const auto& header = reinterpret_cast<const GroupTopicControl*>(mapping.data())->header;
  const Preamble& preamble = header.preamble;
  if (preamble.magic != kMagicGroupTopic || preamble.version != kLayoutVersion ||
      preamble.size != sizeof(GroupTopicHeader) || preamble.incompat != 0 || preamble.ro_compat != 0) {
    return tl::unexpected(Error(Errc::incompatible, preamble.version));
  }
  const std::uint64_t entries = header.dedupe_entries;
  const bool sane = entries == 0 || (std::has_single_bit(entries) && entries >= kBucketEntries &&
                                     entries <= kDedupeEntriesMax && file_bytes(entries) <= mapping.size());
  if (!sane) return tl::unexpected(Error(Errc::corrupt));
  return Region(mapping.data(), entries, std::move(allocate));
}

std::uint32_t Region::cells() const {
  const std::uint64_t said = control().cells_allocated.load();
  return std::uint32_t(std::min<std::uint64_t>(said, kCellsMax)) / kGroupCells * kGroupCells;
}

Cell& Region::cell(std::uint32_t index) const {
  return *reinterpret_cast<Cell*>(base_ + kCellsAt + std::size_t{index} * sizeof(Cell));
}

Result<void> Region::grow_cells() const {
  const std::uint32_t have = cells();
  if (have >= kCellsMax) return tl::unexpected(Error(Errc::too_many, kCellsMax));
  const std::uint32_t step = std::min(std::clamp(have, kGroupCells, kGrowthMost), kCellsMax - have);
  // With their bits and due words: an idle group has none of the three.
  const std::size_t word = have / kGroupCells * sizeof(Word), words = step / kGroupCells * sizeof(Word);
  if (!allocate(offsetof(GroupTopicControl, occupied) + word, words) ||
      !allocate(offsetof(GroupTopicControl, due) + word, words) ||
      !allocate(kCellsAt + std::size_t{have} * sizeof(Cell), std::size_t{step} * sizeof(Cell))) {
    return tl::unexpected(Error(Errc::no_space));
  }
  raise(control().cells_allocated, have + step);
  return {};
}

Word* Region::note(std::uint32_t cell, std::uint32_t parity, bool allocate_it) const {
  const std::size_t size = 2 * sizeof(layout::Note);
  std::uint64_t have = std::min<std::uint64_t>(control().notes_allocated.load(), kCellsMax);
  if (cell >= have) {
    have = have / kGroupCells * kGroupCells;
    const std::uint64_t want = std::min<std::uint64_t>(cell / kGroupCells * kGroupCells + kGroupCells, kCellsMax);
    if (!allocate_it || cell >= want || !allocate(kNotesAt + have * size, (want - have) * size)) return nullptr;
    raise(control().notes_allocated, want);
  }
  return reinterpret_cast<Word*>(base_ + kNotesAt + cell * size + (parity & 1) * sizeof(layout::Note));
}

layout::Lane* Region::lane(std::uint32_t cell, bool allocate_it) const {
  const std::uint64_t have = std::min<std::uint64_t>(control().lanes_allocated.load(), kCellsMax);
  if (cell >= have) {
    // As many as there are cells.
    const std::uint64_t from = have / kGroupCells * kGroupCells, want = allocate_it ? cells() : 0;
    if (cell >= want || !allocate(kLanesAt + from * sizeof(Lane), (want - from) * sizeof(Lane))) return nullptr;
    raise(control().lanes_allocated, want);
  }
  return reinterpret_cast<Lane*>(base_ + kLanesAt) + cell;
}

Pair* Region::lane_bucket(std::uint32_t bucket, bool allocate_it) const {
  const std::size_t at = std::size_t{bucket % kLaneBuckets} * kLaneBucketEntries * sizeof(Pair), page = at / kPage;
  Word& pages = control().lane_pages[page / 64];
  if ((pages.load() >> page % 64 & 1) == 0) {
    if (!allocate_it || !allocate(kLaneTableAt + page * kPage, kPage)) return nullptr;
    pages.fetch_or(std::uint64_t{1} << page % 64);
  }
  return reinterpret_cast<Pair*>(base_ + kLaneTableAt + at);
}

std::uint64_t Region::letters() const {
  return std::min<std::uint64_t>(control().letters_allocated.load(), kLettersMax) / kLettersStep * kLettersStep;
}

Word* Region::marks(std::uint64_t letter) const {
  if (letter >= letters()) return nullptr;
  return reinterpret_cast<Word*>(base_ + kMarksAt) + letter / 64;
}

Result<void> Region::grow_letters(std::uint64_t letter) const {
  if (letter >= kLettersMax) return tl::unexpected(Error(Errc::too_many, std::uint32_t(kLettersMax)));
  const std::uint64_t have = letters();
  if (letter < have) return {};
  const std::uint64_t want = (letter / kLettersStep + 1) * kLettersStep;
  if (!allocate(kMarksAt + have / 8, (want - have) / 8)) return tl::unexpected(Error(Errc::no_space));
  raise(control().letters_allocated, want);
  return {};
}

bool Region::has_dedupe() const { return dedupe_entries_ != 0 && control().dedupe_allocated.load() == 1; }

Result<void> Region::allocate_dedupe() const {
  if (dedupe_entries_ == 0 || has_dedupe()) return {};
  if (!allocate(kDedupeAt, dedupe_entries_ * sizeof(DedupeEntry))) return tl::unexpected(Error(Errc::no_space));
  control().dedupe_allocated.store(1);
  return {};
}

DedupeEntry* Region::bucket(std::uint64_t number) const {
  return reinterpret_cast<DedupeEntry*>(base_ + kDedupeAt) + number * kBucketEntries;
}

void format(std::span<std::byte> mapping, std::uint64_t bus_id, std::uint64_t boot_id, std::uint64_t group_id,
            std::uint64_t topic_id, std::uint64_t dedupe_entries, std::string_view group, std::string_view topic) {
  auto& header = reinterpret_cast<GroupTopicControl*>(mapping.data())->header;
  header.preamble = {kMagicGroupTopic, kLayoutVersion, sizeof(GroupTopicHeader), 0, 0, 0, bus_id, boot_id, 0};
  header.topic_id = topic_id;
  header.group_id = group_id;
  header.dedupe_entries = dedupe_entries;
  copy_name(header.group, group);
  copy_name(header.topic, topic);
}

std::uint64_t dedupe_entries_for(std::uint64_t window) {
  if (window == 0) return 0;
  return std::max<std::uint64_t>(std::bit_ceil(std::min<std::uint64_t>(window, kDedupeMax) * 4), kBucketEntries);
}

std::size_t file_bytes(std::uint64_t dedupe_entries) { return kGroupTopicBytes + dedupe_entries * sizeof(DedupeEntry); }

}  // namespace penstock::group
