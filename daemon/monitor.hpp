// What monitoring can ask a daemon over HTTP: /metrics (Prometheus), /healthz (the process lives), /readyz (what is
// published comes to disk).
#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "daemon/http.hpp"
#include "daemon/metrics.hpp"

namespace penstock::daemon {

class Monitor {
 public:
  // Errors as of HttpServer::start.
  static Result<std::unique_ptr<Monitor>> start(const std::string& address);

  // The bus that is told of from now on; nothing while there is none. Any thread. What is being answered about the
  // former one may go on for a moment.
  void watch(std::optional<Bus> bus);
  std::string address() const { return server_->address(); }

 private:
  Monitor() = default;
  std::optional<Bus> watched() const;
  HttpAnswer answer(std::string_view path);

  mutable std::mutex mutex_;
  std::optional<Bus> bus_;
  Metrics metrics_;
  std::unique_ptr<HttpServer> server_;  // last: its thread uses the rest
};

}  // namespace penstock::daemon
