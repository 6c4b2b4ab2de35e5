// A member is single-stepped through what members do. At every instruction that changed shared memory
//   - it is taken for dead: the survivors go on from a copy of that memory; or
//   - it is stopped: the others go on, its leases run out, and then it finishes.
// In each case every event must be settled, none lost, none processed again after its settlement was accepted, and
// nothing left behind.
#include <array>
#include <cstring>
#include <functional>

#include "stepped.hpp"

namespace penstock::group::testing {
namespace {

using layout::CellState;

constexpr std::uint64_t kEvents = 4;
constexpr std::uint32_t kVictim = 1, kOther = 2, kDeadBefore = 3, kSurvivor = 4;

// What the victim says of itself, in memory it shares with the test. An event is `tried` before a call that may settle
// it and `done` after that call was accepted.
struct Journal {
  std::array<volatile std::uint8_t, kEvents> tried;
  std::array<volatile std::uint8_t, kEvents> done;
  std::array<volatile std::uint8_t, kEvents> rejected;  // before
  volatile std::uint8_t finished;
};

struct Scenario {
  const char* name;
  bool marks;   // the group's own dead-letter queue
  bool copies;  // all events carry one id
  std::function<void(const Mapping&, const layout::GroupOptions&)> prepare;
  std::function<void(GroupTopic&, Journal&)> act;
  std::uint64_t keys = 0;  // events have one of so many keys, and an order by them
};

Fresh event_of(const Scenario& scenario, std::uint64_t offset) {
  Fresh event = event_at(offset);
  if (scenario.copies) event.id = id_of(0);
  if (scenario.keys != 0) event.key = 1 + offset % scenario.keys;
  return event;
}
// A lease that names no cell when the log is at its end; events that are queued on the way are taken, too.
Lease take(GroupTopic& group, const Scenario& scenario, std::int64_t now = kStart) {
  for (;;) {
    const auto cursor = group.cursor();
    if (cursor.offset >= kEvents) return {};
    auto taken = group.take_fresh(cursor, event_of(scenario, cursor.offset), now);
    if (taken && taken->outcome == Outcome::lease && group.begin(taken->lease)) return taken->lease;
  }
}
void ack(GroupTopic& group, const Lease& lease, Journal& journal, std::int64_t now = kStart) {
  if (lease.cell == layout::kNoCell) return;
  journal.tried[lease.offset] = 1;
  if (group.ack(lease, now)) journal.done[lease.offset] = 1;
}
void nothing(const Mapping&, const layout::GroupOptions&) {}

const std::vector<Scenario>& scenarios() {
  static const std::vector<Scenario> all = {
      {"TakeTwoAndAckThem", false, false, nothing,
       [](GroupTopic& group, Journal& journal) {
         const Lease first = take(group, scenarios()[0]), second = take(group, scenarios()[0]);
         ack(group, second, journal);
         ack(group, first, journal);
       }},
      {"TakeAckTake", false, false, nothing,
       [](GroupTopic& group, Journal& journal) {
         for (int i = 0; i < 3; ++i) ack(group, take(group, scenarios()[1]), journal);
       }},
      {"SkipAndTake", false, false, nothing,
       [](GroupTopic& group, Journal& journal) {
         const Lease first = take(group, scenarios()[2]);
         journal.tried[1] = 1;
         if (group.skip(group.cursor(), {2, position_of(2)}, GroupTopic::Skip::expired)) journal.done[1] = 1;
         ack(group, take(group, scenarios()[2]), journal);
         ack(group, first, journal);
       }},
      {"NakReleaseParkAndExtend", false, false, nothing,
       [](GroupTopic& group, Journal&) {
         const Scenario& self = scenarios()[3];
         (void)group.nak(take(group, self), kStart, {"class", "reason"}, kMs);
         (void)group.release(take(group, self), kStart);
         (void)group.park(take(group, self), kStart + kMs);
         (void)group.park_until(take(group, self), kStart + kMs, {kStart, kStart - kSecond});
         (void)group.extend(take(group, self), kStart, kSecond);
       }},
      {"TakeDueAndAck", false, false,
       [](const Mapping& mapping, const layout::GroupOptions& options) {
         GroupTopic other = open_view(mapping, options, kOther);
         for (int i = 0; i < 3; ++i) (void)other.nak(take(other, scenarios()[4]), kStart - kSecond, {}, 0);
       },
       [](GroupTopic& group, Journal& journal) {
         while (const auto lease = lease_due(group, kStart)) ack(group, *lease, journal);
       }},
      {"RejectAndSettleTheLetter", false, false, nothing,
       [](GroupTopic& group, Journal& journal) {
         const Lease lease = take(group, scenarios()[5]);
         (void)group.reject(lease, kStart, {"class", "reason"});
         std::vector<CellView> dead;
         dead.reserve(4);
         group.for_each_dead([&](const CellView& cell) {
           dead.push_back(cell);
           return true;
         });
         for (const CellView& cell : dead) {
           journal.tried[cell.offset] = 1;
           if (group.settle_dead(cell.cell, cell.state)) journal.done[cell.offset] = 1;
         }
       }},
      {"AdmitAndAck", false, true, nothing,
       [](GroupTopic& group, Journal& journal) {
         Lease lease = take(group, scenarios()[6]);
         const auto answer = group.admit(lease, kStart);
         if (answer && *answer == Admit::admitted) ack(group, lease, journal);
       }},
      {"AdmitARetryAndMeetItsCopy", false, true,
       [](const Mapping& mapping, const layout::GroupOptions& options) {
         GroupTopic other = open_view(mapping, options, kOther);
         Lease lease = take(other, scenarios()[7]);
         (void)other.admit(lease, kStart - kSecond);
         (void)other.nak(lease, kStart - kSecond, {}, 0);
       },
       [](GroupTopic& group, Journal& journal) {
         auto retry = lease_due(group, kStart);
         Lease copy = take(group, scenarios()[7]);
         const auto busy = group.admit(copy, kStart);
         if (busy && *busy == Admit::busy) (void)group.park(copy, kStart);
         if (!retry) return;
         const auto answer = group.admit(*retry, kStart);
         if (answer && *answer == Admit::admitted) ack(group, *retry, journal);
         auto again = lease_due(group, kStart);
         if (!again) return;
         const auto duplicate = group.admit(*again, kStart);
         if (!duplicate || *duplicate != Admit::duplicate) return;
         journal.tried[again->offset] = 1;
         if (group.settle_duplicate(*again)) journal.done[again->offset] = 1;
       }},
      {"SweepAfterADeath", false, false,
       [](const Mapping& mapping, const layout::GroupOptions& options) {
         GroupTopic before = open_view(mapping, options, kDeadBefore);
         for (int i = 0; i < 3; ++i) take(before, scenarios()[8], kStart - 60 * kSecond);
       },
       [](GroupTopic& group, Journal&) {
         group.sweep(kStart, [](std::uint32_t slot, std::uint32_t) { return slot == kDeadBefore; });
         group.sweep(kStart + 60 * kSecond, kNobodyIsDead);
       }},
      {"SweepCleansBits", false, false,
       [](const Mapping& mapping, const layout::GroupOptions& options) {
         GroupTopic other = open_view(mapping, options, kOther);
         const Lease first = take(other, scenarios()[9]), second = take(other, scenarios()[9]);
         (void)other.release(first, kStart);
         (void)other.ack(*lease_due(other, kStart), kStart);
         (void)other.ack(second, kStart);
       },
       [](GroupTopic& group, Journal& journal) {
         group.sweep(kStart, kNobodyIsDead);
         ack(group, take(group, scenarios()[9]), journal);
       }},
      {"GiveLettersBack", true, false, nothing,
       [](GroupTopic& group, Journal& journal) {
         Redrive redrive(group);
         for (std::uint64_t letter = 0; letter < 2; ++letter) {
           (void)redrive.give_back(letter, position_of(letter), id_of(letter), kStart);
         }
         while (const auto lease = lease_due(group, kStart)) ack(group, *lease, journal);
       }},
      {"OneKey", false, false, nothing,
       [](GroupTopic& group, Journal& journal) {
         const Lease first = take(group, scenarios()[11]);
         take(group, scenarios()[11]);
         ack(group, first, journal);
         while (const auto lease = lease_due(group, kStart)) ack(group, *lease, journal);
       },
       1},
      {"TwoKeys", false, false, nothing,
       [](GroupTopic& group, Journal& journal) {
         const Lease first = take(group, scenarios()[12]), second = take(group, scenarios()[12]);
         take(group, scenarios()[12]);
         ack(group, second, journal);
         ack(group, first, journal);
         while (const auto lease = lease_due(group, kStart)) ack(group, *lease, journal);
       },
       2},
      {"KeyAfterKey", false, false, nothing,
       [](GroupTopic& group, Journal& journal) {
         for (int i = 0; i < 3; ++i) ack(group, take(group, scenarios()[13]), journal);
       },
       1},
      {"AKeysEventFailsAndIsRejected", false, false, nothing,
       [](GroupTopic& group, Journal& journal) {
         const Lease first = take(group, scenarios()[14]);
         take(group, scenarios()[14]);
         (void)group.nak(first, kStart, {"class", "reason"}, 0);
         const auto again = lease_due(group, kStart);
         if (!again) return;
         journal.rejected[again->offset] = 1;
         (void)group.reject(*again, kStart);
         while (const auto lease = lease_due(group, kStart)) ack(group, *lease, journal);
       },
       2},
      {"AKeyIsQueuedBehindAnothersLease", false, false,
       [](const Mapping& mapping, const layout::GroupOptions& options) {
         GroupTopic other = open_view(mapping, options, kOther);
         (void)other.ack(take(other, scenarios()[15]), kStart);
         take(other, scenarios()[15], kStart - 60 * kSecond);
       },
       [](GroupTopic& group, Journal&) {
         take(group, scenarios()[15]);
         group.sweep(kStart, kNobodyIsDead);
       },
       1},
      {"SweepFindsATurnThatNobodyTook", false, false,
       [](const Mapping& mapping, const layout::GroupOptions& options) {
         GroupTopic before = open_view(mapping, options, kDeadBefore);
         const Lease first = take(before, scenarios()[16]);
         take(before, scenarios()[16]);
         (void)before.ack(first, kStart);
       },
       [](GroupTopic& group, Journal& journal) {
         group.sweep(kStart, kNobodyIsDead);
         while (const auto lease = lease_due(group, kStart)) ack(group, *lease, journal);
       },
       1},
  };
  return all;
}

// What other members did: how often each event was settled by them, and how many were processed.
struct Tally {
  std::array<int, kEvents> settled{};
  std::array<int, kEvents> processed{};
  const Journal* victim = nullptr;
  std::uint64_t prepared = 0;  // events settled before

