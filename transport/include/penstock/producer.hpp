// Publishing. A producer belongs to one topic and one thread; it is cheap, and a process may have many.
#pragma once

#include <memory>
#include <penstock/options.hpp>
#include <span>

namespace penstock {

class Bus;
class Producer;

// A place in the log, to be filled in and committed. Readers wait for it, so fill it soon. Destroyed uncommitted, or
// when its process dies, it is aborted: its offset is used up and nobody sees it. Must not outlive its producer.
class Claim {
  struct Made;

 public:
  explicit Claim(const Made& made);  // for producers alone, where it is to be: without a copy
  Claim(Claim&& other) noexcept;
  Claim& operator=(Claim&& other) noexcept;
  ~Claim();
  std::span<std::byte> payload() const { return payload_; }  // in shared memory, 8-byte aligned
  Offset offset() const { return open_.offset; }
  // Makes the event visible. Errc::closed when it was settled before.
  Result<Offset> commit() {
    if (settle()) return open_.offset;
    return refuse();
  }
  void abort();  // gives its offset up; nobody sees it

 private:
  friend class Producer;
  struct Open {  // what commit needs to know of the record
    std::uint64_t position = 0;
    Offset offset = 0;
    std::uint32_t lines = 0;
    std::int64_t time_ns = 0;
    std::uint64_t id_low = 0, id_high = 0;
    std::uint32_t attributes = 0;
    std::uint32_t flags = 0;
  };
  bool settle();                  // false: it was before, or is not this process's
  Result<Offset> refuse() const;  // why
  void* impl_ = nullptr;          // the producer's, which stays put when the producer moves; null once settled
  std::span<std::byte> payload_;
  Open open_;
};

// What a batch holds: payloads with options of their own.
struct Message {
  Bytes payload;
  PublishOptions options;
};

// A handle that publishes to one topic, made by Bus::producer.
class Producer {
 public:
  Producer(Producer&&) noexcept;
  Producer& operator=(Producer&&) noexcept;
  ~Producer();

  // Copies the event into the log and makes it visible; the offset it got. It survives the death of any process now;
  // await_durable tells when it survives the machine.
  // Errc::too_large: nothing was published. Errc::full, no_daemon: nothing was published; retry or shed.
  // On a topic that refuses duplicates (TopicOptions::publish_dedupe) an id that one of its newest events has answers
  // with that event's offset, once that is committed, and publishes nothing: last_duplicate(). Errc::timed_out: an
  // event that may have the id is still open after ProducerOptions::block.
  Result<Offset> publish(Bytes payload, const PublishOptions& options);
  // Without key, id or headers.
  Result<Offset> publish(Bytes payload) {
    Offset offset = 0;
    if (publish_plain(payload, offset)) return offset;
    return publish_by_claim(payload);
  }

  // All of them or none become visible, with offsets from the one returned upwards. 1 to 2047 events: else
  // Errc::invalid_argument; and together, a header counted as 64 bytes, a quarter of the ring: else Errc::too_large.
  // Errc::duplicate: the topic refuses duplicates, and one of the ids is there, or in the batch twice.
  Result<Offset> publish_batch(std::span<const Message> messages);

  // A claim of exactly `size` payload bytes, to be written in place. Errc::duplicate: the topic refuses the id.
  Result<Claim> claim(std::size_t size, const PublishOptions& options);
  Result<Claim> claim(std::size_t size);  // without key, id or headers

  // Waits until every offset up to and including this one is on disk. Errc::timed_out, disk, no_space, no_daemon,
  // invalid_argument (a memory topic). ProducerOptions::wait says how; by default one waiter of the bus at a time looks
  // for a moment before it sleeps. The one call that a second thread may make while the producer's own publishes; the
  // producer must outlive it.
  Result<void> await_durable(Offset offset, std::chrono::nanoseconds timeout);

  // The id of the event published last, or of the one `back` events before it in its batch.
  EventId last_id(std::size_t back = 0) const;
  bool last_duplicate() const;  // the last publish() answered with an earlier event's offset
  std::string_view topic() const;
  std::uint64_t max_payload() const;  // bytes

 private:
  friend class Bus;
  friend class Claim;
  struct Impl;
  explicit Producer(std::unique_ptr<Impl> impl);
  // The two ways of publish(): where nothing is in the way (false: something is), and else. Apart, and the choice
  // inlined, because a Result that is returned from a call is a store and a wider load of it, which wait for each
  // other.
  bool publish_plain(Bytes payload, Offset& offset);
  Result<Offset> publish_by_claim(Bytes payload);
  std::unique_ptr<Impl> impl_;
};

}  // namespace penstock
