// The GIL, let go while the library works or waits.
#pragma once

#include <pybind11/pybind11.h>

namespace penstock::python {

// Lets other Python threads run for as long as it lives. When the interpreter ends meanwhile, its thread never comes
// back: Python would end it by unwinding it, through frames that cannot be unwound.
class OthersRun {
 public:
  OthersRun() : state_(PyEval_SaveThread()) {}
  ~OthersRun();
  OthersRun(const OthersRun&) = delete;
  OthersRun& operator=(const OthersRun&) = delete;

 private:
  PyThreadState* state_;
};

// To be called when the interpreter is about to end, with the GIL: from here on only the calling thread gets it back.
// Returns when no thread of ours is on its way to it.
void keep_threads_out();

// To be called in a forked child, which has none of its parent's other threads.
void forget_threads();

}  // namespace penstock::python
