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
        if (publish(publisher, text).fault == log::ClaimFault::none)
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

}  // namespace
}  // namespace penstock::test
