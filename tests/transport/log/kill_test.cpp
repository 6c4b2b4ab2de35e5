// A publisher is single-stepped through what publishers do. At every instruction that changed shared memory
//   - it is taken for dead: others publish on, in a copy of that memory, and two readers read all of it; or
//   - it is stopped: others publish on, readers wait for it and for nothing else, and then it finishes.
// Each event must be whole or absent, in order, what the publisher was told is published must be there, and nobody may
// be left waiting for the dead.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "heap_ring.hpp"
#include "tests/support/stepped.hpp"

namespace penstock::test {
namespace {

using log::Found;

constexpr std::uint64_t kLines = 32;
constexpr std::uint32_t kVictim = 1, kOther = 2;

// What the victim says of itself: how many of its events it began, and how many it was told are published.
struct Journal {
  volatile std::uint32_t begun = 0, published = 0;
};

struct Scenario {
  const char* name;
  layout::Durability durability;
  std::uint64_t lines_before;  // published and read before the victim begins, so that it meets stale bytes and the end
  std::vector<std::string> texts;
  bool batch;
  bool aborts_first;
};

std::string text_of_size(char letter, std::size_t size) { return std::string(size, letter); }

const std::vector<Scenario>& scenarios() {
  using enum layout::Durability;
  static const std::vector<Scenario> all = {
      {"OneLine", memory, 0, {"a"}, false, false},
      {"OneLineChecked", disk, 0, {""}, false, false},
      {"SeveralLines", memory, 0, {text_of_size('a', 200), "b"}, false, false},
      {"SeveralLinesChecked", disk, 40, {text_of_size('a', 200), "b"}, false, false},
      {"OverTheEnd", memory, 30, {text_of_size('a', 300), text_of_size('b', 100)}, false, false},
      {"OverTheEndChecked", disk, 62, {text_of_size('a', 300), text_of_size('b', 100)}, false, false},
      {"Batch", memory, 50, {"a", text_of_size('b', 150), ""}, true, false},
      {"BatchOverTheEndChecked", disk, 29, {text_of_size('a', 90), "b", text_of_size('c', 70)}, true, false},
      {"AfterGivingUpAClaim", disk, 33, {"a"}, false, true},
  };
  return all;
}

void publish_all(HeapRing& heap, const Scenario& scenario, Journal& journal) {
  auto publisher = heap.publisher(kVictim);
  if (scenario.aborts_first) publisher.abort(publisher.claim(2, 1));
  if (!scenario.batch) {
    for (const std::string& text : scenario.texts) {
      journal.begun = journal.begun + 1;
      publish(publisher, text);
      journal.published = journal.published + 1;
    }
    return;
  }
  std::uint64_t lines = 0;
  for (const std::string& text : scenario.texts) lines += lines_of_text(publisher, text);
  journal.begun = std::uint32_t(scenario.texts.size());
  const log::OpenClaim claim = publisher.claim(lines, std::uint32_t(scenario.texts.size()));
  std::uint64_t position = claim.position, offset = claim.offset;
  for (const std::string& text : scenario.texts) {
    std::memcpy(publisher.body(position), text.data(), text.size());
    log::Stamp stamp;
    stamp.payload = std::uint32_t(text.size());
    publisher.stamp(claim, position, offset++, stamp);
    position += lines_of_text(publisher, text);
  }
  publisher.commit(claim);
  journal.published = std::uint32_t(scenario.texts.size());
}

struct Place {
  std::uint64_t position = 0, offset = 0;
};

// Reads on; ends at the tail, or where somebody alive is waited for.
Found::Kind read_on(HeapRing& heap, Place& place, std::vector<std::string>& out) {
  for (;;) {
    const Found found = log::event_at(heap.ring(), place.position, place.offset, heap);
    if (found.kind != Found::Kind::event && found.kind != Found::Kind::skipped) return found.kind;
    if (found.kind == Found::Kind::event) out.push_back(text_of(found.record));
    place = {found.next_position, found.next_offset};
  }
}

class RingKill : public ::testing::TestWithParam<std::size_t> {
 protected:
  const Scenario& scenario() const { return scenarios()[GetParam()]; }

