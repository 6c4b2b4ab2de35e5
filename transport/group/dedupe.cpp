#include "group/dedupe.hpp"

#include <optional>
#include <span>

#include "group/inline.hpp"

namespace penstock::group {
namespace {

using namespace layout;

constexpr int kRounds = 64;  // after so many races lost, the id is busy: it is

EntryState state_of_entry(const Pair& control) { return entry_of(control.low).state; }

std::span<DedupeEntry> bucket_of(const Region& region, const Id128& id) {
  return {region.bucket(id.low & (region.buckets() - 1)), kBucketEntries};
}

// An entry and its id as they were together. The id is written only while the entry is reserved.
struct Seen {
  Pair control;
  Id128 id;
};
Seen look(DedupeEntry& entry) {
  Seen seen;
  Pair before = load16_guess(&entry.control);
  for (int round = 0; round < kRounds; ++round) {
    seen.id = {entry.id_low.load(), entry.id_high.load()};
    seen.control = load16_guess(&entry.control);
    if (seen.control == before) return seen;
    before = seen.control;
  }
  return seen;  // changed all the time: any compare-and-swap from here fails
}

bool holds(const Seen& seen, const Id128& id) {
  const EntryState state = state_of_entry(seen.control);
  return seen.id == id && (state == EntryState::tentative || state == EntryState::pending || state == EntryState::done);
}

// What another's entry with our id says.
enum class Verdict { stale, busy, duplicate };

Verdict judge_done(const Region& region, const Pair& control, Instant at, Window window) {
  const std::uint64_t sequence = done_sequence(control.low);
  const std::uint64_t now = region.control().dedupe_sequence.load();
  if (now > sequence && now - sequence >= window.ids) return Verdict::stale;
  const std::int64_t age = since(control.high, at.now);
  if (window.age_ns != 0 && age > 0 && std::uint64_t(age) > window.age_ns) return Verdict::stale;
  return Verdict::duplicate;
}

Verdict judge(const Region& region, const Seen& seen, Instant at, Window window) {
  if (state_of_entry(seen.control) == EntryState::done) return judge_done(region, seen.control, at, window);
  const EntryFields fields = entry_of(seen.control.low);
  if (fields.cell >= region.cells()) return Verdict::stale;
  const Cell& cell = region.cell(fields.cell);
  const Pair state = load16_guess(&cell.state);
  const CellFields owner = cell_of(state.low);
  if (fields.state == EntryState::tentative) {
    const bool live = owner.state == CellState::leased && owner.slot == fields.slot &&
                      owner.incarnation == fields.incarnation && state.high == seen.control.high;
    return live ? Verdict::busy : Verdict::stale;
  }
  // The id of a cell that changes hands just now may be half another's; then this entry's event is settled, and who
  // gets the cell asks for admission himself.
  const Id128 id{cell.id_low.load(), cell.id_high.load()};
  if (owner.state == CellState::free || id != seen.id) return Verdict::stale;
  return owner.state == CellState::acked ? Verdict::duplicate : Verdict::busy;
}

// The place for a new entry: free, else stale, else the oldest that was done. Null: all are in flight.
DedupeEntry* victim(const Region& region, std::span<DedupeEntry> bucket, Instant at, Window window, Pair& control) {
  for (DedupeEntry& entry : bucket) {
    control = load16_guess(&entry.control);
    if (state_of_entry(control) == EntryState::free) return &entry;
  }
  DedupeEntry* oldest = nullptr;
  for (DedupeEntry& entry : bucket) {
    const Seen seen = look(entry);
    const EntryState state = state_of_entry(seen.control);
    if (state == EntryState::reserved) continue;
    if (judge(region, seen, at, window) == Verdict::stale) {
      control = seen.control;
      return &entry;
    }
    if (state != EntryState::done) continue;
    if (oldest == nullptr || done_sequence(seen.control.low) < done_sequence(control.low)) {
      oldest = &entry;
      control = seen.control;
    }
  }
  return oldest;
}

class Admission {
 public:
  Admission(const Region& region, Member member, const Lease& lease, Instant at, Window window)
      : region_(region),
        bucket_(bucket_of(region, lease.id)),
        lease_(lease),
        at_(at),
        window_(window),
        fields_{EntryState::pending, member.slot, member.incarnation, lease.cell} {}

  Admit run() {
    for (int round = 0; round < kRounds; ++round) {
      if (const auto known = look_around()) return *known;
      if (const auto answer = contend()) return *answer;
    }
    return Admit::busy;
  }

 private:
  Pair control(EntryState state) const {
    EntryFields fields = fields_;
    fields.state = state;
    return {pack(fields), lease_.state.high};  // a lease's end is unique to it, and so is what is stamped with it
  }

  // Without writing, unless an earlier delivery of the same event left its entry for us: then that becomes ours.
  std::optional<Admit> look_around() {
    for (DedupeEntry& entry : bucket_) {
      const Seen seen = look(entry);
      if (!holds(seen, lease_.id)) continue;
      const EntryFields fields = entry_of(seen.control.low);
      if (fields.state == EntryState::pending && fields.cell == lease_.cell) {
        if (seen.control == control(EntryState::pending)) return Admit::admitted;  // asked twice
        if (cas16(&entry.control, seen.control, control(EntryState::pending))) return Admit::admitted;
        return std::nullopt;  // freed as stale before we had it: contend for a new one
      }
      const Verdict verdict = judge(region_, seen, at_, window_);
      if (verdict != Verdict::stale) return answer(verdict);
    }
    return std::nullopt;
  }

