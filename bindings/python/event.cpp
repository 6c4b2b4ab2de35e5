#include "bindings/python/event.hpp"

#include "bindings/python/convert.hpp"
#include "bindings/python/errors.hpp"
#include "bindings/python/module.hpp"

namespace penstock::python {
namespace {

Bytes payload_of(py::handle self) { return self.cast<EventHolder&>().event().payload(); }

py::dict headers_of(const EventHolder& held) {
  py::dict out;
  for (const Header& header : held.event().headers()) {
    const py::str name = to_python(header.name);
    if (!out.contains(name)) out[name] = to_python(header.value);  // as EventView::header: the first of a name counts
  }
  return out;
}

py::object dead_letter_of(const EventHolder& held) {
  auto letter = DeadLetter::of(held.event().view());
  if (!letter && letter.error().code() == Errc::not_found) return py::none();
  if (!letter) raise(letter.error());
  return py::cast(std::move(*letter));
}

py::str show(const py::object& self) {
  return py::str("<{} {}:{}, {} bytes>")
      .format(py::type::of(self).attr("__name__"), self.attr("topic"), self.attr("offset"), payload_of(self).size());
}

}  // namespace

py::object view_of(py::handle self) {
  auto* view = PyMemoryView_FromObject(self.ptr());
  if (view == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(view);
}

void bind_events(py::module_& module) {
  RecordClass<DeadLetter>(module, "DeadLetter", "Why an event is in a dead-letter queue, or was redriven from one.")
      .field("topic", &DeadLetter::topic, "Where it came from.")
      .field("offset", &DeadLetter::offset, "Its offset there.")
      .field("group", &DeadLetter::group, "The group that failed.")
      .field("member", &DeadLetter::member, "The last member's handle and process.")
      .field("attempts", &DeadLetter::attempts, "Failed attempts.")
      .field("first_failure", &DeadLetter::first_failure, "When it failed first.")
      .field("last_failure", &DeadLetter::last_failure, "When it failed last.")
      .field("disposition", &DeadLetter::disposition, "rejected, attempts, expired or crash.")
      .field("error_class", &DeadLetter::error_class, "As given to nak or reject.")
      .field("reason", &DeadLetter::reason, "As given to nak or reject.")
      .field("redrives", &DeadLetter::redrives, "How often it was given back.");

  const auto text = [](auto member) {
    return [member](const EventHolder& held) { return to_python((held.event().view().*member)()); };
  };
  py::class_<EventHolder>(
      module, "Event", py::custom_type_setup(export_read_only<payload_of>),
      "An event that owns its bytes: valid as long as it or a view of its payload lives, whatever becomes of the bus.")
      .def_property_readonly("topic", text(&EventView::topic), "The topic's name.")
      .def_property_readonly(
          "offset", [](const EventHolder& held) { return held.event().offset(); }, "Its number in the topic, from 0.")
      .def_property_readonly("time", text(&EventView::time), "When it was published, to the microsecond.")
      .def_property_readonly(
          "time_ns", [](const EventHolder& held) { return held.event().time().time_since_epoch().count(); },
          "When it was published, in nanoseconds since the epoch.")
      .def_property_readonly("payload", view_of,
                             "A read-only view of the payload, without a copy; it keeps the event alive.")
      .def_property_readonly(
          "id", [](const EventHolder& held) { return held.event().id().hex(); }, "The 128-bit id as 32 hex digits.")
      .def_property_readonly("id_text", text(&EventView::id_text), "The id as given at publish; None: a generated one.")
      .def_property_readonly("key", text(&EventView::key), "The key, or None.")
      .def_property_readonly("headers", headers_of, "The headers by name.")
      .def_property_readonly("content_type", text(&EventView::content_type), "The content type, or None.")
      .def_property_readonly("schema", text(&EventView::schema), "The schema, or None.")
      .def_property_readonly("deliver_at", text(&EventView::deliver_at), "Not delivered to groups before, or None.")
      .def_property_readonly("expires_at", text(&EventView::expires_at), "Not delivered to groups after, or None.")
      .def_property_readonly("dead_letter", dead_letter_of, "Its history when it is a dead letter, else None.")
      .def("__repr__", show);
}

}  // namespace penstock::python
