// What sweeps share: a bus of its own in shared memory, a journal that a victim's death leaves
// behind, events that say what they are, and the checks that a history is whole.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <penstock/daemon.hpp>
#include <penstock/log.hpp>
#include <penstock/penstock.hpp>
#include <string>
#include <vector>

#include "tests/support/victim.hpp"

namespace penstock::test {

using namespace std::chrono_literals;

// A bus of its own, with all of it in shared memory, so that what is synced costs nothing.
class Stage {
 public:
  Stage() {
    char pattern[] = "/dev/shm/penstock-stage-XXXXXX";
    directory_ = ::mkdtemp(pattern);
  }
  ~Stage() {
    std::error_code ignored;
    const auto live = live_path();
    if (live.filename().string().starts_with("penstock-")) std::filesystem::remove_all(live, ignored);
    std::filesystem::remove_all(directory_, ignored);
  }
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  std::string path() const { return directory_ + "/bus"; }
  Bus open() const { return Bus::open(path()).value(); }
  std::filesystem::path live_path() const {
    std::error_code ignored;
    return std::filesystem::read_symlink(path() + "/live", ignored);
  }

 private:
  std::string directory_;
};

// What a victim says of itself in memory that outlives it: which events it began, and which it was told are published
// or settled.
struct Journal {
  volatile std::uint32_t begun = 0, done = 0;
  volatile std::uint64_t offsets[64] = {};  // as returned
  volatile std::uint8_t settled[256] = {};  // by offset: 1 tried, 2 told
  volatile bool finished = false;
};

class SharedJournal {
 public:
  SharedJournal() : at_(::mmap(nullptr, sizeof(Journal), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
    clear();
  }
  ~SharedJournal() { ::munmap(at_, sizeof(Journal)); }
  SharedJournal(const SharedJournal&) = delete;
  SharedJournal& operator=(const SharedJournal&) = delete;
  void clear() { new (at_) Journal{}; }
  Journal& operator*() const { return *static_cast<Journal*>(at_); }
  Journal* operator->() const { return static_cast<Journal*>(at_); }

 private:
  void* at_;
};

// An event's text tells who published it, as what number, and what every byte of it must be.
inline std::string text_of(char who, std::uint64_t number, std::size_t size) {
  std::string out = who + std::to_string(number) + ":" + std::to_string(size) + ":";
  std::uint64_t state = number * 2654435761u + std::uint64_t(who);
  while (out.size() < size)
    out += char('a' + ((state = state * 6364136223846793005ull + 1442695040888963407ull) >> 60));
  return out;
}
inline Bytes bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

struct Seen {
  Offset offset = 0;
  char who = 0;
  std::uint64_t number = 0;
};

// False when it is not what it says it is.
inline bool parse(const EventView& event, Seen& out) {
  const std::string text(reinterpret_cast<const char*>(event.payload().data()), event.payload().size());
  unsigned long long number = 0, size = 0;
  if (std::sscanf(text.c_str(), "%c%llu:%llu:", &out.who, &number, &size) != 3) return false;
  out.offset = event.offset();
  out.number = number;
  return text == text_of(out.who, number, size);
}

// Reads on to the end as it is now. At most `looks` polls, which takes well under a millisecond: a poll looks at the
// tail, and at who is dead, every 64th time.
inline void read_on(Reader& reader, Offset end, std::vector<Seen>& out, int looks = 256) {
  for (int look = 0; look < looks; ++look) {
    const auto handled = reader.poll(
        [&](const EventView& event) {
          Seen seen;
          EXPECT_TRUE(parse(event, seen)) << "offset " << event.offset() << " is torn";
          EXPECT_TRUE(out.empty() || out.back().offset < event.offset()) << "offset " << event.offset() << " again";
          out.push_back(seen);
        },
        1 << 20);
    ASSERT_TRUE(handled) << handled.error().message();
    const auto places = reader.places();
    if (!places.empty() && places.front().second >= end) return;
  }
  ADD_FAILURE() << "waits at offset " << (reader.places().empty() ? 0 : reader.places().front().second) << " of "
                << end;
}

inline std::vector<Seen> read_all(Bus& bus, const std::string& topic) {
  std::vector<Seen> out;
  auto reader = bus.reader(topic, StartAt::beginning(), {.lossy = true});
  EXPECT_TRUE(reader) << reader.error().message();
  if (reader) read_on(*reader, bus.describe_topic(topic).value().next_offset, out);
  return out;
}

// Everything that a member of this group is given, acked; offsets once each.
inline std::vector<Seen> consume_all(Bus& bus, const std::string& topic, const std::string& group) {
  std::vector<Seen> out;
  auto member = bus.consumer(group, {topic});
  EXPECT_TRUE(member) << member.error().message();
  if (!member) return out;
  const Offset end = bus.describe_topic(topic).value().next_offset;
  for (int look = 0; look < 256; ++look) {
    for (;;) {
      auto delivery = member->next(0s);
      EXPECT_TRUE(delivery) << delivery.error().message();
      if (!delivery || !*delivery) break;
      Seen seen;
      EXPECT_TRUE(parse((*delivery)->event().view(), seen)) << "offset " << (*delivery)->offset() << " is torn";
      out.push_back(seen);
      EXPECT_TRUE((*delivery)->ack());
    }
    if (bus.group_topics(group).value().front().committed >= end) return out;
  }
  ADD_FAILURE() << "group " << group << " waits";
  return out;
}

inline bool operator==(const Seen& a, const Seen& b) {
  return a.offset == b.offset && a.who == b.who && a.number == b.number;
}

// Visits the points of `act`: a stage is prepared, a child killed there, and what it left judged.
struct Case {
  std::function<void(const Stage&)> prepare;
  std::function<void(const Stage&)> open = [](const Stage&) {};  // in the child, unwatched
  std::function<void(const Stage&)> act;
  std::function<void(const Stage&)> judge;
};
inline void kill_everywhere(const Case& it, std::uint64_t few) {
  std::uint64_t points = 0;
  {
    Stage stage;
    it.prepare(stage);
    points = count_points(
        Points::changes, [&] { it.open(stage); }, [&] { it.act(stage); });
  }
  if (points == 0) GTEST_SKIP() << "this build can't be stepped";
  sweep("killed", points, few, [&](std::uint64_t at) {
    SCOPED_TRACE("point " + std::to_string(at));
    Stage stage;
    it.prepare(stage);
    const Victim victim(
        Points::changes, at, SIGKILL, [&] { it.open(stage); }, [&] { it.act(stage); });
    it.judge(stage);
    return victim.reached() && !::testing::Test::HasFailure();
  });
}

// For what a victim does: its parent sees that it ended badly.
inline void is_true(bool so) {
  if (!so) std::abort();
}

}  // namespace penstock::test
