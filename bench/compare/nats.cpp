// NATS JetStream over its text protocol: one stream in files, published to with many acknowledgements under way; a
// durable pull consumer a group, with explicit acks that go out together with the next request, before what was asked
// for has all come.
#include <unistd.h>

#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>

#include "bench/compare/broker.hpp"
#include "bench/compare/connection.hpp"

namespace penstock::compare {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kAtATime = 512;

struct Received {
  std::string_view reply_to;  // subject; these three are valid until the next message is asked for
  std::string_view headers;
  std::string_view payload;
};

class Client {
 public:
  explicit Client(const std::string& port) : connection_(Connection::to_port(port)) {
    static int clients = 0;  // of this process
    inbox_ = "inbox." + std::to_string(::getpid()) + "." + std::to_string(++clients);
    connection_.line();  // INFO
    connection_.out() +=
        R"(CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"protocol":1})";
    connection_.out() += "\r\nSUB " + inbox_ + " 1\r\n";
    connection_.flush();
  }

  // Where answers to this client go.
  const std::string& inbox() const { return inbox_; }

  void publish(std::string_view subject, std::string_view reply_to, std::string_view payload) {
    std::string& out = connection_.out();
    out.append("PUB ").append(subject).append(" ").append(reply_to).append(reply_to.empty() ? "" : " ");
    out.append(std::to_string(payload.size())).append("\r\n").append(payload).append("\r\n");
  }
  void flush() { connection_.flush(); }

  // The next message to the inbox, unless none comes within this time (-1: ever). The server's pings, which come
  // whenever it likes, are answered and are none. An error throws.
  std::optional<Received> next(int timeout_ms) {
    while (connection_.readable(timeout_ms)) {
      const std::string_view line = connection_.line();
      if (line.starts_with("MSG ") || line.starts_with("HMSG ")) return message(line);
      if (line == "PING") {
        connection_.out() += "PONG\r\n";
        connection_.flush();
      } else if (line.starts_with("-ERR")) {
        throw std::runtime_error("nats: " + std::string(line));
      }
    }
    return std::nullopt;
  }
  Received next() { return *next(-1); }

  // A request to JetStream's API, with nothing else under way.
  Json ask(const std::string& what, const Json& request) {
    publish("$JS.API." + what, inbox_, request.empty() ? "" : request.dump());
    flush();
    const Received answer = next();
    if (!answer.headers.empty()) throw std::runtime_error("the server does not run JetStream");
    const Json json = Json::parse(answer.payload);
    if (json.contains("error")) throw std::runtime_error("nats: " + what + ": " + json["error"].dump());
    return json;
  }

 private:
  // MSG SUBJECT SID [REPLY-TO] SIZE, or HMSG SUBJECT SID [REPLY-TO] SIZE-OF-HEADERS SIZE-OF-ALL
  Received message(std::string_view line) {
    std::array<std::string_view, 6> words;
    std::size_t count = 0;
    for (std::size_t at = 0; at < line.size() && count < words.size(); ++count) {
      const std::size_t end = std::min(line.find(' ', at), line.size());
      words[count] = line.substr(at, end - at);
      at = end + 1;
    }
    const std::size_t sizes = words[0] == "HMSG" ? 2 : 1;
    if (count < 3 + sizes) throw std::runtime_error("nats said " + std::string(line));
    reply_to_ = count > 3 + sizes ? words[3] : std::string_view();
    const std::size_t size = number(words[count - 1]), of_headers = sizes == 2 ? number(words[count - 2]) : 0;
    const std::string_view all = connection_.bytes(size + 2);
    return {reply_to_, all.substr(0, of_headers), all.substr(of_headers, size - of_headers)};
  }
  static std::size_t number(std::string_view text) {
    std::size_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
  }
  Connection connection_;
  std::string inbox_, reply_to_;
};

class NatsPublisher : public Publisher {
 public:
  explicit NatsPublisher(const std::string& port) : client_(port) {}
  void send(std::span<const Payload> events) override {
    for (const Payload event : events)
      client_.publish("s", client_.inbox(), {reinterpret_cast<const char*>(event.data()), event.size()});
    client_.flush();
    unanswered_ += events.size();
  }
  void await(std::uint64_t left) override {
    for (; unanswered_ > left; --unanswered_) {
      const Received answer = client_.next();
      if (!answer.payload.starts_with(R"({"stream":"S",)") ||
          answer.payload.find("\"error\"") != std::string_view::npos)
        throw std::runtime_error("nats: " + std::string(answer.headers) + std::string(answer.payload));
    }
  }

 private:
  Client client_;
  std::uint64_t unanswered_ = 0;
};

class NatsMember : public Member {
 public:
  NatsMember(const std::string& port, unsigned group)
      : port_(port), client_(port), group_(group_name(group)), request_("$JS.API.CONSUMER.MSG.NEXT.S." + group_) {}

  std::size_t take(const std::function<void(Payload)>& handle, int timeout_ms) override {
    if (under_way_ <= kAtATime / 2) {  // without an end, so that what comes is all that is counted
      client_.publish(request_, client_.inbox(), "{\"batch\":" + std::to_string(kAtATime - under_way_) + "}");
      under_way_ = kAtATime;
      client_.flush();
    }
    std::size_t taken = 0;
    while (taken < kAtATime / 2) {
      const std::optional<Received> event = client_.next(taken == 0 ? timeout_ms : 0);
      if (!event) break;
      if (event->reply_to.empty())
        throw std::runtime_error("nats: " + std::string(event->headers) + std::string(event->payload));
      handle(std::as_bytes(std::span(event->payload)));
      client_.publish(event->reply_to, "", "+ACK");
      ++taken;
    }
    under_way_ -= taken;
    client_.flush();
    return taken;
  }
  void settle() override {
    // On a connection of its own: on the member's, an event could come instead of the answer.
    Client client(port_);
    for (Json info; info.empty() || info["num_ack_pending"] != 0 || info["num_pending"] != 0;)
      info = client.ask("CONSUMER.INFO.S." + group_, {});
  }

 private:
  std::string port_;
  Client client_;
  std::string group_, request_;
  std::size_t under_way_ = 0;  // asked for and not come yet
};

class NatsTopic : public Topic {
 public:
  NatsTopic(const std::string& port, unsigned groups) : port_(port) {
    Client client(port);
    const Json there = client.ask("STREAM.NAMES", {});
    for (const Json& name : there.at("streams")) client.ask("STREAM.DELETE." + name.get<std::string>(), {});
    client.ask("STREAM.CREATE.S",
               {{"name", "S"}, {"subjects", Json::array({"s"})}, {"storage", "file"}, {"retention", "limits"}});
    for (unsigned i = 0; i < groups; ++i) {
      const Json config{{"durable_name", group_name(i)}, {"ack_policy", "explicit"}, {"max_ack_pending", 65'536}};
      client.ask("CONSUMER.DURABLE.CREATE.S." + group_name(i), {{"stream_name", "S"}, {"config", config}});
    }
  }
  std::unique_ptr<Publisher> publisher() override { return std::make_unique<NatsPublisher>(port_); }
  std::unique_ptr<Member> member(unsigned group) override { return std::make_unique<NatsMember>(port_, group); }

 private:
  std::string port_;
};

}  // namespace

Broker nats(const std::string& address, const std::string& how) {
  return {"NATS JetStream", how, {}, [address](const std::string&, unsigned groups) {
            return std::make_unique<NatsTopic>(address, groups);
          }};
}

}  // namespace penstock::compare
