// The HTTP server against clients as they should be, and as they are.
#include "daemon/http.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <random>
#include <vector>

#include "daemon/monitor.hpp"

namespace penstock::daemon {
namespace {

class Client {
 public:
  explicit Client(const std::string& address) {
    const bool v6 = address.front() == '[';
    const auto port = htons(std::uint16_t(std::stoi(address.substr(address.rfind(':') + 1))));
    fd_ = ::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval patience{60, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sockaddr_in v4_address{AF_INET, port, {htonl(INADDR_LOOPBACK)}, {}};
    sockaddr_in6 v6_address{AF_INET6, port, 0, in6addr_loopback, 0};
    const int connected = v6 ? ::connect(fd_, reinterpret_cast<sockaddr*>(&v6_address), sizeof v6_address)
                             : ::connect(fd_, reinterpret_cast<sockaddr*>(&v4_address), sizeof v4_address);
    EXPECT_EQ(connected, 0) << std::strerror(errno);
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() { ::close(fd_); }

  void send(std::string_view bytes) { static_cast<void>(::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL)); }
  void finish() { ::shutdown(fd_, SHUT_WR); }
  // Until this many bytes are there, or the server closes.
  std::string receive(std::size_t bytes = std::string::npos) {
    std::string out;
    char buffer[4096];
    while (out.size() < bytes) {
      const ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
      if (n <= 0) break;
      out.append(buffer, std::size_t(n));
    }
    return out;
  }

 private:
  int fd_ = -1;
};

std::string get(const std::string& address, const std::string& path) {
  Client client(address);
  client.send("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  return client.receive();
}

class HttpTest : public testing::Test {
 protected:
  static std::unique_ptr<HttpServer> start(const std::string& address) {
    auto server = HttpServer::start(address, [](std::string_view path) -> HttpAnswer {
      if (path == "/throws") throw std::runtime_error("thrown");
      if (path == "/large") return {200, std::string(4 << 20, 'x')};
      return {path == "/none" ? 404u : 200u, "path " + std::string(path)};
    });
    EXPECT_TRUE(server) << server.error().message();
    return std::move(*server);
  }
  std::unique_ptr<HttpServer> server_ = start("127.0.0.1:0");
};

TEST_F(HttpTest, AnswersWithStatusLengthAndBody) {
  const std::string answer = get(server_->address(), "/here?query=left+out");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
  EXPECT_NE(answer.find("Content-Length: 10\r\n"), std::string::npos) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\npath /here")) << answer;
  EXPECT_TRUE(get(server_->address(), "/none").starts_with("HTTP/1.1 404 "));
  EXPECT_GT(get(server_->address(), "/large").size(), std::size_t{4 << 20});
}

TEST_F(HttpTest, OneConnectionCarriesManyRequestsAndHeadHasNoBody) {
  Client client(server_->address());
  client.send("HEAD /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string answers = client.receive();
  EXPECT_NE(answers.find("Content-Length: 7\r\n"), std::string::npos) << answers;
  EXPECT_EQ(answers.find("path /a"), std::string::npos);
  EXPECT_TRUE(answers.ends_with("path /b")) << answers;
}

TEST_F(HttpTest, WhatIsNoRequestIsRefused) {
  const auto told = [this](const std::string& bytes) {
    Client client(server_->address());
    client.send(bytes);
    client.finish();
    return client.receive().substr(0, 12);
  };
  EXPECT_EQ(told("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), "HTTP/1.1 405");
  EXPECT_EQ(told("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"), "HTTP/1.1 400");
  EXPECT_EQ(told("GET / HTTP/1.1\r\nContent-Length: -3\r\n\r\n"), "HTTP/1.1 400");
  EXPECT_EQ(told("hello\r\n\r\n"), "HTTP/1.1 400");
  EXPECT_NE(told("GET /" + std::string(100'000, 'x')), "HTTP/1.1 200");
  EXPECT_EQ(told("GET / HT"), "");
  EXPECT_EQ(told(""), "");
}

TEST_F(HttpTest, GarbageHarmsNobody) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    std::string bytes = round % 2 == 0 ? "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n" : std::string(200, '\0');
    for (int i = 0; i < (round % 2 == 0 ? 3 : 200); ++i) bytes[random() % bytes.size()] = char(random());
    Client client(server_->address());
    client.send(bytes);
    if (round % 3 == 0) continue;  // closes at once
    client.finish();
    client.receive();
  }
  EXPECT_TRUE(get(server_->address(), "/after").ends_with("path /after"));
}

TEST_F(HttpTest, ManySilentClientsKeepNobodyWaiting) {
  std::vector<std::unique_ptr<Client>> silent;
  for (int i = 0; i < 200; ++i) {
    silent.push_back(std::make_unique<Client>(server_->address()));
    if (i % 2 == 0) silent.back()->send("GET /half HTTP/1.1\r\n");
  }
  EXPECT_TRUE(get(server_->address(), "/now").ends_with("path /now"));
  EXPECT_EQ(silent.front()->receive(), "") << "the oldest made room";
  // Who asks for much and does not read it.
  for (const auto& client : silent) client->send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(get(server_->address(), "/now").ends_with("path /now"));
}

TEST_F(HttpTest, AnAnswerThatThrowsCostsThatClientAlone) {
  EXPECT_EQ(get(server_->address(), "/throws"), "");
  EXPECT_TRUE(get(server_->address(), "/after").ends_with("path /after"));
}

TEST_F(HttpTest, ATakenPortIsAnErrorThatNamesIt) {
  const std::string address = server_->address();
  const auto second = HttpServer::start(address, [](std::string_view) { return HttpAnswer{}; });
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Errc::busy);
  EXPECT_NE(second.error().message().find(address + " (Address already in use)"), std::string::npos)
      << second.error().message();
  server_.reset();
  server_ = start(address);
  EXPECT_TRUE(get(address, "/again").ends_with("path /again"));
}

TEST_F(HttpTest, ServesAnIpv6Address) {
  auto server = HttpServer::start("[::1]:0", [](std::string_view) { return HttpAnswer{200, "six"}; });
  if (!server) GTEST_SKIP() << server.error().message();
  EXPECT_TRUE((*server)->address().starts_with("[::1]:"));
  EXPECT_TRUE(get((*server)->address(), "/").ends_with("six"));
}

TEST_F(HttpTest, AnAddressIsAnIpAddressAndAPort) {
  for (const char* wrong : {"", "9464", ":9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536",
                            "127.0.0.1:-1", "::1:9464", "[127.0.0.1]:0", "[::1]", "[]:0", "here:0", "127.0.0.1:0 "}) {
    const auto server = HttpServer::start(wrong, [](std::string_view) { return HttpAnswer{}; });
    ASSERT_FALSE(server) << wrong;
    EXPECT_EQ(server.error().code(), Errc::invalid_argument) << wrong;
  }
}

TEST(MonitorTest, LivesButIsNotReadyUntilThereIsABus) {
  const auto monitor = Monitor::start("127.0.0.1:0").value();
  EXPECT_TRUE(get(monitor->address(), "/healthz").starts_with("HTTP/1.1 200 "));
  const std::string answer = get(monitor->address(), "/readyz");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("the bus is not open\n")) << answer;
  EXPECT_TRUE(get(monitor->address(), "/metrics").starts_with("HTTP/1.1 200 "));
}

}  // namespace
}  // namespace penstock::daemon
