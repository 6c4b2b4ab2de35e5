// The daemon, killed at every store and system call while it starts, makes a dead-letter queue, moves letters and
// writes checkpoints; and those who fail events, give letters back, purge them, seek and pause. Then everything is gone
// on with: at once, after a reboot, or after a reboot that comes when the next daemon has made two rounds. Each event
// that fails is in the queue once, with its history; nothing is lost, and only a reboot makes anything come again.
#include <array>

#include "stepped_bus.hpp"

namespace penstock::test {
namespace {

constexpr std::uint64_t kEvents = 6;

// What members make of an event, whoever is given it and however often.
enum class Fate { rejected, failing, acked };
Fate fate_of(std::uint64_t number) {
  constexpr Fate kFates[] = {Fate::rejected, Fate::failing, Fate::acked, Fate::acked};
  return kFates[number % 4];
}

using Given = std::map<std::uint64_t, int>;  // deliveries by the event's number: after a reboot offsets have a hole

struct World {
  const Stage& stage;
  bool redriven_fail = false;  // letters that are given back fail once more
  std::uint64_t published = 0;
  std::array<bool, 16> kept{};     // settled, and in a checkpoint
  std::array<bool, 16> settled{};  // settled
  Given given{}, redriven{};
};

void publish(World& world, Bus& bus, std::uint64_t count) {
  Producer producer = bus.producer("t", {.create = false, .block = 0ns}).value();
  for (std::uint64_t i = 0; i < count; ++i, ++world.published) {
    const std::string id = "id-" + std::to_string(world.published);
    is_true(producer.publish(bytes_of(text_of('e', world.published, 200)), {.id = id}).has_value());
  }
}

std::string reason_of(std::uint64_t number) { return "reason of " + std::to_string(number); }

std::uint64_t number_of(const EventView& event) {
  Seen seen;
  EXPECT_TRUE(parse(event, seen)) << "offset " << event.offset() << " is torn";
  return seen.number;
}

bool fail(Delivery&& delivery, Fate fate) {
  const std::string reason = reason_of(number_of(delivery.event().view()));
  const NakOptions why{.error_class = "class", .reason = reason};
  return bool(fate == Fate::rejected ? delivery.reject(why) : delivery.nak(why));
}
void settle(World& world, Delivery& delivery) {
  const std::uint64_t number = number_of(delivery.event().view());
  const bool again = delivery.redriven().has_value();
  ++(again ? world.redriven : world.given)[number];
  const Fate fate = again ? (world.redriven_fail ? Fate::rejected : Fate::acked) : fate_of(number);
  EXPECT_TRUE(fate == Fate::acked ? bool(delivery.ack()) : fail(std::move(delivery), fate));
}

// A member works until nothing comes for longer than any backoff.
void work_off(World& world, Bus& bus) {
  Consumer member = bus.consumer("g").value();
  for (int quiet = 0; quiet < 5; pass(20ms)) {
    auto delivery = member.next(0s);
    ASSERT_TRUE(delivery) << delivery.error().message();
    quiet = *delivery ? 0 : quiet + 1;
    if (*delivery) settle(world, **delivery);
  }
}

// --- What is there before.

void published(World& world) {
  Bus bus = open_small(world.stage);
  is_true(bool(bus.create_topic("t")));
  publish(world, bus, kEvents);
  Consumer(bus.consumer("g", {"t"}, {.max_attempts = 2, .backoff = {10ms}}).value());
  step(*open_rounds(bus));
}

// Two events that are dead and two that are acked, one of these as of the checkpoint.
void with_the_dead(World& world) {
  published(world);
  Bus bus = world.stage.open();
  Consumer member = bus.consumer("g").value();
  std::vector<Delivery> held;
  for (int i = 0; i < 4; ++i) held.push_back(std::move(*member.next(0s).value()));
  is_true(bool(held[2].ack()));
  world.kept[2] = true;
  step(*open_rounds(bus));
  is_true(fail(std::move(held[0]), Fate::rejected) && fail(std::move(held[1]), Fate::failing) && bool(held[3].ack()));
  pass(20ms);
  is_true(fail(*member.next(0s).value(), Fate::failing));
  for (const std::size_t offset : {0, 1, 2, 3}) world.settled[offset] = true;
}

void with_letters(World& world) {
  with_the_dead(world);
  Bus bus = world.stage.open();
  step(*open_rounds(bus), 8);
  world.kept = world.settled;
}

// A letter that was given back and fails again, and another event that failed.
void with_letters_and_the_dead(World& world) {
  with_letters(world);
  world.redriven_fail = true;
  Bus bus = world.stage.open();
  is_true(bool(bus.redrive("g", 0)));
  Consumer member = bus.consumer("g").value();
  std::vector<Delivery> held;
  for (int i = 0; i < 2; ++i) held.push_back(std::move(*member.next(0s).value()));
  step(*open_rounds(bus), 8);
  for (Delivery& delivery : held) settle(world, delivery);
  EXPECT_EQ(world.redriven[0], 1);
  world.settled[4] = true;
  world.given.clear(), world.redriven.clear();
}

// --- What is killed.

void start_and_work(const Stage& stage) {
  Bus bus = stage.open();
  step(*open_rounds(bus), 8);
}
void start_and_stop(const Stage& stage) {
  Bus bus = stage.open();
  const auto rounds = open_rounds(bus);
  step(*rounds, 1);
  is_true(bool(rounds->finish()));
}
void redrive_two(const Stage& stage) {
  Bus bus = stage.open();
  is_true(bool(bus.redrive("g", 0)) && bool(bus.redrive("g", 1)));
}
void purge_two(const Stage& stage) {
  Bus bus = stage.open();
  is_true(bool(bus.purge("g", 0)) && bool(bus.purge("g", 1)));
}
void seek_back(const Stage& stage) { is_true(bool(stage.open().seek_group("g", StartAt::offset(2)))); }
void pause(const Stage& stage) {
  Bus bus = stage.open();
  is_true(bool(bus.pause_group("g", true)));
}
void member_fails_two(const Stage& stage) {
  Bus bus = stage.open();
  auto member = bus.consumer("g");
  is_true(member.has_value());
  auto first = member->next(0s), second = member->next(0s);
  is_true(first && *first && second && *second);
  is_true(fail(std::move(**first), Fate::rejected) && fail(std::move(**second), Fate::failing));
  pass(20ms);
  is_true(fail(*member->next(0s).value(), Fate::failing));
}

// --- What is gone on with.

void again(const Result<void>& result) {
  EXPECT_TRUE(result || result.error().code() == Errc::not_found) << result.error().message();
}
void redrive_again(World&, Bus& bus) {
  // A letter that the queue hides has been given back.
  std::set<Offset> shown;
  ASSERT_TRUE(bus.dead_letters("g", [&](const EventView& event, const DeadLetter&) {
    shown.insert(event.offset());
    return true;
  }));
  const auto pending = bus.group_pending("g").value();
  for (const Offset letter : {0, 1}) {
    const bool taken = std::any_of(pending.begin(), pending.end(), [&](const PendingInfo& info) {
      return info.topic == "g.dlq" && info.offset == letter;
    });
    EXPECT_TRUE(shown.contains(letter) || taken) << "letter " << letter << " is marked, and nobody has it";
    again(bus.redrive("g", letter));
  }
}
void purge_again(World&, Bus& bus) {
  for (const Offset letter : {0, 1}) again(bus.purge("g", letter));
}
void seek_again(World& world, Bus& bus) {
  ASSERT_TRUE(bus.seek_group("g", StartAt::offset(2)));
  for (std::size_t offset = 2; offset < kEvents; ++offset) world.settled[offset] = world.kept[offset] = false;
}
void resume(World&, Bus& bus) { ASSERT_TRUE(bus.pause_group("g", false)); }
void nothing(World&, Bus&) {}

struct Plan {
  const char* name;
  void (*prepare)(World&);
  void (*act)(const Stage&);
  void (*again)(World&, Bus&);
  int redriven = 0;  // how often each of the first two letters is given back afterwards
  int hidden = 0;    // of the first two letters, afterwards
};
constexpr Plan kPlans[] = {
    {"FirstLetters", with_the_dead, start_and_work, nothing},
    {"MoreLetters", with_letters_and_the_dead, start_and_work, nothing},
    {"FirstLettersAndStop", with_the_dead, start_and_stop, nothing},
    {"MoreLettersAndStop", with_letters_and_the_dead, start_and_stop, nothing},
    {"FailEvents", published, member_fails_two, nothing},
    {"Redrive", with_letters, redrive_two, redrive_again, 1, 2},
    {"Purge", with_letters, purge_two, purge_again, 0, 2},
    {"Seek", with_the_dead, seek_back, seek_again},
    {"Pause", with_the_dead, pause, resume},
};

enum class Then { go_on, reboot, step_and_reboot };
constexpr const char* kThen[] = {"GoOn", "Reboot", "StepAndReboot"};

class BooksSweep : public ::testing::TestWithParam<std::tuple<std::size_t, Then>> {
 protected:
  const Plan& plan() const { return kPlans[std::get<0>(GetParam())]; }
  bool rebooted() const { return std::get<1>(GetParam()) != Then::go_on; }

