// Errors as Python raises them: penstock.Error and a class below it for each Errc. Call with the GIL held.
#pragma once

#include <pybind11/pybind11.h>

#include <penstock/penstock.hpp>
#include <string>
#include <utility>

#include "bindings/python/gil.hpp"

namespace penstock::python {

namespace py = pybind11;

// Defines penstock.Errc, penstock.Error and the classes; call before anything can fail.
void bind_errors(py::module_& module);

[[noreturn]] void raise(const Error& error, const std::string& message);
[[noreturn]] inline void raise(const Error& error) { raise(error, error.message()); }

// What a call of the library came to, with its sentence: that is read where the call failed, since it is the thread's
// last one and the next failure replaces it.
template <class T>
struct Outcome {
  Result<T> result;
  std::string message;

  Outcome(Result<T> came) : result(std::move(came)) {  // NOLINT: a result is an outcome
    if (!result) message = result.error().message();
  }
  // The value, or its exception.
  T take() && {
    if (!result) raise(result.error(), message);
    if constexpr (!std::is_void_v<T>) return std::move(*result);
  }
};

// Calls the library with the GIL released.
template <class Call>
auto unlocked(Call&& call) {
  using T = typename decltype(call())::value_type;
  auto outcome = [&]() -> Outcome<T> {
    const OthersRun others_run;
    return call();
  }();
  return std::move(outcome).take();
}

}  // namespace penstock::python
