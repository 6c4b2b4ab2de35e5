#include "daemon/monitor.hpp"

namespace penstock::daemon {

Result<std::unique_ptr<Monitor>> Monitor::start(const std::string& address) {
  std::unique_ptr<Monitor> out(new Monitor);
  auto server =
      HttpServer::start(address, [monitor = out.get()](std::string_view path) { return monitor->answer(path); });
  if (!server) return tl::unexpected(server.error());
  out->server_ = std::move(*server);
  return out;
}

void Monitor::watch(std::optional<Bus> bus) {
  const std::lock_guard hold(mutex_);
  bus_ = std::move(bus);
}

std::optional<Bus> Monitor::watched() const {
  const std::lock_guard hold(mutex_);
  return bus_;
}

HttpAnswer Monitor::answer(std::string_view path) {
  if (path == "/healthz") return {200, "ok\n"};
  const std::optional<Bus> held = watched();
  const Bus* const bus = held ? &*held : nullptr;
  if (path == "/metrics") return {200, metrics_.text(bus), "text/plain; version=0.0.4; charset=utf-8"};
  if (path == "/readyz") {
    if (const auto why = metrics_.why_not_ready(bus)) return {503, *why + "\n"};
    return {200, "ok\n"};
  }
  return {404, "there are /metrics, /healthz and /readyz\n"};
}

}  // namespace penstock::daemon
