#include "group/marks.hpp"

namespace penstock::group {

bool marked(const Region& region, std::uint64_t letter) {
  const layout::Word* word = region.marks(letter);
  return word != nullptr && (word->load() >> letter % 64 & 1) != 0;
}

Result<void> mark(const Region& region, std::uint64_t letter) {
  if (auto room = region.grow_letters(letter); !room) return room;
  layout::Word* word = region.marks(letter);
  if (word == nullptr) return tl::unexpected(Error(Errc::no_space));
  word->fetch_or(std::uint64_t{1} << letter % 64);
  return {};
}

}  // namespace penstock::group
