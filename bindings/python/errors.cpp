#include "bindings/python/errors.hpp"

#include <array>
#include <map>

namespace penstock::python {
namespace {

struct Kind {
  Errc code;
  const char* name;        // in Errc
  const char* class_name;  // of the exception
  const char* doc;         // what it means and what to do next
};

// A line for each Errc.
constexpr std::array kKinds{
    Kind{Errc::invalid_argument, "invalid_argument", "InvalidArgument", "The call's words are off: mend them."},
    Kind{Errc::invalid_name, "invalid_name", "InvalidName",
         "A topic's or group's name or a pattern: words of [A-Za-z0-9_-] joined by dots."},
    Kind{Errc::not_found, "not_found", "NotFound",
         "No such bus, topic, group or event: look at the name, or create it."},
    Kind{Errc::already_exists, "already_exists", "AlreadyExists",
         "A topic of that name exists: use it, or delete it first."},
    Kind{Errc::options_differ, "options_differ", "OptionsDiffer",
         "The group or topic exists with other options: leave them out, or change them with Bus.set_group."},
    Kind{Errc::too_large, "too_large", "TooLarge",
         "Larger than the topic's limit: send less, or make the topic with a larger ring."},
    Kind{Errc::full, "full", "Full",
         "The ring is full and stayed so: a consumer or the disk is behind; retry or shed load."},
    Kind{Errc::no_daemon, "no_daemon", "NoDaemon",
         "The ring is full of events that are not on disk, or a disk is awaited that nobody writes: start penstockd."},
    Kind{Errc::timed_out, "timed_out", "TimedOut", "The deadline passed: try again."},
    Kind{Errc::stale_lease, "stale_lease", "StaleLease",
         "The lease ran out or was settled: somebody else may have the event."},
    Kind{Errc::disk, "disk", "DiskFailed",
         "The disk refused (detail: errno): make space or replace it; nothing is lost in memory."},
    Kind{Errc::no_space, "no_space", "NoSpace", "No space on disk or in shared memory (detail: errno): free some."},
    Kind{Errc::permission, "permission", "PermissionDenied",
         "The file's owner or mode forbids it: run as the bus's user."},
    Kind{Errc::busy, "busy", "Busy",
         "Somebody else holds it: a second daemon, a second single producer, a bus in use."},
    Kind{Errc::corrupt, "corrupt", "Corrupt", "Bytes that cannot be: run `penstock verify`."},
    Kind{Errc::incompatible, "incompatible", "Incompatible",
         "Another layout version or a foreign file: use programs of one version."},
    Kind{Errc::forked, "forked", "Forked", "A handle used in a forked child: open a new one there."},
    Kind{Errc::deleted, "deleted", "Deleted", "The topic or group was deleted: open it anew."},
    Kind{Errc::closed, "closed", "Closed", "The handle was closed, or the claim settled."},
    Kind{Errc::too_many, "too_many", "TooMany", "Handles, topics or unsettled events: a limit named in the message."},
    Kind{Errc::duplicate, "duplicate", "Duplicate", "The topic refuses this id: it was published before."},
    Kind{Errc::interrupted, "interrupted", "Interrupted", "interrupt() ended the wait."},
    Kind{Errc::system, "system", "SystemFailed", "The operating system refused (detail: errno)."},
    Kind{Errc::unsupported, "unsupported", "Unsupported", "This version does not do that yet: leave the option out."},
};

// The classes live as long as the interpreter: nothing here is ever freed.
struct Classes {
  py::object base;
  std::map<Errc, py::object> by_code;
};
Classes& classes() {
  static auto* const kept = new Classes;
  return *kept;
}

py::object make_class(const std::string& name, const char* doc, py::handle base, const py::dict& attributes) {
  auto* made = PyErr_NewExceptionWithDoc(("penstock." + name).c_str(), doc, base.ptr(), attributes.ptr());
  if (made == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(made);
}

}  // namespace

void bind_errors(py::module_& module) {
  py::list members;
  for (const Kind& kind : kKinds) members.append(py::make_tuple(kind.name, static_cast<int>(kind.code)));
  const py::object codes = py::module_::import("enum").attr("IntEnum")("Errc", members, py::arg("module") = "penstock");
  codes.attr("__doc__") = "What went wrong; each has an exception class of its own.";
  module.attr("Errc") = codes;

  py::dict shared;
  shared["code"] = py::none();
  shared["detail"] = 0;
  shared["message"] = "";
  classes().base = make_class(
      "Error",
      "The base of everything Penstock raises: `code` (an Errc), `message` (a sentence that says what to do) "
      "and `detail` (an errno or a number that the sentence names).",
      PyExc_Exception, shared);
  module.attr("Error") = classes().base;
  for (const Kind& kind : kKinds) {
    py::dict own;
    own["code"] = codes.attr(kind.name);
    classes().by_code[kind.code] = make_class(kind.class_name, kind.doc, classes().base, own);
    module.attr(kind.class_name) = classes().by_code[kind.code];
  }
}

void raise(const Error& error, const std::string& message) {
  const auto found = classes().by_code.find(error.code());
  const py::object& type = found != classes().by_code.end() ? found->second : classes().base;
  // A path in the sentence may be any bytes.
  const auto text = py::reinterpret_steal<py::object>(
      PyUnicode_DecodeUTF8(message.data(), static_cast<Py_ssize_t>(message.size()), "backslashreplace"));
  const py::object raised = type(text);
  raised.attr("message") = text;
  raised.attr("detail") = error.detail();
  PyErr_SetObject(type.ptr(), raised.ptr());
  throw py::error_already_set();
}

}  // namespace penstock::python
