// What the Relacy models share: how one is run, and what counts as its failing. Relacy runs the threads of a model in
// many interleavings and lets loads return every value that the memory orders allow. It has no atomics of 16 bytes: the
// tail is one atomic of both halves here, which is how its compare-and-swap and its one store behave.
//
// The orders are those of the code; a model takes them as a template parameter, so that each of its mutants is the same
// model with one order weakened or two lines exchanged, and must fail.
#pragma once

#include <relacy/relacy.hpp>

#include <iostream>

namespace penstock::models {

template <typename Model>
bool passes() {
  rl::test_params params;
  std::ostream ignored(nullptr);  // one that allocates would meet Relacy's own operator delete
  params.iteration_count = 100000;
  params.output_stream = &ignored;
  params.progress_stream = &ignored;
  params.search_type = rl::random_scheduler_type;
  return rl::simulate<Model>(params);
}

struct Report {
  int failed = 0;
  template <typename Model>
  void holds(const char* name) {
    if (passes<Model>()) return;
    std::cerr << "FAILED: " << name << " does not hold\n";
    ++failed;
  }
  template <typename Model>
  void fails(const char* name) {
    if (!passes<Model>()) return;
    std::cerr << "FAILED: " << name << " finds nothing to object to\n";
    ++failed;
  }
};

}  // namespace penstock::models
