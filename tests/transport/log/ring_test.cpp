#include "log/ring.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "heap_ring.hpp"

namespace penstock::test {
namespace {

using log::Found;

struct Place {
  std::uint64_t position = 0, offset = 0;
};

// Reads on from `place` and tells what it met, one word an item.
std::vector<std::string> read_all(HeapRing& heap, Place& place) {
  std::vector<std::string> out;
  for (;;) {
    const Found found = log::event_at(heap.ring(), place.position, place.offset, heap);
    if (found.kind == Found::Kind::nothing) return out;
    if (found.kind == Found::Kind::waiting) {
      out.push_back("waiting for " + std::to_string(found.slot));
      return out;
    }
    if (found.kind == Found::Kind::event) out.push_back(text_of(found.record));
    if (found.kind == Found::Kind::skipped) out.push_back("skipped " + std::to_string(found.skipped));
    place = {found.next_position, found.next_offset};
  }
}
std::vector<std::string> read_all(HeapRing& heap) {
  Place place{heap.ring().base_position, heap.ring().base_offset};
  return read_all(heap, place);
}

using Words = std::vector<std::string>;

TEST(Ring, AnEmptyRingHasNothing) {
  HeapRing heap(64);
  EXPECT_EQ(read_all(heap), Words{});
}

TEST(Ring, EventsAreReadInTheOrderOfTheirOffsets) {
  HeapRing heap(64);
  auto a = heap.publisher(0), b = heap.publisher(1);
  EXPECT_EQ(publish(a, "one").offset, 0u);
  EXPECT_EQ(publish(b, "two").offset, 1u);
  EXPECT_EQ(publish(a, std::string(200, 'x')).offset, 2u);
  EXPECT_EQ(read_all(heap), (Words{"one", "two", std::string(200, 'x')}));
}

TEST(Ring, AnEmptyPayloadIsAnEvent) {
  HeapRing heap(64);
  auto a = heap.publisher(0);
  publish(a, "");
  EXPECT_EQ(read_all(heap), Words{""});
}

TEST(Ring, AnOpenClaimOfALivingOwnerIsWaitedFor) {
  HeapRing heap(64);
  auto a = heap.publisher(0), b = heap.publisher(1);
  const auto open = a.claim(1, 1);
  publish(b, "later");
  EXPECT_EQ(read_all(heap), Words{"waiting for 0"});
  fill(a, open, "first");
  a.commit(open);
  EXPECT_EQ(read_all(heap), (Words{"first", "later"}));
}

TEST(Ring, AnOpenClaimOfTheDeadIsSkipped) {
  HeapRing heap(64);
  auto a = heap.publisher(0), b = heap.publisher(1);
  a.claim(3, 1);
  publish(b, "later");
  heap.kill(0);
  EXPECT_EQ(read_all(heap), (Words{"skipped 1", "later"}));
}

TEST(Ring, WhatTheDeadCommittedStays) {
  HeapRing heap(64);
  auto a = heap.publisher(0);
  publish(a, "kept");
  heap.kill(0);
  EXPECT_EQ(read_all(heap), Words{"kept"});
}

TEST(Ring, AnAbortedClaimUsesItsOffsetUp) {
  HeapRing heap(64);
  auto a = heap.publisher(0);
  a.abort(a.claim(1, 1));
  EXPECT_EQ(publish(a, "after").offset, 1u);
  EXPECT_EQ(read_all(heap), (Words{"skipped 1", "after"}));
}

// A claim whose owner died between the tail and the header: only its intent tells of it.
void claim_without_header(HeapRing& heap, std::uint32_t slot, std::uint64_t lines, std::uint32_t count) {
  const layout::TailFields tail = heap.ring().tail();
  const layout::Pair seen = pack(tail);
  layout::Intent& intent = heap.handle_page(slot)->intents[0];
  intent.tail_low.store(seen.low);
  intent.tail_high.store(seen.high);
  intent.shape.store(layout::pack_shape(lines, count, HeapRing::kIncarnation));
  heap.control()->tail = pack(layout::TailFields{tail.end + lines, tail.offset + count, slot});
}

TEST(Ring, AHoleAtTheTailIsItsOwnersUntilThatIsDead) {
  HeapRing heap(64);
  auto a = heap.publisher(0);
  publish(a, "one");
  claim_without_header(heap, 2, 5, 1);
  EXPECT_EQ(read_all(heap), (Words{"one", "waiting for 2"}));
  heap.kill(2);
  EXPECT_EQ(read_all(heap), (Words{"one", "skipped 1"}));
}

TEST(Ring, AHoleIsFoundByTheLinkOfItsSuccessor) {
  HeapRing heap(64);
  auto a = heap.publisher(0);
  claim_without_header(heap, 2, 5, 3);
  publish(a, "one");
  publish(a, "two");
  heap.kill(2);
  EXPECT_EQ(read_all(heap), (Words{"skipped 3", "one", "two"}));
}

TEST(Ring, TwoHolesInARowAreFoundByTheSecondsIntent) {
  HeapRing heap(64);
  claim_without_header(heap, 2, 5, 1);
  claim_without_header(heap, 3, 2, 1);
  heap.kill(2);
  EXPECT_EQ(read_all(heap), (Words{"skipped 1", "waiting for 3"}));
  heap.kill(3);
  EXPECT_EQ(read_all(heap), (Words{"skipped 1", "skipped 1"}));
}

TEST(Ring, AnIntentThatLostTheRaceOwnsNothing) {
  HeapRing heap(64);
  const layout::Pair seen = pack(heap.ring().tail());
  layout::Intent& loser = heap.handle_page(4)->intents[1];
  loser.tail_low.store(seen.low);
  loser.tail_high.store(seen.high);
  loser.shape.store(layout::pack_shape(9, 1, HeapRing::kIncarnation));
  heap.kill(4);
  claim_without_header(heap, 2, 5, 1);
  EXPECT_EQ(read_all(heap), Words{"waiting for 2"});
}

TEST(Ring, StaleBytesOfAnEarlierLapAreNotARecord) {
  HeapRing heap(16);
  auto a = heap.publisher(0);
  Place place;
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(publish(a, std::to_string(i)).fault, log::ClaimFault::none);
    EXPECT_EQ(read_all(heap, place), Words{std::to_string(i)});
    heap.control()->limit.store(place.position + 16);
  }
}

TEST(Ring, GarbageIsNotARecord) {
  for (int value = 0; value < 256; ++value) {
    HeapRing heap(64);
    heap.fill_with(std::byte(value));
    EXPECT_EQ(read_all(heap), Words{});
    claim_without_header(heap, 2, 5, 1);
    EXPECT_EQ(read_all(heap), Words{"waiting for 2"});
  }
}

// Claims of no offsets all have one tag, so that only the lap tells them apart.
TEST(Ring, ADeadClaimOfAnEarlierLapIsNotMetAgain) {
  HeapRing heap(16);
  heap.kill(1);
  for (std::uint64_t line = 0; line < 16; ++line) {
    auto* head = reinterpret_cast<layout::RecordHeader*>(heap.line(line));
    head->word.store(pack(layout::WordFields{layout::State::claimed, 1, 1, HeapRing::kIncarnation, 0}));
    head->tag.store(layout::tag_for(heap.ring().nonce, 0));
  }
  EXPECT_EQ(read_all(heap), Words(16, "skipped 0"));
}

TEST(Ring, APadFillsTheEndAndCostsNoOffset) {
  HeapRing heap(16);
  auto a = heap.publisher(0);
  publish(a, std::string(600, 'a'));  // 11 lines
  Place place;
  EXPECT_EQ(read_all(heap, place), Words{std::string(600, 'a')});
  heap.control()->limit.store(11 + 16);
  EXPECT_EQ(publish(a, std::string(400, 'b')).offset, 1u);  // 8 lines: not in the 5 that are left
  EXPECT_EQ(read_all(heap, place), (Words{"skipped 0", std::string(400, 'b')}));
  EXPECT_EQ(place.position, 16u + 8u);
}

TEST(Ring, ABatchIsReadRecordByRecord) {
  HeapRing heap(64, layout::Durability::disk);
  auto a = heap.publisher(0);
  const auto claim = a.claim(1 + 3 + 1, 3);
  const std::string texts[3] = {"", std::string(128, 'm'), ""};
  std::uint64_t position = claim.position;
  for (int i = 0; i < 3; ++i) {
    std::memcpy(a.body(position), texts[i].data(), texts[i].size());
    log::Stamp stamp;
    stamp.payload = std::uint32_t(texts[i].size());
    a.stamp(claim, position, claim.offset + std::uint64_t(i), stamp);
    position += lines_of_text(a, texts[i]);
  }
  EXPECT_EQ(read_all(heap), Words{"waiting for 0"});
  a.commit(claim);
  publish(a, "after");
  EXPECT_EQ(read_all(heap), (Words{"", std::string(128, 'm'), "", "after"}));
  // The second record by itself, as a group's retry finds it.
  const Found inner = log::event_at(heap.ring(), 1, 1, heap);
  ASSERT_EQ(inner.kind, Found::Kind::event);
  EXPECT_EQ(text_of(inner.record), texts[1]);
  EXPECT_EQ(inner.next_position, 4u);
}

TEST(Ring, ALaterRecordOfABatchWhoseHeadIsOverwrittenIsGone) {
  HeapRing heap(16);
  auto a = heap.publisher(0);
  const auto claim = a.claim(3, 3);
  for (std::uint64_t i = 0; i < 3; ++i) a.stamp(claim, claim.position + i, claim.offset + i, {});
  a.commit(claim);
  publish(a, std::string(500, 'x'));  // 9 lines
  EXPECT_EQ(log::claim_of(heap.ring(), 2), 0u);
  EXPECT_EQ(log::claim_of(heap.ring(), 3), 3u);
  EXPECT_EQ(log::claim_of(heap.ring(), 12), 12u);
  EXPECT_EQ(log::event_at(heap.ring(), 2, 2, heap).kind, Found::Kind::event);
  heap.control()->limit.store(18);
  publish(a, std::string(200, 'y'));  // 4 lines: to the end
  publish(a, "over the head");
  EXPECT_EQ(log::event_at(heap.ring(), 2, 2, heap).kind, Found::Kind::gone);
}

TEST(Ring, AFullRingIsAFaultAndPublishesNothing) {
  HeapRing heap(16);
  auto a = heap.publisher(0);
  for (int i = 0; i < 16; ++i) ASSERT_EQ(publish(a, "x").fault, log::ClaimFault::none);
  EXPECT_EQ(publish(a, "x").fault, log::ClaimFault::full);
  EXPECT_EQ(heap.ring().tail().offset, 16u);
  heap.control()->limit.store(17);
  EXPECT_EQ(publish(a, "x").fault, log::ClaimFault::none);
}

TEST(Ring, OffsetsBeyondTheBoundAreNotGiven) {
  HeapRing heap(16);
  heap.control()->offset_bound.store(2);
  auto a = heap.publisher(0);
  publish(a, "x");
  publish(a, "x");
  EXPECT_EQ(publish(a, "x").fault, log::ClaimFault::exhausted);
  EXPECT_EQ(heap.ring().tail().offset, 2u);
}

TEST(Ring, LinksNameTheClaimBefore) {
  HeapRing heap(64);
  auto a = heap.publisher(0), b = heap.publisher(1);
  publish(a, std::string(100, 'x'));  // 3 lines
  const auto second = publish(b, "y");
  const auto third = publish(b, "z");
  const auto link = layout::link_of(heap.ring().at(second.position)->link.load());
  EXPECT_EQ(link.slot, 0u);
  EXPECT_EQ(link.lines, 3u);
  EXPECT_EQ(link.count, 1u);
  EXPECT_EQ(layout::link_of(heap.ring().at(third.position)->link.load()).slot, 1u);
}

// From the tail to the first claim: batches, PADs, aborted claims and two owners alike.
TEST(Ring, TheWayBackIsTheWayForward) {
  HeapRing heap(32);
  auto first = heap.publisher(0), second = heap.publisher(1);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> forward;
  std::uint64_t position = 0, offset = 0;
  for (int lap = 0; lap < 20; ++lap) {
    publish(lap % 2 == 0 ? first : second, std::string(std::size_t(lap % 5) * 40, 'x'));
    if (lap % 4 == 0) second.abort(second.claim(3, 2));
    heap.control()->limit.store(heap.ring().tail().end + 32);
  }
  const std::uint64_t end = heap.ring().tail().end, end_offset = heap.ring().tail().offset;
  std::uint64_t at = end, number = end_offset;
  while (const auto claim = log::claim_before(heap.ring(), at, number, heap)) {
    at = claim->position;
    number = claim->offset;
    forward.emplace_back(at, number);
  }
  EXPECT_GE(forward.size(), 5u);
  EXPECT_LE(end - at, 32u);
  std::reverse(forward.begin(), forward.end());
  position = at;
  offset = number;
  for (const auto& [claim, count] : forward) {
    ASSERT_EQ(position, claim);
    ASSERT_EQ(offset, count);
    const log::Look look = log::look(heap.ring(), position, offset, heap);
    ASSERT_EQ(look.kind, log::Look::Kind::settled);
    position += look.lines;
    offset += look.count;
  }
  EXPECT_EQ(position, end);
  EXPECT_EQ(offset, end_offset);
}

// The slot's page is cleared when it gets another owner; that one was told what it said.
TEST(Ring, ASlotsNextOwnerLinksToTheClaimOfTheLast) {
  HeapRing heap(64);
  auto last = heap.publisher(0);
  publish(last, "one");
  const auto former = *heap.intents(0);
  for (auto& intent : heap.handle_page(0)->intents) intent.shape.store(0);
  auto next = heap.publisher(0);
  next.inherit(former);
  const auto two = publish(next, "two");
  const auto one = log::claim_before(heap.ring(), two.position, two.offset, heap);
  ASSERT_TRUE(one);
  EXPECT_EQ(one->offset, 0u);
}

// A claim whose owner died before it wrote the header cannot be passed backwards, and no claim is invented.
TEST(Ring, TheWayBackEndsAtAHole) {
  HeapRing heap(64);
  auto publisher = heap.publisher(0);
  publish(publisher, "one");
  claim_without_header(heap, 1, 2, 1);
  publish(publisher, "two");
  const auto tail = heap.ring().tail();
  const auto two = log::claim_before(heap.ring(), tail.end, tail.offset, heap);
  ASSERT_TRUE(two);
  EXPECT_EQ(two->offset, 2u);
  EXPECT_FALSE(log::claim_before(heap.ring(), two->position, two->offset, heap));
}

TEST(Ring, AHeaderThatCannotBeIsNoRing) {
  HeapRing heap(64);
  heap.control()->header.ring_lines = 63;
  EXPECT_EQ(log::ring_of(heap.control(), layout::kRingAt + 63 * layout::kLine).control, nullptr);
  heap.control()->header.ring_lines = 64;
  EXPECT_EQ(log::ring_of(heap.control(), layout::kRingAt + 65 * layout::kLine).control, nullptr);
}

}  // namespace
}  // namespace penstock::test
