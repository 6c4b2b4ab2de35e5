// A small HTTP server for monitoring: GET and HEAD, answers made by a function, in a thread of its own that gives way
// to all others. What clients send, or don't, costs only that thread's time and a bounded number of connections.
#pragma once

#include <functional>
#include <memory>
#include <penstock/error.hpp>
#include <string>
#include <string_view>

namespace penstock::daemon {

struct HttpAnswer {
  unsigned status = 200;
  std::string body;
  const char* type = "text/plain; charset=utf-8";
};

class HttpServer {
 public:
  // Called in the server's thread, one call after another.
  using Answer = std::function<HttpAnswer(std::string_view path)>;

  // `address`: an IP address and a port, as in "127.0.0.1:9464" and "[::1]:9464"; port 0: any free one. Serves from
  // here on until it goes. Errc::invalid_argument, or Errc::busy: the address cannot be had.
  static Result<std::unique_ptr<HttpServer>> start(const std::string& address, Answer answer);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::string address() const;  // the port as it is

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace penstock::daemon
