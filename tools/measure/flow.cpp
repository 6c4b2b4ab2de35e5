#include "tools/measure/flow.hpp"

#include <algorithm>
#include <array>
#include <chrono>

#include "tools/measure/clock.hpp"
#include "tools/measure/cores.hpp"
#include "tools/measure/crew.hpp"
#include "tools/measure/inbox.hpp"
#include "tools/measure/payload.hpp"

namespace penstock::measure {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMost = 64;  // producers, and receivers

struct alignas(64) Counter {
  std::atomic<std::uint64_t> value{0};
};

struct River {  // what producers and receivers share
  std::atomic<std::int64_t> begin{0};
  std::atomic<unsigned> producing{0};
  std::array<Counter, kMost> published;
  std::array<Counter, kMost> received;
  std::array<Counter, kMost> marks;
  std::array<Counter, kMost> ended;  // when the receiver got its last event
  std::array<Histogram, kMost> delays;

  std::uint64_t sum(const std::array<Counter, kMost>& counters) const {
    std::uint64_t sum = 0;
    for (const Counter& counter : counters) sum += counter.value.load(std::memory_order_acquire);
    return sum;
  }
};

// Publishes events in whichever way, numbering them.
class Source {
 public:
  Source(Producer producer, const FlowPlan& plan, std::uint32_t number)
      : producer_(std::move(producer)), plan_(plan), number_(number), bytes_(plan.payload * size()) {
    for (std::size_t i = 0; i < size(); ++i)
      messages_.push_back({Bytes(bytes_).subspan(i * plan.payload, plan.payload), {}});
  }
  std::uint64_t published() const { return next_; }
  std::size_t size() const { return plan_.how == How::batch ? plan_.batch : 1; }

  // False: error() says why. A Result of its own, written in parts and copied as a whole, would have to wait for the
  // stores of the publish before it.
  bool publish() {
    if (plan_.how == How::in_place) {
      auto claim = producer_.claim(plan_.payload);
      if (!claim) return fail(claim.error());
      fill(claim->payload(), {number_, next_});
      if (auto done = claim->commit(); !done) return fail(done.error());
      ++next_;
      return true;
    }
    for (std::size_t i = 0; i < size(); ++i)
      fill(std::span(bytes_).subspan(i * plan_.payload, plan_.payload), {number_, next_ + i});
    if (plan_.how == How::batch) {
      if (auto done = producer_.publish_batch(messages_); !done) return fail(done.error());
    } else if (auto done = producer_.publish(bytes_); !done) {
      return fail(done.error());
    }
    next_ += size();
    return true;
  }
  const Error& error() const { return error_; }

 private:
  bool fail(const Error& error) {
    error_ = error;
    return false;
  }
  Producer producer_;
  const FlowPlan& plan_;
  std::uint32_t number_;
  std::uint64_t next_ = 0;
  Error error_;
  std::vector<std::byte> bytes_;
  std::vector<Message> messages_;
};

// With a rate, event n is due at begin + n * interval, and its number says so to who receives it.
std::string produce(const FlowPlan& plan, River& river, Board& board, std::uint32_t number) {
  auto bus = Bus::open(plan.directory);
  if (!bus) return bus.error().message();
  auto producer = bus->producer(plan.topic, {.block = 500ms});
  if (!producer) return producer.error().message();
  Source source(std::move(*producer), plan, number);
  if (!board.meet(plan.producers + plan.receivers)) return {};
  std::int64_t begin = 0;
  river.begin.compare_exchange_strong(begin, now_ns());
  begin = river.begin.load();
  const double interval = plan.rate > 0 ? 1e9 / plan.rate : 0;
  const std::int64_t end = begin + plan.lasts_ns;
  for (unsigned turn = 0; !board.stopped(); ++turn) {
    std::int64_t now = 0;
    if (interval > 0) {
      const std::int64_t due = begin + static_cast<std::int64_t>(interval * static_cast<double>(source.published()));
      if (due >= end) break;
      while ((now = now_ns()) < due && !board.stopped()) continue;
    } else if (turn % 256 == 0 && now_ns() > end) {
      break;
    }
    if (!source.publish() && source.error().code() != Errc::full) return source.error().message();
  }
  river.published[number].value.store(source.published(), std::memory_order_release);
  river.producing.fetch_sub(1);
  return {};
}

// Every reader gets all events, each producer's in order; among members each event comes to one.
class Check {
 public:
  Check(const FlowPlan& plan, River& river, std::uint32_t number)
      : plan_(plan),
        delays_(river.delays[number]),
        begin_(river.begin.load()),
        ordered_(plan.via == Via::reader || plan.receivers == 1),
        sequence_(plan.producers) {}

  void operator()(Bytes payload) {
    if (plan_.rate > 0) {
      const auto due = static_cast<std::int64_t>(1e9 / plan_.rate * static_cast<double>(named(payload).number));
      delays_.add(static_cast<std::uint64_t>(std::max<std::int64_t>(now_ns() - begin_ - due, 0)));
    }
    Sent sent;
    if (ordered_)
      wrong_ = wrong_ || !sequence_.accept(payload, plan_.payload);
    else if (payload.size() == plan_.payload && intact(payload, sent) && sent.sender < plan_.producers)
      marks_ += mark_of(sent);
    else
      wrong_ = true;
    ++received_;
  }
  bool wrong() const { return wrong_; }
  std::string complaint() const { return ordered_ ? sequence_.complaint() : "a payload that nobody sent"; }
  std::uint64_t received() const { return received_; }
  std::uint64_t marks() const { return marks_; }

