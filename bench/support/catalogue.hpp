// What every program here shares: a fixed catalogue of named cases, from which the command line picks, one JSON line a
// case, and an exit code that says whether every answer was right.
//
//   --list           the names, and nothing is run        --case PATTERN   only names that contain PATTERN
//   --smoke          tiny, as inside the tests            --dir DIRECTORY  where the bus and files go: its disk counts
//
// PENSTOCK_BENCH_SMOKE=1 is --smoke.
#pragma once

#include <functional>
#include <penstock/bus.hpp>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "tools/measure/histogram.hpp"
#include "tools/measure/scratch.hpp"

namespace penstock::bench {

using measure::Json;
using Outcome = tl::expected<Json, std::string>;  // what was measured, or a sentence on what went wrong

using measure::Scratch;

struct Settings {
  bool smoke = false;
  std::string directory;  // where Scratch goes
  // The second for smoke runs.
  template <class T, class Tiny>
  T of(T full, Tiny tiny) const {
    return smoke ? static_cast<T>(tiny) : full;
  }
};

struct Case {
  std::string name;
  std::function<Outcome(const Settings&)> run;
};

// Runs the cases that were asked for; the program's exit code.
int run_catalogue(const char* question, const std::vector<Case>& cases, int argc, char** argv);

// True once the program was interrupted: cases end early, and nothing more is run.
bool interrupted();

}  // namespace penstock::bench
