// One topic of one consumer group, as a member sees it: takes events, settles them, brings back what failed. All its
// state is in the mapping; an object is one member's view of it, to be used by one thread, and no longer than the
// mapping and the options live. A member has at most one such view of a file in each of its lives.
//
// No call waits for another member, makes a system call (but to allocate, rarely) or throws. Any member may be killed
// or stopped anywhere; PROTOCOL.md beside this file says why nothing is lost by it, and what the steps' orders are for.
//
// A member's round: take_due; if nothing is due, read the cursor, find the next event in the log, take_fresh it (or
// skip it); admit it when it has a given id; begin; execute; settle. From time to time, somebody: sweep.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <unordered_set>
#include <vector>

#include "group/dedupe.hpp"
#include "group/due.hpp"
#include "group/lanes.hpp"
#include "group/region.hpp"

namespace penstock::group {

struct Setup {
  Member member;
  std::uint32_t pid = 0;                          // for notes, for people
  const layout::GroupOptions* options = nullptr;  // the caller's copy; read at each call
  Allocate allocate;                              // none: nothing new can be allocated
  const char* group = nullptr;                    // names for tracers, which outlive the engine
  const char* topic = nullptr;                    //
  bool marks = false;  // the topic is the group's own dead-letter queue: a settled event is a letter that was redriven
};

struct Sweep {
  std::int64_t next_due = kNever;  // nothing is due earlier
  std::uint32_t expired = 0;       // leases that had run out
  std::uint32_t crashed = 0;       // leases of dead members that were executing them
  std::uint32_t returned = 0;      // leases that nobody had begun to execute, and that came back uncounted
  std::uint32_t freed = 0;         // cells that dead members left unfinished
  std::uint32_t due = 0;           // events that wait and whose time has come
  std::uint32_t promoted = 0;      // events whose turn had come in their key's order, and that nobody had noticed
  std::uint32_t dead = 0;          // letters for the daemon to move
  std::int64_t ahead = 0;          // how far events were brought forward since the clock was set
  // Members that sleep may have something to take.
  bool brought_back() const { return expired + crashed + returned + freed + promoted != 0; }
};

struct Info {
  layout::CursorFields cursor;
  bool started = false;
  Place committed;              // the first unsettled event
  std::uint64_t in_flight = 0;  // leases
  std::uint64_t waiting = 0;
  std::uint64_t queued = 0;  // behind another event of their key
  std::uint64_t dead = 0;
  std::optional<Place> oldest;      // of the events that have a cell
  std::int64_t oldest_failure = 0;  // wall time of the earliest first failure among them; 0: none failed
  std::uint64_t delivered = 0, acked = 0, redelivered = 0, duplicates = 0, dead_lettered = 0, redriven = 0;
  std::uint64_t expired_skipped = 0;
  std::uint64_t full = 0;  // how often the cursor waited because every cell was in use
};

class GroupTopic {
 public:
  // A view for a member, or with a member of slot kNoSlot for who only looks (then the mapping may be read-only).
  static Result<GroupTopic> open(std::span<std::byte> mapping, Setup setup);

  // --- The cursor (cursor.cpp)

  // False until somebody has said where the group begins: nothing can be taken.
  bool started() const;
  // Where the group begins. Of several who say so at once the first is right, and all of them return.
  void start(Place place);
  // The next event that nobody has taken.
  layout::CursorFields cursor() const;
  // Moves on without a lease, over what needs none: aborted claims, gaps, and with `why` events that are over or done.
  // False: somebody moved the cursor; look again.
  enum class Skip : std::uint8_t { gap, expired, duplicate };
  bool skip(const layout::CursorFields& seen, Place to, Skip why);
  // Moves the cursor to anywhere, and settles every event that has a cell, but for dead ones before that place, whose
  // letters wait; what changes hands at that moment may come again. `forget_ids`: events before may be processed again.
  // The caller holds the bus lock.
  void seek(Place to, bool forget_ids);

  // --- Taking (take.cpp)

  // A lease of this event, found at the cursor as `seen`; of an event whose key has an unsettled one it takes note.
  // Errc::no_space: no room for the first one; invalid_argument: the event isn't at or after that cursor, or the group
  // not started.
  // `execute`: a handler gets the event at once, so the lease has begun.
  Result<Taken> take_fresh(const layout::CursorFields& seen, const Fresh& event, Instant at, bool execute = false);
  // A lease of an event whose retry is due. Leases that ran out are turned into retries on the way.
  Result<Taken> take_due(Instant at);
  // Nothing is due earlier; the past when that is uncertain: take_due then finds out.
  std::int64_t next_due() const;
  // Raised when a settlement of ours gave a key's next event to whoever asks first: sleepers want to know.
  std::uint64_t promoted() const { return promoted_; }
  // May the event be processed, or is it a copy? For given ids, each time before executing. Errc::no_space: release it.
  Result<Admit> admit(Lease& lease, Instant at);
  // A handler gets the event: from now on the lease's end and its member's death count as an attempt. Without this a
  // lease was only fetched, and comes back uncounted.
  Result<void> begin(Lease& lease);
  // Was this id processed, so that its event can be skipped without a lease?
  bool remembered(const layout::Id128& id, Instant at) const;