  // An event is delivered: were those before it of its key settled?
  void expect_turn(const Scenario& scenario, std::uint64_t offset) const {
    if (scenario.keys == 0) return;
    for (std::uint64_t before = offset % scenario.keys; before < offset; before += scenario.keys) {
      EXPECT_TRUE(settled[before] != 0 || victim->tried[before] != 0 || victim->rejected[before] != 0 ||
                  before < prepared)
          << offset << " came before " << before << " of its key was settled";
    }
  }
};

// A member that processes all there is, for a minute.
void drain(GroupTopic& group, const Scenario& scenario, const IsDead& is_dead, std::int64_t& now, Tally& tally) {
  for (int round = 0; round < 60; ++round, now += kSecond) {
    group.sweep(now, is_dead);
    for (;;) {
      auto taken = group.take_due(now);
      const auto cursor = group.cursor();
      if (taken->outcome != Outcome::lease && group.started() && cursor.offset < kEvents) {
        taken = group.take_fresh(cursor, event_of(scenario, cursor.offset), now);
      }
      if (taken && taken->outcome == Outcome::queued) continue;
      if (!taken || taken->outcome != Outcome::lease) break;
      Lease lease = taken->lease;
      tally.expect_turn(scenario, lease.offset);
      const Admit answer = scenario.copies ? group.admit(lease, now).value() : Admit::admitted;
      if (answer == Admit::busy) {
        (void)group.park(lease, now + kMs);
      } else if (answer == Admit::duplicate) {
        if (group.settle_duplicate(lease)) ++tally.settled[lease.offset];
      } else if (group.ack(lease, now)) {
        ++tally.settled[lease.offset];
        ++tally.processed[lease.offset];
      }
    }
    std::vector<CellView> dead;
    group.for_each_dead([&](const CellView& cell) {
      dead.push_back(cell);
      return true;
    });
    for (const CellView& cell : dead) {
      if (group.settle_dead(cell.cell, cell.state)) ++tally.settled[cell.offset];
    }
  }
}

// The part of the memory that these few events can touch.
class Image {
 public:
  explicit Image(const Mapping& mapping, const Journal& journal) : mapping_(mapping), journal_(journal) {}

