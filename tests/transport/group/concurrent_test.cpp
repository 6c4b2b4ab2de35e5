// Several members, a sweeping daemon and a checkpointer over one mapping, as threads, for ThreadSanitizer to watch.
// Time is a counter that every step moves on, so that abandoned leases run out.
#include <atomic>
#include <thread>

#include "shared_group.hpp"

namespace penstock::group::testing {
namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr std::uint64_t kEvents = 2000;
constexpr int kSnapshots = 20;  // a mapping each, which is slow to watch
#else
constexpr int kSnapshots = 500;
constexpr std::uint64_t kEvents = 40'000;
#endif
constexpr std::uint64_t kIds = kEvents / 4 * 3;  // a quarter of the events are copies
constexpr int kMembers = 3;

// Event o carries this id; some follow their original at once, others much later.
std::uint64_t id_number(std::uint64_t offset) { return offset % 8 == 7 ? (offset - 1) % kIds : offset % kIds; }

struct World {
  std::uint64_t keys = 0;          // events have one of so many keys, and an order by them
  std::uint64_t events = kEvents;  // with few keys most are queued, and every look at all of them takes long
  layout::GroupOptions options;
  Mapping mapping{32768};
  std::atomic<std::int64_t> clock{kStart};
  std::vector<std::atomic<int>> settling = std::vector<std::atomic<int>>(kEvents);  // somebody has tried to settle it
  std::vector<std::atomic<int>> settled = std::vector<std::atomic<int>>(kEvents);   // settlements that were accepted
  std::vector<std::atomic<int>> processed = std::vector<std::atomic<int>>(kIds);    // successes by id
  std::atomic<bool> over{false};

  std::int64_t now() { return clock.fetch_add(1000); }
};

class Actor {
 public:
  Actor(World& world, std::uint32_t slot)
      : world_(world), group_(open_view(world.mapping, world.options, slot)), x_(slot * 7919) {}

  void run() {
    while (!world_.over.load()) {
      auto taken = group_.take_due(world_.now());
      if (taken && taken->outcome != Outcome::lease) taken = fresh();
      if (taken && taken->outcome == Outcome::lease) settle(taken->lease);
    }
  }

 private:
  std::uint64_t random(std::uint64_t below) {
    x_ = x_ * 6364136223846793005ull + 1442695040888963407ull;
    return (x_ >> 33) % below;
  }

  Result<Taken> fresh() {
    const auto cursor = group_.cursor();
    if (cursor.offset >= world_.events) {
      std::this_thread::yield();
      return Taken{};
    }
    Fresh event = event_at(cursor.offset);
    event.id = id_of(id_number(cursor.offset));
    if (world_.keys != 0) event.key = 1 + cursor.offset % world_.keys;
    return group_.take_fresh(cursor, event, world_.now());
  }

  // It waits for its letter, or its letter was written meanwhile.
  bool died(std::uint64_t offset) {
    bool found = false;
    group_.for_each_dead([&](const CellView& cell) { return !(found = cell.offset == offset); });
    return found || world_.settling[offset].load() != 0;
  }

  void settled(const Lease& lease, bool accepted) {
    if (accepted) world_.settled[lease.offset].fetch_add(1);
  }

