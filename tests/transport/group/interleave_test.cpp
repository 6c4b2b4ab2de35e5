// Members on random schedules: each may be stopped between any two of its accesses to shared memory for as long as the
// others go on, and some are killed there. Time moves at random moments, so that leases run out under stopped members.
// A failure names its seed; PENSTOCK_SCHEDULES asks for more schedules than the usual ones.
#include "hooked.hpp"

#include <cstdlib>

#include "shared_group.hpp"

namespace penstock::group::testing {
namespace {

using layout::CellState;

constexpr std::uint64_t kEvents = 6;
constexpr std::size_t kMembers = 4;
constexpr std::uint32_t kSurvivor = 9;
constexpr std::int64_t kLease = 10 * kMs;

// What became of the events, as their settlers know.
struct Journal {
  std::array<int, kEvents> tried{};      // before each call that may settle the event
  std::array<int, kEvents> returned{};   // after it
  std::array<int, kEvents> accepted{};   // when it was accepted
  std::array<int, kEvents> processed{};  // of these, successes
  std::array<int, kEvents> rejected{};   // before each rejection
};

std::uint64_t next_random(std::uint64_t& x) {
  x += 0x9E3779B97F4A7C15ull;
  std::uint64_t z = x;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ z >> 27) * 0x94D049BB133111EBull;
  return z ^ z >> 31;
}

// What a world is like, and how its members spend their time.
struct Kind {
  const char* name;
  bool copies = false;     // the events are copies of two
  bool retries = false;    // events may fail, and due ones are taken first
  bool sweeps = false;     // members sweep
  bool time = false;       // leases may run out
  bool letters = false;    // the group's own dead-letter queue: one of the members gives letters back
  bool snapshots = false;  // one of the members writes checkpoints
  std::uint64_t keys = 0;  // events have one of so many keys, and an order by them
  bool crowded = false;    // the keys' bucket of the lane table is full but for one entry
};
constexpr Kind kKinds[] = {
    {.name = "TakersAndAckers"},
    {.name = "Retries", .retries = true},
    {.name = "RetriesAndSweeps", .retries = true, .sweeps = true},
    {.name = "LeasesThatRunOut", .retries = true, .sweeps = true, .time = true},
    {.name = "Copies", .copies = true},
    {.name = "CopiesAndRetries", .copies = true, .retries = true},
    {.name = "CopiesOfEverything", .copies = true, .retries = true, .sweeps = true, .time = true},
    {.name = "Letters", .retries = true, .sweeps = true, .time = true, .letters = true},
    {.name = "Snapshots", .retries = true, .sweeps = true, .time = true, .snapshots = true},
    {.name = "SnapshotsOfCopies", .copies = true, .snapshots = true},
    {.name = "SnapshotsOfCopiesAndRetries", .copies = true, .retries = true, .snapshots = true},
    {.name = "SnapshotsOfLetters", .retries = true, .letters = true, .snapshots = true},
    {.name = "OneKey", .keys = 1},
    {.name = "TwoKeys", .keys = 2},
    {.name = "OneKeyAndRetries", .retries = true, .sweeps = true, .keys = 1},
    {.name = "KeysAndLeasesThatRunOut", .retries = true, .sweeps = true, .time = true, .keys = 2},
    {.name = "KeysOfCopies", .copies = true, .retries = true, .sweeps = true, .time = true, .keys = 3},
    {.name = "SharedLanes", .retries = true, .sweeps = true, .time = true, .keys = 3, .crowded = true},
    {.name = "SnapshotsOfKeys", .retries = true, .sweeps = true, .time = true, .snapshots = true, .keys = 2},
    {.name = "SnapshotsOfOneKey", .snapshots = true, .keys = 1},
};

constexpr std::uint32_t kCrowd = 7;  // entries of the bucket that other keys' events hold, in the last cells

std::uint64_t key_number(const Kind& kind, std::uint64_t offset) { return offset % kind.keys; }

struct World {
  Kind kind;
  layout::GroupOptions options;
  Mapping mapping{16};
  Journal journal;
  std::int64_t now = kStart;
};

class Player {
 public:
  Player(World& world, std::uint32_t slot, std::uint64_t seed)
      : world_(world), group_(open_view(world.mapping, world.options, slot, 1, world.kind.letters)), random_(seed) {}

