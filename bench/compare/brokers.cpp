// Durable, grouped delivery: Penstock beside Redis Streams and NATS JetStream, in one run.
//
// The same work for each, every payload checked:
//   publish_one    one event after another, each acknowledged before the next: percentiles
//   publish_many   at most 4096 events under way that are not acknowledged yet, handed over 256 at a time
//   consume        all of these read and acked by the one member of a group
//   end_to_end     publishers and members at once, each publisher a process, and no group more than 65,536 events
//                  behind: until every group has every event and its acks are stored; also with more publishers and
//                  more groups. The members of all groups are one process, so that groups are not a question of how
//                  many cores there are
// What "acknowledged" means is each row's "how". bench/compare/run starts the servers and names those here:
//   --redis SOCKET=HOW   --nats PORT=HOW   (repeatable; "=HOW=WHY" instead: it cannot run here, because WHY)
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "bench/compare/broker.hpp"
#include "bench/compare/guarded.hpp"
#include "bench/support/catalogue.hpp"
#include "bench/support/plain.hpp"
#include "tools/measure/clock.hpp"
#include "tools/measure/payload.hpp"

namespace {

using namespace penstock;
using namespace penstock::bench;
using compare::Broker;
using compare::guarded;
using compare::Payload;
using measure::Board;
using measure::now_ns;

constexpr std::size_t kBatch = 256;
constexpr std::uint64_t kUnderWay = 4096;  // about what clients of NATS allow by default
constexpr std::uint64_t kBehind = 65'536;
constexpr unsigned kMostPublishers = 8;

struct Shape {
  std::size_t payload = 64;
  unsigned publishers = 1, groups = 1;
};

// Publishes events of one sender, numbered on, a batch at a time.
class Source {
 public:
  Source(compare::Topic& topic, std::uint32_t sender, std::size_t payload)
      : publisher_(topic.publisher()), sender_(sender), payload_(payload), bytes_(payload * kBatch) {}
  void send(std::size_t count) {
    batch_.clear();
    for (std::size_t i = 0; i < count; ++i) {
      const auto event = std::span(bytes_).subspan(i * payload_, payload_);
      measure::fill(event, {sender_, sent_++});
      batch_.push_back(event);
    }
    publisher_->send(batch_);
  }
  void await(std::uint64_t left) { publisher_->await(left); }
  // For so long, with kUnderWay under way, a batch whenever `may` says so; all of it is acknowledged.
  template <class May>
  void pour(std::int64_t lasts_ns, const Board& board, May&& may) {
    for (const std::int64_t end = now_ns() + lasts_ns; now_ns() < end && !board.stopped();) {
      await(kUnderWay - kBatch);
      if (may()) send(kBatch);
    }
    await(0);
  }
  std::uint64_t sent() const { return sent_; }

