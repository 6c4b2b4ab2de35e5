// What the module is made of: each file binds a part of the public headers.
#pragma once

#include <pybind11/pybind11.h>

#include <penstock/daemon.hpp>

#include "bindings/python/held.hpp"

namespace penstock::python {

void bind_events(py::module_& module);    // Event, DeadLetter
void bind_admin(py::module_& module);     // what Bus describes
void bind_producer(py::module_& module);  // Producer, Claim
void bind_consumer(py::module_& module);  // Consumer, Delivery
void bind_reader(py::module_& module);    // Reader
void bind_bus(py::module_& module);       // Bus, StartAt
void bind_daemon(py::module_& module);    // Daemon

// How Bus makes what the other files bind.
py::object make_producer(Bus bus, const std::string& topic, const py::kwargs& options);
py::object make_consumer(Bus bus, const std::string& group, const std::vector<std::string>& patterns,
                         const py::kwargs& options);
py::object make_reader(Bus bus, const std::vector<std::string>& patterns, StartAt start, const py::kwargs& options);

// A bus in Python's hands. Any thread may use it; it is copied for each call, so closing it disturbs none.
class BusHolder {
 public:
  explicit BusHolder(Bus bus) : bus_(std::move(bus)) {}
  Bus get() const;  // raises Closed, Forked
  void close();     // idempotent
  ~BusHolder();

 private:
  std::optional<Bus> bus_;
  const std::uint32_t forks_ = forks();
};

// A timeout as Python gives it: seconds or a timedelta; None: for ever.
Deadline deadline(const py::object& timeout);

// with handle: closes it at the end.
template <class Class>
void bind_context(Class& bound) {
  bound.def("__enter__", [](py::object self) { return self; });
  bound.def("__exit__", [](const py::object& self, const py::args&) { self.attr("close")(); });
}

}  // namespace penstock::python
