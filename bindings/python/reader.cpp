// Readers: every event in order, nothing to settle.
#include "bindings/python/convert.hpp"
#include "bindings/python/event.hpp"
#include "bindings/python/module.hpp"

namespace penstock::python {
namespace {

using HeldReader = Held<Reader>;

py::object next(HeldReader& reader, const py::object& timeout) {
  auto found = reader.wait(
      deadline(timeout), [](Reader& handle, nanoseconds slice) { return handle.next(slice); },
      [](const Result<std::optional<Event>>& came) { return came && !*came; });
  if (!found) return py::none();
  return py::cast(std::make_unique<EventHolder>(std::move(*found)));
}

// Copies, since a view of the ring could outlive what it shows.
py::list poll(HeldReader& reader, std::size_t most) {
  std::vector<Event> events = reader.use([&](Reader& handle) -> Result<std::vector<Event>> {
    std::vector<Event> out;
    auto handled = handle.poll([&](const EventView& event) { out.emplace_back(event); }, most);
    // What was read before a failure is not lost; the failure comes again with the next call.
    if (!handled && out.empty()) return tl::unexpected(handled.error());
    return out;
  });
  py::list out;
  for (Event& event : events) out.append(py::cast(std::make_unique<EventHolder>(std::move(event))));
  return out;
}

bool wait(HeldReader& reader, const py::object& timeout) {
  return reader.wait(
      deadline(timeout), [](Reader& handle, nanoseconds slice) { return handle.wait(slice); },
      [](const Result<bool>& came) { return came && !*came; });
}

py::dict places(HeldReader& reader) {
  py::dict out;
  const auto all =
      reader.use([](Reader& handle) -> Result<std::vector<std::pair<std::string, Offset>>> { return handle.places(); });
  for (const auto& [topic, offset] : all) out[to_python(topic)] = offset;
  return out;
}

auto seen(std::uint64_t (Reader::*member)() const) {
  return [member](HeldReader& reader) {
    return reader.use_briefly([&](Reader& handle) -> Result<std::uint64_t> { return (handle.*member)(); });
  };
}

}  // namespace

py::object make_reader(Bus bus, const std::vector<std::string>& patterns, StartAt start, const py::kwargs& options) {
  ReaderOptions chosen;
  set_options(chosen, kReaderOptions, options);
  return py::cast(HeldReader::make(unlocked([&] { return bus.reader(patterns, start, chosen); })));
}

void bind_reader(py::module_& module) {
  py::class_<HeldReader, std::shared_ptr<HeldReader>> reader(
      module, "Reader",
      "Reads without a group; made by Bus.reader. Threads that share one take turns. Iterating waits for ever for the "
      "next event, as does `async for`.");
  reader
      .def("next", next, py::arg("timeout") = py::none(),
           "The next event, waiting up to timeout (None: for ever; 0 only looks); None when it passed.")
      .def("poll", poll, py::arg("most") = 256, "Up to `most` events that are there now, as copies; does not wait.")
      .def("wait", wait, py::arg("timeout") = py::none(),
           "Waits until next or poll may have something. False: the timeout passed.")
      .def(
          "fileno", [](HeldReader& held) { return held.use_briefly([](Reader& handle) { return handle.event_fd(); }); },
          "As the consumer's.")
      .def("interrupt", &HeldReader::interrupt,
           "Ends a wait in another thread, or the next one, with Interrupted; from any thread or signal handler.")
      .def_property_readonly("missed", seen(&Reader::missed),
                             "Events that were overwritten or removed before this reader came to them.")
      .def_property_readonly("damaged", seen(&Reader::damaged), "Offsets on disk that could not be read.")
      .def("places", places, "The topics it reads, each with the next offset it expects.")
      .def_property_readonly("closed", &HeldReader::closed, "True after close().")
      .def("close", &HeldReader::close, "Ends it; producers no longer wait for it. Idempotent.")
      .def("__iter__", [](py::object self) { return self; })
      .def("__next__", [](HeldReader& self) { return next(self, py::none()); });
  bind_context(reader);
}

}  // namespace penstock::python
