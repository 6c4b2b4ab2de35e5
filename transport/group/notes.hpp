// What handlers said of failures. A note is written by the owner of a lease before the failure is settled, and read by
// anybody; a torn or foreign one fails its checksum and counts as absent.
#pragma once

#include <optional>

#include "group/region.hpp"

namespace penstock::group {

// False when there is no room for it: the failure counts all the same. Text that does not fit is cut between two
// characters, the class at 200 bytes, the reason at what is left of 488.
bool write_note(const Region& region, const Lease& lease, std::uint32_t pid, const NoteText& text);

// The last thing said of this event: of its last delivery, else of the one before.
std::optional<NoteCopy> read_note(const Region& region, std::uint32_t cell, const layout::CellFields& fields,
                                  std::uint64_t offset);

// At most `most` bytes of a UTF-8 text, without half a character at the end.
std::string_view cut(std::string_view text, std::size_t most);

}  // namespace penstock::group
