// What the measuring programs believe: percentiles, and that a payload proves what became of it.
#include <gtest/gtest.h>

#include <array>

#include <cstdlib>
#include <penstock/error.hpp>

#include "tools/measure/crew.hpp"
#include "tools/measure/histogram.hpp"
#include "tools/measure/payload.hpp"

namespace penstock::measure {
namespace {

TEST(Histogram, PercentilesAreWithinOnePercent) {
  Histogram times;
  for (std::uint64_t ns = 1; ns <= 1'000'000; ++ns) times.add(ns);
  for (const double percent : {1.0, 50.0, 90.0, 99.0, 99.9}) {
    const double exact = percent * 10'000;
    EXPECT_NEAR(static_cast<double>(times.percentile(percent)), exact, exact * 0.01) << percent;
  }
  EXPECT_EQ(times.percentile(100), 1'000'000u);
  EXPECT_EQ(times.max(), 1'000'000u);
  EXPECT_EQ(times.count(), 1'000'000u);
}

TEST(Histogram, SmallValuesAreExactAndHugeOnesCount) {
  Histogram times;
  times.add(0);
  times.add(127);
  times.add(UINT64_MAX);
  EXPECT_EQ(times.percentile(30), 0u);
  EXPECT_EQ(times.percentile(60), 127u);
  EXPECT_EQ(times.max(), UINT64_MAX);
}

TEST(Histogram, OneIsAddedToAnother) {
  Histogram all, other;
  all.add(10);
  other.add(20);
  other.add(30);
  all.add(other);
  EXPECT_EQ(all.count(), 3u);
  EXPECT_EQ(all.percentile(50), 20u);
  EXPECT_EQ(all.max(), 30u);
}

TEST(Payload, AnyChangedByteIsNoticed) {
  for (const std::size_t size : {8, 9, 63, 64, 1000}) {
    std::vector<std::byte> payload(size);
    fill(payload, {3, 77});
    Sent sent;
    ASSERT_TRUE(intact(payload, sent));
    EXPECT_EQ(sent.sender, 3u);
    EXPECT_EQ(sent.number, 77u);
    for (std::size_t i = kLeastPayload; i < size; ++i) {
      payload[i] ^= std::byte{1};
      EXPECT_FALSE(intact(payload, sent)) << size << " bytes, byte " << i;
      payload[i] ^= std::byte{1};
    }
  }
}

TEST(Payload, HalvesOfTwoEventsAreNoEvent) {
  std::array<std::byte, 128> one{}, two{};
  fill(one, {0, 1});
  fill(two, {0, 2});
  std::copy(two.begin() + 64, two.end(), one.begin() + 64);
  Sent sent;
  EXPECT_FALSE(intact(one, sent));
}

TEST(Sequence, LossRepetitionAndReorderingAreTold) {
  std::array<std::byte, 64> first{}, second{}, third{};
  fill(first, {0, 0});
  fill(second, {0, 1});
  fill(third, {0, 2});
  Sequence lost(1), again(1), size(1), stranger(1);
  EXPECT_TRUE(lost.accept(first, 64));
  EXPECT_FALSE(lost.accept(third, 64));
  EXPECT_EQ(lost.complaint(), "event 2 of sender 0 where 1 was to come");
  EXPECT_TRUE(again.accept(first, 64));
  EXPECT_FALSE(again.accept(first, 64));
  EXPECT_FALSE(size.accept(std::span(first).first(32), 64));
  fill(first, {1, 0});
  EXPECT_FALSE(stranger.accept(first, 64));
  EXPECT_EQ(stranger.received(), 0u);
}

TEST(Crew, AFailureStopsTheOthersAndIsTold) {
  Crew crew;
  crew.work("one who waits", -1, [](Board& board) -> std::string {
    board.wait_for([] { return false; });
    return {};
  });
  crew.work("one who fails", -1, [](Board&) -> std::string { return "no luck"; });
  EXPECT_EQ(crew.finish(), "one who fails: no luck");
}

TEST(Crew, ADeathStopsTheOthersAndIsTold) {
  Crew crew;
  crew.work("one who waits", -1, [](Board& board) -> std::string {
    board.wait_for([] { return false; });
    return {};
  });
  crew.work("one who dies", -1, [](Board&) -> std::string { std::abort(); });
  EXPECT_EQ(crew.finish(), "one who dies: died: Aborted");
}

TEST(Crew, WhoServesGoesOnceTheWorkersAreDone) {
  const Shared<std::atomic<int>> served;
  struct Service {
    std::atomic<int>* at;
    explicit Service(std::atomic<int>* there) : at(there) { at->store(1); }
    Service(Service&& other) noexcept : at(std::exchange(other.at, nullptr)) {}
    Service& operator=(Service&&) = delete;
    ~Service() {
      if (at != nullptr) at->store(2);
    }
  };
  Crew crew;
  crew.serve("the service", [&served]() -> tl::expected<Service, Error> { return Service(&*served); });
  crew.work("a worker", -1, [&served](Board&) { return std::string(served->load() == 1 ? "" : "it is not there"); });
  EXPECT_EQ(crew.finish(), "");
  EXPECT_EQ(served->load(), 2);
}

}  // namespace
}  // namespace penstock::measure
