// A broker of durable events that groups take and ack, behind one face, so that each does the same work.
// Everything throws std::exception when the broker fails or refuses. A publisher and a member belong to the process
// that made them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "tools/measure/crew.hpp"

namespace penstock::compare {

using Payload = std::span<const std::byte>;

inline std::string group_name(unsigned group) { return "g" + std::to_string(group); }

class Publisher {
 public:
  virtual ~Publisher() = default;
  // Hands all of them over, in this order.
  virtual void send(std::span<const Payload> events) = 0;
  // Waits until at most `left` of the events sent are not yet acknowledged as stored, the way this broker promises it.
  virtual void await(std::uint64_t left) = 0;
};

class Member {
 public:
  virtual ~Member() = default;
  // Hands over what is there, some hundreds of events at most, and acks them; how many those were. Payloads are valid
  // during the call. Waits so long when there is nothing; 0: doesn't wait.
  virtual std::size_t take(const std::function<void(Payload)>& handle, int timeout_ms) = 0;
  // Waits until the broker has stored all acks of this member, as well as it stores them.
  virtual void settle() = 0;
};

// A new, empty topic with its groups; it must outlive its publishers and members.
class Topic {
 public:
  virtual ~Topic() = default;
  // Starts what must run meanwhile, unless it does already.
  virtual void serve(measure::Crew&) {}
  virtual std::unique_ptr<Publisher> publisher() = 0;
  virtual std::unique_ptr<Member> member(unsigned group) = 0;
};

struct Broker {
  std::string name;
  std::string how;        // how durable an acknowledged event is
  std::string missing{};  // why it cannot run here; empty: it can
  // `directory` is where files of ours go. The calling process holds nothing of a bus afterwards.
  std::function<std::unique_ptr<Topic>(const std::string& directory, unsigned groups)> topic{};
};

Broker ours();
// `address` is the Unix socket of a server, which this empties.
Broker redis(const std::string& address, const std::string& how);
// `address` is a port of this host. What is there of an earlier topic is deleted.
Broker nats(const std::string& address, const std::string& how);

}  // namespace penstock::compare
