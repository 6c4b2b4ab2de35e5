// Redis Streams over RESP2: pipelined XADD; XREADGROUP and XACK of many at a time, the ack on its way with the next
// request.
#include <stdexcept>
#include <vector>

#include "bench/compare/broker.hpp"
#include "bench/compare/connection.hpp"

namespace penstock::compare {
namespace {

constexpr const char* kAtATime = "256";

std::string_view text_of(Payload bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

class Client {
 public:
  explicit Client(const std::string& socket) : connection_(Connection::to_socket(socket)) {}

  void begin(std::size_t words) { head('*', words); }
  void word(std::string_view text) {
    head('$', text.size());
    connection_.out().append(text).append("\r\n");
  }
  void command(std::initializer_list<std::string_view> words) {
    begin(words.size());
    for (const std::string_view text : words) word(text);
  }
  void flush() { connection_.flush(); }
  // The strings of the next reply, nested ones in order; numbers as text. An error reply throws.
  const std::vector<std::string>& reply() {
    strings_.clear();
    read();
    return strings_;
  }
  const std::vector<std::string>& ask(std::initializer_list<std::string_view> words) {
    command(words);
    flush();
    return reply();
  }

 private:
  void head(char kind, std::size_t count) {
    connection_.out().append(1, kind).append(std::to_string(count)).append("\r\n");
  }
  void read() {
    const std::string head(connection_.line());
    const char type = head.empty() ? '-' : head[0];
    if (type == '-') throw std::runtime_error("redis: " + head);
    if (type == '+' || type == ':') {
      strings_.push_back(head.substr(1));
    } else if (type == '$') {
      const long size = std::stol(head.substr(1));
      if (size < 0) return;
      const std::string_view text = connection_.bytes(static_cast<std::size_t>(size) + 2);
      strings_.emplace_back(text.substr(0, static_cast<std::size_t>(size)));
    } else if (type == '*') {
      for (long left = std::stol(head.substr(1)); left > 0; --left) read();
    } else {
      throw std::runtime_error("redis said " + head);
    }
  }
  Connection connection_;
  std::vector<std::string> strings_;
};

class RedisPublisher : public Publisher {
 public:
  explicit RedisPublisher(const std::string& socket) : client_(socket) {}
  void send(std::span<const Payload> events) override {
    for (const Payload event : events) client_.command({"XADD", "s", "*", "p", text_of(event)});
    client_.flush();
    unanswered_ += events.size();
  }
  void await(std::uint64_t left) override {
    for (; unanswered_ > left; --unanswered_) client_.reply();
  }

 private:
  Client client_;
  std::uint64_t unanswered_ = 0;
};

class RedisMember : public Member {
 public:
  RedisMember(const std::string& socket, unsigned group) : client_(socket), group_(group_name(group)) {}

  std::size_t take(const std::function<void(Payload)>& handle, int timeout_ms) override {
    ack();
    client_.begin(timeout_ms > 0 ? 11 : 9);
    for (const std::string_view word : {"XREADGROUP", "GROUP", group_.c_str(), "m", "COUNT", kAtATime})
      client_.word(word);
    if (timeout_ms > 0) client_.word("BLOCK"), client_.word(std::to_string(timeout_ms));
    for (const std::string_view word : {"STREAMS", "s", ">"}) client_.word(word);
    client_.flush();
    acked();
    // The stream's name, then id, "p" and payload of each event; nothing when the time was over.
    const std::vector<std::string>& got = client_.reply();
    for (std::size_t i = 1; i + 2 < got.size(); i += 3) {
      handle(std::as_bytes(std::span(got[i + 2])));
      taken_.push_back(got[i]);
    }
    return taken_.size();
  }
  void settle() override {
    ack();
    client_.flush();
    acked();
    const auto pending = client_.ask({"XPENDING", "s", group_});
    if (pending.empty() || pending[0] != "0") throw std::runtime_error("redis still has events that were acked");
  }

 private:
  void ack() {
    if (taken_.empty()) return;
    client_.begin(3 + taken_.size());
    for (const std::string_view word : {"XACK", "s", group_.c_str()}) client_.word(word);
    for (const std::string& id : taken_) client_.word(id);
  }
  void acked() {
    if (taken_.empty()) return;
    if (client_.reply() != std::vector<std::string>{std::to_string(taken_.size())})
      throw std::runtime_error("redis refused an ack");
    taken_.clear();
  }
  Client client_;
  std::string group_;
  std::vector<std::string> taken_;  // not acked yet
};

class RedisTopic : public Topic {
 public:
  RedisTopic(const std::string& socket, unsigned groups) : socket_(socket) {
    Client client(socket);
    client.ask({"FLUSHALL"});
    for (unsigned i = 0; i < groups; ++i) client.ask({"XGROUP", "CREATE", "s", group_name(i), "0", "MKSTREAM"});
  }
  std::unique_ptr<Publisher> publisher() override { return std::make_unique<RedisPublisher>(socket_); }
  std::unique_ptr<Member> member(unsigned group) override { return std::make_unique<RedisMember>(socket_, group); }

 private:
  std::string socket_;
};

}  // namespace

Broker redis(const std::string& address, const std::string& how) {
  return {"Redis Streams", how, {}, [address](const std::string&, unsigned groups) {
            return std::make_unique<RedisTopic>(address, groups);
          }};
}

}  // namespace penstock::compare
