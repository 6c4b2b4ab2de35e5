// One way: producers publish as fast as they can, or at a fixed rate, and receivers check every event. Each is a
// process of its own.
#pragma once

#include <optional>

#include "tools/measure/round_trip.hpp"

namespace penstock::measure {

enum class How : std::uint8_t {
  copy,      // Producer::publish
  in_place,  // Producer::claim, written where it lies
  batch,     // Producer::publish_batch
};

struct FlowPlan {
  std::string directory;  // of the bus, which exists
  std::string topic;      // made, and left there
  TopicOptions options{};
  ConsumerOptions group{};
  How how = How::copy;
  Via via = Via::reader;  // readers get every event each; the members of the group get each event once
  std::size_t payload = 64;
  std::size_t batch = 32;
  unsigned producers = 1;
  unsigned receivers = 1;
  std::int64_t lasts_ns = 500'000'000;  // producers publish for so long; receivers go on to the last event
  double rate = 0;                      // events a second of each producer, evenly; 0: as many as it can
  bool daemon = false;                  // a daemon runs meanwhile, in a process of its own
  std::function<bool()> asked{};        // true: stop
};

struct Flow {
  std::uint64_t published = 0;  // events
  std::uint64_t received = 0;   // by all receivers
  double seconds = 0;           // from the start to the last event received
  std::size_t payload = 0;
  bool pinned = false;  // every process had a core of its own
  // With a rate: from when an event was to be sent to when it was received, so that a producer that is held up hides
  // nothing.
  Histogram delay;

  double events_per_second() const { return seconds > 0 ? static_cast<double>(published) / seconds : 0; }
  double gb_per_second() const { return events_per_second() * static_cast<double>(payload) / 1e9; }
  Json json() const;
};

// Readers check that they get every event of every producer in order; members of a group that each event came to
// exactly one of them. An error is a sentence.
tl::expected<Flow, std::string> flow(const FlowPlan& plan);

}  // namespace penstock::measure