  // A few rounds of a member's life.
  void play(int rounds) {
    for (int round = 0; round < rounds; ++round) {
      if (world_.kind.sweeps && chance(3)) group_.sweep(world_.now, kNobodyIsDead);
      if (world_.kind.retries || world_.kind.letters || world_.kind.keys != 0) {
        if (const auto lease = due()) settle(*lease);
      }
      if (const auto lease = fresh()) settle(*lease);
      letters_out();
    }
  }

  void give_back() {
    Redrive redrive(group_);
    for (std::uint64_t letter = 0; letter < kEvents; ++letter) {
      EXPECT_TRUE(redrive.give_back(letter, position_of(letter), id_of(letter), world_.now));
    }
  }

  // Until nothing is left.
  void drain() {
    const IsDead others = [](std::uint32_t slot, std::uint32_t) { return slot != kSurvivor; };
    calm_ = true;
    for (int round = 0; round < 12; ++round, world_.now += 20 * kSecond) {
      group_.sweep(world_.now, others);
      while (const auto lease = due()) settle(*lease);
      for (std::uint64_t before = kEvents + 1; group_.cursor().offset != before;) {
        before = group_.cursor().offset;
        while (const auto lease = fresh()) settle(*lease);
      }
      letters_out();
    }
  }

  void check_snapshot();
  void check_committed();
  GroupTopic& group() { return group_; }

 private:
  bool chance(std::uint64_t of) { return next_random(random_) % of == 0; }

  std::optional<Lease> fresh() {
    const auto cursor = group_.cursor();
    if (world_.kind.letters || cursor.offset >= kEvents) return std::nullopt;
    Fresh event = event_at(cursor.offset);
    if (world_.kind.copies) event.id = id_of(cursor.offset % 2);
    if (world_.kind.keys != 0) event.key = 1 + key_number(world_.kind, cursor.offset);
    const auto taken = group_.take_fresh(cursor, event, world_.now);
    if (!taken || taken->outcome != Outcome::lease) return std::nullopt;
    return taken->lease;
  }

  std::optional<Lease> due() {
    const auto taken = group_.take_due(world_.now);
    if (!taken || taken->outcome != Outcome::lease) return std::nullopt;
    return taken->lease;
  }

  template <class Call>
  void settling(std::uint64_t offset, bool success, Call&& call) {
    Journal& journal = world_.journal;
    ++journal.tried[offset];
    const bool accepted = bool(call());
    ++journal.returned[offset];
    journal.accepted[offset] += accepted ? 1 : 0;
    journal.processed[offset] += accepted && success ? 1 : 0;
  }

  void settle(Lease lease) {
    const std::int64_t now = world_.now;
    ASSERT_LT(lease.offset, kEvents);
    ASSERT_EQ(lease.position, position_of(lease.offset));
    if (world_.kind.keys != 0) {
      for (std::uint64_t before = lease.offset % world_.kind.keys; before < lease.offset; before += world_.kind.keys) {
        EXPECT_GT(world_.journal.tried[before] + world_.journal.rejected[before], 0)
            << lease.offset << " was delivered before " << before << " of its key was settled";
      }
    }
    if (world_.kind.copies) {
      const auto answer = group_.admit(lease, now);
      if (!answer) return;
      if (*answer == Admit::busy) {
        // The second: for a moment of a clock that was set back, and that the sweeps find ahead of that.
        if (next_random(random_) % 2 == 0)
          (void)group_.park(lease, now + kMs);
        else
          (void)group_.park_until(lease, now - 20 * kMs, {now, now - 20 * kMs - kLease});
        return;
      }
      if (*answer == Admit::duplicate) {
        settling(lease.offset, false, [&] { return group_.settle_duplicate(lease); });
        return;
      }
    }
    if (!group_.begin(lease)) return;
    const std::uint64_t what = calm_ || !world_.kind.retries ? 9 : next_random(random_) % 10;
    if (what == 0) {
      (void)group_.nak(lease, now, {}, 0);
    } else if (what == 1) {
      (void)group_.nak(lease, now, {"class", "reason"}, kMs);
    } else if (what == 2) {
      (void)group_.release(lease, now);
    } else if (what == 3) {
      if (const auto other = group_.extend(lease, now, std::int64_t(next_random(random_) % 3) * kLease)) settle(*other);
    } else if (what == 4) {
      ++world_.journal.rejected[lease.offset];
      (void)group_.reject(lease, now);
    } else if (what == 5) {
      settling(lease.offset, false, [&] { return group_.settle_overdue(lease); });
    } else if (what == 6 && world_.kind.time) {
      return;  // abandoned
    } else {
      settling(lease.offset, true, [&] { return group_.ack(lease, now); });
    }
  }

