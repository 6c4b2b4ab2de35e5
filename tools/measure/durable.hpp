// Publishers that wait until each of their events is on disk before they send the next.
#pragma once

#include <functional>
#include <string>
#include <tl/expected.hpp>

#include "tools/measure/histogram.hpp"

namespace penstock::measure {

struct DurablePlan {
  std::string directory;  // of the bus, which exists; a daemon must run there, or `daemon` be set
  std::string topic;      // made, and left there
  std::size_t payload = 64;
  unsigned publishers = 1;        // threads of one process, each with a producer of its own; sender i is publisher i
  std::uint64_t each = 1000;      // events of each, at most
  std::int64_t longest_ns = 0;    // ends earlier after this long; 0: never
  bool daemon = false;            // a daemon runs meanwhile, in a process of its own
  std::function<bool()> asked{};  // true: stop
};

struct DurableWaits {
  Histogram waits;  // from before the publish until the event was known to be on disk
  std::uint64_t events = 0;
  std::int64_t took_ns = 0;
  double events_per_second() const { return static_cast<double>(events) * 1e9 / static_cast<double>(took_ns); }
};

// Checks at the end that the topic says that all of it is on disk. An error is a sentence.
tl::expected<DurableWaits, std::string> await_durable(const DurablePlan& plan);

}  // namespace penstock::measure
