// penstock._penstock: the library for Python. The package around it (penstock/) adds asyncio.
#include "bindings/python/module.hpp"

#include "bindings/python/convert.hpp"

namespace penstock::python {

Deadline deadline(const py::object& timeout) {
  if (timeout.is_none()) return Deadline(std::nullopt);
  return Deadline(value_of<nanoseconds>(timeout));
}

}  // namespace penstock::python

PYBIND11_MODULE(_penstock, module) {
  namespace python = penstock::python;
  namespace py = pybind11;
  module.doc() = "Penstock for Python: use the package penstock.";
  python::count_forks();
  python::bind_errors(module);
  python::bind_events(module);
  python::bind_admin(module);
  python::bind_producer(module);
  python::bind_consumer(module);
  python::bind_reader(module);
  python::bind_bus(module);
  python::bind_daemon(module);
  py::module_::import("atexit").attr("register")(py::cpp_function(python::keep_threads_out));
  module.attr("__version__") = python::to_python(penstock::kVersion);
}