  void letters_out() {
    if (!world_.kind.retries) return;
    std::vector<CellView> dead;
    group_.for_each_dead([&](const CellView& cell) {
      dead.push_back(cell);
      return true;
    });
    for (const CellView& cell : dead) {
      settling(cell.offset, false, [&] { return group_.settle_dead(cell.cell, cell.state); });
    }
  }

  World& world_;
  GroupTopic group_;
  std::uint64_t random_;
  bool calm_ = false;
};

// What a snapshot must hold, whatever happened while it was taken.
void Player::check_snapshot() {
  std::vector<std::byte> bytes;
  const Journal before = world_.journal;
  group_.snapshot(bytes, world_.now);
  const Journal after = world_.journal;
  World back{world_.kind, world_.options};
  GroupTopic group = open_view(back.mapping, back.options, kSurvivor, 1, world_.kind.letters);
  ASSERT_TRUE(group.restore(bytes, {kEvents, position_of(kEvents)}, world_.now));
  std::array<int, kEvents> cells{};
  std::array<bool, 2> open{};
  group.for_each_pending([&](const CellView& cell) { return ++cells.at(cell.offset) > 0; });
  const std::uint64_t below = world_.kind.letters ? kEvents : group.cursor().offset;
  for (std::uint64_t offset = 0; offset < kEvents; ++offset) {
    EXPECT_LE(cells[offset], 1) << offset << " has two cells in the snapshot";
    const bool wanted = world_.kind.letters ? group.marked(offset) : offset < below;
    if (wanted && after.tried[offset] == 0) {
      EXPECT_EQ(cells[offset], 1) << offset << " is missing in the snapshot";
    }
    if (before.accepted[offset] > 0) {
      EXPECT_EQ(cells[offset], 0) << offset << " was settled before, and is in the snapshot";
      if (world_.kind.letters) {
        EXPECT_TRUE(group.marked(offset)) << offset << " was given back and settled before the snapshot";
      }
    }
    if (world_.kind.copies && before.processed[offset] > 0) {
      EXPECT_TRUE(group.remembered(id_of(offset % 2), world_.now)) << "the id of " << offset << " is forgotten";
    }
    open[offset % 2] = open[offset % 2] || cells[offset] != 0;
  }
  if (world_.kind.keys != 0) {
    expect_order(back.mapping);
    group.for_each_pending([&](const CellView& cell) {
      for (std::uint64_t later = cell.offset; cell.fields.state != CellState::dead && later < below;
           later += world_.kind.keys) {
        EXPECT_EQ(cells[later], 1) << cell.offset << " would come again after " << later << " of its key";
      }
      return true;
    });
  }
  // Where nothing fails, an id whose copies are all settled was processed, whether or not anybody was told so yet.
  for (std::uint64_t id = 0; id < 2 && world_.kind.copies && !world_.kind.retries; ++id) {
    if (id < below && !open[id]) {
      EXPECT_TRUE(group.remembered(id_of(id), world_.now)) << "id " << id << " is forgotten";
    }
  }
}

void Player::check_committed() {
  for (int round = 0; round < 3; ++round) {
    const std::uint64_t committed = group_.committed().offset;
    const std::uint64_t told = group_.info().committed.offset;
    for (std::uint64_t offset = 0; offset < std::max(committed, told); ++offset) {
      EXPECT_GT(world_.journal.tried[offset], 0) << offset << " was called committed and is not";
    }
  }
}

void expect_bounds(const Mapping& mapping) {
  const layout::GroupTopicControl& control = mapping.control();
  for (std::uint32_t index = 0; index < 64; ++index) {
    const CellState state = mapping.state(index);
    if (state != CellState::leased && state != CellState::waiting) continue;
    const std::int64_t time = std::int64_t(mapping.cell(index).state.high);
    EXPECT_TRUE(is_due(control.due[0].load(), time)) << "cell " << index << " and its group's word";
    EXPECT_TRUE(is_due(control.next_due.load(), time)) << "cell " << index << " and the word over all";
  }
}

class GroupInterleaved : public ::testing::TestWithParam<Kind> {
 protected:
  void schedule(std::uint64_t seed) {
    World world{GetParam(), {}};
    world.options.dedupe = 16;
    world.options.max_attempts = 1000;
    world.options.lease_ns = std::uint64_t(kLease);
    Player survivor(world, kSurvivor, seed);
    if (!world.kind.letters) survivor.group().start({0, position_of(0)});
    if (world.kind.crowded) crowd(world, true);
    std::uint64_t random = seed * 0x2545F4914F6CDD1Dull + 1;
    std::vector<std::unique_ptr<Player>> players;
    std::vector<std::unique_ptr<hook::Fiber>> members;
    for (std::size_t i = 0; i < kMembers; ++i) {
      const std::uint64_t own = next_random(random);
      players.push_back(std::make_unique<Player>(world, std::uint32_t(i + 1), own));
      Player& player = *players.back();
      members.push_back(std::make_unique<hook::Fiber>([&world, &player, i, own] {
        if (i == 0 && world.kind.letters) return player.give_back();
        if (i == 1 && world.kind.snapshots) return player.check_snapshot();
        if (i == 2 && world.kind.snapshots && !world.kind.letters) return player.check_committed();
        player.play(1 + int(own % 3));
      }));
    }
    const bool killed = run(world, members, survivor, random);
    if (!killed) expect_bounds(world.mapping);
    if (world.kind.letters) survivor.give_back();
    if (world.kind.crowded) crowd(world, false);
    survivor.drain();
    judge(world, survivor.group());
  }

