// Events that arrive, by whichever of the library's ways. One thread's.
#pragma once

#include <optional>
#include <penstock/daemon.hpp>

#include "tools/measure/round_trip.hpp"

namespace penstock::measure {

class Inbox {
 public:
  static Result<Inbox> open(Bus& bus, const std::string& topic, const std::string& group, Via via, Wait wait,
                            const ConsumerOptions& options = {}) {
    Inbox inbox;
    inbox.via_ = via;
    if (via == Via::reader) {
      auto reader = bus.reader(topic, StartAt::beginning(), {.wait = wait});
      if (!reader) return tl::unexpected(reader.error());
      inbox.reader_.emplace(std::move(*reader));
    } else {
      ConsumerOptions chosen = options;
      chosen.wait = wait;
      auto consumer = bus.consumer(group, {topic}, chosen);
      if (!consumer) return tl::unexpected(consumer.error());
      inbox.consumer_.emplace(std::move(*consumer));
    }
    return inbox;
  }

  // Hands payloads to the handler, up to `most` of them, and settles them where there is something to settle.
  template <class Handler>
  Result<std::size_t> poll(Handler&& handler, std::size_t most) {
    switch (via_) {
      case Via::reader:
        return reader_->poll([&handler](const EventView& event) { handler(event.payload()); }, most);
      case Via::group_poll:
        return consumer_->poll(
            [&handler](const EventView& event) {
              handler(event.payload());
              return Settle::ack();
            },
            most);
      case Via::group_next:
        break;
    }
    auto delivery = consumer_->next(std::chrono::nanoseconds(0));
    if (!delivery) return tl::unexpected(delivery.error());
    if (!*delivery) return std::size_t{0};
    handler((*delivery)->payload());
    if (auto settled = (*delivery)->ack(); !settled) return tl::unexpected(settled.error());
    return std::size_t{1};
  }

  Result<bool> wait(std::chrono::nanoseconds timeout) {
    return reader_ ? reader_->wait(timeout) : consumer_->wait(timeout);
  }
  std::uint64_t missed() const { return reader_ ? reader_->missed() : consumer_->missed(); }

 private:
  Inbox() = default;
  Via via_ = Via::reader;
  std::optional<Reader> reader_;
  std::optional<Consumer> consumer_;
};

// For Crew::serve.
inline Result<Daemon> host_daemon(const std::string& directory) {
  auto bus = Bus::open(directory);
  if (!bus) return tl::unexpected(bus.error());
  return Daemon::start(*bus);
}

}  // namespace penstock::measure
