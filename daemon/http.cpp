#include "daemon/http.hpp"

#include <sys/resource.h>

#include <utility>  // before Beast, which lacks it

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <charconv>
#include <list>
#include <optional>
#include <thread>

#include "api/error.hpp"

namespace penstock::daemon {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;

constexpr std::size_t kConnections = 32;  // one more, and the one that has been there longest is closed
constexpr std::size_t kRequestBytes = 8 << 10;
constexpr auto kPatience = std::chrono::seconds(10);  // for a whole request, and for a whole answer
constexpr auto kAcceptPause = std::chrono::milliseconds(100);

// One client: reads a request, answers, reads the next.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(tcp::socket socket, const HttpServer::Answer& answer) : stream_(std::move(socket)), answer_(answer) {}

  void read() {
    parser_.emplace();
    parser_->header_limit(kRequestBytes);
    stream_.expires_after(kPatience);
    http::async_read(stream_, buffer_, *parser_,
                     [self = shared_from_this()](beast::error_code error, std::size_t) { self->was_read(error); });
  }
  void close() { stream_.close(); }

 private:
  using Response = http::response<http::string_body>;

  void was_read(beast::error_code error) {
    static const auto& malformed = beast::error_code(http::error::bad_version).category();
    if (error == http::error::end_of_stream || error == http::error::partial_message) return;
    if (error && error.category() == malformed) return write({400, "not a request that is understood here\n"}, true);
    if (error) return;
    const http::verb method = parser_->get().method();
    if (method != http::verb::get && method != http::verb::head) return write({405, "GET or HEAD only\n"}, true);
    const beast::string_view target = parser_->get().target();
    const std::string_view path(target.data(), std::min(target.find('?'), target.size()));
    write(answer_(path), !parser_->keep_alive());
  }
  void write(HttpAnswer answer, bool last) {
    response_.emplace(http::status(answer.status), 11);
    response_->set(http::field::content_type, answer.type);
    if (answer.status == 405) response_->set(http::field::allow, "GET, HEAD");
    response_->keep_alive(!last);
    response_->content_length(answer.body.size());
    if (parser_->get().method() != http::verb::head) response_->body() = std::move(answer.body);
    stream_.expires_after(kPatience);
    http::async_write(stream_, *response_, [self = shared_from_this(), last](beast::error_code error, std::size_t) {
      if (!error && !last) return self->read();
      beast::error_code ignored;
      self->stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
    });
  }

  beast::tcp_stream stream_;
  const HttpServer::Answer& answer_;
  beast::flat_buffer buffer_{kRequestBytes + 1024};
  std::optional<http::request_parser<http::empty_body>> parser_;
  std::optional<Response> response_;
};

// Nothing when the text is not an IP address and a port.
std::optional<tcp::endpoint> parse(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon), digits = text.substr(colon + 1);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  std::uint16_t port = 0;
  const auto [end, wrong] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  beast::error_code error;
  const auto address = asio::ip::make_address(std::string(host), error);
  if (error || wrong != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  if (address.is_v6() != bracketed) return std::nullopt;
  return tcp::endpoint(address, port);
}

}  // namespace

struct HttpServer::Impl {
  Answer answer;
  asio::io_context context{1};
  tcp::acceptor acceptor{context};
  asio::steady_timer pause{context};
  std::list<std::weak_ptr<Connection>> connections;  // the oldest first
  std::thread thread;

  beast::error_code listen(const tcp::endpoint& endpoint);
  void accept();
  void serve(tcp::socket socket);
  void run();
};

beast::error_code HttpServer::Impl::listen(const tcp::endpoint& endpoint) {
  beast::error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(tcp::acceptor::max_listen_connections, error);
  return error;
}

void HttpServer::Impl::accept() {
  acceptor.async_accept([this](beast::error_code error, tcp::socket socket) {
    if (!error) {
      accept();
      return serve(std::move(socket));
    }
    // No descriptor is left, say: that passes.
    pause.expires_after(kAcceptPause);
    pause.async_wait([this](beast::error_code stopped) {
      if (!stopped) accept();
    });
  });
}

void HttpServer::Impl::serve(tcp::socket socket) {
  connections.remove_if([](const auto& it) { return it.expired(); });
  if (connections.size() >= kConnections) {
    if (const auto oldest = connections.front().lock()) oldest->close();
    connections.pop_front();
  }
  const auto connection = std::make_shared<Connection>(std::move(socket), answer);
  connections.push_back(connection);
  connection->read();
}

void HttpServer::Impl::run() {
  ::setpriority(PRIO_PROCESS, 0, 10);  // of this thread
  for (;;) {
    try {
      context.run();
      return;
    } catch (const std::exception&) {
      // Out of memory, say: that client is left without an answer.
    }
  }
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpServer::~HttpServer() {
  impl_->context.stop();
  impl_->thread.join();
}

std::string HttpServer::address() const {
  std::ostringstream out;
  out << impl_->acceptor.local_endpoint();
  return out.str();
}

Result<std::unique_ptr<HttpServer>> HttpServer::start(const std::string& address, Answer answer) {
  const auto endpoint = parse(address);
  if (!endpoint)
    return api::refuse(Errc::invalid_argument, "'" + address +
                                                   "' is not an IP address and a port; give one such as "
                                                   "127.0.0.1:9464 or [::1]:9464.");
  auto impl = std::make_unique<Impl>();
  impl->answer = std::move(answer);
  if (const auto error = impl->listen(*endpoint))
    return api::refuse(Errc::busy, "cannot listen on " + address + " (" + error.message() + "); choose another.");
  impl->accept();
  impl->thread = std::thread([running = impl.get()] { running->run(); });
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

}  // namespace penstock::daemon
