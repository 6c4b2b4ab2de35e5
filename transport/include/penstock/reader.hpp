// Reading without a group: every event in order, nothing to settle, lowest latency. One thread a reader.
#pragma once

#include <memory>
#include <penstock/options.hpp>
#include <type_traits>

namespace penstock {

class Bus;

// A handle that reads topics, made by Bus::reader.
class Reader {
 public:
  Reader(Reader&&) noexcept;
  Reader& operator=(Reader&&) noexcept;
  ~Reader();

  // Hands up to `most` events to the handler and returns at once with their number. On memory topics they are read in
  // place; on durable ones from a copy that was checked. Topics that match and do not exist yet are picked up when
  // they appear, from their beginning.
  template <class Handler>
  Result<std::size_t> poll(Handler&& handler, std::size_t most = 256) {
    using Plain = std::remove_reference_t<Handler>;
    return poll_with([](void* context, const EventView& event) { (*static_cast<Plain*>(context))(event); },
                     const_cast<void*>(static_cast<const void*>(&handler)), most);
  }
  // The next event as a copy of its own; nothing when the timeout passed.
  Result<std::optional<Event>> next(std::chrono::nanoseconds timeout);
  // Waits until poll may have something. false: the timeout passed.
  Result<bool> wait(std::chrono::nanoseconds timeout);
  // A descriptor for poll, epoll and event loops: readable when poll or next may have something. Call them until
  // nothing is handled; from then on it is quiet until there is news. It is the reader's: do not read it, do not close
  // it. Its first use starts a thread that sleeps until somebody rings. Errc::too_many.
  Result<int> event_fd();
  // Ends a wait from another thread or a signal handler.
  void interrupt();
  // Events that were overwritten, or removed by retention, before this reader came to them, since it was opened.
  std::uint64_t missed() const;
  // Offsets on disk that could not be read, since it was opened: run `penstock verify`.
  std::uint64_t damaged() const;
  // The topics it reads, each with the next offset it expects.
  std::vector<std::pair<std::string, Offset>> places() const;

 private:
  friend class Bus;
  struct Impl;
  explicit Reader(std::unique_ptr<Impl> impl);
  using Call = void (*)(void*, const EventView&);
  Result<std::size_t> poll_with(Call call, void* context, std::size_t most);
  std::unique_ptr<Impl> impl_;
};

}  // namespace penstock
