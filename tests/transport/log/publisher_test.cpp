#include "log/publisher.hpp"

#include <gtest/gtest.h>

#include <thread>

#include "heap_ring.hpp"

namespace penstock::test {
namespace {

using log::Found;

// Several threads publish while one reads and moves the limit: every event once, each producer's in its order, every
// payload whole. Run under ThreadSanitizer too.
TEST(RingConcurrent, NoEventIsLostTornOrReordered) {
  constexpr int kProducers = 3, kEach = 20'000;
  HeapRing heap(256, layout::Durability::disk);
  std::vector<std::thread> producers;
  for (int p = 0; p < kProducers; ++p)
    producers.emplace_back([&heap, p] {
      auto publisher = heap.publisher(std::uint32_t(p));
      for (int i = 0; i < kEach;) {
        std::string text = std::to_string(p) + ":" + std::to_string(i) + ":";
        text.append(std::size_t(i % 150), char('a' + p));
        std::uint64_t offset = 0;
        if (put(publisher, text, offset) || publish(publisher, text).fault == log::ClaimFault::none)
          ++i;
        else
          std::this_thread::yield();
      }
    });
  std::array<int, kProducers> next{};
  std::uint64_t position = 0, offset = 0;
  for (int seen = 0; seen < kProducers * kEach;) {
    const Found found = log::event_at(heap.ring(), position, offset, heap);
    if (found.kind == Found::Kind::nothing || found.kind == Found::Kind::waiting) {
      std::this_thread::yield();
      continue;
    }
    if (found.kind == Found::Kind::event) {
      const std::string text = text_of(found.record);
      const int p = text[0] - '0';
      std::string expected = std::to_string(p) + ":" + std::to_string(next[p]) + ":";
      expected.append(std::size_t(next[p] % 150), char('a' + p));
      ASSERT_EQ(text, expected);
      ++next[p];
      ++seen;
    }
    position = found.next_position;
    offset = found.next_offset;
    heap.control()->limit.store(position + 256, std::memory_order_release);
  }
  for (auto& thread : producers) thread.join();
  EXPECT_EQ(offset, std::uint64_t{kProducers} * kEach);
}

// A producer dies with its claim open while others go on; the reader waits for the proof and for nothing else.
TEST(RingConcurrent, TheDeadDoNotStopTheLiving) {
  HeapRing heap(1024);
  auto dying = heap.publisher(0);
  auto living = heap.publisher(1);
  publish(living, "before");
  dying.claim(2, 1);
  for (int i = 0; i < 100; ++i) publish(living, "after");
  std::thread undertaker([&heap] { heap.kill(0); });
  int events = 0, skipped = 0;
  std::uint64_t position = 0, offset = 0;
  while (events < 101) {
    const Found found = log::event_at(heap.ring(), position, offset, heap);
    if (found.kind == Found::Kind::waiting) {
      std::this_thread::yield();
      continue;
    }
    ASSERT_NE(found.kind, Found::Kind::nothing);
    events += found.kind == Found::Kind::event;
    skipped += int(found.skipped);
    position = found.next_position;
    offset = found.next_offset;
  }
  undertaker.join();
  EXPECT_EQ(skipped, 1);
}

// put(): the whole of publishing, where nothing is in the way.
class Put : public ::testing::TestWithParam<layout::Durability> {
 protected:
  HeapRing heap_{4096, GetParam()};
  log::Publisher publisher_ = heap_.publisher(0);
  std::uint64_t offset_ = ~0ull;

  void expect_refused(std::string_view text) {
    HeapRing before(4096, GetParam());
    heap_.put_into(before);
    EXPECT_FALSE(put(publisher_, text, offset_));
    EXPECT_FALSE(heap_.differs_from(before));
  }
};

TEST_P(Put, EventsOfAnySizeAreWholeAndInTheirOrder) {
  publish(publisher_, "the first claim is never one");
  std::uint64_t position = lines_of_text(publisher_, "the first claim is never one"), offset = 1;
  for (std::size_t size = 0; size <= 300; ++size) {
    std::string text(size, 'x');
    for (std::size_t i = 0; i < size; ++i) text[i] = char('a' + (i + size) % 26);
    ASSERT_TRUE(put(publisher_, text, offset_));
    EXPECT_EQ(offset_, offset);
    const Found found = log::event_at(heap_.ring(), position, offset, heap_);
    ASSERT_EQ(found.kind, Found::Kind::event);
    ASSERT_EQ(text_of(found.record), text);
    position = found.next_position, offset = found.next_offset;
  }
  EXPECT_EQ(publish(publisher_, "and claims go on behind them").offset, offset);
}

TEST_P(Put, ItLeavesToAClaimWhatItCannotDo) {
  expect_refused("the first");
  publish(publisher_, "");
  EXPECT_TRUE(put(publisher_, "", offset_));
  publish(*std::make_unique<log::Publisher>(heap_.publisher(1)), "another's");
  expect_refused("its claim is not ours to link to");
  publish(publisher_, std::string(4090 * layout::kLine - 4 * layout::kLine, 'l'));
  expect_refused(std::string(1000, 'e'));  // over the ring's end
  while (put(publisher_, "", offset_)) continue;
  expect_refused("");
  EXPECT_EQ(publish(publisher_, "").fault, log::ClaimFault::full);
}

INSTANTIATE_TEST_SUITE_P(To, Put, ::testing::Values(layout::Durability::memory, layout::Durability::disk),
                         [](const auto& parameter) {
                           return parameter.param == layout::Durability::disk ? "Checked" : "Unchecked";
                         });

}  // namespace
}  // namespace penstock::test