  bool changed() {
    bool any = std::memcmp(&journal_copy_, &journal_, sizeof(Journal)) != 0;
    for (std::size_t i = 0; i < kParts.size() && !any; ++i) {
      any = std::memcmp(copy_.data() + at(i), mapping_.bytes().data() + kParts[i].first, kParts[i].second) != 0;
    }
    if (!any) return false;
    std::memcpy(&journal_copy_, &journal_, sizeof(Journal));
    for (std::size_t i = 0; i < kParts.size(); ++i) {
      std::memcpy(copy_.data() + at(i), mapping_.bytes().data() + kParts[i].first, kParts[i].second);
    }
    return true;
  }
  void put_into(const Mapping& mapping) const {
    for (std::size_t i = 0; i < kParts.size(); ++i) {
      std::memcpy(mapping.bytes().data() + kParts[i].first, copy_.data() + at(i), kParts[i].second);
    }
  }
  Journal journal() const { return journal_copy_; }

 private:
  static constexpr std::array<std::pair<std::size_t, std::size_t>, 9> kParts = {{
      {0, 2 * layout::kPage},
      {offsetof(layout::GroupTopicControl, occupied), 64},
      {offsetof(layout::GroupTopicControl, due), 64},
      {layout::kCellsAt, 64 * sizeof(layout::Cell)},
      {layout::kMarksAt, 64},
      {layout::kNotesAt, 64 * 2 * sizeof(layout::Note)},
      {layout::kLanesAt, 64 * sizeof(layout::Lane)},
      {layout::kLaneTableAt, layout::kPage},
      {layout::kDedupeAt, 64 * sizeof(layout::DedupeEntry)},
  }};
  static constexpr std::size_t at(std::size_t part) {
    std::size_t sum = 0;
    for (std::size_t i = 0; i < part; ++i) sum += kParts[i].second;
    return sum;
  }
  const Mapping& mapping_;
  const Journal& journal_;
  Journal journal_copy_{};
  std::vector<std::byte> copy_ = std::vector<std::byte>(at(kParts.size()));
};

class GroupKill : public ::testing::TestWithParam<std::size_t> {
 protected:
  GroupKill() {
    options_.dedupe = 16;
    options_.max_attempts = 10;
    void* at = mmap(nullptr, sizeof(Journal), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    journal_ = new (at) Journal{};
  }
  ~GroupKill() override { munmap(journal_, sizeof(Journal)); }

  const Scenario& scenario() const { return scenarios()[GetParam()]; }

  std::function<void()> victim_on(const Mapping& mapping) {
    return [this, &mapping] {
      GroupTopic group = open_view(mapping, options_, kVictim, 1, scenario().marks);
      scenario().act(group, *journal_);
      journal_->finished = 1;
    };
  }

  void prepare(const Mapping& mapping) {
    std::memset(static_cast<void*>(journal_), 0, sizeof(Journal));
    if (!scenario().marks) open_view(mapping, options_, kOther).start({0, position_of(0)});
    scenario().prepare(mapping, options_);
    prepared_ = mapping.control().acked.load();
  }

  // Gives back every letter that is not, as the next operator would.
  void redrive_again(const Mapping& mapping) {
    if (!scenario().marks) return;
    GroupTopic group = open_view(mapping, options_, kSurvivor, 1, true);
    Redrive redrive(group);
    for (std::uint64_t letter = 0; letter < kEvents; ++letter) {
      ASSERT_TRUE(redrive.give_back(letter, position_of(letter), id_of(letter), kStart));
    }
  }

  void nothing_left(const Mapping& mapping) {
    GroupTopic group = open_view(mapping, options_, kSurvivor, 1, scenario().marks);
    const IsDead all_dead = [](std::uint32_t, std::uint32_t) { return true; };
    for (int i = 0; i < 3; ++i) group.sweep(kStart + 3600 * kSecond, all_dead);
    EXPECT_EQ(mapping.control().in_flight.load(), 0u);
    for (std::uint32_t i = 0; i < 64; ++i) EXPECT_EQ(mapping.state(i), CellState::free) << "cell " << i;
    if (!scenario().marks) {
      EXPECT_EQ(group.committed().offset, kEvents);
      return;
    }
    for (std::uint64_t letter = 0; letter < kEvents; ++letter) EXPECT_TRUE(group.marked(letter));
  }

  layout::GroupOptions options_;
  Journal* journal_;
  std::uint64_t prepared_ = 0;  // events that were settled before the victim began, from offset 0 on
};

TEST_P(GroupKill, AtEveryChangeOfSharedMemoryLosesNothing) {
  Mapping mapping(16);
  prepare(mapping);
  Stepped victim(victim_on(mapping));
  if (!victim.alive()) GTEST_SKIP() << "this build can't be stepped";
  Image image(mapping, *journal_);
  int images = 0, steps = 0;
  for (bool alive = true; alive && !HasFailure(); ++steps) {
    alive = victim.step();
    if (!image.changed()) continue;
    ++images;
    SCOPED_TRACE("image " + std::to_string(images));
    Mapping copy(16);
    image.put_into(copy);
    const Journal journal = image.journal();
    expect_bounds(copy);
    expect_order(copy);
    redrive_again(copy);
    GroupTopic survivor = open_view(copy, options_, kSurvivor, 1, scenario().marks);
    EXPECT_LE(survivor.committed().offset, kEvents);
    Tally tally;
    tally.victim = &journal;
    tally.prepared = prepared_;
    std::int64_t now = kStart + 10 * kSecond;
    drain(
        survivor, scenario(), [](std::uint32_t slot, std::uint32_t) { return slot == kVictim || slot == kDeadBefore; },
        now, tally);
    int successes = 0, sure = 0, perhaps = 0;
    for (std::uint64_t offset = prepared_; offset < kEvents; ++offset) {
      SCOPED_TRACE("offset " + std::to_string(offset));
      if (journal.done[offset] != 0) {
        EXPECT_EQ(tally.settled[offset], 0) << "settled, and delivered again";
      } else if (journal.tried[offset] == 0) {
        EXPECT_EQ(tally.settled[offset], 1) << "lost, or settled twice";
      } else {
        EXPECT_LE(tally.settled[offset], 1);
      }
      successes += tally.processed[offset];
      sure += journal.done[offset];
      perhaps += journal.tried[offset];
    }
    if (scenario().copies) {
      EXPECT_LE(successes, sure > 0 ? 0 : 1) << "an id was processed again";
      EXPECT_GE(successes, perhaps > 0 ? 0 : 1) << "an id was never processed";
    }
    nothing_left(copy);
  }
  EXPECT_EQ(journal_->finished, 1);
  EXPECT_GT(images, 10);
  RecordProperty("images", images);
  RecordProperty("steps", steps);
}

TEST_P(GroupKill, StoppedAtEveryChangeOfSharedMemoryItHoldsUpNobodyAndSpoilsNothing) {
  for (int stop = 1; !HasFailure(); ++stop) {
    Mapping mapping(16);
    prepare(mapping);
    Stepped victim(victim_on(mapping));
    if (!victim.alive()) GTEST_SKIP() << "this build can't be stepped";
    Image image(mapping, *journal_);
    int images = 0;
    bool alive = true;
    while (alive && images < stop) {
      alive = victim.step();
      images += image.changed() ? 1 : 0;
    }
    if (!alive) break;
    SCOPED_TRACE("stopped at image " + std::to_string(stop));
    Tally tally;
    tally.victim = journal_;
    tally.prepared = prepared_;
    std::int64_t now = kStart + 10 * kSecond;
    {
      // Not dead: its leases run out. An operator's redrive waits for the lock, which a stopped one still holds.
      GroupTopic other = open_view(mapping, options_, kOther, 1, scenario().marks);
      drain(
          other, scenario(), [](std::uint32_t slot, std::uint32_t) { return slot == kDeadBefore; }, now, tally);
      EXPECT_EQ(other.cursor().offset, scenario().marks ? 0 : kEvents) << "somebody was waited for";
    }
    victim.finish();
    expect_bounds(mapping);
    EXPECT_EQ(journal_->finished, 1);
    redrive_again(mapping);
    GroupTopic survivor = open_view(mapping, options_, kSurvivor, 1, scenario().marks);
    drain(
        survivor, scenario(), [](std::uint32_t slot, std::uint32_t) { return slot == kVictim || slot == kDeadBefore; },
        now, tally);
    int successes = 0;
    for (std::uint64_t offset = prepared_; offset < kEvents; ++offset) {
      EXPECT_EQ(tally.settled[offset] + journal_->done[offset], 1) << "offset " << offset;
      successes += tally.processed[offset];
    }
    if (scenario().copies) {
      EXPECT_EQ(successes + journal_->done[0], 1) << "an id was processed twice, or never";
    }
    nothing_left(mapping);
  }
}

INSTANTIATE_TEST_SUITE_P(At, GroupKill, ::testing::Range(std::size_t{0}, scenarios().size()),
                         [](const auto& scenario) { return scenarios()[scenario.param].name; });

}  // namespace
}  // namespace penstock::group::testing
