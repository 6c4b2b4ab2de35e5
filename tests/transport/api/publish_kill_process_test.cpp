// Producers that are killed at every point of what they do, and stopped at every instruction of it, on real buses
// through the public headers.
#include <sys/wait.h>

#include "api/topic.hpp"
#include "tests/support/stage.hpp"

namespace penstock::test {
namespace {

// What a victim acts with; its events' texts are made before it is watched.
struct Acting {
  Producer& producer;
  Journal& journal;
  const std::vector<std::string>& texts;
};

struct Plan {
  const char* name;
  Durability durability;
  Full full;
  std::size_t filled;  // bytes of events that are there before, so that the ring's end comes in the middle
  std::vector<std::size_t> sizes;
  std::function<void(const Acting&)> act;
  bool single = false;  // its topic has one producer
};

void publish_each(const Acting& my) {
  for (const std::string& text : my.texts) {
    const std::uint32_t number = my.journal.begun;
    my.journal.begun = number + 1;
    const auto offset = my.producer.publish(bytes_of(text));
    if (!offset) std::abort();
    my.journal.offsets[number] = *offset;
    my.journal.done = number + 1;
  }
}

void publish_batch(const Acting& my) {
  std::array<Message, 3> messages;
  for (std::size_t i = 0; i < messages.size(); ++i) messages[i] = {bytes_of(my.texts[i]), {.key = "key"}};
  my.journal.begun = std::uint32_t(messages.size());
  const auto offset = my.producer.publish_batch(messages);
  if (!offset) std::abort();
  for (std::uint32_t i = 0; i < messages.size(); ++i) my.journal.offsets[i] = *offset + i;
  my.journal.done = std::uint32_t(messages.size());
}

// Held open while another is given up, then committed.
void claim_and_commit(const Acting& my) {
  const std::string& text = my.texts.front();
  auto held = my.producer.claim(text.size(), {.id = "given", .key = "key"});
  auto given_up = my.producer.claim(100);
  if (!held || !given_up) std::abort();
  std::memcpy(held->payload().data(), text.data(), text.size() / 2);
  given_up->abort();
  std::memcpy(held->payload().data(), text.data(), text.size());
  my.journal.begun = 1;
  const auto offset = held->commit();
  if (!offset) std::abort();
  my.journal.offsets[0] = *offset;
  my.journal.done = 1;
}

constexpr std::size_t kRing = 64 << 10;
const std::vector<std::size_t> kThree = {8, 300, 1000}, kBatch = {8, 900, 70};

const std::vector<Plan>& plans() {
  using enum Durability;
  static const std::vector<Plan> all = {
      {"Memory", memory, Full::block, 0, kThree, publish_each},
      {"Durable", disk, Full::block, 0, kThree, publish_each},
      {"MemoryOverTheEnd", memory, Full::drop_oldest, kRing - 700, kThree, publish_each},
      {"DurableOverTheEnd", disk, Full::block, kRing - 700, kThree, publish_each},
      {"MemoryBatchOverTheEnd", memory, Full::drop_oldest, kRing - 600, kBatch, publish_batch},
      {"DurableBatch", disk, Full::block, 500, kBatch, publish_batch},
      {"MemoryClaims", memory, Full::block, 0, {200}, claim_and_commit},
      {"DurableClaimsOverTheEnd", disk, Full::block, kRing - 400, {200}, claim_and_commit},
      {"SingleMemory", memory, Full::block, 0, kThree, publish_each, true},
      {"SingleMemoryOverTheEnd", memory, Full::drop_oldest, kRing - 700, kThree, publish_each, true},
      {"SingleDurableOverTheEnd", disk, Full::block, kRing - 700, kThree, publish_each, true},
      {"SingleDurableBatchOverTheEnd", disk, Full::block, kRing - 600, kBatch, publish_batch, true},
      {"SingleMemoryClaims", memory, Full::block, 0, {200}, claim_and_commit, true},
  };
  return all;
}

class ProducerSweep : public ::testing::TestWithParam<std::size_t> {
 protected:
  ProducerSweep() {
    for (const std::size_t size : plan().sizes) texts_.push_back(text_of('v', texts_.size(), size));
  }
  const Plan& plan() const { return plans()[GetParam()]; }