  // --- Settling (settle.cpp). Errc::stale_lease: the lease ran out and was taken away, or was settled.

  Result<void> ack(const Lease& lease, Instant at);
  // Acks all leases that this member executes, of events up to this offset. Returns how many.
  Result<std::uint64_t> ack_through(std::uint64_t offset, Instant at);
  // Failed: comes back after the group's backoff, or `delay`; dead after the last attempt. The note is left out when
  // there is no room for it.
  Result<Fate> nak(const Lease& lease, Instant at, const NoteText& note = {},
                   std::optional<std::int64_t> delay = std::nullopt, layout::Failure why = layout::Failure::nak);
  // To the dead letters now.
  Result<void> reject(const Lease& lease, Instant at, const NoteText& note = {},
                      layout::Failure why = layout::Failure::rejected);
  Result<void> release(const Lease& lease, Instant at);     // comes back at once, uncounted
  Result<void> park(const Lease& lease, std::int64_t due);  // a copy is in flight: comes back then, uncounted
  // Comes back, uncounted, when the wall clock shows that, though somebody should set it (parked.cpp).
  Result<void> park_until(const Lease& lease, std::int64_t wall, Instant at);
  Result<void> settle_duplicate(const Lease& lease);  // processed before: settled, counted as a duplicate
  Result<void> settle_overdue(const Lease& lease);    // its time to live was over, and nobody wants to know
  Result<Lease> extend(const Lease& lease, Instant at, std::int64_t duration);  // the lease to settle from now on

  // --- Keeping (sweep.cpp)

  // Something may be for a sweep to find, besides what is due.
  bool wants_sweep() const;
  // By how much the wall clock was set ahead of what events that wait for it assume; then a sweep is wanted, too.
  std::int64_t clock_ahead(Instant at) const;
  bool waits_for_clock() const { return control().parked_clock.load(std::memory_order_relaxed) != 0; }
  // Looks at every cell: leases that ran out, leases of the dead, what the dead left half done, the counters.
  Sweep sweep(Instant at, const IsDead& is_dead);

  // --- Dead letters and redriving (letters.cpp)

  // Raised each time an event turns dead.
  std::uint64_t dead_raised() const { return control().dead_waiting.load(); }
  // Return false to stop.
  void for_each_dead(const std::function<bool(const CellView&)>& visit) const;
  std::optional<NoteCopy> note(const CellView& view) const;
  // The letter is in the dead-letter queue. Errc::stale_lease: the cell is another's by now.
  Result<void> settle_dead(std::uint32_t cell, const layout::Pair& state);

  // For a view with `marks`; its events are letters. Given back or purged?
  bool marked(std::uint64_t letter) const;
  Result<void> mark(std::uint64_t letter);  // purged

  // --- Looking (inspect.cpp); safe on a read-only mapping

  // The first unsettled event, or the cursor when there is none: never later than the truth.
  Place committed() const;
  Info info() const;
  // Every unsettled event below the cursor. Return false to stop.
  void for_each_pending(const std::function<bool(const CellView&)>& visit) const;

  // --- Checkpoints (snapshot.cpp, restore.cpp)

  void snapshot(std::vector<std::byte>& out, Instant at) const;
  // For an offset that the log lost in a power cut and will never have: where it goes on. Nothing for all others.
  using Lost = std::function<std::optional<Place>(std::uint64_t offset)>;
  // Into a new file that nobody else sees yet. A cursor beyond `end` is put there, and events at or after it are
  // forgotten: the log does not have them; so are those that `lost` knows, and a cursor there goes on behind them.
  // Leases come back as due now. Errc::corrupt: bytes that cannot be; no_space. After an error the file is to be made
  // anew.
  Result<void> restore(std::span<const std::byte> bytes, Place end, Instant at, const Lost& lost = {});

 private:
  friend class Redrive;
  GroupTopic(Region region, Setup setup);

  layout::GroupTopicControl& control() const { return region_.control(); }
  const layout::GroupOptions& options() const { return *setup_.options; }
  Window window() const { return {options().dedupe, options().dedupe_age_ns}; }
  std::uint64_t random();

