// What operators' programs ask of a bus in C: lists, descriptions, changes.
#include <cerrno>
#include <utility>
#include <vector>

#include "bindings/c/c_bus.hpp"

namespace penstock::test {
namespace {

class COperating : public CBus {
 protected:
  template <class Info>
  static Info sized() {
    Info out{};
    out.struct_size = sizeof out;
    return out;
  }
  penstock_topic_info topic(const char* name) {
    auto info = sized<penstock_topic_info>();
    EXPECT_EQ(penstock_topic_describe(bus_, name, &info), 0) << penstock_last_error();
    return info;
  }
  penstock_group_settings settings() {
    auto out = sized<penstock_group_settings>();
    EXPECT_EQ(penstock_group_get(bus_, "desk", &out), 0) << penstock_last_error();
    return out;
  }
  static void publish_key(penstock_producer* producer, const char* key) {
    auto options = sized<penstock_event_options>();
    options.key = key;
    EXPECT_EQ(penstock_publish(producer, "x", 1, &options, nullptr), 0) << penstock_last_error();
  }
};

using Names = std::vector<std::string>;
int add_name(void* names, const char* name) {
  static_cast<Names*>(names)->emplace_back(name);
  return 0;
}
int first_name(void* names, const char* name) {
  add_name(names, name);
  return 1;
}

TEST_F(COperating, TopicsAndGroupsAreListedUntilTheVisitorHasEnough) {
  ASSERT_EQ(penstock_topic_create(bus_, "orders", nullptr), 0) << penstock_last_error();
  auto consumer = this->consumer();
  Names topics, first, groups;
  EXPECT_EQ(penstock_topic_list(bus_, add_name, &topics), 0);
  EXPECT_EQ(penstock_topic_list(bus_, first_name, &first), 0);
  EXPECT_EQ(penstock_group_list(bus_, add_name, &groups), 0);
  EXPECT_EQ(topics, (Names{"orders", "ticks"}));
  EXPECT_EQ(first, Names{"orders"});
  EXPECT_EQ(groups, Names{"desk"});
}

TEST_F(COperating, ATopicTellsItsOptionsAndTakesOthers) {
  auto options = sized<penstock_topic_options>();
  options.publish_dedupe = 7;
  options.retain_unacked = 1;
  options.retention_ms = INT64_MAX;  // more than nanoseconds can count
  ASSERT_EQ(penstock_topic_create(bus_, "orders", &options), 0) << penstock_last_error();
  auto info = topic("orders");
  EXPECT_EQ(info.durability, PENSTOCK_DISK);
  EXPECT_EQ(info.full, PENSTOCK_FULL_BLOCK);
  EXPECT_EQ(info.publish_dedupe, 7u);
  EXPECT_EQ(info.retain_unacked, 1);
  EXPECT_EQ(info.compact, 0);
  EXPECT_GT(info.retention_ms, 0);
  EXPECT_GE(info.shm_bytes, info.ring_bytes);
  EXPECT_EQ(info.blocked_by, nullptr);
  EXPECT_EQ(info.retention_waits_for, nullptr);

  EXPECT_EQ(penstock_topic_retention(bus_, "orders", 4096, 3'600'000), 0) << penstock_last_error();
  EXPECT_EQ(penstock_topic_compact(bus_, "orders", 1), 0) << penstock_last_error();
  EXPECT_EQ(penstock_topic_retain_unacked(bus_, "orders", 0), 0) << penstock_last_error();
  info = topic("orders");
  EXPECT_EQ(info.retention_bytes, 4096u);
  EXPECT_EQ(info.retention_ms, 3'600'000);
  EXPECT_EQ(info.compact, 1);
  EXPECT_EQ(info.retain_unacked, 0);
  EXPECT_EQ(topic("ticks").durability, PENSTOCK_MEMORY);
  EXPECT_EQ(penstock_topic_retention(bus_, "orders", 0, -1), -EINVAL);
  EXPECT_EQ(penstock_topic_compact(bus_, "nothing", 1), -ENOENT);
}

TEST_F(COperating, ATopicTellsWhoHoldsItUp) {
  auto producer = this->producer();
  penstock_claim claim{};
  ASSERT_EQ(penstock_claim_begin(producer.get(), 8, nullptr, &claim), 0) << penstock_last_error();
  const penstock_topic_info held = topic("ticks");
  ASSERT_NE(held.blocked_by, nullptr);
  EXPECT_NE(std::strstr(held.blocked_by, "pid"), nullptr) << held.blocked_by;
  penstock_claim_abort(&claim);
  EXPECT_EQ(topic("ticks").blocked_by, nullptr);
}

TEST_F(COperating, AGroupTellsWhatItIsAndTakesOtherOptions) {
  const std::int64_t backoff[] = {5, 70};
  auto options = sized<penstock_consumer_options>();
  options.backoff_ms = backoff;
  options.backoff_count = 2;
  options.ordering = PENSTOCK_BY_KEY;
  options.dedupe = -1;
  auto consumer = this->consumer(&options);
  auto told = settings();
  ASSERT_EQ(told.topic_count, 1u);
  EXPECT_STREQ(told.topics[0], "ticks");
  ASSERT_EQ(told.backoff_count, 2u);
  EXPECT_EQ(told.backoff_ms[0], 5);
  EXPECT_EQ(told.backoff_ms[1], 70);
  EXPECT_EQ(told.ordering, PENSTOCK_BY_KEY);
  EXPECT_EQ(told.expired, PENSTOCK_EXPIRED_DLQ);
  EXPECT_EQ(told.dedupe, 0u);
  EXPECT_EQ(told.lease_ms, 30'000);
  EXPECT_EQ(told.members, 1u);
  EXPECT_EQ(told.paused, 0);

  auto changes = sized<penstock_consumer_options>();
  changes.max_attempts = 9;
  const char* const wanted[] = {"ticks", "more.*"};
  ASSERT_EQ(penstock_group_set(bus_, "desk", wanted, 2, &changes), 0) << penstock_last_error();
  ASSERT_EQ(penstock_group_pause(bus_, "desk", 1), 0);
  told = settings();
  EXPECT_EQ(told.max_attempts, 9u);
  EXPECT_EQ(told.topic_count, 2u);
  EXPECT_EQ(told.backoff_count, 2u);  // as it was
  EXPECT_EQ(told.paused, 1);
  ASSERT_EQ(penstock_group_set(bus_, "desk", nullptr, 0, nullptr), 0) << penstock_last_error();
  EXPECT_EQ(settings().topic_count, 2u);
  changes.lease_ms = INT64_MAX;  // more than a lease may be, and than nanoseconds can count
  EXPECT_EQ(penstock_group_set(bus_, "desk", nullptr, 0, &changes), -EINVAL);
  auto none = sized<penstock_group_settings>();
  EXPECT_EQ(penstock_group_get(bus_, "nobody", &none), -ENOENT);
}

TEST_F(COperating, UnsettledEventsTopicsAndKeysOfAGroupAreShown) {
  auto options = sized<penstock_consumer_options>();
  options.ordering = PENSTOCK_BY_KEY;
  auto consumer = this->consumer(&options);
  auto producer = this->producer();
  for (int i = 0; i < 3; ++i) publish_key(producer.get(), "order-17");
  publish_key(producer.get(), "order-18");
  const auto first = next(consumer.get());
  const auto other = next(consumer.get());  // the two between are queued behind the first
  ASSERT_EQ(penstock_delivery_nak_after(other.get(), 3'600'000, "parse", "odd"), 0);

  struct Seen {
    std::vector<penstock_group_info> topics;
    Names states, keys, reasons;
    std::uint64_t behind = 0;
  } seen;
  const auto topic = [](void* to, const penstock_group_info* info) {
    EXPECT_STREQ(info->topic, "ticks");
    static_cast<Seen*>(to)->topics.push_back(*info);
    return 0;
  };
  const auto pending = [](void* to, const penstock_pending_info* info) {
    EXPECT_EQ(info->struct_size, sizeof *info);
    EXPECT_STREQ(info->topic, "ticks");
    EXPECT_EQ(info->offset, static_cast<Seen*>(to)->states.size());
    static_cast<Seen*>(to)->states.emplace_back(info->state);
    static_cast<Seen*>(to)->reasons.emplace_back(info->reason);
    return 0;
  };
  const auto key = [](void* to, const penstock_key_info* info) {
    static_cast<Seen*>(to)->keys.emplace_back(info->key, info->key_size);
    static_cast<Seen*>(to)->behind += info->behind;
    EXPECT_GT(info->since_ns, 0);
    return 0;
  };
  ASSERT_EQ(penstock_group_topics(bus_, "desk", topic, &seen), 0) << penstock_last_error();
  ASSERT_EQ(seen.topics.size(), 1u);
  EXPECT_EQ(seen.topics[0].queued, 2u);
  EXPECT_EQ(seen.topics[0].retrying, 1u);
  EXPECT_EQ(seen.topics[0].missed, 0u);
  EXPECT_GT(seen.topics[0].shm_bytes, 0u);
  EXPECT_EQ(seen.topics[0].dead_letters_wait, nullptr);
  ASSERT_EQ(penstock_group_pending(bus_, "desk", pending, &seen), 0) << penstock_last_error();
  EXPECT_EQ(seen.states, (Names{"leased", "queued", "queued", "waiting"}));
  EXPECT_EQ(seen.reasons.back(), "odd");
  ASSERT_EQ(penstock_group_keys(bus_, "desk", key, &seen), 0) << penstock_last_error();
  EXPECT_EQ(seen.keys, (Names{"order-17", "order-18"}));
  EXPECT_EQ(seen.behind, 2u);
  EXPECT_EQ(penstock_group_keys(bus_, "nobody", key, &seen), -ENOENT);
}

TEST_F(COperating, AMemberTellsWhenAllIsSettledAndAReaderWhereItIs) {
  auto producer = this->producer();
  auto consumer = this->consumer();
  const penstock_place end{"ticks", publish(producer.get(), "event") + 1};
  EXPECT_EQ(penstock_consumer_settled_through(consumer.get(), &end, 1), 0);
  EXPECT_EQ(penstock_delivery_ack(next(consumer.get()).get()), 0);
  EXPECT_EQ(penstock_consumer_settled_through(consumer.get(), &end, 1), 1);

  auto reader = this->reader();
  penstock_event* event = nullptr;
  ASSERT_EQ(penstock_reader_next(reader.get(), kSoon, &event), 0);
  penstock_event_free(event);
  std::vector<std::pair<std::string, std::uint64_t>> places;
  const auto add = [](void* to, const penstock_place* place) {
    static_cast<decltype(places)*>(to)->emplace_back(place->topic, place->offset);
    return 0;
  };
  ASSERT_EQ(penstock_reader_places(reader.get(), add, &places), 0);
  EXPECT_EQ(places, (decltype(places){{"ticks", 1}}));
}

TEST_F(COperating, ABusIsDescribedAndRemoved) {
  auto consumer = this->consumer();
  auto info = sized<penstock_bus_info>();
  ASSERT_EQ(penstock_bus_describe(bus_, &info), 0) << penstock_last_error();
  EXPECT_EQ(info.topics, 1u);
  EXPECT_EQ(info.groups, 1u);
  EXPECT_EQ(info.daemon_pid, 0u);
  EXPECT_STREQ(info.backend, "");
  EXPECT_EQ(std::string(info.live_path).rfind("/", 0), 0u) << info.live_path;
  EXPECT_EQ(penstock_bus_unload(folder_.path().c_str()), -EBUSY);
  EXPECT_EQ(penstock_bus_remove(folder_.path().c_str()), -EBUSY);
  consumer.reset();
  penstock_bus_close(std::exchange(bus_, nullptr));
  EXPECT_EQ(penstock_bus_unload(folder_.path().c_str()), 0) << penstock_last_error();
  EXPECT_EQ(penstock_bus_remove(folder_.path().c_str()), 0) << penstock_last_error();
  auto options = sized<penstock_bus_options>();
  options.must_exist = 1;
  EXPECT_EQ(penstock_bus_open(folder_.path().c_str(), &options, &bus_), -ENOENT);
}

TEST_F(COperating, AnEventTellsWhenItIsDueAndADurationHasNoLimit) {
  auto producer = this->producer();
  auto options = sized<penstock_event_options>();
  options.deliver_at_ns = 1'000;
  options.ttl_ms = INT64_MAX;  // more than nanoseconds can count: for ever
  ASSERT_EQ(penstock_publish(producer.get(), "x", 1, &options, nullptr), 0) << penstock_last_error();
  publish(producer.get(), "plain");
  auto consumer = this->consumer();
  const auto delivery = next(consumer.get());
  const penstock_event* event = penstock_delivery_event(delivery.get());
  EXPECT_EQ(penstock_event_deliver_at_ns(event), 1'000);
  EXPECT_GT(penstock_event_expires_at_ns(event), penstock_event_time_ns(event));
  EXPECT_EQ(penstock_delivery_extend(delivery.get(), INT64_MAX), 0) << penstock_last_error();
  EXPECT_EQ(penstock_delivery_extend(delivery.get(), -1), -EINVAL);
  EXPECT_EQ(penstock_delivery_nak_after(delivery.get(), -1, nullptr, nullptr), -EINVAL);
  EXPECT_EQ(penstock_delivery_ack(delivery.get()), 0) << penstock_last_error();
  const auto plain = next(consumer.get());
  EXPECT_EQ(penstock_event_deliver_at_ns(penstock_delivery_event(plain.get())), 0);
  EXPECT_EQ(penstock_event_expires_at_ns(penstock_delivery_event(plain.get())), 0);
}

}  // namespace
}  // namespace penstock::test
