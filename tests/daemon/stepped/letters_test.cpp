// Dead letters and the disk: what a checkpoint leaves out must be in the queue, on disk.
#include "stepped_bus.hpp"

namespace penstock::test {
namespace {

TEST(LettersOnDisk, ACheckpointWaitsForALetterThatAnEarlierDaemonAppended) {
  Stage stage;
  {
    Bus bus = open_small(stage);
    ASSERT_TRUE(bus.create_topic("t"));
    Producer producer = bus.producer("t").value();
    ASSERT_TRUE(producer.publish(bytes_of(text_of('e', 0, 100))));
    Consumer member = bus.consumer("g", {"t"}).value();
    auto delivery = member.next(0s);
    step(*open_rounds(bus));
    ASSERT_TRUE((*delivery)->reject());
    // The first daemon appends the letter and settles the event, the second finds both done; the disk is stuck.
    for (int daemon = 0; daemon < 2; ++daemon) step(*open_rounds(bus, std::make_unique<StuckDisk>()));
    const auto topics = bus.group_topics("g").value();
    ASSERT_EQ(topics.front().dead_lettered, 1u);
  }
  reboot(stage);
  Bus bus = stage.open();
  int letters = 0;
  ASSERT_TRUE(bus.dead_letters("g", [&](const EventView&, const DeadLetter&) { return ++letters != 0; }));
  EXPECT_EQ(letters, 0) << "it never came to be on disk";
  Consumer member = bus.consumer("g").value();
  const auto again = member.next(0s);
  EXPECT_TRUE(again && *again) << "neither the letter nor the event is left";
}

}  // namespace
}  // namespace penstock::test