  // cells.cpp: the life of a cell from free to free.
  bool confirm(const layout::CursorFields& seen);
  bool names(std::uint32_t cell) const;
  Result<std::uint32_t> acquire(std::uint64_t offset, std::uint32_t delivered, layout::Pair& state, std::int64_t end);
  bool try_acquire(std::uint32_t cell, const layout::Pair& desired);
  std::optional<std::uint32_t> find_free(const layout::Pair& desired, std::uint32_t stale_most);
  bool settle_in(std::uint32_t cell, const layout::Pair& tentative, const LanePlan& plan, const LaneStep& step);
  bool fill(std::uint32_t cell, std::uint64_t offset, std::uint64_t position, const layout::Id128& id,
            const LanePlan& plan, std::int64_t wall);
  void abandon(std::uint32_t cell, const layout::Pair& state);
  bool unname(std::uint32_t cell, const layout::Pair& state);
  bool free_cell(std::uint32_t cell, const layout::Pair& state);
  void clean(std::uint32_t group);
  bool view(std::uint32_t cell, CellView& out) const;
  template <class Visit>
  void for_each_real(const layout::CursorFields& seen, Visit&& visit) const;
  std::int64_t lease_end(std::int64_t now, std::int64_t duration);

  // take.cpp
  bool capped(Instant at);
  std::optional<Taken> no_cell(const Error& why, Instant at);
  Taken queue(std::uint32_t cell, const LanePlan& plan);
  std::optional<Taken> take_ready(Instant at);
  std::optional<Lease> take_in_group(std::uint32_t group, Instant at, bool may_take);
  std::optional<Lease> take_cell(std::uint32_t cell, const layout::Pair& state, Instant at);
  Lease lease_of(std::uint32_t cell, const layout::Pair& state) const;
  bool become(Lease& lease, const layout::Pair& from);

  // settle.cpp
  std::optional<Fate> fail(std::uint32_t cell, const layout::Pair& state, layout::Failure why, std::int64_t due,
                           std::uint32_t max_attempts, Instant at);
  bool take_back(std::uint32_t cell, const layout::Pair& state, layout::Failure why, Instant at);
  bool its_turn(std::uint32_t cell, const layout::Pair& state) const;
  void pass_on(std::uint32_t next, bool to_us);
  bool promote(std::uint32_t cell, const layout::Pair& state);
  bool put_back(std::uint32_t cell, const layout::Pair& state, layout::Failure why, std::int64_t due);
  Result<void> settle_free(const Lease& lease);
  bool say(const Lease& lease, const NoteText& text);
  void finish_ack(std::uint32_t cell, const layout::Pair& state, Instant at);
  bool holds(const Lease& lease) const;
  void count(layout::Word& word) { word.fetch_add(1, std::memory_order_relaxed); }

  // parked.cpp
  void bring_forward(std::uint32_t cell, const layout::Pair& state, std::int64_t ahead, Instant at);
  void raise_clock(std::uint64_t reckoned, Instant at);

  // sweep.cpp
  void sweep_cell(std::uint32_t cell, Instant at, const IsDead& is_dead, Sweep& result);
  std::uint32_t queued_parts() const;
  void look_again(std::vector<CellView>& found) const;  // snapshot.cpp
  void recount();

  Region region_;
  Setup setup_;
  RaiseMarks raise_marks_;
  std::array<std::uint32_t, 64> spare_{};  // cells this view freed: likely free still
  std::uint32_t spares_ = 0;
  std::uint32_t search_group_ = 0;  // where the last free cell was found
  std::uint32_t due_group_ = 0;     // where the last due event was found
  std::int64_t last_end_ = 0;       // of the leases given by this view: none is given twice
  std::int64_t recounted_ = INT64_MIN;
  std::int64_t full_looked_ = INT64_MIN;
  std::int64_t full_until_ = INT64_MIN;        // every cell was in use: not looked at again before
  std::uint32_t ready_ = layout::kNoCell;      // an event whose turn came when we settled the one before it
  std::uint64_t promoted_ = 0;                 // such events that we left to others
  std::int64_t drift_ = 0, queued_drift_ = 0;  // of the counters, as the last recount saw them
  std::uint32_t sweeps_ = 0;
  std::uint64_t random_;
};

// Gives letters back to the group that failed, through its state for its own dead-letter queue. One at a time: the
// caller holds the bus lock for as long as this lives; who dies holding it has done each letter wholly, not at all, or
// has left what the next one completes.
class Redrive {
 public:
  explicit Redrive(GroupTopic& letters);
  // True: given back now. False: it had been given back or purged before.
  Result<bool> give_back(std::uint64_t letter, std::uint64_t position, const layout::Id128& id, Instant at);

 private:
  GroupTopic& letters_;
  std::unordered_set<std::uint64_t> held_;  // letters that have a cell
};

}  // namespace penstock::group
