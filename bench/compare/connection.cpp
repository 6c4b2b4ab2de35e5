#include "bench/compare/connection.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace penstock::compare {
namespace {

constexpr std::size_t kRead = 256 << 10;

[[noreturn]] void broken(const std::string& what) { throw std::runtime_error(what + ": " + std::strerror(errno)); }

template <class Address>
int connected(int family, const Address& address, const std::string& name) {
  const int fd = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) broken("socket");
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
  const int error = errno;
  ::close(fd);
  errno = error;
  broken(name);
}

}  // namespace

Connection Connection::to_socket(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  return Connection(connected(AF_UNIX, address, "the server's socket"));
}

Connection Connection::to_port(const std::string& port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(std::stoul(port)));
  Connection connection(connected(AF_INET, address, "the server's port"));
  const int on = 1;  // else small requests wait for one another
  ::setsockopt(connection.fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return connection;
}

Connection::Connection(Connection&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      out_(std::move(other.out_)),
      in_(std::move(other.in_)),
      at_(std::exchange(other.at_, 0)) {}

Connection::~Connection() {
  if (fd_ >= 0) ::close(fd_);
}

void Connection::flush() {
  for (std::size_t done = 0; done < out_.size();) {
    const ssize_t sent = ::send(fd_, out_.data() + done, out_.size() - done, MSG_NOSIGNAL);
    if (sent < 0 && errno != EINTR) broken("send to the server");
    if (sent > 0) done += static_cast<std::size_t>(sent);
  }
  out_.clear();
}

void Connection::more() {
  in_.erase(0, std::exchange(at_, 0));
  const std::size_t before = in_.size();
  in_.resize(before + kRead);
  const ssize_t got = ::recv(fd_, in_.data() + before, kRead, 0);
  in_.resize(before + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  if (got < 0 && errno != EINTR) broken("receive from the server");
  if (got == 0) throw std::runtime_error("the server closed the connection");
}

std::string_view Connection::line() {
  std::size_t end;
  while ((end = in_.find("\r\n", at_)) == std::string::npos) more();
  const std::string_view text = std::string_view(in_).substr(at_, end - at_);
  at_ = end + 2;
  return text;
}

std::string_view Connection::bytes(std::size_t count) {
  while (in_.size() - at_ < count) more();
  const std::string_view text = std::string_view(in_).substr(at_, count);
  at_ += count;
  return text;
}

bool Connection::readable(int timeout_ms) {
  if (at_ < in_.size()) return true;
  pollfd look{fd_, POLLIN, 0};
  int ready;
  do ready = ::poll(&look, 1, timeout_ms);
  while (ready < 0 && errno == EINTR);
  return ready == 1;
}

}  // namespace penstock::compare