  // Nothing: a race was lost, look again.
  std::optional<Admit> contend() {
    Pair old;
    DedupeEntry* mine = victim(region_, bucket_, at_, window_, old);
    if (mine == nullptr) return Admit::busy;
    if (!cas16(&mine->control, old, control(EntryState::reserved))) return std::nullopt;
    mine->id_low.store(lease_.id.low);
    mine->id_high.store(lease_.id.high);
    if (!cas16(&mine->control, control(EntryState::reserved), control(EntryState::tentative))) return std::nullopt;
    for (DedupeEntry& other : bucket_) {
      if (&other == mine) continue;
      const auto verdict = clear(other, &other > mine);
      if (!verdict) continue;
      cas16(&mine->control, control(EntryState::tentative), Pair{});
      if (*verdict == Verdict::stale) return std::nullopt;
      return answer(*verdict);
    }
    if (cas16(&mine->control, control(EntryState::tentative), control(EntryState::pending))) return Admit::admitted;
    return Admit::busy;  // somebody before us in the bucket has it
  }

  // Makes sure that another entry doesn't hold our id; nothing when it doesn't (any more). Verdict::stale: it is ours.
  std::optional<Verdict> clear(DedupeEntry& other, bool may_kill) {
    for (int round = 0; round < kRounds; ++round) {
      const Seen seen = look(other);
      if (!holds(seen, lease_.id)) return std::nullopt;
      const EntryFields fields = entry_of(seen.control.low);
      if (fields.state == EntryState::pending && fields.cell == lease_.cell) return Verdict::stale;
      const Verdict verdict = judge(region_, seen, at_, window_);
      if (verdict == Verdict::duplicate) return verdict;
      const bool kill = verdict == Verdict::stale || (fields.state == EntryState::tentative && may_kill);
      if (!kill) return verdict;
      if (fields.state == EntryState::done) return std::nullopt;  // too old to count, and stays so
      if (cas16(&other.control, seen.control, Pair{})) return std::nullopt;
    }
    return Verdict::busy;
  }

  static Admit answer(Verdict verdict) { return verdict == Verdict::busy ? Admit::busy : Admit::duplicate; }

  const Region& region_;
  std::span<DedupeEntry> bucket_;
  const Lease& lease_;
  Instant at_;
  Window window_;
  EntryFields fields_;
};

void free_reserved_in(std::span<DedupeEntry> entries, const IsDead& is_dead) {
  for (DedupeEntry& entry : entries) {
    const Pair control = load16_guess(&entry.control);
    const EntryFields fields = entry_of(control.low);
    if (fields.state != EntryState::reserved || !is_dead(fields.slot, fields.incarnation)) continue;
    cas16(&entry.control, control, Pair{});
  }
}

}  // namespace

Result<Admit> admit(const Region& region, Member member, const Lease& lease, Instant at, Window window) {
  if (window.ids == 0 || region.buckets() == 0) return Admit::admitted;
  if (auto room = region.allocate_dedupe(); !room) return tl::unexpected(room.error());
  return Admission(region, member, lease, at, window).run();
}

bool remembered(const Region& region, const Id128& id, Instant at, Window window) {
  if (window.ids == 0 || !region.has_dedupe()) return false;
  for (DedupeEntry& entry : bucket_of(region, id)) {
    const Seen seen = look(entry);
    if (!holds(seen, id) || state_of_entry(seen.control) != EntryState::done) continue;
    if (judge_done(region, seen.control, at, window) == Verdict::duplicate) return true;
  }
  return false;
}

void remember(const Region& region, std::uint32_t cell, const Id128& id, Instant at) {
  std::uint64_t sequence = 0;
  // An earlier owner of the lease, who does not know yet that it ran out, may be making the entry his; he does so once.
  for (int round = 0; round < kRounds; ++round) {
    const Held held = held_by(region, cell, id);
    if (held.entry == nullptr) return;
    if (sequence == 0) sequence = region.control().dedupe_sequence.fetch_add(1) + 1;
    if (cas16(&held.entry->control, held.control, {pack_done(sequence), std::uint64_t(at.now)})) return;
  }
}

Held held_by(const Region& region, std::uint32_t cell, const Id128& id) {
  if (!region.has_dedupe()) return {};
  for (DedupeEntry& entry : bucket_of(region, id)) {
    const Seen seen = look(entry);
    const EntryFields fields = entry_of(seen.control.low);
    if (fields.state == EntryState::pending && fields.cell == cell && seen.id == id) return {&entry, seen.control};
  }
  return {};
}

void forget(const Held& held) {
  if (held.entry != nullptr) cas16(&held.entry->control, held.control, Pair{});
}

void free_reserved(const Region& region, const Id128& id, const IsDead& is_dead) {
  if (region.has_dedupe()) free_reserved_in(bucket_of(region, id), is_dead);
}

void free_all_reserved(const Region& region, const IsDead& is_dead) {
  if (!region.has_dedupe()) return;
  for (std::uint64_t number = 0; number < region.buckets(); ++number) {
    free_reserved_in({region.bucket(number), kBucketEntries}, is_dead);
  }
}

}  // namespace penstock::group
