#include "api/topic.hpp"

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

}  // namespace
}  // namespace penstock::test