  // A topic with what is there before; persisted, where it can be.
  void prepare(const Stage& stage) {
    Bus bus = stage.open();
    ASSERT_TRUE(bus.create_topic("t", {.durability = plan().durability,
                                       .ring_bytes = kRing,
                                       .full = plan().full,
                                       .single_producer = plan().single,
                                       .max_payload = kRing / 4}));
    Producer producer = bus.producer("t").value();
    before_ = 0;
    for (std::size_t bytes = 0; bytes < plan().filled; ++before_) {
      const std::size_t size = std::min<std::size_t>(plan().filled - bytes, 6000);
      ASSERT_TRUE(producer.publish(bytes_of(text_of('b', before_, size))));
      bytes += size + 64;
    }
    if (plan().durability == Durability::disk && before_ != 0) persist(bus, before_ - 1, producer);
  }
  static void persist(Bus& bus, Offset offset, Producer& producer) {
    Daemon daemon = Daemon::start(bus).value();
    const auto durable = producer.await_durable(offset, 10s);
    ASSERT_TRUE(durable) << durable.error().message();
    ASSERT_TRUE(daemon.stop());
  }

  std::function<void()> opens(const Stage& stage) {
    return [this, &stage] { producer_.emplace(stage.open().producer("t").value()); };
  }
  std::function<void()> acts() {
    return [this] {
      plan().act({*producer_, *journal_, texts_});
      journal_->finished = true;
    };
  }

  // The victim's events among those read: all it was told of and at most what it began, where it was told.
  void whole(const std::vector<Seen>& seen) {
    std::uint32_t count = 0;
    for (const Seen& event : seen) {
      if (event.who != 'v') continue;
      EXPECT_EQ(event.number, count) << "a hole, or out of order";
      if (count < journal_->done) {
        EXPECT_EQ(event.offset, journal_->offsets[count]);
      }
      ++count;
    }
    EXPECT_TRUE(count == journal_->done || count == journal_->begun)
        << count << " events; told " << journal_->done << ", begun " << journal_->begun;
  }

  void on_disk(const Stage& stage, const std::vector<Seen>& expected) {
    std::vector<Seen> stored;
    const auto log = Log::open(stage.path(), "t");
    ASSERT_TRUE(log) << log.error().message();
    LogVisitor visitor;
    visitor.event = [&stored](const EventView& event) {
      Seen seen;
      EXPECT_TRUE(parse(event, seen));
      stored.push_back(seen);
      return true;
    };
    visitor.damage = [](const Damage& damage) {
      ADD_FAILURE() << damage.problem;
      return true;
    };
    ASSERT_TRUE(log->scan({}, visitor));
    EXPECT_TRUE(stored == expected);
    const auto reports = log->verify();
    ASSERT_TRUE(reports);
    for (const FileReport& report : *reports) EXPECT_TRUE(report.ok);
  }

  void judge_the_dead(const Stage& stage) {
    Bus bus = stage.open();
    std::vector<Seen> seen = read_all(bus, "t");
    whole(seen);
    auto other = bus.producer("t", {.create = false, .block = 0ns});
    ASSERT_TRUE(other) << other.error().message();
    const Offset end = bus.describe_topic("t").value().next_offset;
    const auto after = other->publish(bytes_of(text_of('a', 0, 100)));
    ASSERT_TRUE(after) << after.error().message();
    EXPECT_EQ(*after, end);
    const std::vector<Seen> again = read_all(bus, "t");
    ASSERT_FALSE(again.empty());
    EXPECT_TRUE(again.back() == (Seen{*after, 'a', 0}));
    EXPECT_TRUE(consume_all(bus, "t", "g") == again);
    if (plan().durability != Durability::disk) return;
    persist(bus, *after, *other);
    on_disk(stage, again);
  }

