// Power cuts under the whole persistence stack.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <unordered_map>

#include "daemon/crash/life.hpp"

namespace penstock::crash {
namespace {

struct Search {
  std::size_t most_exact = 6, samples = 8;  // images a power cut
  std::size_t every = 1;                    // power cuts: after each so many operations
  std::size_t second = 0;                   // of so many recoveries one is cut as well
  bool stop_at_first = true;
  bool refused = false;  // a life before had calls that failed
};

struct Tally {
  std::size_t cuts = 0, images = 0, recoveries = 0, second_images = 0;
  std::vector<std::string> wrong;
};

// What is found on each image, kept: the same image is often left by several power cuts.
class Lives {
 public:
  const Findings& of(const Tree& image, Tally& tally) {
    const std::uint64_t hash = image.hash();
    if (const auto found = seen_.find(hash); found != seen_.end()) return found->second;
    ++tally.recoveries;
    Life life(image, {});
    return seen_[hash] = life.find();
  }

 private:
  std::unordered_map<std::uint64_t, Findings> seen_;
};

void note(Tally& tally, const std::string& where, const std::vector<std::string>& wrong) {
  for (const std::string& what : wrong) tally.wrong.push_back(where + ": " + what);
}

// Cuts the power after each operation of a life, and looks at what the next one finds.
void cut(const Life& life, const Knowledge& before, const Search& search, std::mt19937_64& random, Lives& lives,
         Tally& tally, bool second, const std::string& prefix) {
  DiskModel disk(life.disk());
  for (std::size_t at = 0; at <= life.ops().size(); ++at) {
    if (at > 0) disk.run(life.ops()[at - 1]);
    if (at % search.every != 0 && at != life.ops().size()) continue;
    const std::string where =
        prefix + "cut after operation " + std::to_string(at) + (at > 0 ? " (" + life.ops()[at - 1].what + ")" : "");
    const Knowledge known = life.history().until(at, before);
    if (!second) ++tally.cuts;
    disk.images(search.most_exact, search.samples, random, [&](Tree&& image) {
      if (search.stop_at_first && !tally.wrong.empty()) return;
      ++(second ? tally.second_images : tally.images);
      note(tally, where, judge(known, lives.of(image, tally), life.faults() != 0 || search.refused));
      if (second || search.second == 0 || random() % search.second != 0) return;
      Life again(image, {});
      Knowledge left = known;
      const Findings findings = again.find();
      for (auto& [key, serial] : left.given)  // what is lost must not come back either
        if (!findings.events.contains(key)) serial = kNoEvent;
      Search short_search = search;
      short_search.most_exact = 3, short_search.samples = 3;
      short_search.refused |= life.faults() != 0;
      cut(again, left, short_search, random, lives, tally, true, where + ", then ");
    });
  }
}

void expect_nothing(const Tally& tally) {
  for (std::size_t i = 0; i < std::min<std::size_t>(tally.wrong.size(), 8); ++i) ADD_FAILURE() << tally.wrong[i];
}

// A life told by `story`, and all that may be found after it.
Tally search_after(const Tree& disk, const Conduct& conduct, const std::function<void(Life&)>& story,
                   const Search& search) {
  Tally tally;
  Life life(disk, conduct);
  story(life);
  life.compare();
  if (!conduct.faults) {
    note(tally, "in a life without faults", life.told());
    note(tally, "in a life without faults", life.remarks());
  }
  std::mt19937_64 random(conduct.seed);
  Lives lives;
  cut(life, {}, search, random, lives, tally, false, "");
  std::printf("%zu power cuts, %zu images, %zu second images, %zu recoveries\n", tally.cuts, tally.images,
              tally.second_images, tally.recoveries);
  return tally;
}

// In `--target disk_crashes` everything is tried that the suite only samples.
bool thorough() { return std::getenv("COUNT") != nullptr; }

constexpr auto kShort = [](Life& life) { life.short_story(); };

TEST(PowerCut, AfterAnyOperationOfAShortLifeLosesNothing) {
  expect_nothing(search_after(new_disk(true), {}, kShort, {.most_exact = thorough() ? 8u : 5u}));
}

TEST(PowerCut, AtTheBirthOfABusLosesNothing) {
  expect_nothing(search_after(new_disk(false), {}, [](Life& life) { life.birth_story(); }, {}));
}

TEST(PowerCut, AfterAStopLosesNoLetter) {
  expect_nothing(search_after(new_disk(true), {}, [](Life& life) { life.stop_story(); }, {}));
}

TEST(PowerCut, WhileRetentionTakesSegmentsLosesNothingUnsettled) {
  expect_nothing(
      search_after(new_disk(true), {}, [](Life& life) { life.retention_story(); }, {.most_exact = 4, .samples = 3}));
}

TEST(PowerCut, DuringARecoveryLosesNothing) {
  expect_nothing(search_after(new_disk(true), {}, kShort, {.most_exact = 3, .samples = 2, .every = 7, .second = 30}));
}

// A story in which the call of this number fails, or writes half; then all must go on, and a power cut lose nothing.
void fail_one(std::size_t number, Fault fault, Tally& tally) {
  Conduct conduct;
  std::string where = (fault.half ? "half done" : std::strerror(fault.error)) + (" at " + std::to_string(number));
  conduct.faults = [&](std::size_t at, const Op& op) {
    if (at != number) return Fault{};
    where += " (" + op.what + ")";
    return fault;
  };
  Life life(new_disk(true), conduct);
  life.short_story();
  std::mt19937_64 random(number);
  Lives lives;
  cut(life, {}, {.most_exact = 2, .samples = 3, .every = 1 + life.ops().size() / 2}, random, lives, tally, false,
      where + ", ");
  if (!life.heals()) note(tally, where, life.told());
}

TEST(PowerCut, AfterAnyOperationThatFailedLosesNothing) {
  std::size_t calls = 0;
  {
    Life life(new_disk(true), {});
    life.short_story();
    calls = life.ops().size();
  }
  Tally tally;
  const std::size_t every = thorough() ? 1 : 9;
  for (std::size_t number = 0; number < calls && tally.wrong.empty(); number += every)
    for (const Fault fault : {Fault{.error = EIO}, Fault{.error = ENOSPC}, Fault{.half = true}})
      fail_one(number, fault, tally);
  expect_nothing(tally);
  std::printf("%zu calls, %zu power cuts, %zu images, %zu recoveries\n", calls, tally.cuts, tally.images,
              tally.recoveries);
}

struct Mutant {
  const char* name;
  Vice vice;
  Negligence negligence;
};
class Mutants : public testing::TestWithParam<Mutant> {};

// Every third flush of a segment fails.
Fault bad_flushes(std::size_t number, const Op& op) {
  const bool flush = op.sync && op.data_only && op.what.ends_with(".seg");
  return flush && number % 3 == 0 ? Fault{.error = EIO} : Fault{};
}

// Precautions that are left out are found.
TEST_P(Mutants, IsFound) {
  Conduct conduct;
  conduct.vice = GetParam().vice;
  conduct.negligence = GetParam().negligence;
  if (conduct.vice == Vice::same_again) conduct.faults = bad_flushes;
  const Tally tally = search_after(new_disk(true), conduct, kShort, {.most_exact = 4, .samples = 4});
  EXPECT_FALSE(tally.wrong.empty());
  if (!tally.wrong.empty()) std::printf("%s\n", tally.wrong.front().c_str());
}

TEST(PowerCut, AfterFlushesThatFailedLosesNothing) {
  Conduct conduct;
  conduct.faults = bad_flushes;
  expect_nothing(search_after(new_disk(true), conduct, kShort, {.most_exact = 4, .samples = 4}));
}

INSTANTIATE_TEST_SUITE_P(PowerCut, Mutants,
                         testing::Values(Mutant{"no_flush", Vice::no_flush, {}},
                                         Mutant{"told_before_the_flush", Vice::late_flush, {}},
                                         Mutant{"same_pages_after_a_failed_flush", Vice::same_again, {}},
                                         Mutant{"directories_not_synced", Vice::none, {"", true}},
                                         Mutant{"segments_not_synced", Vice::none, {".seg", false}},
                                         Mutant{"topic_meta_not_synced", Vice::none, {"topic.meta", false}},
                                         Mutant{"group_meta_not_synced", Vice::none, {"group.meta", false}},
                                         Mutant{"checkpoints_not_synced", Vice::none, {".state", false}},
                                         Mutant{"letters_not_synced", Vice::none, {"g.dlq/", false}},
                                         Mutant{"bus_id_not_synced", Vice::none, {"bus.id", false}},
                                         Mutant{"index_not_synced", Vice::none, {".idx", false}}),
                         [](const auto& mutant) { return std::string(mutant.param.name); });

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

// COUNT lives (10) of random steps by SEED, in every second of which calls fail at random; power cuts at some moments,
// and some of the recoveries are cut as well. The whole campaign is `--target disk_crashes`.
TEST(DiskCrashes, LoseNothingThatWasPromised) {
  const std::uint64_t seed = from_environment("SEED", std::random_device{}());
  const std::uint64_t count = from_environment("COUNT", 10);
  Tally tally;
  std::size_t faults = 0, calls = 0;
  for (std::uint64_t i = 0; i < count && tally.wrong.empty(); ++i) {
    std::mt19937_64 random(seed + i);
    Conduct conduct;
    conduct.seed = random();
    std::mt19937_64 chance(random());
    if ((seed + i) % 2 == 0) {
      conduct.faults = [&chance](std::size_t, const Op&) {
        if (chance() % 50 != 0) return Fault{};
        const std::uint64_t which = chance() % 3;
        return which == 0 ? Fault{.half = true} : Fault{.error = which == 1 ? EIO : ENOSPC};
      };
    }
    Life life(new_disk(true), conduct);
    life.long_story(100);
    life.compare();
    const std::string where = "SEED=" + std::to_string(seed + i) + (conduct.faults ? ", faults" : "");
    if (!conduct.faults) note(tally, where, life.told());
    calls += life.ops().size(), faults += life.faults();
    Lives lives;
    const std::size_t every = 1 + life.ops().size() / 12;
    cut(life, {}, {.most_exact = 2, .samples = 4, .every = every, .second = 20}, random, lives, tally, false,
        where + ", ");
    if (!life.heals()) note(tally, where, life.told());
  }
  expect_nothing(tally);
  std::printf(
      "SEED=%lu: %zu calls, %zu of them failed, %zu power cuts, %zu images, %zu in recoveries, %zu lives after\n", seed,
      calls, faults, tally.cuts, tally.images, tally.second_images, tally.recoveries);
}

}  // namespace
}  // namespace penstock::crash
