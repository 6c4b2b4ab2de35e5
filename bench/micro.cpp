// What do the functions on the hot path cost, one by one, in one process with everything in its caches?
//
// No other core takes part, so nothing here says what moving lines between cores costs: see round_trip and throughput.
// Takes Google Benchmark's options beside its own; PENSTOCK_BENCH_SMOKE=1 makes it tiny. One JSON line a benchmark.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>

#include "bench/support/catalogue.hpp"
#include "log/attributes.hpp"
#include "log/checksum.hpp"
#include "tools/measure/payload.hpp"

namespace {

using namespace penstock;
using namespace penstock::bench;

constexpr std::size_t kChunk = 512;  // events published between two pauses of the clock
bool failed = false;

void give_up(benchmark::State& state, const std::string& why) {
  failed = true;
  state.SkipWithError(why.c_str());
}

// One bus for all: each benchmark has a topic of its own.
struct Place {
  Scratch scratch{std::filesystem::temp_directory_path()};
  Bus bus = Bus::open(scratch.bus()).value();
  int topics = 0;
  std::string topic(const TopicOptions& options) {
    const std::string name = "t" + std::to_string(topics++);
    if (auto made = bus.create_topic(name, options); !made) throw std::runtime_error(made.error().message());
    return name;
  }
};
std::optional<Place> place;

TopicOptions memory_topic() { return {.durability = Durability::memory, .full = Full::drop_oldest}; }

template <class Publish>
void publishing(benchmark::State& state, const TopicOptions& options, const Publish& send) {
  auto producer = place->bus.producer(place->topic(options)).value();
  std::vector<std::byte> payload(static_cast<std::size_t>(state.range(0)));
  measure::fill(payload, {0, 0});
  std::uint64_t sent = 0;
  for (auto _ : state) {
    const Result<Offset> offset = send(producer, payload);
    if (!offset) return give_up(state, offset.error().message());
    if (*offset != sent++) return give_up(state, "offsets are not dense");
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

void publish(benchmark::State& state) {
  publishing(state, memory_topic(), [](Producer& producer, Bytes payload) { return producer.publish(payload); });
}

void publish_single_producer(benchmark::State& state) {
  TopicOptions options = memory_topic();
  options.single_producer = true;
  publishing(state, options, [](Producer& producer, Bytes payload) { return producer.publish(payload); });
}

void publish_key_and_id(benchmark::State& state) {
  publishing(state, memory_topic(), [](Producer& producer, Bytes payload) {
    return producer.publish(payload, {.id = "pay-91", .key = "order-17"});
  });
}

void claim_and_commit(benchmark::State& state) {
  publishing(state, memory_topic(), [](Producer& producer, Bytes payload) -> Result<Offset> {
    auto claim = producer.claim(payload.size());
    if (!claim) return tl::unexpected(claim.error());
    measure::fill(claim->payload(), {0, 0});
    return claim->commit();
  });
}

// Publishes chunks with the clock paused and times what `take` does with them: it returns the events it handled.
template <class Take>
void taking(benchmark::State& state, Producer& producer, const Take& take) {
  std::vector<std::byte> payload(static_cast<std::size_t>(state.range(0)));
  std::uint64_t sent = 0;
  measure::Sequence sequence(1);
  auto handler = [&](Bytes bytes) { sequence.accept(bytes, payload.size()); };
  for (auto _ : state) {
    state.PauseTiming();
    for (std::size_t i = 0; i < kChunk; ++i) {
      measure::fill(payload, {0, sent++});
      if (auto done = producer.publish(payload); !done) return give_up(state, done.error().message());
    }
    state.ResumeTiming();
    for (std::size_t taken = 0; taken < kChunk;) {
      const Result<std::size_t> got = take(handler);
      if (!got) return give_up(state, got.error().message());
      taken += *got;
    }
    if (sequence.received() != sent) return give_up(state, "wrong event: " + sequence.complaint());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kChunk));
}

void poll(benchmark::State& state) {
  const std::string topic = place->topic({.durability = Durability::memory});
  auto producer = place->bus.producer(topic).value();
  auto reader = place->bus.reader(topic, StartAt::beginning()).value();
  taking(state, producer, [&reader](const auto& handler) {
    return reader.poll([&handler](const EventView& event) { handler(event.payload()); }, kChunk);
  });
}

void take_and_ack(benchmark::State& state) {
  const std::string topic = place->topic({.durability = Durability::memory});
  auto producer = place->bus.producer(topic).value();
  auto member = place->bus.consumer("g-" + topic, {topic}).value();
  taking(state, producer, [&member](const auto& handler) {
    return member.poll(
        [&handler](const EventView& event) {
          handler(event.payload());
          return Settle::ack();
        },
        kChunk);
  });
}

void next_and_ack(benchmark::State& state) {
  const std::string topic = place->topic({.durability = Durability::memory});
  auto producer = place->bus.producer(topic).value();
  auto member = place->bus.consumer("g-" + topic, {topic}).value();
  taking(state, producer, [&member](const auto& handler) -> Result<std::size_t> {
    auto delivery = member.next(std::chrono::nanoseconds(0));
    if (!delivery) return tl::unexpected(delivery.error());
    if (!*delivery) return std::size_t{0};
    handler((*delivery)->payload());
    if (auto done = (*delivery)->ack(); !done) return tl::unexpected(done.error());
    return std::size_t{1};
  });
}

void checksum(benchmark::State& state) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(state.range(0)));
  measure::fill(bytes, {0, 1});
  const std::uint64_t first = log::hash64(bytes.data(), bytes.size());
  for (auto _ : state)
    if (log::hash64(bytes.data(), bytes.size()) != first) return give_up(state, "two hashes of the same bytes differ");
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

void write_attributes(benchmark::State& state) {
  std::byte room[128];
  for (auto _ : state) {
    log::AttributeWriter writer(room);
    writer.put(layout::Attribute::key, "order-17");
    writer.put(layout::Attribute::id_text, "pay-91");
    writer.put_header("trace", "4bf92f3577b34da6a3ce929d0e0e4736");
    writer.finish();
    benchmark::DoNotOptimize(room);
  }
}

void find_attribute(benchmark::State& state) {
  std::byte room[128]{};
  log::AttributeWriter writer(room);
  writer.put_header("trace", "4bf92f3577b34da6a3ce929d0e0e4736");
  writer.put(layout::Attribute::id_text, "pay-91");
  writer.put(layout::Attribute::key, "order-17");
  writer.finish();
  for (auto _ : state)
    if (log::find_attribute(room, layout::Attribute::key) != "order-17") return give_up(state, "the key is not found");
}

BENCHMARK(publish)->Arg(64)->Arg(1024)->Arg(65536);
BENCHMARK(publish_single_producer)->Arg(64)->Arg(1024);
BENCHMARK(publish_key_and_id)->Arg(64);
BENCHMARK(claim_and_commit)->Arg(64)->Arg(1024);
BENCHMARK(poll)->Arg(64)->Arg(1024);
BENCHMARK(take_and_ack)->Arg(64)->Arg(1024);
BENCHMARK(next_and_ack)->Arg(64);
BENCHMARK(checksum)->Arg(64)->Arg(1024)->Arg(65536);
BENCHMARK(write_attributes);
BENCHMARK(find_attribute);

class JsonLines : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      Json line{{"bench", "micro"}, {"case", run.benchmark_name()}};
      if (run.error_occurred) {
        line["error"] = run.error_message;
        std::fprintf(stderr, "micro %s: %s\n", run.benchmark_name().c_str(), run.error_message.c_str());
      } else {
        const auto items = run.counters.find("items_per_second");
        line["ns"] = items != run.counters.end() ? 1e9 / items->second.value : run.GetAdjustedCPUTime();
        const auto bytes = run.counters.find("bytes_per_second");
        if (bytes != run.counters.end()) line["gb_per_second"] = bytes->second.value / 1e9;
        line["iterations"] = run.iterations;
      }
      std::puts(line.dump().c_str());
    }
  }
};

}  // namespace

int main(int argc, char** argv) {
  std::vector<char*> arguments(argv, argv + argc);
  std::string tiny = "--benchmark_min_time=0.001";
  const char* smoke = std::getenv("PENSTOCK_BENCH_SMOKE");
  if (smoke != nullptr && *smoke != '\0' && *smoke != '0') arguments.push_back(tiny.data());
  int count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
  place.emplace();
  JsonLines lines;
  const bool ran = benchmark::RunSpecifiedBenchmarks(&lines) != 0;
  place.reset();
  return ran && !failed ? 0 : 1;
}