  // Laps of events that are read already, so that the victim writes over what looks like records.
  Place prepare(HeapRing& heap) {
    auto other = heap.publisher(kOther);
    Place place;
    while (place.position < scenario().lines_before) {
      std::vector<std::string> read;
      publish(other, "stale");
      read_on(heap, place, read);
      heap.control()->limit.store(place.position + kLines);
    }
    return place;
  }

  static void publish_others(HeapRing& heap) {
    auto other = heap.publisher(kOther + 1);
    publish(other, "x");
    publish(other, text_of_size('y', 80));
  }

  // The victim's events, each whole and in order, then the others'.
  void check(const std::vector<std::string>& read, const Journal& journal) {
    ASSERT_GE(read.size(), 2u);
    EXPECT_EQ(read[read.size() - 2], "x");
    EXPECT_EQ(read.back(), text_of_size('y', 80));
    const std::size_t own = read.size() - 2;
    EXPECT_GE(own, journal.published);
    EXPECT_LE(own, journal.begun);
    if (scenario().batch) {
      EXPECT_TRUE(own == 0 || own == scenario().texts.size());
    }
    for (std::size_t i = 0; i < own && i < scenario().texts.size(); ++i) EXPECT_EQ(read[i], scenario().texts[i]);
  }
};

TEST_P(RingKill, AtEveryChangeOfSharedMemoryAnEventIsWholeOrAbsent) {
  HeapRing heap(kLines, scenario().durability), seen(kLines, scenario().durability);
  Journal journal;
  const Place begin = prepare(heap);
  Stepped victim([&] { publish_all(heap, scenario(), journal); });
  if (!victim.alive()) GTEST_SKIP() << "this build can't be stepped";
  heap.put_into(seen);
  int images = 0;
  for (bool alive = true; alive && !HasFailure();) {
    alive = victim.step();
    if (!heap.differs_from(seen) && alive) continue;
    heap.put_into(seen);
    ++images;
    SCOPED_TRACE("image " + std::to_string(images));
    HeapRing copy(kLines, scenario().durability);
    heap.put_into(copy);
    copy.kill(kVictim);
    std::vector<std::string> early, late;
    Place first = begin, second = begin;
    read_on(copy, first, early);  // one reader was there before the others published, one comes later
    publish_others(copy);
    EXPECT_EQ(read_on(copy, first, early), Found::Kind::nothing);
    EXPECT_EQ(read_on(copy, second, late), Found::Kind::nothing);
    EXPECT_EQ(early, late);
    check(late, journal);
  }
  EXPECT_EQ(journal.published, scenario().texts.size());
  EXPECT_GT(images, 8);
  RecordProperty("images", images);
}

TEST_P(RingKill, StoppedAtEveryChangeOfSharedMemoryItIsWaitedForAndFinishes) {
  for (int stop = 1;; ++stop) {
    SCOPED_TRACE("stopped at change " + std::to_string(stop));
    HeapRing heap(kLines, scenario().durability), seen(kLines, scenario().durability);
    Journal journal;
    const Place begin = prepare(heap);
    Stepped victim([&] { publish_all(heap, scenario(), journal); });
    if (!victim.alive()) GTEST_SKIP() << "this build can't be stepped";
    heap.put_into(seen);
    bool alive = true;
    for (int images = 0; alive && images < stop;) {
      alive = victim.step();
      if (!heap.differs_from(seen)) continue;
      heap.put_into(seen);
      ++images;
    }
    if (!alive) return;
    publish_others(heap);
    std::vector<std::string> read;
    Place place = begin;
    const Found::Kind kind = read_on(heap, place, read);
    EXPECT_TRUE(kind == Found::Kind::waiting || kind == Found::Kind::nothing);
    victim.finish();
    EXPECT_EQ(read_on(heap, place, read), Found::Kind::nothing);
    EXPECT_EQ(journal.published, scenario().texts.size());
    // Whatever the order in which they came, everything is there once.
    std::vector<std::string> wanted = scenario().texts;
    wanted.insert(wanted.end(), {"x", text_of_size('y', 80)});
    std::sort(wanted.begin(), wanted.end());
    std::sort(read.begin(), read.end());
    ASSERT_EQ(read, wanted);
  }
}

INSTANTIATE_TEST_SUITE_P(At, RingKill, ::testing::Range<std::size_t>(0, scenarios().size()),
                         [](const auto& parameter) { return std::string(scenarios()[parameter.param].name); });

}  // namespace
}  // namespace penstock::test