 private:
  const FlowPlan& plan_;
  Histogram& delays_;
  std::int64_t begin_;
  bool ordered_;
  Sequence sequence_;
  std::uint64_t received_ = 0, marks_ = 0;
  bool wrong_ = false;
};

std::string receive(const FlowPlan& plan, River& river, Board& board, std::uint32_t number, bool crowded) {
  auto bus = Bus::open(plan.directory);
  if (!bus) return bus.error().message();
  auto inbox = Inbox::open(*bus, plan.topic, plan.topic, plan.via, crowded ? Wait::sleep : Wait::spin, plan.group);
  if (!inbox) return inbox.error().message();
  if (!board.meet(plan.producers + plan.receivers)) return {};
  if (!board.wait_for([&river] { return river.begin.load() != 0; })) return {};
  Check check(plan, river, number);
  std::int64_t last = now_ns();
  std::uint64_t idle = 0;
  while (!board.stopped()) {
    auto got = inbox->poll(check, 256);
    if (!got) return got.error().message();
    if (check.wrong()) return check.complaint();
    if (*got != 0) {
      idle = 0;
      river.received[number].value.store(check.received(), std::memory_order_release);
      continue;
    }
    if (idle++ == 0) last = now_ns();  // of the last event, when no other comes
    // All is there once nobody publishes any more and the sums agree.
    if (river.producing.load() == 0) {
      const std::uint64_t here = plan.via == Via::reader ? check.received() : river.sum(river.received);
      if (here >= river.sum(river.published)) break;
    }
    if (!crowded) continue;
    if (auto more = inbox->wait(5ms); !more) return more.error().message();
  }
  if (inbox->missed() != 0) return std::to_string(inbox->missed()) + " events were missed";
  river.marks[number].value.store(check.marks());
  river.ended[number].value.store(static_cast<std::uint64_t>(last));
  return {};
}

// What is left to check when all are done: that the counts agree and, among several members, which events they were.
std::string account(const FlowPlan& plan, const River& river, const Flow& flow) {
  const std::uint64_t wanted = flow.published * (plan.via == Via::reader ? plan.receivers : 1);
  if (flow.received != wanted)
    return std::to_string(flow.received) + " events were received where " + std::to_string(wanted) + " were to be";
  if (plan.via == Via::reader || plan.receivers == 1) return {};
  std::uint64_t marks = 0;
  for (std::uint32_t sender = 0; sender < plan.producers; ++sender)
    for (std::uint64_t n = 0; n < river.published[sender].value.load(); ++n) marks += mark_of({sender, n});
  return marks == river.sum(river.marks) ? std::string() : "an event came to two members and another to none";
}

}  // namespace

tl::expected<Flow, std::string> flow(const FlowPlan& plan) {
  if (plan.producers > kMost || plan.receivers > kMost)
    return tl::unexpected("at most " + std::to_string(kMost) + " producers and as many receivers");
  {
    auto bus = Bus::open(plan.directory);
    if (!bus) return tl::unexpected(bus.error().message());
    if (auto made = bus->create_topic(plan.topic, plan.options); !made) return tl::unexpected(made.error().message());
  }
  const std::vector<int> there = cores();
  const bool pinned = there.size() >= plan.producers + plan.receivers;
  const Shared<River> river;
  river->producing.store(plan.producers);
  Crew crew;
  if (plan.daemon) crew.serve("the daemon", [&plan] { return host_daemon(plan.directory); });
  for (std::uint32_t i = 0; i < plan.receivers; ++i)
    crew.work("receiver " + std::to_string(i), pinned ? there[plan.producers + i] : -1,
              [&, i](Board& board) { return receive(plan, *river, board, i, !pinned); });
  for (std::uint32_t i = 0; i < plan.producers; ++i)
    crew.work("producer " + std::to_string(i), pinned ? there[i] : -1,
              [&, i](Board& board) { return produce(plan, *river, board, i); });
  if (std::string complaint = crew.finish(plan.asked); !complaint.empty()) return tl::unexpected(complaint);

  Flow out{.published = river->sum(river->published), .received = river->sum(river->received), .payload = plan.payload};
  out.pinned = pinned;
  std::uint64_t ended = 0;
  for (const Counter& counter : river->ended) ended = std::max(ended, counter.value.load());
  out.seconds = static_cast<double>(static_cast<std::int64_t>(ended) - river->begin.load()) / 1e9;
  for (const Histogram& delay : river->delays) out.delay.add(delay);
  if (plan.asked && plan.asked()) return out;  // interrupted: there is nothing to account for
  if (std::string complaint = account(plan, *river, out); !complaint.empty()) return tl::unexpected(complaint);
  return out;
}

Json Flow::json() const {
  Json out{{"events", published},
           {"seconds", seconds},
           {"events_per_second", events_per_second()},
           {"gb_per_second", gb_per_second()},
           {"pinned", pinned}};
  if (delay.count() != 0) out["delay"] = delay.json();
  return out;
}

}  // namespace penstock::measure
