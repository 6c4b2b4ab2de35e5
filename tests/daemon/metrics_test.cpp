// What Prometheus would read: the format line by line, and values that are those of a small bus.
#include "daemon/metrics.hpp"

#include <gtest/gtest.h>

#include <map>
#include <sstream>

#include "daemon/rounds.hpp"
#include "tests/support/scratch.hpp"
#include "tests/support/small_bus.hpp"
#include "tests/transport/io/faulty_disk.hpp"

namespace penstock::test {
namespace {

using namespace std::chrono_literals;
using daemon::Metrics;

// Samples by name and labels, as they stand. Fails unless each family is told of first, once, and in one piece.
std::map<std::string, std::string> parse(const std::string& text) {
  std::map<std::string, std::string> samples, types;
  std::istringstream lines(text);
  std::string line, family;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string first, kind, name, type;
    words >> first;
    if (first == "#") {
      words >> kind >> name >> type;
      if (kind == "HELP") {
        EXPECT_FALSE(types.contains(name)) << "in two pieces: " << name;
        family = name;
        continue;
      }
      EXPECT_EQ(kind, "TYPE");
      EXPECT_EQ(name, family);
      EXPECT_EQ(type, name.ends_with("_total") ? "counter" : "gauge");
      types[name] = type;
      continue;
    }
    const auto space = line.rfind(' ');
    const std::string sample = line.substr(0, space);
    EXPECT_EQ(sample.substr(0, sample.find('{')), family) << line;
    EXPECT_TRUE(types.contains(family)) << line;
    EXPECT_TRUE(samples.emplace(sample, line.substr(space + 1)).second) << "twice: " << line;
  }
  EXPECT_TRUE(text.ends_with('\n'));
  return samples;
}

struct SmallBus {
  Scratch folder;
  std::optional<Bus> bus;
  explicit SmallBus() {
    make_small_bus(folder.path(), true);
    bus = good(Bus::open(folder / "bus"));
  }
};

TEST(MetricsTest, ValuesAreThoseOfTheBus) {
  SmallBus small;
  Metrics metrics;
  auto told = parse(metrics.text(&*small.bus));
  EXPECT_EQ(told["penstock_topic_next_offset{topic=\"orders\"}"], std::to_string(kOrders + kUnpersisted));
  EXPECT_EQ(told["penstock_topic_durable_offset{topic=\"orders\"}"], std::to_string(kOrders));
  EXPECT_EQ(told["penstock_topic_first_offset{topic=\"orders\"}"], "0");
  EXPECT_EQ(told["penstock_topic_ring_bytes{topic=\"orders\"}"], "65536");
  EXPECT_GT(std::stoull(told["penstock_topic_disk_bytes{topic=\"orders\"}"]), 0u);
  EXPECT_EQ(told["penstock_topic_producers{topic=\"orders\"}"], "0");
  EXPECT_EQ(told["penstock_topic_durable_error{topic=\"orders\"}"], "0");
  EXPECT_EQ(told["penstock_topic_next_offset{topic=\"ticks\"}"], "5");
  EXPECT_FALSE(told.contains("penstock_topic_durable_offset{topic=\"ticks\"}")) << "it is in memory";

  // Of the first six one was rejected, one failed, four were acked; of those after them one was given back.
  const std::string of = "{group=\"desk\",topic=\"orders\"}";
  EXPECT_EQ(told["penstock_group_acked_total" + of], "4");
  EXPECT_EQ(told["penstock_group_dead_lettered_total" + of], "1");
  EXPECT_EQ(told["penstock_group_lag" + of], std::to_string(kOrders + kUnpersisted - 4 - 1));
  EXPECT_EQ(told["penstock_group_in_flight" + of], "0");
  EXPECT_GT(std::stoull(told["penstock_group_retrying" + of]), 0u);
  EXPECT_GT(std::stod(told["penstock_group_oldest_pending_seconds" + of]), 0);
  EXPECT_EQ(told["penstock_group_lag{group=\"desk\",topic=\"ticks\"}"], "5");
  EXPECT_EQ(told["penstock_group_members{group=\"desk\"}"], "0");
  EXPECT_EQ(told["penstock_dlq_letters{group=\"desk\"}"], "1");
  EXPECT_EQ(told["penstock_dlq_redriven_total{group=\"desk\"}"], "0");

  EXPECT_GT(std::stoull(told["penstock_shm_bytes"]), 0u);
  EXPECT_GT(std::stoull(told["penstock_disk_bytes"]), 0u);
  EXPECT_EQ(told["penstock_describe_failures_total"], "0");
  EXPECT_EQ(told["penstock_build_info{version=\"" + std::string(kVersion) + "\"}"], "1");
  EXPECT_EQ(told["penstock_ready"], "0") << "no daemon runs";
  EXPECT_EQ(metrics.why_not_ready(&*small.bus), "the daemon does not run");

  const Producer producer = good(small.bus->producer("orders"));
  const Consumer member = good(small.bus->consumer(kGroup));
  told = parse(metrics.text(&*small.bus));
  EXPECT_EQ(told["penstock_topic_producers{topic=\"orders\"}"], "1");
  EXPECT_EQ(told["penstock_group_members{group=\"desk\"}"], "1");
}

TEST(MetricsTest, LettersAreThoseNeitherRedrivenNorPurged) {
  SmallBus small;
  Metrics metrics;
  const auto told = [&](const std::string& name) {
    return parse(metrics.text(&*small.bus))[name + "{group=\"desk\"}"];
  };
  Consumer desk = good(small.bus->consumer(kGroup));
  Daemon daemon = good(Daemon::start(*small.bus, {.force_pwrite = true}));
  EXPECT_EQ(told("penstock_dlq_letters"), "1");
  for (int i = 0; i < 3; ++i) good(good(desk.next(10s))->reject());
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  while (told("penstock_dlq_letters") != "4" && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_EQ(told("penstock_dlq_letters"), "4");
  good(small.bus->redrive(kGroup, 0));
  EXPECT_EQ(told("penstock_dlq_letters"), "3");
  EXPECT_EQ(told("penstock_dlq_redriven_total"), "1");
  good(small.bus->purge(kGroup, 2));
  EXPECT_EQ(told("penstock_dlq_letters"), "2");
  EXPECT_EQ(told("penstock_dlq_redriven_total"), "1");
  Metrics anew;
  EXPECT_EQ(parse(anew.text(&*small.bus))["penstock_dlq_letters{group=\"desk\"}"], "2");
}

TEST(MetricsTest, WithoutABusOnlyTheProgramIsTold) {
  Metrics metrics;
  const auto told = parse(metrics.text(nullptr));
  EXPECT_TRUE(told.contains("penstock_uptime_seconds"));
  EXPECT_EQ(told.at("penstock_ready"), "0");
  EXPECT_FALSE(told.contains("penstock_shm_bytes"));
  EXPECT_EQ(metrics.why_not_ready(nullptr), "the bus is not open");
}

TEST(MetricsTest, ADiskThatRefusesIsToldUntilItTakesAgain) {
  const SmallBus small;
  auto disk = std::make_unique<io::FaultyDisk>(io::make_pwrite_disk(0));
  for (std::size_t job = 0; job < 1000; ++job) disk->fail(job, ENOSPC);
  auto rounds = good(daemon::Rounds::open(small.bus->state(), {}, std::move(disk)));
  Metrics metrics;
  const auto ready_after = [&](bool wanted) {
    const auto deadline = std::chrono::steady_clock::now() + 60s;
    while (metrics.why_not_ready(&*small.bus).has_value() == wanted && std::chrono::steady_clock::now() < deadline)
      rounds->work(api::monotonic_ns());
    return !metrics.why_not_ready(&*small.bus).has_value();
  };
  EXPECT_FALSE(ready_after(false));
  EXPECT_EQ(metrics.why_not_ready(&*small.bus),
            std::string("topic orders is not written to disk: ") + std::strerror(ENOSPC));
  auto told = parse(metrics.text(&*small.bus));
  EXPECT_EQ(told["penstock_topic_durable_error{topic=\"orders\"}"], std::to_string(ENOSPC));
  EXPECT_EQ(told["penstock_ready"], "0");
  rounds.reset();
  rounds = good(daemon::Rounds::open(small.bus->state(), {}, io::make_pwrite_disk(0)));
  EXPECT_TRUE(ready_after(true));
  told = parse(metrics.text(&*small.bus));
  EXPECT_EQ(told["penstock_topic_durable_error{topic=\"orders\"}"], "0");
  EXPECT_EQ(told["penstock_ready"], "1");
  EXPECT_EQ(told["penstock_topic_durable_offset{topic=\"orders\"}"], std::to_string(kOrders + kUnpersisted));
}

TEST(MetricsTest, LabelValuesAreEscaped) {
  EXPECT_EQ(daemon::label_text("a\\b\"c\nd"), "a\\\\b\\\"c\\nd");
  EXPECT_EQ(daemon::label_text("ä.b"), "ä.b");
}

}  // namespace
}  // namespace penstock::test
