#include <cerrno>
#include <utility>
#include <vector>

#include "bindings/c/c_bus.hpp"

namespace penstock::test {
namespace {

using CPublishing = CBus;

TEST_F(CPublishing, AnEventKeepsAllThatItWasGiven) {
  auto producer = this->producer();
  const penstock_header headers[] = {{"trace", "a\0b", 3}, {"empty", "", 0}};
  penstock_event_options options{};
  options.struct_size = sizeof options;
  options.key = "k\0y";
  options.key_size = 3;
  options.id = "tick-1";
  options.content_type = "text/plain";
  options.schema = "tick/2";
  options.headers = headers;
  options.header_count = 2;
  ASSERT_EQ(penstock_publish(producer.get(), "x", 1, &options, nullptr), 0) << penstock_last_error();
  std::uint8_t published[16];
  penstock_producer_last_id(producer.get(), 0, published);

  auto reader = this->reader();
  penstock_event* read = nullptr;
  ASSERT_EQ(penstock_reader_next(reader.get(), kSoon, &read), 0) << penstock_last_error();
  const CEvent event(read);
  reader.reset();  // the event outlives it
  std::size_t size = 0;
  const auto text = [&](const void* bytes) { return std::string(static_cast<const char*>(bytes), size); };
  EXPECT_STREQ(penstock_event_topic(read), "ticks");
  EXPECT_EQ(payload(read), "x");
  EXPECT_GT(penstock_event_time_ns(read), 1'600'000'000'000'000'000);
  EXPECT_EQ(text(penstock_event_key(read, &size)), std::string("k\0y", 3));
  EXPECT_EQ(text(penstock_event_id_text(read, &size)), "tick-1");
  EXPECT_EQ(text(penstock_event_content_type(read, &size)), "text/plain");
  EXPECT_EQ(text(penstock_event_schema(read, &size)), "tick/2");
  EXPECT_EQ(text(penstock_event_header(read, "trace", &size)), std::string("a\0b", 3));
  EXPECT_EQ(text(penstock_event_header(read, "empty", &size)), "");
  EXPECT_EQ(penstock_event_header(read, "other", &size), nullptr);
  std::vector<std::pair<std::string, std::string>> told;
  std::size_t name_size = 0;
  const void* value = nullptr;
  while (const char* name = penstock_event_header_at(read, told.size(), &name_size, &value, &size))
    told.emplace_back(std::string(name, name_size), text(value));
  const std::vector<std::pair<std::string, std::string>> given{{"trace", {"a\0b", 3}}, {"empty", ""}};
  EXPECT_EQ(told, given);
  std::uint8_t id[16];
  penstock_event_id(read, id);
  EXPECT_EQ(std::memcmp(id, published, 16), 0);
  penstock_dead_letter letter{};
  letter.struct_size = sizeof letter;
  EXPECT_EQ(penstock_event_dead_letter(read, &letter), -ENOENT);
}

TEST_F(CPublishing, ABatchIsPublishedWholeOrNotAtAll) {
  auto producer = this->producer();
  penstock_event_options keyed{};
  keyed.struct_size = sizeof keyed;
  keyed.key = "b";
  const penstock_message messages[] = {{"one", 3, nullptr}, {"two", 3, &keyed}, {nullptr, 0, nullptr}};
  std::uint64_t first = 99;
  ASSERT_EQ(penstock_publish_batch(producer.get(), messages, 3, &first), 0) << penstock_last_error();
  EXPECT_EQ(first, 0u);
  const std::vector<penstock_message> too_many(3000);
  EXPECT_EQ(penstock_publish_batch(producer.get(), too_many.data(), too_many.size(), &first), -EINVAL);
  const std::string half(200'000, 'x');  // of what a batch may take
  const penstock_message too_large[] = {{half.data(), half.size(), nullptr}, {half.data(), half.size(), nullptr}};
  EXPECT_EQ(penstock_publish_batch(producer.get(), too_large, 2, &first), -EMSGSIZE);
  EXPECT_STRNE(penstock_last_error(), "");

  std::vector<std::string> read;
  auto reader = this->reader();
  const auto keep = [](void* context, const penstock_event* event) {
    std::size_t size = 0;
    const char* key = penstock_event_key(event, &size);
    static_cast<std::vector<std::string>*>(context)->push_back(payload(event) +
                                                               (key ? ":" + std::string(key, size) : ""));
  };
  EXPECT_EQ(penstock_reader_poll(reader.get(), keep, &read, 2), 2);
  EXPECT_EQ(penstock_reader_poll(reader.get(), keep, &read, 100), 1);
  EXPECT_EQ(penstock_reader_poll(reader.get(), keep, &read, 100), 0);
  EXPECT_EQ(read, (std::vector<std::string>{"one", "two:b", ""}));
}

TEST_F(CPublishing, AnAbortedClaimIsSeenByNobodyAndSettlesOnce) {
  auto producer = this->producer();
  penstock_claim claim;
  ASSERT_EQ(penstock_claim_begin(producer.get(), 4, nullptr, &claim), 0);
  penstock_claim_abort(&claim);
  penstock_claim_abort(&claim);
  EXPECT_EQ(penstock_claim_commit(&claim, nullptr), -ESTALE);
  EXPECT_EQ(publish(producer.get(), "after"), 1u);
  auto consumer = this->consumer();
  EXPECT_EQ(payload(next(consumer.get())), "after");
}

TEST_F(CPublishing, ATopicIsMadeAsAsked) {
  penstock_topic_options options{};
  options.struct_size = sizeof options;
  options.durability = PENSTOCK_MEMORY;
  options.full = PENSTOCK_FULL_FAIL;
  options.ring_bytes = 64 << 10;
  options.max_payload = 1000;
  options.publish_dedupe = 10;
  ASSERT_EQ(penstock_topic_create(bus_, "small", &options), 0) << penstock_last_error();
  EXPECT_EQ(penstock_topic_create(bus_, "small", &options), -EEXIST);
  EXPECT_EQ(penstock_topic_retain_unacked(bus_, "small", 1), 0) << penstock_last_error();
  EXPECT_EQ(penstock_topic_retain_unacked(bus_, "none", 1), -ENOENT);
  auto producer = this->producer("small");
  EXPECT_EQ(penstock_producer_max_payload(producer.get()), 1000u);
  const std::string big(1001, 'x');
  EXPECT_EQ(penstock_publish(producer.get(), big.data(), big.size(), nullptr, nullptr), -EMSGSIZE);

  penstock_event_options id{};
  id.struct_size = sizeof id;
  id.id = "once";
  std::uint64_t offset = 99;
  for (const int again : {0, 1}) {
    ASSERT_EQ(penstock_publish(producer.get(), "x", 1, &id, &offset), 0);
    EXPECT_EQ(offset, 0u);
    EXPECT_EQ(penstock_producer_last_duplicate(producer.get()), again);
  }
  auto group = consumer(nullptr, "small");  // which does not read, and holds the ring
  int status = 0;
  for (int i = 0; i < 2000 && status == 0; ++i)
    status = penstock_publish(producer.get(), big.data(), 1000, nullptr, nullptr);
  EXPECT_EQ(status, -ENOBUFS);

  penstock_topic_info info{};
  info.struct_size = sizeof info;
  ASSERT_EQ(penstock_topic_describe(bus_, "small", &info), 0);
  EXPECT_EQ(info.ring_bytes, 64u << 10);
  EXPECT_EQ(info.producers, 1u);
  EXPECT_GT(info.next_offset, 10u);
  ASSERT_EQ(penstock_topic_delete(bus_, "small"), 0) << penstock_last_error();
  EXPECT_EQ(penstock_topic_describe(bus_, "small", &info), -ENOENT);
}

TEST_F(CPublishing, OptionsOfOlderAndNewerVersionsAreUnderstoodOrRefused) {
  struct Newer {
    penstock_producer_options options;
    std::uint64_t later;
  };
  penstock_producer* made = nullptr;
  Newer newer{};
  newer.options.struct_size = sizeof newer;
  newer.later = 1;
  EXPECT_EQ(penstock_producer_open(bus_, "ticks", &newer.options, &made), -E2BIG);
  newer.later = 0;
  ASSERT_EQ(penstock_producer_open(bus_, "ticks", &newer.options, &made), 0);
  penstock_producer_close(made);

  penstock_producer_options older{};
  older.struct_size = offsetof(penstock_producer_options, block_ms);
  older.must_exist = 1;
  older.block_ms = 77;  // beyond what it says it has
  EXPECT_EQ(penstock_producer_open(bus_, "nowhere", &older, &made), -ENOENT);
  older.struct_size = 0;
  EXPECT_EQ(penstock_producer_open(bus_, "ticks", &older, &made), -EINVAL);
  EXPECT_NE(std::strstr(penstock_last_error(), "struct_size"), nullptr);

  penstock_topic_info info{};
  info.struct_size = offsetof(penstock_topic_info, next_offset);
  info.next_offset = 77;
  ASSERT_EQ(penstock_topic_describe(bus_, "ticks", &info), 0);
  EXPECT_EQ(info.next_offset, 77u);  // not written
  EXPECT_EQ(info.struct_size, offsetof(penstock_topic_info, next_offset));

  penstock_topic_options odd{};
  odd.struct_size = sizeof odd;
  odd.full = 4;
  EXPECT_EQ(penstock_topic_create(bus_, "odd", &odd), -EINVAL);
}

}  // namespace
}  // namespace penstock::test
