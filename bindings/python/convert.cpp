#include "bindings/python/convert.hpp"

#include <cmath>

namespace penstock::python {
namespace {

py::object datetime() { return py::module_::import("datetime"); }

nanoseconds from_seconds(py::handle given) {
  const double seconds = PyFloat_AsDouble(given.ptr());
  if (PyErr_Occurred() != nullptr) throw py::error_already_set();
  if (std::isnan(seconds) || seconds < 0) throw py::value_error("a duration is a number of seconds, not below 0");
  if (seconds >= 9e9) return nanoseconds::max();
  return nanoseconds(std::llround(seconds * 1e9));
}

// Exact, where a float would not be.
std::int64_t microseconds(const py::object& delta) {
  return delta.attr("__floordiv__")(datetime().attr("timedelta")(py::arg("microseconds") = 1)).cast<std::int64_t>();
}

py::object epoch() {
  return datetime().attr("datetime")(1970, 1, 1, py::arg("tzinfo") = datetime().attr("timezone").attr("utc"));
}

}  // namespace

void from_python(py::handle given, nanoseconds& out) {
  if (py::isinstance(given, datetime().attr("timedelta")))
    out = from_seconds(given.attr("total_seconds")());
  else
    out = from_seconds(given);
}

void from_python(py::handle given, Timestamp& out) {
  if (py::isinstance(given, datetime().attr("datetime"))) {
    const py::object aware = given.attr("astimezone")(datetime().attr("timezone").attr("utc"));
    out = Timestamp(std::chrono::microseconds(microseconds(aware - epoch())));
  } else {
    out = Timestamp(from_seconds(given));
  }
}

void from_python(py::handle given, StartAt& out) {
  if (py::isinstance<StartAt>(given))
    out = given.cast<StartAt>();
  else if (py::isinstance<py::int_>(given))
    out = StartAt::offset(value_of<Offset>(given));
  else if (py::isinstance(given, datetime().attr("datetime"))) {
    Timestamp moment;
    from_python(given, moment);
    out = StartAt::time(moment);
  } else {
    constexpr std::array words{"beginning", "end"};
    out = word_index(given, words.data(), words.size()) == 0 ? StartAt::beginning() : StartAt::end();
  }
}

void from_python(py::handle given, std::string& out) {
  if (py::isinstance<py::bytes>(given))
    out = given.cast<std::string>();
  else if (PyUnicode_Check(given.ptr()) != 0)
    out = py::reinterpret_borrow<py::str>(given).attr("encode")("utf-8", "surrogateescape").cast<std::string>();
  else
    throw py::type_error("expected str or bytes, not " + py::repr(py::type::of(given)).cast<std::string>());
}

void from_python(py::handle given, std::vector<nanoseconds>& out) {
  if (given.is_none()) return;
  for (const py::handle each : given) from_python(each, out.emplace_back());
}

void refuse_number(py::handle given) {
  const auto shown = py::repr(given).cast<std::string>();
  if (py::isinstance<py::int_>(given)) throw py::value_error(shown + " is out of range");
  throw py::type_error("expected an integer, not " + shown);
}

std::size_t word_index(py::handle given, const char* const* words, std::size_t count) {
  std::string known;
  for (std::size_t i = 0; i < count; ++i) {
    if (PyUnicode_Check(given.ptr()) != 0 && PyUnicode_CompareWithASCIIString(given.ptr(), words[i]) == 0) return i;
    known += std::string(i == 0 ? "'" : ", '") + words[i] + "'";
  }
  throw py::value_error(py::repr(given).cast<std::string>() + " is none of " + known);
}

py::str to_python(std::string_view text) {
  auto* made = PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "surrogateescape");
  if (made == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(made);
}

py::object to_python(nanoseconds duration) { return py::float_(std::chrono::duration<double>(duration).count()); }

py::object to_python(Timestamp moment) {
  const auto since = std::chrono::floor<std::chrono::microseconds>(moment.time_since_epoch()).count();
  return epoch() + datetime().attr("timedelta")(py::arg("microseconds") = since);
}

py::object to_python(const StartAt& start) { return py::cast(start); }

py::list to_python(const std::vector<std::string>& texts) {
  py::list out;
  for (const std::string& text : texts) out.append(to_python(text));
  return out;
}

py::list to_python(const std::vector<nanoseconds>& durations) {
  py::list out;
  for (const nanoseconds duration : durations) out.append(to_python(duration));
  return out;
}

void refuse_option(std::string_view name, const std::string& known) {
  throw py::type_error("there is no option '" + std::string(name) + "'; there are " + known);
}

}  // namespace penstock::python
