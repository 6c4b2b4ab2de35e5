// What a producer is made of. The quick way through publish() makes no system call and allocates nothing.
#pragma once

#include <atomic>
#include <penstock/bus.hpp>
#include <penstock/producer.hpp>

#include "api/recent_ids.hpp"
#include "api/topic.hpp"

namespace penstock {

// Of what was published last: one event, or a batch.
struct LastIds {
  struct Id {
    std::uint64_t low = 0, high = 0;
    bool given = false;
  };
  std::uint64_t generated = 0;  // so many, up to the producer's sequence; 0: what they are is in `ids`
  std::vector<Id> ids;          // keeps its capacity

  void clear() {
    generated = 0;
    ids.clear();
  }
};

struct Producer::Impl {
  // Payloads up to here are copied before the header is there: so long a reader that has caught up looks again, rather
  // than to ask whose the claim is.
  static constexpr std::uint64_t kMoment = 1024;

  std::shared_ptr<api::Topic> topic;
  shm::Handle handle;
  ProducerOptions options;
  log::Publisher publisher;
  const layout::TopicControl* control;
  const char* topic_name;                  // for tracers
  shm::Mask& mask;                         // who sleeps on this topic
  std::uint64_t max_payload;               // bytes
  std::uint64_t at_once;                   // bytes: payloads up to here are copied in a moment
  std::uint64_t owned;                     // what stands beside us in single_owner
  bool alone;                              // the topic has this producer only
  api::Ends ends;                          // of claims
  std::size_t claims_open = 0;             // handed out and not settled yet
  std::uint64_t number;                    // this producer's half of generated ids
  std::uint64_t sequence = 0;              // the other half
  std::atomic<std::int64_t> last_poke{0};  // of the daemon; perhaps by a thread that awaits the disk
  std::unique_ptr<api::RecentIds> recent;  // of a topic that refuses duplicates
  bool duplicate = false;                  // the last event published was one
  LastIds last;
  std::atomic<Offset> last_batch_begin{~Offset{0}};  // for await_durable, perhaps in another thread
  std::atomic<std::int64_t> waits_since{0};          // for the disk, in one call or several; 0: it does not

  // `fenced`: of its commits, see log::Publisher.
  Impl(std::shared_ptr<api::Topic> opened, shm::Handle acquired, const ProducerOptions& chosen, bool fenced)
      : topic(std::move(opened)),
        handle(std::move(acquired)),
        options(chosen),
        publisher(topic->writable(), topic->ring(), handle.page(), handle.slot(), handle.incarnation(), *topic, fenced),
        control(topic->control()),
        topic_name(topic->name().c_str()),
        mask(topic->mask()),
        max_payload(topic->max_payload()),
        at_once(std::min(max_payload, kMoment)),
        owned(fenced ? layout::kOwned : layout::kOwned | layout::kUnfenced),
        alone(topic->header().options.single_producer != 0),
        number(layout::tag_for(topic->header().nonce, topic->state()->live.header()->producer_sequence.fetch_add(1))) {
    if (const std::uint32_t window = topic->header().options.publish_dedupe; window != 0)
      recent = std::make_unique<api::RecentIds>(topic, window);
    if (handle.former().topic_id == topic->header().topic_id)
      publisher.inherit(api::Topic::intents_of(handle.former()));
  }
  ~Impl() {
    if (handle.in_child() || !alone) return;
    std::uint64_t mine = owner_word();
    topic->writable()->single_owner.compare_exchange_strong(mine, 0);
  }

  std::uint64_t owner_word() const { return handle.slot() | std::uint64_t(handle.incarnation()) << 16 | owned; }
  std::int64_t now() const { return options.precise_clock ? api::now_ns() : api::coarse_now_ns(); }

  Result<void> usable() const;
  Result<void> enter(bool fenced);  // before it publishes; call under the bus lock
  bool simple() const { return !handle.in_child() && control->deleted.load(std::memory_order_relaxed) == 0; }
  static std::size_t attribute_bytes(const PublishOptions& given);
  Result<void> takes(std::size_t payload, std::size_t attributes) const;  // an event of such sizes
  void write_attributes(std::byte* at, const PublishOptions& given, std::int64_t now) const;
  log::Stamp generated(std::size_t payload) const {  // its id is the next
    return {now(), number, sequence, std::uint32_t(payload), 0, 0};
  }
  void generated_ids(std::uint64_t events) {  // have been published
    sequence += events;
    last.generated = events;
    duplicate = false;
  }
  log::Stamp stamp(std::size_t payload, std::size_t attribute_bytes, const PublishOptions& given, std::int64_t now);
  Result<log::OpenClaim> claim(std::uint64_t lines, std::uint32_t count);
  tl::unexpected<Error> refuse_duplicate(Offset first) const {
    return api::refuse(Errc::duplicate,
                       "topic " + topic->name() + " has an event with this id, " + std::to_string(first));
  }
  // `plain`: none has attributes.
  void fill(const log::OpenClaim& claim, std::span<const Message> messages, bool plain);
  Result<log::OpenClaim> claim_batch(std::uint64_t lines, std::span<const Message> messages);
  struct Admitted {
    log::OpenClaim claim;
    std::optional<Offset> first;  // no claim: the event that has the id
  };
  Result<Admitted> claim_unless_known(std::uint64_t lines, std::span<const layout::Id128> ids);
  // The same for one event; a claim at once where nothing is refused.
  Result<Admitted> admit(std::uint64_t lines, const log::Stamp& stamp) {
    if (recent && (stamp.flags & layout::kFlagGivenId) != 0) {
      const layout::Id128 id{stamp.id_low, stamp.id_high};
      return claim_unless_known(lines, {&id, 1});
    }
    auto open = claim(lines, 1);
    if (!open) return tl::unexpected(open.error());
    return Admitted{*open, std::nullopt};
  }
  Result<void> fits(std::uint64_t lines) const;
  void poke();
  Result<void> make_way(log::ClaimFault fault, std::int64_t& deadline, std::int64_t& daemonless);
  void commit(const log::OpenClaim& claim);
  void wake() {
    if (mask.load(std::memory_order_seq_cst) != 0) shm::ring_all(topic->state()->live.wake(), mask);
  }
};

}  // namespace penstock
