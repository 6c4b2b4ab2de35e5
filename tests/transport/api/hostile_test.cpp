// Bytes that others left, and what must not come of them: what fuzzing and flipping found, each in a few lines.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <cstring>

#include "layout/group.hpp"
#include "layout/topic.hpp"
#include "tests/support/scratch.hpp"
#include "tests/support/small_bus.hpp"

namespace penstock::test {
namespace {

class Hostile : public ::testing::Test {
 protected:
  Hostile() {
    std::filesystem::create_directory(directory());
    std::ofstream(directory() + "/bus.toml")
        << "[bus]\nshared_memory = \"" << folder_.path() << "\"\n[topics]\nring = \"64KiB\"\n";
  }
  std::string directory() const { return folder_ / "bus"; }
  Bus open() const { return good(Bus::open(directory())); }
  static std::string live(const Bus& bus) { return good(bus.describe()).live_path; }
  static void put(const std::string& path, std::uint64_t at, std::uint64_t value) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    ASSERT_EQ(::pwrite(fd, &value, sizeof value, off_t(at)), ssize_t(sizeof value));
    ::close(fd);
  }
  Scratch folder_;
};

TEST_F(Hostile, AnEventForTheEndOfAllTimeStallsNobody) {
  Bus bus = open();
  good(bus.create_topic("t"));
  Producer producer = good(bus.producer("t"));
  good(producer.publish(bytes_of("never"), {.deliver_at = Timestamp::max()}));
  good(producer.publish(bytes_of("now")));
  Consumer consumer = good(bus.consumer("g", {"t"}));
  auto delivery = good(consumer.next(std::chrono::seconds(10)));
  ASSERT_TRUE(delivery);
  EXPECT_EQ(delivery->offset(), 1u);
}

// The limit and the tail say that the whole ring was overwritten, `reclaim` that all of it is kept.
TEST_F(Hostile, ARingWhoseWordsContradictEachOtherIsLeftAtItsEnd) {
  for (const Durability durability : {Durability::memory, Durability::disk}) {
    Bus bus = open();
    const std::string name = durability == Durability::disk ? "disk" : "memory";
    good(bus.create_topic(name, {.durability = durability, .ring_bytes = 64 << 10}));
    Producer producer = good(bus.producer(name));
    for (int i = 0; i < 3; ++i) good(producer.publish(bytes_of("event")));
    const std::string path = live(bus) + "/topics/" + name;
    put(path, offsetof(layout::TopicControl, limit), 1ull << 40);
    put(path, offsetof(layout::TopicControl, tail), 1ull << 40);
    Reader reader = good(bus.reader(name, StartAt::beginning()));
    good(reader.poll([](const EventView&) {}));
    EXPECT_EQ(good(reader.poll([](const EventView&) {})), 0u);
    Log log = good(Log::open(directory(), name));
    good(log.scan({}, {}));
  }
}

TEST_F(Hostile, AGroupsPageThatCannotBeHoldsNoProducerUp) {
  Bus bus = open();
  good(bus.create_topic("t", {.durability = Durability::memory, .ring_bytes = 64 << 10}));
  { Consumer consumer = good(bus.consumer("g", {"t"})); }
  Producer producer = good(bus.producer("t", {.block = std::chrono::nanoseconds(0)}));
  const auto publish_a_ring = [&] {
    const std::string payload(1000, 'x');
    for (int i = 0; i < 128; ++i)
      if (!producer.publish(bytes_of(payload))) return false;
    return true;
  };
  EXPECT_FALSE(publish_a_ring()) << "a group that reads nothing holds producers up";
  const std::string page = live(bus) + "/groups/g/t";
  put(page, 0, 0);
  EXPECT_TRUE(publish_a_ring());
  for (const std::uint64_t length : {std::uint64_t{0}, std::uint64_t{1}, layout::kPage - 1, layout::kPage}) {
    std::filesystem::resize_file(page, length);
    EXPECT_TRUE(publish_a_ring()) << length;
  }
  std::filesystem::resize_file(live(bus) + "/groups/g/@group", 1);
  EXPECT_TRUE(publish_a_ring());
}

TEST_F(Hostile, AGroupsOptionsAreWrittenUnderItsOwnName) {
  Bus bus = open();
  { Consumer consumer = good(bus.consumer("g", {"t"})); }
  const std::string page = live(bus) + "/groups/g/@group";
  std::uint64_t elsewhere;  // "../../x"
  std::memcpy(&elsewhere, "../../x", sizeof elsewhere);
  put(page, offsetof(layout::GroupFile, name), elsewhere);
  ConsumerOptions options;
  options.max_attempts = 3;
  good(bus.set_group("g", {"t"}, options));
  EXPECT_FALSE(std::filesystem::exists(directory() + "/groups/../../x"));
  good(Bus::unload(directory()));
  EXPECT_EQ(good(open().describe_group("g")).options.max_attempts, 3u);
}

// A topic's ordinal says which bit of the bus's table is given back.
TEST_F(Hostile, ATopicWhoseOrdinalCannotBeIsDeleted) {
  Bus bus = open();
  good(bus.create_topic("t"));
  put(live(bus) + "/topics/t", offsetof(layout::TopicHeader, ordinal), 1ull << 50);
  good(bus.delete_topic("t"));
  EXPECT_TRUE(good(bus.topics()).empty());
}

TEST_F(Hostile, APayloadIsNoLargerThanTheRingTakesWhateverItsHeaderSays) {
  Bus bus = open();
  good(bus.create_topic("t"));
  const std::string path = live(bus) + "/topics/t";
  put(path, offsetof(layout::TopicHeader, options) + offsetof(layout::TopicOptions, max_payload), ~0ull);
  EXPECT_EQ(good(bus.producer("t")).max_payload(), 16u << 10);
}

}  // namespace
}  // namespace penstock::test