  void settle(Lease lease) {
    ASSERT_LT(lease.offset, world_.events);
    ASSERT_EQ(lease.position, position_of(lease.offset));
    ASSERT_EQ(lease.id, id_of(id_number(lease.offset)));
    if (world_.keys != 0 && lease.offset >= world_.keys) {
      const std::uint64_t before = lease.offset - world_.keys;
      EXPECT_TRUE(world_.settling[before].load() != 0 || died(before))
          << lease.offset << " came before " << before << " of its key";
    }
    const auto admitted = group_.admit(lease, world_.now());
    if (!admitted) return;  // the lease ran out meanwhile
    if (*admitted == Admit::busy) {
      (void)group_.park(lease, world_.now() + std::int64_t(random(50'000)));
      return;
    }
    const std::uint64_t what = random(100);
    if (*admitted == Admit::duplicate) {
      world_.settling[lease.offset].store(1);
      settled(lease, bool(group_.settle_duplicate(lease)));
    } else if (what < 70) {
      world_.settling[lease.offset].store(1);
      const bool accepted = bool(group_.ack(lease, world_.now()));
      settled(lease, accepted);
      if (accepted) world_.processed[id_number(lease.offset)].fetch_add(1);
    } else if (what < 85) {
      (void)group_.nak(lease, world_.now(), {"class", "reason"}, std::int64_t(random(100'000)));
    } else if (what < 92) {
      (void)group_.release(lease, world_.now());
    } else if (what < 97) {
      if (const auto longer = group_.extend(lease, world_.now(), 300'000)) settle(*longer);
    }  // else it is abandoned, and runs out
  }

  World& world_;
  GroupTopic group_;
  std::uint64_t x_;
};

void keep(World& world) {
  GroupTopic group = open_view(world.mapping, world.options, 100);
  while (!world.over.load()) {
    group.sweep(world.now(), kNobodyIsDead);
    std::vector<CellView> dead;
    group.for_each_dead([&](const CellView& cell) {
      dead.push_back(cell);
      return true;
    });
    for (const CellView& cell : dead) {
      world.settling[cell.offset].store(1);
      if (group.settle_dead(cell.cell, cell.state)) world.settled[cell.offset].fetch_add(1);
    }
    const Info info = group.info();
    if (info.cursor.offset >= world.events && info.committed.offset >= world.events) world.over.store(true);
  }
}

// Whatever is unsettled is in the snapshot, or fresh to it; and what is called committed is settled.
void check(World& world) {
  GroupTopic group = open_view(world.mapping, world.options, 101);
  std::uint64_t checked = 0;
  std::vector<std::byte> bytes;
  for (int left = kSnapshots; !world.over.load();) {
    const Place committed = group.committed();
    for (; checked < committed.offset; ++checked) {
      ASSERT_EQ(world.settling[checked].load(), 1) << "offset " << checked << " was called committed and is not";
    }
    if (left == 0) continue;
    --left;
    group.snapshot(bytes, world.now());
    Mapping mapping(32768);
    GroupTopic restored = open_view(mapping, world.options, 102);
    ASSERT_TRUE(restored.restore(bytes, {world.events, position_of(world.events)}, world.now()));
    std::vector<bool> has_cell(kEvents, false);
    const std::uint64_t cursor = restored.cursor().offset;
    restored.for_each_pending([&](const CellView& cell) {
      EXPECT_LT(cell.offset, cursor);
      EXPECT_FALSE(has_cell[cell.offset]) << cell.offset << " has two cells";
      has_cell[cell.offset] = true;
      return true;
    });
    for (std::uint64_t offset = 0; offset < cursor; ++offset) {
      ASSERT_TRUE(has_cell[offset] || world.settling[offset].load() == 1) << offset << " is missing in a snapshot";
    }
  }
}

class GroupConcurrent : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(GroupConcurrent, EveryEventIsSettledExactlyOnceAndEveryIdProcessedAtMostOnce) {
  World world;
  world.keys = GetParam();
  if (world.keys != 0) {
    // A key waits for each of its retries.
    world.events = kEvents / 20;
    world.options.backoff_count = 1;
    world.options.backoff_ns[0] = 100'000;
  }
  world.options.lease_ns = 200'000;
  world.options.max_attempts = 2;
  world.options.max_in_flight = 50;
  world.options.dedupe = 32768;
  open_view(world.mapping, world.options, 1).start({0, position_of(0)});
  std::vector<std::thread> threads;
  for (std::uint32_t slot = 1; slot <= kMembers; ++slot) {
    threads.emplace_back([&world, slot] { Actor(world, slot).run(); });
  }
  threads.emplace_back([&world] { keep(world); });
  threads.emplace_back([&world] { check(world); });
  for (std::thread& thread : threads) thread.join();

  std::uint64_t wrong = 0;
  for (std::uint64_t offset = 0; offset < world.events; ++offset) wrong += world.settled[offset].load() != 1 ? 1 : 0;
  EXPECT_EQ(wrong, 0u) << "events not settled exactly once";
  std::uint64_t twice = 0, once = 0;
  for (const auto& count : world.processed) {
    twice += count.load() > 1 ? 1 : 0;
    once += count.load() == 1 ? 1 : 0;
  }
  EXPECT_EQ(twice, 0u) << "ids processed more than once";
  EXPECT_GT(once, std::min(world.events, kIds) / 2);
  EXPECT_GT(world.mapping.control().duplicates.load(), 0u);
  // Of the few events with keys none may have failed twice.
  if (world.keys == 0) {
    EXPECT_GT(world.mapping.control().dead_lettered.load(), 0u);
  }

  GroupTopic after = open_view(world.mapping, world.options, 1);
  after.sweep(world.now(), kNobodyIsDead);
  after.sweep(world.now(), kNobodyIsDead);
  EXPECT_EQ(world.mapping.control().in_flight.load(), 0u);
  EXPECT_EQ(after.committed().offset, world.events);
  EXPECT_EQ(world.mapping.control().queued.load(), 0u);
}

INSTANTIATE_TEST_SUITE_P(WithKeys, GroupConcurrent, ::testing::Values(0, 3, 50));

// The bare minimum, as fast as it goes: takers and settlers that fight over one cursor.
TEST(GroupConcurrentTest, MembersThatOnlyTakeAndAckShareTheEvents) {
  layout::GroupOptions options;
  Mapping mapping;
  open_view(mapping, options, 1).start({0, position_of(0)});
  const std::uint64_t events = kEvents * 3;
  std::vector<std::atomic<int>> acked(events);
  std::vector<std::thread> threads;
  for (std::uint32_t slot = 1; slot <= 3; ++slot) {
    threads.emplace_back([&, slot] {
      GroupTopic group = open_view(mapping, options, slot);
      for (;;) {
        const auto cursor = group.cursor();
        if (cursor.offset >= events) return;
        const auto taken = group.take_fresh(cursor, event_at(cursor.offset), kStart);
        if (!taken || taken->outcome != Outcome::lease) continue;
        if (group.ack(taken->lease, kStart)) acked[taken->lease.offset].fetch_add(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::uint64_t wrong = 0;
  for (const auto& count : acked) wrong += count.load() != 1 ? 1 : 0;
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(mapping.control().in_flight.load(), 0u);
  EXPECT_EQ(mapping.control().cells_allocated.load(), 64u);
}

}  // namespace
}  // namespace penstock::group::testing
