// Readers, members of groups, and the producer that makes room in a memory topic, killed at every store and system call
// of what they do: they hold nobody up, what they had settled stays settled, and the rest is given to others.
#include "tests/support/stage.hpp"

namespace penstock::test {
namespace {

constexpr std::size_t kRing = 64 << 10, kSize = 500;
constexpr std::uint64_t kLap = kRing / 576;  // events of that size

// Opens and publishes so many; what publish() says on a full ring is seen at once.
Producer producer_of(Bus& bus) { return bus.producer("t", {.create = false, .block = 0ns}).value(); }
std::uint64_t publish(Producer& producer, char who, std::uint64_t count, std::vector<Seen>* told = nullptr) {
  for (std::uint64_t number = 0; number < count; ++number) {
    const auto offset = producer.publish(bytes_of(text_of(who, number, kSize)));
    if (!offset) {
      EXPECT_EQ(offset.error().code(), Errc::full) << offset.error().message();
      return number;
    }
    if (told != nullptr) told->push_back({*offset, who, number});
  }
  return count;
}

TopicOptions options_of(Durability durability, Full full) {
  return {.durability = durability, .ring_bytes = kRing, .full = full};
}

// Joins with a pin (or without one, lossy), reads some, waits for news, leaves.
void read_and_leave(const Stage& stage, const ReaderOptions& options) {
  Bus bus = stage.open();
  auto reader = bus.reader("t", StartAt::beginning(), options);
  is_true(reader.has_value());
  is_true(reader->poll([](const EventView&) {}, 5).has_value());
  is_true(reader->next(0s).has_value());
  is_true(reader->poll([](const EventView&) {}).has_value());
  is_true(reader->wait(100us).has_value());
}

void a_dead_reader_holds_nobody_up(const TopicOptions& topic, const ReaderOptions& options) {
  kill_everywhere({.prepare =
                       [&](const Stage& stage) {
                         Bus bus = stage.open();
                         ASSERT_TRUE(bus.create_topic("t", topic));
                         Producer producer = producer_of(bus);
                         ASSERT_EQ(publish(producer, 'b', 20), 20u);
                       },
                   .act = [&](const Stage& stage) { read_and_leave(stage, options); },
                   .judge =
                       [&](const Stage& stage) {
                         Bus bus = stage.open();
                         EXPECT_EQ(read_all(bus, "t").size(), 20u);
                         Producer producer = producer_of(bus);
                         // A durable topic waits for its persister, whoever reads.
                         const std::uint64_t count = topic.durability == Durability::disk ? 20 : 3 * kLap;
                         EXPECT_EQ(publish(producer, 'a', count), count) << "a dead reader holds producers up";
                         const auto seen = read_all(bus, "t");
                         ASSERT_FALSE(seen.empty());
                         EXPECT_EQ(seen.back().number, count - 1);
                       }},
                  15);
}

TEST(ReaderSweep, KilledWithAPinItHoldsNobodyUp) {
  a_dead_reader_holds_nobody_up(options_of(Durability::memory, Full::block), {});
}
TEST(ReaderSweep, KilledWhileLossyItHoldsNobodyUp) {
  a_dead_reader_holds_nobody_up(options_of(Durability::memory, Full::block), {.lossy = true});
}
TEST(ReaderSweep, KilledOnADurableTopicItHoldsNobodyUp) {
  a_dead_reader_holds_nobody_up(options_of(Durability::disk, Full::block), {});
}

// A producer at the limit, with a reader that has read half and a group that has settled a third, makes room and
// publishes. Both must be given all the rest, untouched.
class RoomSweep : public ::testing::TestWithParam<bool> {};

TEST_P(RoomSweep, KilledWhileItMakesRoomNothingThatIsStillNeededIsGivenUp) {
  TopicOptions topic = options_of(Durability::memory, Full::block);
  topic.single_producer = GetParam();
  std::optional<Bus> bus;
  std::optional<Reader> reader;
  std::vector<Seen> read, told;
  std::uint64_t settled = 0;
  std::optional<Producer> victim;
  SharedJournal journal;
  std::vector<std::string> texts;
  for (std::uint64_t number = 0; number < 40; ++number) texts.push_back(text_of('v', number, kSize));
  kill_everywhere(
      {.prepare =
           [&](const Stage& stage) {
             reader.reset();
             read.clear(), told.clear(), journal.clear();
             bus.emplace(stage.open());
             ASSERT_TRUE(bus->create_topic("t", topic));
             reader.emplace(bus->reader("t", StartAt::beginning()).value());
             Consumer member = bus->consumer("g", {"t"}).value();
             Producer producer = producer_of(*bus);
             publish(producer, 'b', kLap, &told);
             ASSERT_TRUE(reader->poll(
                 [&](const EventView& event) {
                   Seen seen;
                   ASSERT_TRUE(parse(event, seen));
                   read.push_back(seen);
                 },
                 kLap / 2));
             for (settled = 0; settled < kLap / 3; ++settled) ASSERT_TRUE(member.next(0s).value()->ack());
           },
       .open = [&](const Stage& stage) { victim.emplace(stage.open().producer("t", {.block = 0ns}).value()); },
       .act =
           [&](const Stage&) {
             for (const std::string& text : texts) {
               journal->begun = journal->begun + 1;
               if (!victim->publish(bytes_of(text))) break;
               journal->done = journal->done + 1;
             }
           },
       .judge =
           [&](const Stage&) {
             read_on(*reader, bus->describe_topic("t").value().next_offset, read);
             std::uint64_t victims = 0;
             for (const Seen& seen : read) victims += seen.who == 'v' ? 1 : 0;
             EXPECT_TRUE(victims == journal->done || victims == journal->begun);
             EXPECT_EQ(read.size(), told.size() + victims);
             EXPECT_EQ(reader->missed(), 0u);
             const auto rest = consume_all(*bus, "t", "g");
             EXPECT_EQ(rest.size(), read.size() - settled);
             EXPECT_TRUE(std::equal(rest.begin(), rest.end(), read.begin() + long(settled)));
             // Nobody needs anything now: three laps fit, the reader reading on.
             Producer producer = producer_of(*bus);
             for (int lap = 0; lap < 12; ++lap) {
               EXPECT_EQ(publish(producer, 'a', kLap / 4), kLap / 4);
               read_on(*reader, bus->describe_topic("t").value().next_offset, read);
               consume_all(*bus, "t", "g");
             }
           }},
      20);
}

INSTANTIATE_TEST_SUITE_P(Of, RoomSweep, ::testing::Bool(),
                         [](const auto& single) { return single.param ? "OneProducer" : "SeveralProducers"; });

// Joins, takes seven and settles each in another way, leaves.
TEST(MemberSweep, KilledAnywhereWhatItSettledStaysSettledAndTheRestIsGivenToOthers) {
  constexpr std::uint64_t kEvents = 10;
  SharedJournal journal;
  const auto settle = [&](std::uint64_t offset, const auto& how) {
    journal->settled[offset] = 1;
    is_true(bool(how()));
    journal->settled[offset] = 2;
  };
  kill_everywhere({.prepare =
                       [&](const Stage& stage) {
                         journal.clear();
                         Bus bus = stage.open();
                         ASSERT_TRUE(bus.create_topic("t", options_of(Durability::disk, Full::block)));
                         Producer producer = producer_of(bus);
                         ASSERT_EQ(publish(producer, 'b', kEvents), kEvents);
                         Consumer(bus.consumer("g", {"t"}, {.backoff = {1ms}}).value());
                       },
                   .act =
                       [&](const Stage& stage) {
                         Bus bus = stage.open();
                         auto member = bus.consumer("g", {"t"});
                         is_true(member.has_value());
                         std::vector<Delivery> held;
                         for (int i = 0; i < 6; ++i) {
                           auto delivery = member->next(0s);
                           is_true(delivery && *delivery);
                           held.push_back(std::move(**delivery));
                         }
                         settle(held[1].offset(), [&] { return held[1].ack(); });
                         settle(held[0].offset(), [&] { return held[0].ack(); });
                         is_true(held[2].nak({.error_class = "class", .reason = "reason"}).has_value());
                         is_true(held[3].release().has_value());
                         is_true(held[4].extend(60s).has_value());
                         is_true(member
                                     ->poll(
                                         [&](const EventView& event) {
                                           journal->settled[event.offset()] = 1;
                                           return Settle::ack();
                                         },
                                         1)
                                     .has_value());
                         settle(held[4].offset(), [&] { return held[4].ack(); });
                       },
                   .judge =
                       [&](const Stage& stage) {
                         Bus bus = stage.open();
                         Consumer other = bus.consumer("g").value();
                         std::array<int, kEvents> given{};
                         // Backoffs are 1 ms; leases of the dead come back at the first look.
                         while (bus.group_topics("g").value().front().lag != 0) {
                           auto delivery = other.next(5s);
                           ASSERT_TRUE(delivery) << delivery.error().message();
                           ASSERT_TRUE(*delivery) << "an event is held by the dead";
                           ++given[(*delivery)->offset()];
                           EXPECT_TRUE((*delivery)->ack());
                         }
                         for (std::uint64_t offset = 0; offset < kEvents; ++offset) {
                           SCOPED_TRACE("offset " + std::to_string(offset));
                           const int settled = journal->settled[offset];
                           EXPECT_LE(given[offset], settled == 2 ? 0 : 1);
                           if (settled == 0) {
                             EXPECT_EQ(given[offset], 1);
                           }
                         }
                       }},
                  25);
}

}  // namespace
}  // namespace penstock::test
