// The dedupe window: which ids were processed, and which are being processed, in one topic of one group.
//
// An id is admitted by whoever turns an entry of its own into PENDING: reserve an entry, write the id, show it as
// TENTATIVE, then look at the whole bucket again. Of two who do so at once at least one sees the other: the one whose
// entry comes first in the bucket kills the other's TENTATIVE entry, and the killed one, whose last step then fails,
// is told that the id is busy. TENTATIVE and PENDING entries name the cell of their event and hold the id only while
// that cell does (TENTATIVE: only while it is leased to the entry's writer), so that whoever dies, is stopped or loses
// his lease holds up nobody for longer than the cell. A PENDING entry whose cell was redelivered is taken over by a
// compare-and-swap that changes it, so that nobody can free it on the strength of an earlier look.
// A done entry counts for as long as fewer than `ids` were done after it, and it is not older than `age_ns`.
#pragma once

#include <functional>

#include "group/region.hpp"

namespace penstock::group {

struct Window {
  std::uint64_t ids = 0;     // 0: dedupe is off
  std::uint64_t age_ns = 0;  // 0: no bound
};

using IsDead = std::function<bool(std::uint32_t slot, std::uint32_t incarnation)>;

// May the lease's event be processed? For events with given ids only. Errc::no_space: nothing was decided, release it.
Result<Admit> admit(const Region& region, Member member, const Lease& lease, Instant at, Window window);

// Was this id processed, by what can be seen without writing?
bool remembered(const Region& region, const layout::Id128& id, Instant at, Window window);

// The event in this cell was processed: its PENDING entry becomes done. Does nothing when it already is.
void remember(const Region& region, std::uint32_t cell, const layout::Id128& id, Instant at);

// The PENDING entry of the event in this cell, to be freed when the cell was.
struct Held {
  layout::DedupeEntry* entry = nullptr;
  layout::Pair control;
};
Held held_by(const Region& region, std::uint32_t cell, const layout::Id128& id);
void forget(const Held& held);

// Entries that dead members left half written: in one id's bucket, or everywhere.
void free_reserved(const Region& region, const layout::Id128& id, const IsDead& is_dead);
void free_all_reserved(const Region& region, const IsDead& is_dead);

}  // namespace penstock::group
