// One event to another process and one back, again and again, with the bare cache line between the same two cores
// measured right before and right after.
#pragma once

#include <functional>
#include <penstock/options.hpp>
#include <string>
#include <tl/expected.hpp>

#include "tools/measure/histogram.hpp"

namespace penstock::measure {

// How events reach who waits for them.
enum class Via : std::uint8_t {
  reader,      // Reader::poll: no group
  group_poll,  // Consumer::poll, acked by the handler
  group_next,  // Consumer::next and ack
};

struct RoundTripPlan {
  std::string directory;  // of the bus, which exists
  std::string prefix;     // topics PREFIX.ping and PREFIX.pong, and groups of these names; made, and left there
  TopicOptions topic{};
  Via via = Via::reader;
  Wait wait = Wait::spin;
  std::size_t payload = 64;
  std::uint64_t warm_up = 0;          // trips that are not measured
  std::uint64_t trips = 100'000;      // at most
  std::int64_t longest_ns = 0;        // ends earlier after this long; 0: never
  std::uint64_t line_trips = 50'000;  // of the bare line, each time
  bool daemon = false;                // a daemon runs meanwhile, in a process of its own
  std::function<bool()> asked{};      // true: stop
};

struct RoundTrip {
  Histogram trips, line_before, line_after;
  bool pinned = false;  // the two processes had a core each
  // How far the two measurements of the line lie apart, of the smaller one.
  double unsteady() const;
  Histogram line() const;  // both
  bool near() const;
  double ratio() const;  // of the p50s
  // What describes a case: the trips' percentiles, the line's, ratio, cores.
  Json json() const;
};

// An error is a sentence: what failed, or which event was lost, torn or out of order.
tl::expected<RoundTrip, std::string> round_trip(const RoundTripPlan& plan);

}  // namespace penstock::measure