  // Others publish up to three laps, or as long as nobody is in their way, and a reader follows.
  void others_work(Bus& bus, Producer& other, Reader& reader, std::vector<Seen>& seen) {
    std::optional<Daemon> daemon;
    if (plan().durability == Durability::disk) daemon.emplace(Daemon::start(bus).value());
    for (std::uint64_t number = 0; number < 3 * kRing / 2048; ++number) {
      const auto offset = other.publish(bytes_of(text_of('o', number, 1900)));
      if (!offset) {
        ASSERT_EQ(offset.error().code(), Errc::full) << offset.error().message();
        if (bus.describe_topic("t").value().blocked_by) return;
        ASSERT_TRUE(daemon) << "full, and nobody is in the way";
        ASSERT_TRUE(other.await_durable(last_, 10s));
        --number;
        continue;
      }
      last_ = *offset;
      told_.push_back(Seen{*offset, 'o', number});
      poll(reader, seen);
    }
  }
  static void poll(Reader& reader, std::vector<Seen>& seen) {
    ASSERT_TRUE(reader.poll([&seen](const EventView& event) {
      Seen one;
      EXPECT_TRUE(parse(event, one)) << "offset " << event.offset() << " is torn";
      EXPECT_TRUE(seen.empty() || seen.back().offset < event.offset());
      seen.push_back(one);
    }));
  }

