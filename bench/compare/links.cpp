// The peers that come with the system or with Boost and ZeroMQ.
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include <boost/interprocess/ipc/message_queue.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <stdexcept>

#include "bench/compare/link.hpp"

namespace penstock::compare {
namespace {

constexpr int kIdleMs = 50;

[[noreturn]] void broken(const std::string& what) { throw std::runtime_error(what + ": " + std::strerror(errno)); }

std::string path_of(const std::string& name) { return "/tmp/" + name; }

// --- POSIX message queues, blocking

class Mq : public Sender, public Receiver {
 public:
  Mq(const std::string& name, std::size_t size, bool sends) : buffer_(size) {
    mq_attr shape{};
    shape.mq_maxmsg = 10;  // what a user without privileges gets
    shape.mq_msgsize = static_cast<long>(size);
    queue_ = ::mq_open(("/" + name).c_str(), (sends ? O_WRONLY : O_RDONLY) | O_CREAT | O_CLOEXEC, 0600, &shape);
    if (queue_ < 0) broken("mq_open");
  }
  ~Mq() override { ::mq_close(queue_); }
  void send(std::span<const std::byte> event) override {
    if (::mq_send(queue_, reinterpret_cast<const char*>(event.data()), event.size(), 0) != 0) broken("mq_send");
  }
  std::span<const std::byte> receive() override {
    timespec until;
    ::clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += kIdleMs * 1'000'000l;
    until.tv_sec += until.tv_nsec / 1'000'000'000;
    until.tv_nsec %= 1'000'000'000;
    const ssize_t got =
        ::mq_timedreceive(queue_, reinterpret_cast<char*>(buffer_.data()), buffer_.size(), nullptr, &until);
    if (got < 0 && errno != ETIMEDOUT) broken("mq_receive");
    return std::span(buffer_).first(got < 0 ? 0 : static_cast<std::size_t>(got));
  }

