// A topic with a long past, cheaply: sealed segments as the daemon leaves them, one event each whose payload is zeros,
// in files that are nearly all hole. `penstock verify` finds them whole.
#pragma once

#include <cstdint>
#include <string>

namespace penstock::test {

struct Past {
  std::uint64_t segments = 0;
  std::uint64_t segment_bytes = 0;  // of each, at most
  bool indexed = true;
};

// Adds them to a topic of a bus that does not run and whose log is empty. The topic then stands as after a power cut.
void write_past(const std::string& bus, const std::string& topic, const Past& past);

}  // namespace penstock::test