  // Events of other keys wait, in cells that nobody else comes to use: very late ones, but for the lane table, which
  // knows 40 bits of an offset, the earliest, so that they are not whom others are put behind.
  void crowd(World& world, bool wait) {
    layout::GroupTopicControl& control = world.mapping.control();
    control.cells_allocated.store(64);
    control.lane_pages[0].fetch_or(1);
    for (std::uint32_t i = 0; i < kCrowd; ++i) {
      const std::uint32_t index = 63 - i;
      const std::uint64_t offset = layout::k40 + 1;
      layout::Cell& cell = world.mapping.cell(index);
      layout::CellFields fields;
      fields.state = CellState::waiting;
      fields.offset_low = offset & 0xfff;
      cell.offset.store(offset);
      cell.state = wait ? layout::Pair{pack(fields), std::uint64_t(kNever)} : layout::Pair{};
      control.occupied[0].fetch_or(std::uint64_t{1} << index);
      auto* const table = reinterpret_cast<layout::Pair*>(world.mapping.bytes().data() + layout::kLaneTableAt);
      if (wait) table[i] = pack(layout::LaneEntryFields{offset, index, 0, 1000 + i});
    }
  }

  bool run(World& world, std::vector<std::unique_ptr<hook::Fiber>>& members, Player& survivor, std::uint64_t& random) {
    const bool deadly = next_random(random) % 2 == 0;
    bool killed = false;
    for (bool any = true; any && !HasFailure();) {
      hook::Fiber& member = *members[next_random(random) % kMembers];
      // Short turns and long ones: the end of a turn may be anywhere.
      member.step(next_random(random) % (next_random(random) % 3 == 0 ? 300 : 12));
      if (deadly && member.alive() && next_random(random) % 60 == 0) {
        member.end();
        killed = true;
      }
      if (world.kind.time && next_random(random) % 16 == 0) {
        world.now += std::int64_t(next_random(random) % 2) * kLease + kMs;
      }
      expect_order(world.mapping);
      if (!world.kind.letters) {
        const std::uint64_t committed = survivor.group().committed().offset;
        for (std::uint64_t offset = 0; offset < committed; ++offset) {
          EXPECT_GT(world.journal.tried[offset], 0) << offset << " was called committed and is not";
        }
      }
      any = std::any_of(members.begin(), members.end(), [](const auto& one) { return one->alive(); });
    }
    return killed;
  }

