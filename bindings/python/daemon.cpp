// The daemon in a thread of the Python process.
#include <set>

#include "bindings/python/convert.hpp"
#include "bindings/python/module.hpp"

namespace penstock::python {
namespace {

class DaemonHolder;
thread_local bool g_logs = false;  // this is a daemon's thread, in its log function
std::set<DaemonHolder*>& running() {
  static auto* const kept = new std::set<DaemonHolder*>;
  return *kept;
}

// Stopped at the latest when the interpreter ends, since its thread may call into Python to log.
class DaemonHolder {
 public:
  DaemonHolder(const BusHolder& bus, DaemonOptions options, py::object log) : log_(std::move(log)) {
    if (!log_.is_none())
      options.log = [call = log_.ptr()](int level, const std::string& text) { tell(call, level, text); };
    const Bus opened = bus.get();
    daemon_.emplace(unlocked([&] { return Daemon::start(opened, options); }));
    running().insert(this);
  }
  DaemonHolder(const DaemonHolder&) = delete;
  DaemonHolder& operator=(const DaemonHolder&) = delete;
  ~DaemonHolder() {
    running().erase(this);
    if (!daemon_) return;
    if (foreign()) {
      new Daemon(std::move(*daemon_));  // leaked: its thread is the parent's
      return;
    }
    const OthersRun others_run;
    daemon_.reset();
  }

  bool foreign() const { return forks_ != forks(); }
  void stop() {
    if (foreign()) raise(Errc::forked);
    if (g_logs) throw std::runtime_error("a daemon's log function cannot stop it: its thread would wait for itself");
    if (!daemon_) return;
    Daemon daemon = std::move(*daemon_);
    daemon_.reset();
    unlocked([&] { return daemon.stop(); });
  }
  py::str backend() const {
    if (foreign()) raise(Errc::forked);
    if (!daemon_) raise(Errc::closed);
    return to_python(daemon_->backend());
  }

 private:
  static void tell(PyObject* log, int level, const std::string& text) {
    const py::gil_scoped_acquire python;
    g_logs = true;
    try {
      py::reinterpret_borrow<py::function>(log)(level, to_python(text));
    } catch (py::error_already_set& failure) {
      failure.discard_as_unraisable("a log function of penstock.Daemon");
    }
    g_logs = false;
  }

  py::object log_;
  std::optional<Daemon> daemon_;
  const std::uint32_t forks_ = forks();
};

void stop_all() {
  for (DaemonHolder* daemon : std::set(running()))
    if (!daemon->foreign()) daemon->stop();
}

}  // namespace

void bind_daemon(py::module_& module) {
  py::class_<DaemonHolder> daemon(
      module, "Daemon",
      "Does the daemon's work for this bus in a thread of this process until stop(). Busy: another daemon has the bus. "
      "log(level, text) is called from that thread, and cannot stop the daemon; level: 0 info, 1 warning, 2 error.");
  daemon
      .def(py::init([](const BusHolder& bus, bool force_pwrite, const py::object& checkpoint_every, py::object log) {
             DaemonOptions options{.force_pwrite = force_pwrite};
             from_python(checkpoint_every, options.checkpoint_every);
             return std::make_unique<DaemonHolder>(bus, std::move(options), std::move(log));
           }),
           py::arg("bus"), py::kw_only(), py::arg("force_pwrite") = false, py::arg("checkpoint_every") = 0.1,
           py::arg("log") = py::none())
      .def("stop", &DaemonHolder::stop, "Persists all that is committed and ends the thread. Idempotent.")
      .def("close", &DaemonHolder::stop, "The same as stop().")
      .def_property_readonly("backend", &DaemonHolder::backend, "'io_uring' or 'pwrite'.");
  bind_context(daemon);
  py::module_::import("atexit").attr("register")(py::cpp_function(stop_all));
}

}  // namespace penstock::python
