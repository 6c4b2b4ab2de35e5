#include "bindings/python/publishing.hpp"

#include "bindings/python/convert.hpp"

namespace penstock::python {

struct PublishOption {
  std::string_view name;
  void (*set)(Publishing&, py::handle);
  static const PublishOption kAll[];
};

constexpr PublishOption PublishOption::kAll[] = {
    {"key",
     [](Publishing& to, py::handle given) {
       to.options_.key = to.text(given);
       to.options_.has_key = true;
     }},
    {"id", [](Publishing& to, py::handle given) { to.options_.id = to.text(given); }},
    {"headers", [](Publishing& to, py::handle given) { to.headers(given); }},
    {"content_type", [](Publishing& to, py::handle given) { to.options_.content_type = to.text(given); }},
    {"schema", [](Publishing& to, py::handle given) { to.options_.schema = to.text(given); }},
    {"deliver_at", [](Publishing& to, py::handle given) { from_python(given, to.options_.deliver_at); }},
    {"ttl", [](Publishing& to, py::handle given) { from_python(given, to.options_.ttl); }},
};

Publishing::Publishing(const py::kwargs& given) {
  for (const auto& [key, value] : given) {
    const auto name = py::handle(key).cast<std::string_view>();
    const auto* found = std::find_if(std::begin(PublishOption::kAll), std::end(PublishOption::kAll),
                                     [&](const PublishOption& option) { return option.name == name; });
    if (found == std::end(PublishOption::kAll)) {
      std::string known;
      for (const PublishOption& option : PublishOption::kAll)
        known += (known.empty() ? "" : ", ") + std::string(option.name);
      refuse_option(name, known);
    }
    if (!value.is_none()) found->set(*this, value);
  }
}

// The text's bytes in place where Python has them as UTF-8 already.
std::string_view Publishing::text(py::handle given) {
  py::object owner = py::reinterpret_borrow<py::object>(given);
  if (PyUnicode_Check(given.ptr()) != 0) {
    Py_ssize_t size = 0;
    if (const char* bytes = PyUnicode_AsUTF8AndSize(given.ptr(), &size)) {
      kept_.push_back(std::move(owner));
      return {bytes, std::size_t(size)};
    }
    PyErr_Clear();
    owner = given.attr("encode")("utf-8", "surrogateescape");
  } else if (PyBytes_Check(given.ptr()) == 0) {
    throw py::type_error("expected str or bytes, not " + py::repr(py::type::of(given)).cast<std::string>());
  }
  kept_.push_back(owner);
  return {PyBytes_AsString(owner.ptr()), std::size_t(PyBytes_Size(owner.ptr()))};
}

void Publishing::headers(py::handle given) {
  for (const py::handle item : given.attr("items")()) {
    const auto pair = py::reinterpret_borrow<py::tuple>(item);
    const auto name = text(pair[0]);
    if (name.find('\0') != std::string_view::npos) throw py::value_error("a header's name has no NUL");
    options_.headers.push_back({name, text(pair[1])});
  }
}

}  // namespace penstock::python
