#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <thread>

#include "bindings/c/c_bus.hpp"

namespace penstock::test {
namespace {

using CConsuming = CBus;

penstock_consumer_options quick() {
  static const std::int64_t backoff[] = {1};
  penstock_consumer_options options{};
  options.struct_size = sizeof options;
  options.max_attempts = 3;
  options.backoff_ms = backoff;
  options.backoff_count = 1;
  return options;
}

bool readable(int descriptor, int timeout) {
  pollfd asked{descriptor, POLLIN, 0};
  return ::poll(&asked, 1, timeout) == 1;
}

TEST_F(CConsuming, EachSettlementDoesWhatItSays) {
  auto producer = this->producer();
  const auto options = quick();
  auto consumer = this->consumer(&options);
  publish(producer.get(), "event");

  auto delivery = next(consumer.get());
  EXPECT_EQ(penstock_delivery_attempt(delivery.get()), 1u);
  EXPECT_EQ(penstock_delivery_extend(delivery.get(), 60'000), 0);
  EXPECT_EQ(penstock_delivery_release(delivery.get()), 0);
  delivery = next(consumer.get());
  EXPECT_EQ(penstock_delivery_attempt(delivery.get()), 1u);  // a release counts nothing
  EXPECT_EQ(penstock_delivery_nak(delivery.get(), "parse", "odd"), 0);
  delivery = next(consumer.get());
  EXPECT_EQ(penstock_delivery_attempt(delivery.get()), 2u);
  EXPECT_EQ(penstock_delivery_nak_after(delivery.get(), 3'600'000, nullptr, nullptr), 0);
  EXPECT_EQ(penstock_delivery_nak(delivery.get(), nullptr, nullptr), -ESTALE);
  penstock_delivery* none = nullptr;
  EXPECT_EQ(penstock_consumer_next(consumer.get(), 0, &none), -EAGAIN);  // it waits for its hour
  EXPECT_EQ(standing().retrying, 1u);

  publish(producer.get(), "second");
  EXPECT_EQ(penstock_delivery_ack(next(consumer.get()).get()), 0);
  publish(producer.get(), "third");
  EXPECT_EQ(penstock_delivery_reject(next(consumer.get()).get(), "parse", "never"), 0);
  const auto standing = this->standing();
  EXPECT_EQ(standing.acked, 1u);
  EXPECT_EQ(standing.retrying, 2u);
  EXPECT_EQ(standing.members, 1u);
}

TEST_F(CConsuming, ADroppedDeliveryCountsAsFailed) {
  auto producer = this->producer();
  const auto options = quick();
  auto consumer = this->consumer(&options);
  publish(producer.get(), "event");
  next(consumer.get()).reset();
  EXPECT_EQ(penstock_delivery_attempt(next(consumer.get()).get()), 2u);
}

TEST_F(CConsuming, APollSettlesEachEventAsItsHandlerSays) {
  auto producer = this->producer();
  const auto options = quick();
  auto consumer = this->consumer(&options);
  for (const char* each : {"ack", "nak", "reject", "release"}) publish(producer.get(), each);
  std::map<std::string, std::uint32_t> attempts;  // the last of each
  const auto handler = [](void* context, const penstock_event* event, std::uint32_t attempt, penstock_why* why) -> int {
    auto& seen = *static_cast<std::map<std::string, std::uint32_t>*>(context);
    const std::string text = payload(event);
    const bool again = seen.contains(text);
    seen[text] = attempt;
    why->error_class = "test";
    why->reason = text.c_str();
    if (text == "reject") return PENSTOCK_REJECT;
    if (again || text == "ack") return PENSTOCK_ACK;
    return text == "nak" ? PENSTOCK_NAK : PENSTOCK_RELEASE;
  };
  int handled = 0;
  while (handled < 6) {
    ASSERT_EQ(penstock_consumer_wait(consumer.get(), kSoon), 0) << penstock_last_error();
    const int now = penstock_consumer_poll(consumer.get(), handler, &attempts, 100);
    ASSERT_GE(now, 0) << penstock_last_error();
    handled += now;
  }
  EXPECT_EQ(attempts, (std::map<std::string, std::uint32_t>{{"ack", 1}, {"nak", 2}, {"reject", 1}, {"release", 1}}));
  EXPECT_EQ(standing().acked, 3u);
}

TEST_F(CConsuming, TheDescriptorIsReadableWhileThereIsSomething) {
  auto producer = this->producer();
  auto consumer = this->consumer();
  auto reader = this->reader("ticks", PENSTOCK_START_END);
  const int of_consumer = penstock_consumer_event_fd(consumer.get());
  const int of_reader = penstock_reader_event_fd(reader.get());
  ASSERT_GE(of_consumer, 0);
  ASSERT_GE(of_reader, 0);
  EXPECT_EQ(penstock_consumer_event_fd(consumer.get()), of_consumer);
  const auto ignore = [](void*, const penstock_event*) {};
  penstock_delivery* delivery = nullptr;
  while (penstock_consumer_next(consumer.get(), 0, &delivery) == 0) penstock_delivery_free(delivery);
  while (penstock_reader_poll(reader.get(), ignore, nullptr, 10) > 0) continue;

  publish(producer.get(), "news");
  EXPECT_TRUE(readable(of_consumer, kSoon));
  EXPECT_TRUE(readable(of_reader, kSoon));
  EXPECT_EQ(penstock_delivery_ack(next(consumer.get(), 0).get()), 0);
  EXPECT_EQ(penstock_reader_poll(reader.get(), ignore, nullptr, 10), 1);
}

TEST_F(CConsuming, AckThroughSettlesWhatIsHeld) {
  auto producer = this->producer();
  auto consumer = this->consumer();
  for (const char* each : {"a", "b", "c"}) publish(producer.get(), each);
  const auto first = next(consumer.get()), second = next(consumer.get()), third = next(consumer.get());
  std::uint64_t acked = 0;
  ASSERT_EQ(penstock_consumer_ack_through(consumer.get(), "ticks", 1, &acked), 0) << penstock_last_error();
  EXPECT_EQ(acked, 2u);
  EXPECT_EQ(penstock_delivery_ack(first.get()), -ESTALE);
  EXPECT_EQ(penstock_delivery_ack(third.get()), 0);
  EXPECT_EQ(penstock_consumer_ack_through(consumer.get(), "nothing", 1, nullptr), -ENOENT);
}

TEST_F(CConsuming, AnotherThreadEndsAWait) {
  auto consumer = this->consumer();
  std::thread other([&] { penstock_consumer_interrupt(consumer.get()); });
  penstock_delivery* none = nullptr;
  EXPECT_EQ(penstock_consumer_next(consumer.get(), -1, &none), -EINTR);  // for ever, but for that
  other.join();
  auto reader = this->reader();
  penstock_reader_interrupt(reader.get());
  penstock_event* nothing = nullptr;
  EXPECT_EQ(penstock_reader_next(reader.get(), -1, &nothing), -EINTR);
}

TEST_F(CConsuming, AChildIsRefusedEveryHandleAndMayCloseThem) {
  auto producer = this->producer();
  auto consumer = this->consumer();
  auto reader = this->reader();
  ASSERT_GE(penstock_consumer_event_fd(consumer.get()), 0);
  publish(producer.get(), "event");
  auto delivery = next(consumer.get());
  penstock_claim claim{};
  ASSERT_EQ(penstock_claim_begin(producer.get(), 8, nullptr, &claim), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    penstock_delivery* none = nullptr;
    penstock_topic_info info{};
    info.struct_size = sizeof info;
    const bool refused = penstock_publish(producer.get(), "x", 1, nullptr, nullptr) == -ECHILD &&
                         penstock_consumer_next(consumer.get(), 0, &none) == -ECHILD &&
                         penstock_delivery_ack(delivery.get()) == -ECHILD &&
                         penstock_claim_commit(&claim, nullptr) == -ECHILD &&
                         penstock_reader_poll(reader.get(), nullptr, nullptr, 1) == -ECHILD &&
                         penstock_topic_describe(bus_, "ticks", &info) == -ECHILD;
    const bool its_own = payload(delivery) == "event";
    penstock_claim_abort(&claim);
    delivery.reset(), reader.reset(), consumer.reset(), producer.reset();
    penstock_bus_close(bus_);
    ::_exit(refused && its_own ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(penstock_claim_commit(&claim, nullptr), 0) << penstock_last_error();
  EXPECT_EQ(standing().in_flight, 1u);  // the parent's still
  EXPECT_EQ(penstock_delivery_ack(delivery.get()), 0) << penstock_last_error();
  EXPECT_EQ(penstock_delivery_offset(next(consumer.get()).get()), 1u);
}

TEST_F(CConsuming, OptionsThatDifferFromTheGroupsAreRefused) {
  auto options = quick();
  options.ordering = PENSTOCK_BY_KEY;
  options.dedupe = -1;
  auto consumer = this->consumer(&options);
  options.ordering = PENSTOCK_STRICT;
  penstock_consumer* other = nullptr;
  EXPECT_EQ(penstock_consumer_open(bus_, "desk", nullptr, 0, &options, &other), -EINVAL);
  EXPECT_EQ(penstock_consumer_open(bus_, "desk", nullptr, 0, nullptr, &other), 0) << penstock_last_error();
  penstock_consumer_close(other);
}

TEST_F(CConsuming, AGroupSeeksPausesAndIsDeleted) {
  auto producer = this->producer();
  publish(producer.get(), "a");
  auto options = quick();
  options.start.from = PENSTOCK_START_END;
  auto consumer = this->consumer(&options);
  penstock_delivery* none = nullptr;
  EXPECT_EQ(penstock_consumer_next(consumer.get(), 0, &none), -EAGAIN);
  EXPECT_EQ(penstock_group_seek(bus_, "desk", {PENSTOCK_START_DEFAULT, 0}), -EINVAL);
  ASSERT_EQ(penstock_group_seek(bus_, "desk", {PENSTOCK_START_OFFSET, 0}), 0) << penstock_last_error();
  EXPECT_EQ(penstock_delivery_ack(next(consumer.get()).get()), 0);
  ASSERT_EQ(penstock_group_pause(bus_, "desk", 1), 0);
  publish(producer.get(), "b");
  EXPECT_EQ(penstock_consumer_next(consumer.get(), 0, &none), -EAGAIN);
  ASSERT_EQ(penstock_group_pause(bus_, "desk", 0), 0);
  EXPECT_EQ(payload(next(consumer.get())), "b");
  consumer.reset();
  ASSERT_EQ(penstock_group_delete(bus_, "desk"), 0) << penstock_last_error();
  penstock_group_info info{};
  info.struct_size = sizeof info;
  EXPECT_EQ(penstock_group_describe(bus_, "desk", "ticks", &info), -ENOENT);
}

}  // namespace
}  // namespace penstock::test
