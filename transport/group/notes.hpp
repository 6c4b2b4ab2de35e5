// What handlers said of failures. A note is written by the owner of a lease before the failure is settled, and read by
// anybody; a torn or foreign one fails its checksum and counts as absent. A writer that is stopped until the cell is
// another event's writes over that one's words: so all that takes long is done before its last look at the lease.
#pragma once

#include <array>
#include <optional>

#include "group/region.hpp"

namespace penstock::group {

// A note with its room and its words ready, and not written yet. Text that does not fit is cut between two characters,
// the class at 200 bytes, the reason at what is left of 488. Lives no longer than the mapping.
class ReadyNote {
 public:
  ReadyNote(const Region& region, const Lease& lease, std::uint32_t pid, const NoteText& text);
  // False when there is no room for it: the failure counts all the same.
  bool write() const;

 private:
  layout::Word* words_;  // null: no room
  std::uint64_t checksum_ = 0;
  std::array<std::uint64_t, sizeof(layout::Note) / sizeof(layout::Word) - 1> body_{};
};

// The last thing said of this event: of its last delivery, else of the one before.
std::optional<NoteCopy> read_note(const Region& region, std::uint32_t cell, const layout::CellFields& fields,
                                  std::uint64_t offset);

// At most `most` bytes of a UTF-8 text, without half a character at the end.
std::string_view cut(std::string_view text, std::size_t most);

}  // namespace penstock::group