 private:
  mqd_t queue_;
  std::vector<std::byte> buffer_;
};

std::size_t largest_mq() {
  std::ifstream limit("/proc/sys/fs/mqueue/msgsize_max");
  std::size_t bytes = 0;
  limit >> bytes;
  return bytes;
}

// --- Unix sockets that keep messages apart, blocking

sockaddr_un address_of(const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path_of(name).c_str(), sizeof address.sun_path - 1);
  return address;
}

class Socket {
 public:
  Socket() : fd_(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
    if (fd_ < 0) broken("socket");
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() { ::close(fd_); }
  int fd() const { return fd_; }
  void replace(int fd) {
    ::close(fd_);
    fd_ = fd;
  }

 private:
  int fd_;
};

class PacketSender : public Sender {
 public:
  explicit PacketSender(const std::string& name) {
    const sockaddr_un address = address_of(name);
    // The other side listens soon.
    for (int tries = 0; ::connect(socket_.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0;
         ++tries) {
      if (tries > 5'000) broken("connect");
      ::usleep(1'000);
    }
  }
  void send(std::span<const std::byte> event) override {
    if (::send(socket_.fd(), event.data(), event.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(event.size()))
      broken("send");
  }

 private:
  Socket socket_;
};

class PacketReceiver : public Receiver {
 public:
  PacketReceiver(const std::string& name, std::size_t size) : buffer_(size) {
    const sockaddr_un address = address_of(name);
    if (::bind(socket_.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) broken("bind");
    if (::listen(socket_.fd(), 1) != 0) broken("listen");
  }
  std::span<const std::byte> receive() override {
    if (!accepted_) {
      pollfd look{socket_.fd(), POLLIN, 0};
      if (::poll(&look, 1, kIdleMs) != 1) return {};
      const int fd = ::accept4(socket_.fd(), nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) broken("accept");
      socket_.replace(fd);
      accepted_ = true;
      const timeval idle{0, kIdleMs * 1000};
      ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof idle);
    }
    const ssize_t got = ::recv(socket_.fd(), buffer_.data(), buffer_.size(), 0);
    if (got < 0 && errno != EAGAIN && errno != EINTR) broken("recv");
    return std::span(buffer_).first(got < 0 ? 0 : static_cast<std::size_t>(got));
  }

 private:
  Socket socket_;
  bool accepted_ = false;
  std::vector<std::byte> buffer_;
};

// --- Boost.Interprocess message_queue, spinning on its try_ calls, which is its fastest

class BoostMq : public Sender, public Receiver {
 public:
  BoostMq(const std::string& name, std::size_t size)
      : queue_(boost::interprocess::open_or_create, name.c_str(), 1024, size), buffer_(size) {}
  void send(std::span<const std::byte> event) override {
    while (!queue_.try_send(event.data(), event.size(), 0)) continue;
  }
  std::span<const std::byte> receive() override {
    boost::interprocess::message_queue::size_type got = 0;
    unsigned priority = 0;
    for (int looks = 0; looks < 100'000; ++looks)
      if (queue_.try_receive(buffer_.data(), buffer_.size(), got, priority)) return std::span(buffer_).first(got);
    ::sched_yield();
    return {};
  }

 private:
  boost::interprocess::message_queue queue_;
  std::vector<std::byte> buffer_;
};

// --- ZeroMQ, PUSH to PULL over ipc://, blocking

class Zmq {
 public:
  Zmq(int type, const std::string& name, bool binds)
      : context_(::zmq_ctx_new()), socket_(::zmq_socket(context_, type)) {
    const int idle = kIdleMs, linger = 1'000;
    ::zmq_setsockopt(socket_, ZMQ_RCVTIMEO, &idle, sizeof idle);
    ::zmq_setsockopt(socket_, ZMQ_LINGER, &linger, sizeof linger);
    const std::string address = "ipc://" + path_of(name);
    if ((binds ? ::zmq_bind(socket_, address.c_str()) : ::zmq_connect(socket_, address.c_str())) != 0) broken(address);
  }
  Zmq(const Zmq&) = delete;
  Zmq& operator=(const Zmq&) = delete;
  ~Zmq() {
    ::zmq_close(socket_);
    ::zmq_ctx_term(context_);
  }
  void* socket() const { return socket_; }

 private:
  void* context_;
  void* socket_;
};

class ZmqSender : public Sender {
 public:
  explicit ZmqSender(const std::string& name) : zmq_(ZMQ_PUSH, name, false) {}
  void send(std::span<const std::byte> event) override {
    if (::zmq_send(zmq_.socket(), event.data(), event.size(), 0) < 0) broken("zmq_send");
  }

 private:
  Zmq zmq_;
};

class ZmqReceiver : public Receiver {
 public:
  ZmqReceiver(const std::string& name, std::size_t size) : zmq_(ZMQ_PULL, name, true), buffer_(size) {}
  std::span<const std::byte> receive() override {
    const int got = ::zmq_recv(zmq_.socket(), buffer_.data(), buffer_.size(), 0);
    if (got < 0 && errno != EAGAIN && errno != EINTR) broken("zmq_recv");
    return std::span(buffer_).first(got < 0 ? 0 : static_cast<std::size_t>(got));
  }

 private:
  Zmq zmq_;
  std::vector<std::byte> buffer_;
};

}  // namespace

Peer posix_mq() {
  return {"POSIX mq",
          "blocking",
          [](const std::string& name, std::size_t size) { return std::make_unique<Mq>(name, size, true); },
          [](const std::string& name, std::size_t size) { return std::make_unique<Mq>(name, size, false); },
          [](const std::string& name) { ::mq_unlink(("/" + name).c_str()); },
          largest_mq()};
}

Peer seqpacket() {
  return {"Unix SEQPACKET",
          "blocking",
          [](const std::string& name, std::size_t) { return std::make_unique<PacketSender>(name); },
          [](const std::string& name, std::size_t size) { return std::make_unique<PacketReceiver>(name, size); },
          [](const std::string& name) { ::unlink(path_of(name).c_str()); },
          128 << 10};
}

Peer boost_mq() {
  return {"Boost message_queue",
          "spinning",
          [](const std::string& name, std::size_t size) { return std::make_unique<BoostMq>(name, size); },
          [](const std::string& name, std::size_t size) { return std::make_unique<BoostMq>(name, size); },
          [](const std::string& name) { boost::interprocess::message_queue::remove(name.c_str()); },
          1 << 20};
}

Peer zeromq() {
  return {"ZeroMQ",
          "PUSH/PULL over ipc, blocking",
          [](const std::string& name, std::size_t) { return std::make_unique<ZmqSender>(name); },
          [](const std::string& name, std::size_t size) { return std::make_unique<ZmqReceiver>(name, size); },
          [](const std::string& name) { ::unlink(path_of(name).c_str()); },
          1 << 20};
}

}  // namespace penstock::compare
