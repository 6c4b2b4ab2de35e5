// Consuming as a member of a group. A consumer belongs to one thread; a process may have many.
#pragma once

#include <memory>
#include <penstock/options.hpp>
#include <type_traits>
#include <utility>

namespace penstock {

class Bus;
class Consumer;

// A lease of one event to one member. It owns its bytes and pins nothing. Settle it once; destroyed unsettled it
// counts as a failed attempt. Every settlement of a lease that ran out or was settled is refused: Errc::stale_lease.
// Must be settled by the thread of its consumer, while the consumer lives.
class Delivery {
 public:
  Delivery(Delivery&& other) noexcept;
  Delivery& operator=(Delivery&& other) noexcept;
  ~Delivery();

  std::string_view topic() const { return event_.topic(); }
  Offset offset() const { return event_.offset(); }
  Timestamp time() const { return event_.time(); }
  Bytes payload() const { return event_.payload(); }
  EventId id() const { return event_.id(); }
  std::optional<std::string_view> id_text() const { return event_.id_text(); }
  std::optional<std::string_view> key() const { return event_.key(); }
  std::optional<std::string_view> header(std::string_view name) const { return event_.header(name); }
  std::vector<Header> headers() const { return event_.headers(); }
  const Event& event() const { return event_; }
  unsigned attempt() const { return attempt_; }  // failed attempts + 1
  std::string_view group() const { return group_; }
  // A redriven event's history; empty for others. topic() and offset() are its origin's.
  const std::optional<DeadLetter>& redriven() const { return redriven_; }

  Result<void> ack();                                      // done
  Result<void> nak(const NakOptions& why = {});            // failed: comes back after the backoff, or goes to the DLQ
  Result<void> reject(const NakOptions& why = {});         // to the dead-letter queue now
  Result<void> release();                                  // not now: comes back at once, uncounted
  Result<void> extend(std::chrono::nanoseconds duration);  // the lease ends this long from now
  bool settled() const { return !lease_; }

 private:
  friend class Consumer;
  struct Lease;
  Delivery();
  Event event_;
  std::string group_;
  unsigned attempt_ = 1;
  std::optional<DeadLetter> redriven_;
  std::unique_ptr<Lease> lease_;
};

// What a poll handler makes of an event.
struct Settle {
  // As the calls of Delivery.
  enum class Kind : std::uint8_t { ack, nak, reject, release } kind = Kind::ack;
  std::string error_class{};
  std::string reason{};
  // It is done.
  static Settle ack() { return {}; }
  // It failed: it comes back after the backoff, or goes to the DLQ.
  static Settle nak(std::string error_class = {}, std::string reason = {}) {
    return {Kind::nak, std::move(error_class), std::move(reason)};
  }
  // To the dead-letter queue now.
  static Settle reject(std::string error_class = {}, std::string reason = {}) {
    return {Kind::reject, std::move(error_class), std::move(reason)};
  }
  // Not now: it comes back at once, uncounted.
  static Settle release() { return {Kind::release, {}, {}}; }
};

// A member of a group, made by Bus::consumer.
class Consumer {
 public:
  Consumer(Consumer&&) noexcept;
  Consumer& operator=(Consumer&&) noexcept;
  ~Consumer();  // leases of deliveries that still live come back to the group as dropped

  // The next event for this member: a due retry, or a fresh one. Nothing when the timeout passed; 0 only looks.
  // Errc::deleted when the group was deleted; interrupted when interrupt() was called.
  Result<std::optional<Delivery>> next(std::chrono::nanoseconds timeout);

  // Up to `most` events, each handed to the handler and settled by what it returns (Settle). Returns at once with
  // the number of events handled.
  template <class Handler>
  Result<std::size_t> poll(Handler&& handler, std::size_t most = 256) {
    using Plain = std::remove_reference_t<Handler>;
    return poll_with(
        [](void* context, const EventView& event, unsigned attempt) -> Settle {
          Plain& call = *static_cast<Plain*>(context);
          if constexpr (std::is_invocable_v<Plain&, const EventView&, unsigned>)
            return call(event, attempt);
          else
            return call(event);
        },
        const_cast<void*>(static_cast<const void*>(&handler)), most);
  }

  // Acks every delivery of this topic that this member still holds, up to and including the offset; returns how many.
  // What other members hold, what waits for its retry and letters given back are not touched. Deliveries acked so
  // answer Errc::stale_lease from then on. Errc::not_found: the member doesn't consume this topic.
  Result<std::uint64_t> ack_through(std::string_view topic, Offset offset);
  // Waits until all that this member settled before the call survives a power cut: for the next checkpoint, which the
  // daemon writes at least every 100 ms. Errc::no_daemon or timed_out after the timeout; no_space or disk when the
  // daemon can't write, and keeps trying. A topic deleted meanwhile has nothing to wait for. A memory topic's events
  // end with the machine, and after an unclean end the group begins anew with what comes then: what was settled there
  // needs no checkpoint, and the daemon only says that it has seen it.
  Result<void> await_settled(std::chrono::nanoseconds timeout);

  // Waits until poll or next may have something; a lease it fetches for them counts no attempt before they return it.
  // false: the timeout passed.
  Result<bool> wait(std::chrono::nanoseconds timeout);
  // A descriptor for poll, epoll and event loops: readable when poll or next may have something. Call them until
  // nothing comes (next with a timeout of 0); from then on it is quiet until there is news. It is the consumer's: do
  // not read it, do not close it. Its first use starts a thread that sleeps until somebody rings. Errc::too_many.
  Result<int> event_fd();
  // Ends a wait of this consumer from another thread or a signal handler; the next wait ends at once too.
  void interrupt();
  // True when every event before the ends of the subscribed topics, as they are now, is settled (dead letters that
  // the daemon still has to move count as unsettled).
  Result<bool> settled_through(const std::vector<std::pair<std::string, Offset>>& ends) const;
  // Events that this member passed over because they were overwritten or removed before the group came to them, and
  // offsets on disk that it could not read.
  std::uint64_t missed() const;
  std::uint64_t damaged() const;
  std::string_view group() const;

 private:
  friend class Bus;
  friend class Delivery;
  struct Impl;
  explicit Consumer(std::unique_ptr<Impl> impl);
  using Call = Settle (*)(void*, const EventView&, unsigned);
  Result<std::size_t> poll_with(Call call, void* context, std::size_t most);
  std::unique_ptr<Impl> impl_;
};

}  // namespace penstock