  void go_on(World& world) {
    if (std::get<1>(GetParam()) == Then::step_and_reboot) {
      Bus bus = world.stage.open();
      step(*open_rounds(bus), 2);
    }
    if (rebooted()) reboot(world.stage);
    Bus bus = world.stage.open();
    plan().again(world, bus);
    const auto rounds = open_rounds(bus);
    for (int i = 0; i < 20 && !HasFailure(); ++i) {
      work_off(world, bus);
      step(*rounds);
      std::uint64_t lag = 0;
      const auto topics = bus.group_topics("g");
      ASSERT_TRUE(topics);
      for (const GroupTopicInfo& info : *topics) lag += info.lag;
      if (lag != 0) continue;
      // An event that comes now is delivered too.
      if (world.published > kEvents) break;
      publish(world, bus, 1);
    }
    EXPECT_GT(world.published, kEvents) << "events stay unsettled";
    letters(world, bus);
    deliveries(world);
  }

  void deliveries(World& world) {
    for (std::uint64_t number = 0; number < world.published; ++number) {
      SCOPED_TRACE("event " + std::to_string(number));
      const int given = world.given[number], each = fate_of(number) == Fate::failing ? 2 : 1;
      if (rebooted() ? world.kept[number] : world.settled[number]) {
        EXPECT_EQ(given, 0) << "it was settled";
      } else if (world.settled[number] || plan().act == member_fails_two) {
        EXPECT_LE(given, each);
      } else {
        EXPECT_EQ(given, each);
      }
    }
    for (const std::uint64_t number : {0, 1}) {
      if (plan().redriven == 0) continue;
      EXPECT_EQ(world.redriven[number], plan().redriven) << "letter " << number;
    }
  }

