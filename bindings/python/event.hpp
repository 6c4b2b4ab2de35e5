// Events as Python objects: each owns its bytes, and a memoryview of the payload keeps its event alive.
#pragma once

#include <pybind11/pybind11.h>

#include <penstock/penstock.hpp>

namespace penstock::python {

namespace py = pybind11;

// Python's Event: a copy of its own, or the one inside a delivery, which derives from it. Stays where it was made.
class EventHolder {
 public:
  explicit EventHolder(Event own) : own_(std::move(own)), event_(&own_) {}
  EventHolder(const EventHolder&) = delete;
  EventHolder& operator=(const EventHolder&) = delete;
  virtual ~EventHolder() = default;
  const Event& event() const { return *event_; }

 protected:
  EventHolder() : event_(&own_) {}
  void shows(const Event& event) { event_ = &event; }

 private:
  Event own_;
  const Event* event_;
};

// Gives a type a buffer: bytes_of(self) -> span of what it exports, read-only.
using BytesOf = Bytes (*)(py::handle self);
template <BytesOf bytes_of>
void export_read_only(PyHeapTypeObject* type) {
  type->ht_type.tp_as_buffer = &type->as_buffer;
  type->as_buffer.bf_getbuffer = [](PyObject* self, Py_buffer* view, int flags) -> int {
    try {
      const Bytes bytes = bytes_of(self);
      // The view refers to self, so the bytes live as long as any view of them; their type says that they are constant.
      return PyBuffer_FillInfo(view, self, const_cast<std::byte*>(bytes.data()), Py_ssize_t(bytes.size()), 1, flags);
    } catch (const std::exception& failure) {
      PyErr_SetString(PyExc_BufferError, failure.what());
      return -1;
    }
  };
}

// A memoryview of what the object exports.
py::object view_of(py::handle self);

}  // namespace penstock::python