  SharedJournal journal_;
  std::vector<std::string> texts_;    // the victim's
  std::optional<Producer> producer_;  // the victim's
  std::uint64_t before_ = 0;
  Offset last_ = 0;
  std::vector<Seen> told_;  // what others were told is published
};

TEST_P(ProducerSweep, KilledAnywhereItLeavesWholeEventsAndHoldsNobodyUp) {
  const auto run = [&](std::uint64_t at) {
    SCOPED_TRACE("point " + std::to_string(at));
    Stage stage;
    prepare(stage);
    journal_.clear();
    const Victim victim(Points::changes, at, SIGKILL, opens(stage), acts());
    EXPECT_TRUE(victim.reached() || journal_->finished);
    judge_the_dead(stage);
    return victim.reached() && !HasFailure();
  };
  std::uint64_t points = 0;
  {
    Stage stage;
    prepare(stage);
    points = count_points(Points::changes, opens(stage), acts());
  }
  if (points == 0) GTEST_SKIP() << "this build can't be stepped";
  sweep("killed", points, 20, run);
  if (!HasFailure()) run(points + 1);  // the end itself
}

TEST_P(ProducerSweep, StoppedAtAnyInstructionItIsNotOverwrittenAndGoesOn) {
  const auto run = [&](std::uint64_t at) {
    SCOPED_TRACE("instruction " + std::to_string(at));
    Stage stage;
    prepare(stage);
    journal_.clear();
    told_.clear();
    last_ = 0;
    Victim victim(Points::instructions, at, SIGSTOP, opens(stage), acts());
    if (!victim.reached()) return false;
    Bus bus = stage.open();
    auto other = bus.producer("t", {.create = false, .block = 0ns});
    EXPECT_EQ(other.has_value(), !plan().single) << "a stopped only producer keeps its topic";
    Reader reader = bus.reader("t", StartAt::beginning()).value();
    const Offset begin = reader.places().front().second;
    std::vector<Seen> seen;
    poll(reader, seen);
    if (other) others_work(bus, *other, reader, seen);
    victim.resume([&] { poll(reader, seen); });
    EXPECT_TRUE(journal_->finished);
    EXPECT_EQ(journal_->done, plan().sizes.size());
    read_on(reader, bus.describe_topic("t").value().next_offset, seen);
    std::vector<Seen> of_others;
    std::copy_if(seen.begin(), seen.end(), std::back_inserter(of_others), [](const Seen& s) { return s.who == 'o'; });
    if (plan().full == Full::drop_oldest) {
      // What the victim dropped when it went on is counted.
      EXPECT_EQ(begin + seen.size() + reader.missed(), before_ + told_.size() + plan().sizes.size());
    } else {
      EXPECT_EQ(reader.missed(), 0u);
      whole(seen);
      EXPECT_TRUE(of_others == told_) << of_others.size() << " of " << told_.size();
    }
    return !HasFailure();
  };
  std::uint64_t points = 0;
  {
    Stage stage;
    prepare(stage);
    points = count_points(Points::instructions, opens(stage), acts());
  }
  if (points == 0) GTEST_SKIP() << "this build can't be stepped";
  sweep("stopped", points, 10, run);
}

// In a later lap the lines that the dead left unwritten hold what looks like records. Events of an eighth of the ring:
// the limit, which moves by that, comes to stand at each of them.
TEST(LapSweep, KilledInALaterLapItHoldsUpNoProducerAndNoReader) {
  std::optional<Producer> producer;
  const auto prepare = [](const Stage& stage) {
    Bus bus = stage.open();
    ASSERT_TRUE(bus.create_topic("t", {.durability = Durability::memory, .ring_bytes = kRing}));
    Producer other = bus.producer("t").value();
    for (std::uint64_t number = 0; number < 11; ++number)
      ASSERT_TRUE(other.publish(bytes_of(text_of('b', number, 7900))));
  };
  const auto opens = [&](const Stage& stage) { return [&] { producer.emplace(stage.open().producer("t").value()); }; };
  const auto gives_up = [&] { static_cast<void>(producer->claim(7900)); };
  std::uint64_t points = 0;
  {
    Stage stage;
    prepare(stage);
    points = count_points(Points::changes, opens(stage), gives_up);
  }
  if (points == 0) GTEST_SKIP() << "this build can't be stepped";
  sweep("killed", points, points, [&](std::uint64_t at) {
    SCOPED_TRACE("point " + std::to_string(at));
    Stage stage;
    prepare(stage);
    const Victim victim(Points::changes, at, SIGKILL, opens(stage), gives_up);
    Bus bus = stage.open();
    auto other = bus.producer("t", {.create = false, .block = 0ns});
    EXPECT_TRUE(other) << other.error().message();
    if (!other) return false;
    for (std::uint64_t number = 0; number < 24; ++number) {
      const auto offset = other->publish(bytes_of(text_of('a', number, 7900)));
      EXPECT_TRUE(offset) << "event " << number << ": " << offset.error().message();
      if (!offset) return false;
      const auto seen = read_all(bus, "t");
      EXPECT_TRUE(!seen.empty() && seen.back() == (Seen{*offset, 'a', number}));
    }
    return victim.reached() && !HasFailure();
  });
}

// A reader sleeps on the topic without a time-out. If the victim's event is there, it must have been woken.
TEST(SleeperSweep, KilledAnywhereWhoSleepsIsWokenForWhatIsThere) {
  SharedJournal journal;
  const std::string text = text_of('v', 0, 100);
  std::optional<Producer> producer;
  std::uint64_t points = 0;
  const auto opens = [&](const Stage& stage) { return [&] { producer.emplace(stage.open().producer("t").value()); }; };
  const auto publishes = [&] { static_cast<void>(producer->publish(bytes_of(text))); };
  const auto run = [&](std::uint64_t at) {
    SCOPED_TRACE("point " + std::to_string(at));
    Stage stage;
    journal.clear();
    Bus bus = stage.open();
    EXPECT_TRUE(bus.create_topic("t", {.durability = Durability::memory, .ring_bytes = kRing}));
    const pid_t sleeper = ::fork();
    if (sleeper == 0) {
      auto reader = stage.open().reader("t", StartAt::beginning());
      while (reader && reader->next(60s).value_or(std::nullopt)) journal->done = journal->done + 1;
      ::_exit(0);
    }
    const auto topic = api::Topic::look(bus.state(), "t");
    const auto until = [](const auto& so) {
      for (const auto deadline = std::chrono::steady_clock::now() + 10s; std::chrono::steady_clock::now() < deadline;) {
        if (so()) return true;
        ::usleep(200);
      }
      return false;
    };
    EXPECT_TRUE(until([&] { return (*topic)->mask().load() != 0; }));
    const Victim victim(Points::changes, at, SIGKILL, opens(stage), publishes);
    const std::size_t there = read_all(bus, "t").size();
    EXPECT_TRUE(until([&] { return journal->done == there; })) << there << " events, " << journal->done << " read";
    ::kill(sleeper, SIGKILL);
    ::waitpid(sleeper, nullptr, 0);
    points = victim.points();
    return victim.reached() && !HasFailure();
  };
  run(0);
  if (points == 0) GTEST_SKIP() << "this build can't be stepped";
  sweep("killed", points, points, run);
}

INSTANTIATE_TEST_SUITE_P(At, ProducerSweep, ::testing::Range(std::size_t{0}, plans().size()),
                         [](const auto& plan) { return plans()[plan.param].name; });

}  // namespace
}  // namespace penstock::test
