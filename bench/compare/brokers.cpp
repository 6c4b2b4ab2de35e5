// Durable, grouped delivery: Penstock beside Redis Streams, in one run.
//
// The same work for each: events of a payload are published and, by one member of one group, read and acked.
//   publish_one    one after another, each acknowledged before the next; latency percentiles
//   publish_many   pipelined, 256 at a time, the last awaited
//   consume        all of these read and acked by a group, up to 256 at a time
// Durable means on disk here: Penstock awaits its flush, Redis runs with appendfsync always; "everysec" is the setting
// that loses up to a second. bench/compare/run starts the servers, on Unix sockets, and names those here:
//   --redis SOCKET[=NAME]  (repeatable)
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "bench/support/catalogue.hpp"
#include "tools/measure/clock.hpp"
#include "tools/measure/crew.hpp"
#include "tools/measure/inbox.hpp"
#include "tools/measure/payload.hpp"

namespace {

using namespace penstock;
using namespace penstock::bench;
using namespace std::chrono_literals;
using measure::now_ns;

constexpr std::size_t kMany = 256;

// A connection that speaks RESP: commands out, replies in, in order.
class Redis {
 public:
  explicit Redis(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    if (fd_ < 0 || ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      throw std::runtime_error(path + ": " + std::strerror(errno));
  }
  Redis(const Redis&) = delete;
  Redis& operator=(const Redis&) = delete;
  ~Redis() { ::close(fd_); }

  void queue(const std::vector<std::string_view>& words) {
    out_ += "*" + std::to_string(words.size()) + "\r\n";
    for (const std::string_view word : words) {
      out_ += "$" + std::to_string(word.size()) + "\r\n";
      out_ += word;
      out_ += "\r\n";
    }
  }
  void flush() {
    for (std::size_t done = 0; done < out_.size();) {
      const ssize_t sent = ::send(fd_, out_.data() + done, out_.size() - done, MSG_NOSIGNAL);
      if (sent < 0 && errno != EINTR) throw std::runtime_error(std::string("redis: ") + std::strerror(errno));
      if (sent > 0) done += static_cast<std::size_t>(sent);
    }
    out_.clear();
  }
  // The strings of the next reply, nested ones in order; numbers as text. An error reply throws.
  std::vector<std::string> reply() {
    std::vector<std::string> strings;
    read_into(strings);
    return strings;
  }
  std::vector<std::string> ask(const std::vector<std::string_view>& words) {
    queue(words);
    flush();
    return reply();
  }

 private:
  void more() {
    if (at_ > 0 && at_ == in_.size()) in_.clear(), at_ = 0;
    char room[64 << 10];
    const ssize_t got = ::recv(fd_, room, sizeof room, 0);
    if (got < 0 && errno == EINTR) return;
    if (got <= 0) throw std::runtime_error("redis closed the connection");
    in_.append(room, static_cast<std::size_t>(got));
  }
  std::string line() {
    std::size_t end;
    while ((end = in_.find("\r\n", at_)) == std::string::npos) more();
    std::string text = in_.substr(at_, end - at_);
    at_ = end + 2;
    return text;
  }
  void read_into(std::vector<std::string>& strings) {
    const std::string head = line();
    const char type = head.empty() ? '-' : head[0];
    if (type == '-') throw std::runtime_error("redis: " + head);
    if (type == '+' || type == ':') {
      strings.push_back(head.substr(1));
    } else if (type == '$') {
      const long size = std::stol(head.substr(1));
      if (size < 0) return;
      while (in_.size() - at_ < static_cast<std::size_t>(size) + 2) more();
      strings.push_back(in_.substr(at_, static_cast<std::size_t>(size)));
      at_ += static_cast<std::size_t>(size) + 2;
    } else if (type == '*') {
      for (long left = std::stol(head.substr(1)); left > 0; --left) read_into(strings);
    } else {
      throw std::runtime_error("redis said " + head);
    }
  }
  int fd_;
  std::string out_, in_;
  std::size_t at_ = 0;
};

struct Results {
  measure::Histogram one;
  double publish_many = 0, consume = 0;  // events a second
};

struct Amounts {
  std::size_t payload;
  std::uint64_t one, many;
};

double rate(std::uint64_t events, std::int64_t since) {
  return static_cast<double>(events) * 1e9 / static_cast<double>(now_ns() - since);
}

std::string_view text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string run_redis(const std::string& socket, const Amounts& amounts, Results& results) {
  Redis redis(socket);
  redis.ask({"FLUSHALL"});
  redis.ask({"XGROUP", "CREATE", "s", "g", "0", "MKSTREAM"});
  std::vector<std::byte> event(amounts.payload);
  std::uint64_t sent = 0;
  for (; sent < amounts.one; ++sent) {
    measure::fill(event, {0, sent});
    const std::int64_t begin = now_ns();
    redis.ask({"XADD", "s", "*", "p", text_of(event)});
    results.one.add(static_cast<std::uint64_t>(now_ns() - begin));
  }
  std::int64_t begin = now_ns();
  for (std::uint64_t left = amounts.many; left > 0;) {
    const std::uint64_t now = std::min<std::uint64_t>(left, kMany);
    for (std::uint64_t i = 0; i < now; ++i) {
      measure::fill(event, {0, sent++});
      redis.queue({"XADD", "s", "*", "p", text_of(event)});
    }
    redis.flush();
    for (std::uint64_t i = 0; i < now; ++i) redis.reply();
    left -= now;
  }
  results.publish_many = rate(amounts.many, begin);
  measure::Sequence sequence(1);
  begin = now_ns();
  while (sequence.received() < sent) {
    // stream name, then (id, "p", payload) for each event
    const auto got = redis.ask({"XREADGROUP", "GROUP", "g", "m", "COUNT", std::to_string(kMany), "STREAMS", "s", ">"});
    if (got.size() < 4) return "redis has no more events after " + std::to_string(sequence.received());
    std::vector<std::string_view> ack{"XACK", "s", "g"};
    for (std::size_t i = 1; i + 2 < got.size(); i += 3) {
      if (!sequence.accept(std::as_bytes(std::span(got[i + 2])), amounts.payload)) return sequence.complaint();
      ack.push_back(got[i]);
    }
    if (redis.ask(ack) != std::vector<std::string>{std::to_string(ack.size() - 3)}) return "redis refused an ack";
  }
  results.consume = rate(sent, begin);
  return {};
}

std::string run_penstock(const std::string& directory, const Amounts& amounts, Results& results) {
  auto bus = Bus::open(directory);
  if (!bus) return bus.error().message();
  auto producer = bus->producer("s");
  if (!producer) return producer.error().message();
  std::vector<std::byte> event(amounts.payload);
  std::uint64_t sent = 0;
  Result<Offset> last = 0;
  const auto publish = [&] {
    measure::fill(event, {0, sent++});
    last = producer->publish(event);
    return last.has_value();
  };
  const auto on_disk = [&] {
    if (auto durable = producer->await_durable(*last, 30s); !durable) last = tl::unexpected(durable.error());
    return last.has_value();
  };
  while (sent < amounts.one) {
    const std::int64_t begin = now_ns();
    if (!publish() || !on_disk()) return last.error().message();
    results.one.add(static_cast<std::uint64_t>(now_ns() - begin));
  }
  std::int64_t begin = now_ns();
  while (sent < amounts.one + amounts.many) {
    for (std::size_t i = 0; i < kMany && sent < amounts.one + amounts.many; ++i)
      if (!publish()) return last.error().message();
    if (!on_disk()) return last.error().message();
  }
  results.publish_many = rate(amounts.many, begin);
  measure::Sequence sequence(1);
  auto member = measure::Inbox::open(*bus, "s", "g", measure::Via::group_poll, Wait::sleep);
  if (!member) return member.error().message();
  bool good = true;
  auto handler = [&](Bytes payload) { good = sequence.accept(payload, amounts.payload) && good; };
  begin = now_ns();
  while (sequence.received() < sent && good) {
    auto got = member->poll(handler, kMany);
    if (!got) return got.error().message();
    if (*got == 0) return "the group has no more events after " + std::to_string(sequence.received());
  }
  results.consume = rate(sent, begin);
  return good ? std::string() : sequence.complaint();
}

using Work = std::function<std::string(const Amounts&, Results&)>;

Outcome measure_it(const std::string& peer, const std::string& how, std::size_t payload, const Settings& settings,
                   const std::string& bus, const Work& work) {
  const Amounts amounts{payload, settings.of(5'000ull, 20), settings.of(200'000ull, 512)};
  const measure::Shared<Results> results;
  measure::Crew crew;
  if (!bus.empty()) crew.serve("the daemon", [&bus] { return measure::host_daemon(bus); });
  crew.work("the client", -1, [&](measure::Board&) -> std::string {
    try {
      return work(amounts, *results);
    } catch (const std::exception& error) {
      return error.what();
    }
  });
  if (std::string complaint = crew.finish(interrupted); !complaint.empty()) return tl::unexpected(complaint);
  return Json{{"peer", peer},
              {"how", how},
              {"payload", payload},
              {"publish_one", results->one.json()},
              {"publish_many_per_second", results->publish_many},
              {"consume_per_second", results->consume}};
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::pair<std::string, std::string>> servers;  // how, socket
  int count = 1;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--redis") == 0 && i + 1 < argc) {
      const std::string given = argv[++i];
      const std::size_t equals = given.find('=');
      servers.emplace_back(equals == std::string::npos ? "" : given.substr(equals + 1), given.substr(0, equals));
    } else {
      argv[count++] = argv[i];
    }
  }
  std::vector<Case> cases;
  for (const std::size_t payload : {64, 1024}) {
    const std::string suffix = "_" + std::to_string(payload);
    cases.push_back({"Penstock" + suffix, [=](const Settings& settings) -> Outcome {
                       const Scratch scratch(settings.directory);
                       if (auto bus = Bus::open(scratch.bus()); !bus) return tl::unexpected(bus.error().message());
                       return measure_it("Penstock", "durable, awaited", payload, settings, scratch.bus(),
                                         [&scratch](const Amounts& amounts, Results& results) {
                                           return run_penstock(scratch.bus(), amounts, results);
                                         });
                     }});
    for (const auto& [how, socket] : servers)
      cases.push_back({"Redis Streams " + how + suffix, [=, how = how, socket = socket](const Settings& settings) {
                         return measure_it("Redis Streams", how, payload, settings, {},
                                           [&socket](const Amounts& amounts, Results& results) {
                                             return run_redis(socket, amounts, results);
                                           });
                       }});
  }
  return run_catalogue("brokers", cases, count, argv);
}
