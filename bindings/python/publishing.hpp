// What a publish was given, held for as long as the library reads it with the GIL released.
#pragma once

#include <pybind11/pybind11.h>

#include <penstock/penstock.hpp>
#include <vector>

namespace penstock::python {

namespace py = pybind11;

// The bytes of anything with a contiguous buffer. While this lives its owner can neither free nor resize them.
class Payload {
 public:
  explicit Payload(py::handle given) {
    if (PyObject_GetBuffer(given.ptr(), &view_, PyBUF_SIMPLE) != 0) throw py::error_already_set();
  }
  Payload(Payload&& other) noexcept : view_(std::exchange(other.view_, Py_buffer{})) {}
  Payload& operator=(Payload&&) = delete;
  ~Payload() { PyBuffer_Release(&view_); }
  Bytes bytes() const { return {static_cast<const std::byte*>(view_.buf), std::size_t(view_.len)}; }

 private:
  Py_buffer view_{};
};

// PublishOptions by keyword, with the objects whose bytes they view.
class Publishing {
 public:
  explicit Publishing(const py::kwargs& given);
  const PublishOptions& options() const { return options_; }

 private:
  friend struct PublishOption;
  std::string_view text(py::handle given);
  void headers(py::handle given);

  PublishOptions options_;
  std::vector<py::object> kept_;
};

}  // namespace penstock::python
