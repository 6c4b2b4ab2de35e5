// A peer's way of getting bytes from one process to another, as its own manual recommends for speed, behind one face.
// A link has one direction; each side opens it in its own process, the receiver first.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace penstock::compare {

class Sender {
 public:
  virtual ~Sender() = default;
  // Waits while the link is full. Throws std::exception when it is broken.
  virtual void send(std::span<const std::byte> event) = 0;
};

class Receiver {
 public:
  virtual ~Receiver() = default;
  // What it received, valid until the next call; empty after some tens of milliseconds without anything.
  virtual std::span<const std::byte> receive() = 0;
};

struct Peer {
  std::string name;
  std::string how;  // which of its ways this is
  // `name` tells links of one run apart; `size` is that of the largest event.
  std::function<std::unique_ptr<Sender>(const std::string& name, std::size_t size)> sender;
  std::function<std::unique_ptr<Receiver>(const std::string& name, std::size_t size)> receiver;
  std::function<void(const std::string& name)> remove;  // what the link leaves behind
  std::size_t largest;                                  // event that it takes
  std::string missing{};                                // why it cannot run here; empty: it can
};

Peer posix_mq();
Peer seqpacket();
Peer boost_mq();
Peer zeromq();
Peer iceoryx();

}  // namespace penstock::compare
