#include "bindings/c/internal.hpp"

using namespace penstock::c;

int penstock_bus_open(const char* directory, const penstock_bus_options* given, penstock_bus** out) {
  return guarded([&] {
    if (directory == nullptr || out == nullptr)
      return failed(EINVAL, "penstock_bus_open wants a directory and a place");
    auto bus = penstock::Bus::open(directory, {.create = options_of(given).must_exist == 0});
    if (!bus) return failed(bus.error());
    *out = new penstock_bus{std::move(*bus)};
    return 0;
  });
}
void penstock_bus_close(penstock_bus* bus) { delete bus; }

int penstock_bus_describe(penstock_bus* bus, penstock_bus_info* place) {
  return guarded([&] {
    auto info = bus->bus.describe();
    if (!info) return failed(info.error());
    const penstock::BusInfo& told = last_told(std::move(*info));
    penstock_bus_info out{};
    out.shm_bytes = told.shm_bytes;
    out.disk_bytes = told.disk_bytes;
    out.topics = told.topics;
    out.groups = told.groups;
    out.handles = told.handles;
    out.daemon_pid = told.daemon_pid.value_or(0);
    out.live_path = told.live_path.c_str();
    out.backend = told.backend.c_str();
    out.uring_error = told.uring_error;
    return answer(place, out);
  });
}
int penstock_bus_unload(const char* directory) {
  return guarded([&] { return settled(penstock::Bus::unload(std::string(text(directory)))); });
}
int penstock_bus_remove(const char* directory) {
  return guarded([&] { return settled(penstock::Bus::remove(std::string(text(directory)))); });
}

int penstock_daemon_start(penstock_bus* bus, const penstock_daemon_options* given, penstock_daemon** out) {
  return guarded([&] {
    const auto options = options_of(given);
    penstock::DaemonOptions chosen;
    chosen.force_pwrite = options.force_pwrite != 0;
    if (options.checkpoint_ms != 0) chosen.checkpoint_every = duration(options.checkpoint_ms);
    if (options.log != nullptr) {
      chosen.log = [call = options.log, context = options.context](int level, const std::string& text) {
        call(context, level, text.c_str());
      };
    }
    auto daemon = penstock::Daemon::start(bus->bus, chosen);
    if (!daemon) return failed(daemon.error());
    *out = new penstock_daemon{std::move(*daemon)};
    return 0;
  });
}
int penstock_daemon_stop(penstock_daemon* daemon) {
  return guarded([&] {
    const std::unique_ptr<penstock_daemon> kept(daemon);
    return kept == nullptr ? 0 : settled(kept->daemon.stop());
  });
}