 private:
  std::unique_ptr<compare::Publisher> publisher_;
  std::uint32_t sender_;
  std::size_t payload_;
  std::vector<std::byte> bytes_;
  std::vector<Payload> batch_;
  std::uint64_t sent_ = 0;
};

double rate(std::uint64_t events, std::int64_t ns) {
  return static_cast<double>(events) * 1e9 / static_cast<double>(std::max<std::int64_t>(ns, 1));
}

struct Steps {
  measure::Histogram one;
  double publish_many = 0, consume = 0;  // events a second
};

std::string step_by_step(compare::Topic& topic, std::size_t payload, const Settings& settings, Steps& steps,
                         const Board& board) {
  Source source(topic, 0, payload);
  const std::int64_t longest = settings.of(1'000'000'000, 20'000'000);
  const std::uint64_t most = settings.of(5'000ull, 20);
  for (const std::int64_t end = now_ns() + longest; source.sent() < most && now_ns() < end && !board.stopped();) {
    const std::int64_t begin = now_ns();
    source.send(1);
    source.await(0);
    steps.one.add(static_cast<std::uint64_t>(now_ns() - begin));
  }
  const std::uint64_t before = source.sent();
  std::int64_t begin = now_ns();
  source.pour(longest, board, [] { return true; });
  steps.publish_many = rate(source.sent() - before, now_ns() - begin);

  const auto member = topic.member(0);
  measure::Sequence sequence(1);
  bool good = true;
  begin = now_ns();
  while (sequence.received() < source.sent() && good && !board.stopped())
    member->take([&](Payload event) { good = good && sequence.accept(event, payload); }, 50);
  member->settle();
  steps.consume = rate(sequence.received(), now_ns() - begin);
  return good ? std::string() : sequence.complaint();
}

struct River {  // of publishers and members at once
  std::atomic<std::int64_t> began{0}, published_at{0}, acked_at{0}, settled_at{0};
  std::atomic<unsigned> publishing{0};
  std::atomic<std::uint64_t> sent{0}, taken{0};  // by all publishers; by the group that is furthest behind
};

std::string publish(compare::Topic& topic, const Shape& shape, std::uint32_t sender, std::int64_t lasts_ns,
                    River& river, Board& board) {
  Source source(topic, sender, shape.payload);
  if (!board.meet(shape.publishers + 1)) return {};
  std::int64_t begin = 0;
  river.began.compare_exchange_strong(begin, now_ns());
  source.pour(lasts_ns, board, [&river] {
    const std::uint64_t taken = river.taken.load();  // first: it never passes what was sent
    if (river.sent.load() - taken <= kBehind - kBatch * kMostPublishers) {
      river.sent.fetch_add(kBatch);
      return true;
    }
    ::usleep(20);
    return false;
  });
  if (river.publishing.fetch_sub(1) == 1) river.published_at.store(now_ns());
  return {};
}

// The members of all groups, one after another.
std::string take(compare::Topic& topic, const Shape& shape, River& river, Board& board) {
  std::vector<std::unique_ptr<compare::Member>> members;
  std::vector<measure::Sequence> seen(shape.groups, measure::Sequence(shape.publishers));
  for (unsigned i = 0; i < shape.groups; ++i) members.push_back(topic.member(i));
  if (!board.meet(shape.publishers + 1)) return {};
  const auto all_here = [&] { return river.publishing.load() == 0 && river.taken.load() >= river.sent.load(); };
  bool good = true;
  for (std::size_t round = 1; !all_here() && !board.stopped();) {
    const bool idle = round == 0;  // nobody had anything
    round = 0;
    for (unsigned i = 0; i < shape.groups && good; ++i) {
      const auto handle = [&](Payload event) { good = good && seen[i].accept(event, shape.payload); };
      round += members[i]->take(handle, idle && i == 0 ? 5 : 0);
      if (!good) return seen[i].complaint();
    }
    river.taken.store(std::ranges::min(seen, {}, &measure::Sequence::received).received());
  }
  river.acked_at.store(now_ns());
  for (auto& member : members) member->settle();
  river.settled_at.store(now_ns());
  return {};
}

tl::expected<Json, std::string> end_to_end(const Broker& broker, const Shape& shape, const Settings& settings) {
  const auto topic = broker.topic(settings.directory, shape.groups);
  const measure::Shared<River> river;
  river->publishing.store(shape.publishers);
  // More deliveries, less time: so that no broker takes minutes.
  const std::int64_t lasts = settings.of(8'000'000'000 / (3 + shape.groups), 20'000'000);
  measure::Crew crew;
  topic->serve(crew);
  crew.work("the members", -1, guarded([&](Board& board) { return take(*topic, shape, *river, board); }));
  for (std::uint32_t i = 0; i < shape.publishers; ++i)
    crew.work("publisher " + std::to_string(i), -1,
              guarded([&, i](Board& board) { return publish(*topic, shape, i, lasts, *river, board); }));
  if (std::string complaint = crew.finish(interrupted); !complaint.empty()) return tl::unexpected(complaint);
  const std::uint64_t sent = river->sent.load();
  const auto since = [&](const std::atomic<std::int64_t>& moment) { return moment.load() - river->began.load(); };
  return Json{{"events", sent},
              {"seconds", static_cast<double>(since(river->settled_at)) / 1e9},
              {"events_per_second", rate(sent, since(river->settled_at))},
              {"published_per_second", rate(sent, since(river->published_at))},
              {"deliveries_per_second", rate(sent * shape.groups, since(river->acked_at))}};
}

tl::expected<Json, std::string> steps_of(const Broker& broker, std::size_t payload, const Settings& settings) {
  const auto topic = broker.topic(settings.directory, 1);
  const measure::Shared<Steps> steps;
  measure::Crew crew;
  topic->serve(crew);
  crew.work("the client", -1,
            guarded([&](Board& board) { return step_by_step(*topic, payload, settings, *steps, board); }));
  if (std::string complaint = crew.finish(interrupted); !complaint.empty()) return tl::unexpected(complaint);
  return Json{{"publish_one", steps->one.json()},
              {"publish_many_per_second", steps->publish_many},
              {"consume_per_second", steps->consume}};
}

Outcome measure_it(const Broker& broker, const Shape& shape, bool steps_too, const Settings& settings) {
  Json line{{"peer", broker.name}, {"how", broker.how}, {"payload", shape.payload}};
  line["publishers"] = shape.publishers;
  line["groups"] = shape.groups;
  if (!broker.missing.empty()) {
    line["not_run"] = broker.missing;
    return line;
  }
  try {
    if (steps_too) {
      const auto steps = steps_of(broker, shape.payload, settings);
      if (!steps) return tl::unexpected(steps.error());
      line.update(*steps);
    }
    const auto whole = end_to_end(broker, shape, settings);
    if (!whole) return tl::unexpected(whole.error());
    line["end_to_end"] = *whole;
  } catch (const std::exception& error) {  // of preparing it
    return tl::unexpected(std::string(error.what()));
  }
  return line;
}

// The machine's part: a write of 4 KiB and its flush.
Outcome bare_disk(const Settings& settings) {
  const auto took = plain_fdatasync(settings.directory, settings.of(500ull, 10));
  if (!took) return tl::unexpected(took.error());
  return Json{{"peer", "bare disk"}, {"how", "4 KiB written and flushed"}, {"payload", 4096}, {"flush", took->json()}};
}

// ADDRESS=HOW, or =HOW=WHY NOT
Broker named(const std::string& given, Broker (*make)(const std::string&, const std::string&)) {
  std::vector<std::string> parts(1);
  for (const char c : given) {
    if (c == '=')
      parts.emplace_back();
    else
      parts.back() += c;
  }
  parts.resize(std::max<std::size_t>(parts.size(), 3));
  Broker broker = make(parts[0], parts[1]);
  broker.missing = parts[2];
  return broker;
}

}  // namespace

int main(int argc, char** argv) {
  static std::vector<Broker> brokers{compare::ours()};
  int count = 1;
  for (int i = 1; i < argc; ++i) {
    const bool redis = std::strcmp(argv[i], "--redis") == 0, nats = std::strcmp(argv[i], "--nats") == 0;
    if ((redis || nats) && i + 1 < argc)
      brokers.push_back(named(argv[++i], redis ? compare::redis : compare::nats));
    else
      argv[count++] = argv[i];
  }
  std::vector<Case> cases{{"bare_disk", bare_disk}};
  const auto add = [&cases](const std::string& name, const Shape& shape, bool steps_too) {
    for (const Broker& broker : brokers)
      cases.push_back(
          {broker.name + " " + broker.how + "_" + name, [&broker, shape, steps_too](const Settings& settings) {
             return measure_it(broker, shape, steps_too, settings);
           }});
  };
  for (const std::size_t payload : {64, 1024}) add(std::to_string(payload), {.payload = payload}, true);
  for (const unsigned publishers : {2, 3, 4})
    add("publishers_" + std::to_string(publishers), {.publishers = publishers}, false);
  for (const unsigned groups : {4, 16, 64}) add("groups_" + std::to_string(groups), {.groups = groups}, false);
  return run_catalogue("brokers", cases, count, argv);
}