  void letters(const World& world, Bus& bus) {
    using Letters = std::map<std::pair<std::uint64_t, std::uint32_t>, int>;  // by event and redrives
    Letters found, expected;
    LogVisitor visitor;
    visitor.event = [&](const EventView& event) {
      const auto letter = DeadLetter::of(event);
      EXPECT_TRUE(letter);
      if (!letter) return true;
      const std::uint64_t number = number_of(event);
      ++found[{number, letter->redrives}];
      const bool once = letter->redrives != 0 || fate_of(number) == Fate::rejected;
      // One that the victim held when it died has failed by that once.
      const bool held = plan().act == member_fails_two && number < 2;
      EXPECT_TRUE(letter->attempts == (once ? 1u : 2u) || (held && letter->attempts == 2));
      EXPECT_TRUE(letter->disposition == (once ? "rejected" : "attempts") || (held && letter->disposition == "crash"));
      EXPECT_EQ(letter->topic + letter->group + letter->error_class, "tgclass");
      EXPECT_EQ(letter->reason, reason_of(number));
      EXPECT_EQ(event.id_text().value_or(""), "id-" + std::to_string(number));
      EXPECT_LE(letter->first_failure, letter->last_failure);
      return true;
    };
    const auto log = Log::open(world.stage.path(), "g.dlq");
    ASSERT_TRUE(log) << log.error().message();
    ASSERT_TRUE(log->scan({}, visitor));
    for (std::uint64_t number = 0; number < world.published; ++number)
      if (fate_of(number) != Fate::acked) expected[{number, 0}] = 1;
    // A seek after a reboot settles what was in no checkpoint as dead.
    if (plan().act == seek_back && std::get<1>(GetParam()) == Then::reboot)
      for (const std::uint64_t number : {0, 1}) expected.erase({number, 0});
    if (world.redriven_fail) expected[{0, 1}] = 1;
    EXPECT_EQ(found, expected);
    int shown = 0;
    ASSERT_TRUE(bus.dead_letters("g", [&](const EventView& event, const DeadLetter&) {
      shown += number_of(event) < 2 ? 1 : 0;
      return true;
    }));
    EXPECT_EQ(shown, std::min(2, int(expected.size()) - 2) - plan().hidden);  // one that failed again has another
  }
};

TEST_P(BooksSweep, KilledAnywhereEachFailedEventIsInTheQueueOnce) {
  std::optional<World> world;
  kill_everywhere({.prepare =
                       [&](const Stage& stage) {
                         set_clock(1'800'000'000'000'000'000, 5'000'000'000'000);
                         world.emplace(World{stage});
                         plan().prepare(*world);
                       },
                   .act = [&](const Stage& stage) { plan().act(stage); },
                   .judge = [&](const Stage&) { go_on(*world); }},
                  10);
}

INSTANTIATE_TEST_SUITE_P(At, BooksSweep,
                         ::testing::Combine(::testing::Range(std::size_t{0}, std::size(kPlans)),
                                            ::testing::Values(Then::go_on, Then::reboot, Then::step_and_reboot)),
                         [](const auto& it) {
                           return std::string(kPlans[std::get<0>(it.param)].name) + "Then" +
                                  kThen[int(std::get<1>(it.param))];
                         });

}  // namespace
}  // namespace penstock::test
