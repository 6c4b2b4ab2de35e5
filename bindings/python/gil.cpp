#include "bindings/python/gil.hpp"

#include <unistd.h>

#include <atomic>
#include <thread>

namespace penstock::python {
namespace {

std::atomic<bool> ending{false};
std::atomic<std::thread::id> ender;
std::atomic<int> coming_back{0};  // threads that saw no end and are about to have the GIL

}  // namespace

OthersRun::~OthersRun() {
  ++coming_back;  // before the look, so that whoever ends the interpreter sees one or is seen
  if (ending && ender.load() != std::this_thread::get_id()) {
    --coming_back;
    for (;;) ::pause();
  }
  PyEval_RestoreThread(state_);
  --coming_back;
}

void keep_threads_out() {
  ender = std::this_thread::get_id();
  ending = true;
  PyThreadState* const state = PyEval_SaveThread();
  while (coming_back != 0) std::this_thread::yield();
  PyEval_RestoreThread(state);
}

void forget_threads() { coming_back = 0; }

}  // namespace penstock::python
