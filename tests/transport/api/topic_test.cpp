#include "api/topic.hpp"

#include <atomic>
#include <thread>

#include "tests/support/stage.hpp"

namespace penstock::test {
namespace {

TEST(Topic, OrdinalsThatTheDeadTookAreCountedAgain) {
  const Stage stage;
  Bus bus = stage.open();
  const TopicOptions small{.durability = Durability::memory, .ring_bytes = 64 << 10};
  ASSERT_TRUE(bus.create_topic("before", small));
  for (auto& word : bus.state()->live.header()->ordinals) word.store(~0ull);
  ASSERT_TRUE(bus.create_topic("after", small));
  const auto before = api::Topic::look(bus.state(), "before"), after = api::Topic::look(bus.state(), "after");
  ASSERT_TRUE(before && after);
  EXPECT_NE((*before)->header().ordinal, (*after)->header().ordinal);
  EXPECT_NE((*after)->header().ordinal, layout::kBusOrdinal);
}

// As if who made them were killed right before it told: the epochs are as they were.
TEST(Topic, ItsFirstProducerTellsWhoWaitsForIt) {
  const Stage stage;
  Bus bus = stage.open();
  auto reader = bus.reader("late.*", StartAt::beginning()).value();
  layout::Word& epoch = bus.state()->live.header()->topics_epoch;
  const std::uint64_t before = epoch;
  ASSERT_TRUE(bus.create_topic("late.topic", {.durability = Durability::memory, .ring_bytes = 64 << 10}));
  epoch.store(before);
  EXPECT_FALSE(reader.next(std::chrono::seconds(0)).value());
  EXPECT_TRUE(reader.places().empty());
  ASSERT_TRUE(bus.producer("late.topic").value().publish({}));
  EXPECT_TRUE(reader.next(std::chrono::seconds(0)).value());
  const std::uint64_t told = epoch;
  ASSERT_TRUE(bus.producer("late.topic"));
  EXPECT_EQ(epoch, told);  // whoever published there told it before
}

// Its directory comes first, then what says that it exists: to who looks in between it is not there yet.
TEST(Topic, ThatIsBeingMadeIsThereOrNot) {
  const Stage stage;
  constexpr int kTopics = 300;
  std::atomic<int> made{0};
  std::thread maker([&] {
    Bus bus = stage.open();
    for (; made < kTopics; ++made)
      EXPECT_TRUE(
          bus.create_topic("t" + std::to_string(made), {.durability = Durability::memory, .ring_bytes = 64 << 10}));
  });
  Bus bus = stage.open();
  for (int next = 0; next < kTopics; next = made) {
    const auto producer = bus.producer("t" + std::to_string(next), {.create = false});
    if (producer) continue;
    EXPECT_EQ(producer.error().code(), Errc::not_found) << producer.error().message();
    if (HasFailure()) break;
  }
  maker.join();
}

}  // namespace
}  // namespace penstock::test
