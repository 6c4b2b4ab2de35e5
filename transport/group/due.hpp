// When the earliest of many cells is due, kept as lower bounds: one word for 64 cells, and one over all of them, so
// that asking for due work is one load, and finding it never looks at cells that are not due.
//
// The promise: a word is never later than any time it stands for. Who writes an earlier time lowers the words before
// and again after it changes the cell; who has found nothing due raises them again in three steps: put a mark of his
// own into the word, look at all that the word stands for, replace the mark by the earliest time found. A mark counts
// as due, so a raiser who dies leaves no more than a needless look. A writer who meets a mark makes it dirty, and then
// the raiser's last step fails and leaves the word due: whatever he may have overlooked is looked for again.
//   Why nothing is overlooked: a writer changes his cell before he looks at the word for the second time. If that look
//   comes before the mark, the raiser, who looks at the cells after placing it, sees the change. If it comes after, it
//   meets the mark and dirties it, or meets the raised word and lowers it. (All of these are sequentially consistent.)
// What remains is a writer who dies between the two: a sweep, which looks at every cell, lowers the words for him.
// A TENTATIVE cell that no cursor names holds no event: once its time has passed it is left out, or a member stopped in
// the middle of taking would keep the word due. It announces its lease again when it has the event.
#pragma once

#include "group/region.hpp"

namespace penstock::group {

inline constexpr std::uint64_t kDueMark = 1ull << 63;
inline constexpr std::uint64_t kDueDirty = 1ull << 62;

// True for marks, and for times that cannot be.
constexpr bool is_due(std::uint64_t word, std::int64_t now) {
  return word > std::uint64_t(kNever) || std::int64_t(word) <= now;
}
// A cell's time as a bound: what cannot be is due at once.
constexpr std::uint64_t bound_of(std::uint64_t time) { return time > std::uint64_t(kNever) ? 0 : time; }

// The word stands for this time too.
void lower(layout::Word& word, std::uint64_t time);
// The cell's time becomes, or has become, this: both its words know. Before and after the cell changes.
void announce(const Region& region, std::uint32_t cell, std::uint64_t time);

// Each raise needs a mark that nobody used before in this life of the shared memory.
class RaiseMarks {
 public:
  explicit RaiseMarks(Member member)
      : base_(kDueMark | std::uint64_t(member.slot & 0xfff) << 50 | std::uint64_t(member.incarnation & 0xfff) << 38) {}
  std::uint64_t next() { return base_ | (++count_ & ((1ull << 38) - 1)); }

 private:
  std::uint64_t base_;
  std::uint64_t count_ = 0;
};

// Nothing in this group of 64 is due any more: its word becomes the earliest time in it. `named`: the cursor's cell.
void raise_group(const Region& region, std::uint32_t group, std::uint64_t mark, std::int64_t now, std::uint32_t named);
// No group is due any more: the word over all becomes the earliest of theirs.
void raise_all(const Region& region, std::uint64_t mark);

}  // namespace penstock::group