  void judge(World& world, GroupTopic& group) {
    const Journal& journal = world.journal;
    std::array<int, kEvents> processed{}, unknown{}, letters{};
    for (std::uint64_t offset = 0; offset < kEvents; ++offset) {
      const int cut_short = journal.tried[offset] - journal.returned[offset];
      EXPECT_LE(journal.accepted[offset], 1) << "offset " << offset << " was settled twice";
      EXPECT_GE(journal.accepted[offset] + cut_short, 1) << "offset " << offset << " was lost";
      const std::uint64_t id = world.kind.copies ? offset % 2 : offset;
      processed[id] += journal.processed[offset];
      unknown[id] += cut_short;
      letters[id] += journal.accepted[offset] - journal.processed[offset];
    }
    for (std::uint64_t id = 0; id < (world.kind.copies ? 2 : kEvents); ++id) {
      EXPECT_LE(processed[id], 1) << "id " << id << " was processed twice";
      const bool may_be_dead = world.kind.retries;
      EXPECT_GE(processed[id] + unknown[id] + (may_be_dead ? letters[id] : 0), 1)
          << "id " << id << " was never processed";
    }
    EXPECT_EQ(world.mapping.control().in_flight.load(), 0u);
    for (std::uint32_t i = 0; i < 64; ++i) EXPECT_EQ(world.mapping.state(i), CellState::free) << "cell " << i;
    if (!world.kind.letters) {
      EXPECT_EQ(group.committed().offset, kEvents);
    }
  }
};

TEST_P(GroupInterleaved, EverySchedulesEventsAreSettledOnce) {
  if (!PENSTOCK_CAN_SWITCH) GTEST_SKIP() << "sanitizers don't follow fibers";
  const char* asked = std::getenv("PENSTOCK_SCHEDULES");
  const std::uint64_t schedules = asked == nullptr ? 5000 : std::strtoull(asked, nullptr, 10);
  for (std::uint64_t seed = 1; seed <= schedules && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    schedule(seed);
  }
}

// Two events of a key are settled, one after another, at every moment of a snapshot.
TEST(GroupInterleavedOnce, AKeysEventsAreSettledAnywhereInASnapshot) {
  if (!PENSTOCK_CAN_SWITCH) GTEST_SKIP() << "sanitizers don't follow fibers";
  bool alive = true;
  std::uint64_t stops = 0;
  for (; alive && !::testing::Test::HasFailure(); ++stops) {
    World world{{.name = "", .snapshots = true, .keys = 1}, {}};
    Player settler(world, 1, 1), keeper(world, 2, 1);
    GroupTopic& group = settler.group();
    group.start({0, position_of(0)});
    std::optional<Lease> lease;
    for (std::uint64_t offset = 0; offset < 2; ++offset) {
      Fresh event = event_at(offset);
      event.key = 1;
      const auto taken = group.take_fresh(group.cursor(), event, world.now);
      ASSERT_TRUE(taken);
      if (taken->outcome == Outcome::lease) lease = taken->lease;
    }
    hook::Fiber snapshot([&keeper] { keeper.check_snapshot(); });
    alive = snapshot.step(stops);
    for (; lease; lease = lease_due(group, world.now)) {
      ++world.journal.tried[lease->offset];
      EXPECT_TRUE(group.ack(*lease, world.now));
      ++world.journal.returned[lease->offset];
      ++world.journal.accepted[lease->offset];
    }
    EXPECT_EQ(world.journal.accepted[1], 1);
    while (snapshot.step(1000)) {
    }
  }
  EXPECT_GT(stops, 50u);
}

// Between its last look at the lease and its last word it spoils the later event's; another's are never told.
TEST(GroupInterleavedOnce, AMemberStoppedInANakLeavesALaterEventItsWordsOrNone) {
  if (!PENSTOCK_CAN_SWITCH) GTEST_SKIP() << "sanitizers don't follow fibers";
  std::uint64_t stops = 0;
  for (bool alive = true; alive && !::testing::Test::HasFailure(); ++stops) {
    Mapping mapping;
    layout::GroupOptions options;
    GroupTopic late = open_view(mapping, options, 1), other = open_view(mapping, options, 2);
    late.start({0, position_of(0)});
    // Both notes of the cell have room.
    EXPECT_TRUE(late.nak(lease_next(late, kStart), kStart, {"class", "reason"}, 0));
    EXPECT_TRUE(other.ack(*lease_due(other, kStart), kStart));
    const Lease lease = lease_next(other, kStart);
    Result<Fate> fate = Fate::dead;
    hook::Fiber member([&] { fate = other.nak(lease, kStart, {"late", "words"}, 0); });
    alive = member.step(stops);
    if (alive && mapping.state(lease.cell) == layout::CellState::leased) {
      EXPECT_EQ(go_on_without(late, kStart + 7200 * kSecond), lease.cell);
      member.step(1000);
      EXPECT_EQ(code_of(fate), Errc::stale_lease);
      late.for_each_dead([&](const CellView& cell) {
        const auto note = late.note(cell);
        EXPECT_EQ(note ? note->reason : "right", "right");
        return true;
      });
    } else {
      member.step(1000);
    }
  }
  EXPECT_GT(stops, 70u);
}

INSTANTIATE_TEST_SUITE_P(In, GroupInterleaved, ::testing::ValuesIn(kKinds),
                         [](const auto& kind) { return std::string(kind.param.name); });

}  // namespace
}  // namespace penstock::group::testing
