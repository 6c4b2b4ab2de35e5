// Penstock as a broker: batches published and awaited until they are on disk; a group whose members take only what is
// on disk, and ack where it lies.
#include <deque>
#include <optional>
#include <penstock/penstock.hpp>
#include <stdexcept>
#include <vector>

#include "bench/compare/broker.hpp"
#include "tools/measure/inbox.hpp"
#include "tools/measure/scratch.hpp"

namespace penstock::compare {
namespace {

using namespace std::chrono_literals;

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

class OurPublisher : public Publisher {
 public:
  explicit OurPublisher(const std::string& directory)
      : bus_(must(Bus::open(directory))), producer_(must(bus_.producer("s"))) {}
  void send(std::span<const Payload> events) override {
    messages_.clear();
    for (const Payload event : events) messages_.push_back({event, {}});
    const Offset first = must(producer_.publish_batch(messages_));
    sent_.push_back({first + events.size() - 1, events.size()});
    unanswered_ += events.size();
  }
  void await(std::uint64_t left) override {
    for (; unanswered_ > left; sent_.pop_front()) {
      must(producer_.await_durable(sent_.front().last, 30s));
      unanswered_ -= sent_.front().count;
    }
  }

 private:
  struct Batch {
    Offset last;
    std::uint64_t count;
  };
  Bus bus_;
  Producer producer_;
  std::vector<Message> messages_;
  std::deque<Batch> sent_;  // not known to be on disk
  std::uint64_t unanswered_ = 0;
};

class OurMember : public Member {
 public:
  OurMember(const std::string& directory, unsigned group)
      : bus_(must(Bus::open(directory))),
        consumer_(must(bus_.consumer(group_name(group), {"s"}, {.durable_only = true}))) {}
  std::size_t take(const std::function<void(Payload)>& handle, int timeout_ms) override {
    const auto ack = [&handle](const EventView& event) {
      handle(event.payload());
      return Settle::ack();
    };
    std::size_t taken = must(consumer_.poll(ack, 256));
    if (taken == 0 && timeout_ms > 0 && must(consumer_.wait(std::chrono::milliseconds(timeout_ms))))
      taken = must(consumer_.poll(ack, 256));
    return taken;
  }
  void settle() override { must(consumer_.await_settled(30s)); }

 private:
  Bus bus_;
  Consumer consumer_;
};

class OurTopic : public Topic {
 public:
  OurTopic(const std::string& directory, unsigned groups) : scratch_(directory) {
    Bus bus = must(Bus::open(scratch_.bus()));
    must(bus.create_topic("s", {.durability = Durability::disk}));
    for (unsigned i = 0; i < groups; ++i) must(bus.consumer(group_name(i), {"s"}));
  }
  void serve(measure::Crew& crew) override {
    crew.serve("the daemon", [this] { return measure::host_daemon(scratch_.bus()); });
  }
  std::unique_ptr<Publisher> publisher() override { return std::make_unique<OurPublisher>(scratch_.bus()); }
  std::unique_ptr<Member> member(unsigned group) override { return std::make_unique<OurMember>(scratch_.bus(), group); }

 private:
  measure::Scratch scratch_;
};

}  // namespace

Broker ours() {
  return {"Penstock", "each event flushed before it counts", {}, [](const std::string& directory, unsigned groups) {
            return std::make_unique<OurTopic>(directory, groups);
          }};
}

}  // namespace penstock::compare
