// Producers: claim, fill in, commit and wake. The quick way through publish() makes no system call and allocates
// nothing.
#include <atomic>
#include <penstock/bus.hpp>
#include <penstock/producer.hpp>
#include <thread>
#include <unordered_set>

#include "api/disk_wait.hpp"
#include "api/recent_ids.hpp"
#include "layout/probe.hpp"
#include "log/attributes.hpp"
#include "log/checksum.hpp"

namespace penstock {

using api::refuse;
using layout::Attribute;

namespace {

constexpr std::int64_t kPokeEvery = 100'000'000;

}  // namespace

struct Producer::Impl {
  std::shared_ptr<api::Topic> topic;
  shm::Handle handle;
  ProducerOptions options;
  log::Publisher publisher;
  const char* topic_name;                            // for tracers
  shm::Mask& mask;                                   // who sleeps on this topic
  std::uint64_t max_payload;                         // bytes
  bool alone;                                        // the topic has this producer only
  std::size_t claims_open = 0;                       // handed out and not settled yet
  std::uint64_t number;                              // this producer's half of generated ids
  std::uint64_t sequence = 0;                        // the other half
  std::atomic<std::int64_t> last_poke{0};            // of the daemon; perhaps by a thread that awaits the disk
  std::unique_ptr<api::RecentIds> recent;            // of a topic that refuses duplicates
  bool duplicate = false;                            // the last event published was one
  log::Stamp last;                                   // of the event published last
  std::vector<log::Stamp> last_batch;                // of the batch published last; empty after a single event
  std::atomic<Offset> last_batch_begin{~Offset{0}};  // for await_durable, perhaps in another thread

  Impl(std::shared_ptr<api::Topic> opened, shm::Handle acquired, const ProducerOptions& chosen)
      : topic(std::move(opened)),
        handle(std::move(acquired)),
        options(chosen),
        publisher(topic->writable(), topic->ring(), handle.page(), handle.slot(), handle.incarnation(), *topic),
        topic_name(topic->name().c_str()),
        mask(topic->mask()),
        max_payload(topic->max_payload()),
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

  std::uint64_t owner_word() const { return handle.slot() | std::uint64_t(handle.incarnation()) << 16 | 1ull << 63; }
  std::int64_t now() const { return options.precise_clock ? api::now_ns() : api::coarse_now_ns(); }

  Result<void> usable() const;
  bool simple(std::size_t payload) const {  // nothing is in the way of this payload
    return !handle.in_child() && !topic->deleted() && payload <= max_payload;
  }
  Result<std::size_t> attributes(std::size_t payload, const PublishOptions& given) const;
  void write_attributes(std::byte* at, const PublishOptions& given, std::int64_t now) const;
  log::Stamp stamp(std::size_t payload, std::size_t attribute_bytes, const PublishOptions& given, std::int64_t now);
  Result<log::OpenClaim> claim(std::uint64_t lines, std::uint32_t count);
  tl::unexpected<Error> refuse_duplicate(Offset first) const {
    return refuse(Errc::duplicate, "topic " + topic->name() + " has an event with this id, " + std::to_string(first));
  }
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
  void poke(std::int64_t began);
  Result<void> make_way(log::ClaimFault fault, std::int64_t& deadline, std::int64_t& daemonless);
  void commit(const log::OpenClaim& claim);
  void wake() {
    if (mask.load(std::memory_order_seq_cst) != 0) shm::ring_all(topic->state()->live.wake(), mask);
  }
};

Result<void> Producer::Impl::usable() const {
  if (handle.in_child()) return tl::unexpected(Error(Errc::forked));
  if (topic->deleted()) return refuse(Errc::deleted, "topic " + topic->name());
  return {};
}

namespace {

bool has_attributes(const PublishOptions& given) {
  return !given.key.empty() || given.has_key || !given.id.empty() || !given.headers.empty() ||
         !given.content_type.empty() || !given.schema.empty() || given.deliver_at || given.ttl;
}

}  // namespace

// Bytes of the attributes, padded; 0 when there are none.
Result<std::size_t> Producer::Impl::attributes(std::size_t payload, const PublishOptions& given) const {
  if (payload > max_payload)
    return refuse(Errc::too_large,
                  "a payload of " + std::to_string(payload) + " bytes; topic " + topic->name() + " takes at most " +
                      std::to_string(max_payload) + " bytes; send less, or create it with a larger ring.",
                  std::uint32_t(max_payload));
  if (!has_attributes(given)) return 0;
  std::size_t bytes = 0;
  const auto add = [&bytes](std::size_t size) { bytes += log::attribute_bytes(size); };
  if (!given.key.empty() || given.has_key) add(given.key.size());
  if (!given.id.empty()) add(given.id.size());
  for (const Header& header : given.headers) add(header.name.size() + 1 + header.value.size());
  if (!given.content_type.empty()) add(given.content_type.size());
  if (!given.schema.empty()) add(given.schema.size());
  if (given.deliver_at) add(sizeof(std::int64_t));
  if (given.ttl) add(sizeof(std::int64_t));
  bytes = log::padded(bytes);
  if (bytes > layout::kAttributesMax)
    return refuse(Errc::too_large, "key, id and headers of " + std::to_string(bytes) +
                                       " bytes; an event takes at most " + std::to_string(layout::kAttributesMax));
  return bytes;
}

void Producer::Impl::write_attributes(std::byte* at, const PublishOptions& given, std::int64_t now) const {
  log::AttributeWriter writer(at);
  const auto put_time = [&writer](Attribute type, std::int64_t ns) {
    writer.put(type, {reinterpret_cast<const char*>(&ns), sizeof ns});
  };
  if (!given.key.empty() || given.has_key) writer.put(Attribute::key, given.key);
  if (!given.id.empty()) writer.put(Attribute::id_text, given.id);
  for (const Header& header : given.headers) writer.put_header(header.name, header.value);
  if (!given.content_type.empty()) writer.put(Attribute::content_type, given.content_type);
  if (!given.schema.empty()) writer.put(Attribute::schema, given.schema);
  if (given.deliver_at) put_time(Attribute::deliver_at, given.deliver_at->time_since_epoch().count());
  if (given.ttl) put_time(Attribute::expires_at, now + given.ttl->count());
  writer.finish();
}

log::Stamp Producer::Impl::stamp(std::size_t payload, std::size_t attribute_bytes, const PublishOptions& given,
                                 std::int64_t now) {
  log::Stamp out;
  out.time_ns = now;
  out.payload = std::uint32_t(payload);
  out.attributes = std::uint32_t(attribute_bytes);
  if (given.id.empty()) {
    out.id_low = number;
    out.id_high = sequence++;
  } else {
    const layout::Id128 id = log::hash128(given.id.data(), given.id.size());
    out.id_low = id.low;
    out.id_high = id.high;
    out.flags |= layout::kFlagGivenId;
  }
  last = out;
  return out;
}

// The daemon sleeps until somebody rings, and who was to ring may have died: who waits long for the disk does it again.
void Producer::Impl::poke(std::int64_t began) {
  const std::int64_t now = api::monotonic_ns();
  if (now - std::max(began, last_poke.load(std::memory_order_relaxed)) < kPokeEvery) return;
  last_poke.store(now, std::memory_order_relaxed);
  const api::StatePtr& state = topic->state();
  shm::ring_all(state->live.wake(), state->live.mask(layout::kBusOrdinal));
}

// Waits a little for what keeps the claim from being made, or says why it will not be made.
Result<void> Producer::Impl::make_way(log::ClaimFault fault, std::int64_t& deadline, std::int64_t& daemonless) {
  if (auto good = usable(); !good) return good;
  if (fault == log::ClaimFault::exhausted) return api::raise_offset_bound(*topic);
  const std::string title = "topic " + topic->name();
  const layout::FullPolicy policy = topic->header().options.full;
  if (!topic->durable() && api::make_room(*topic, publisher.wanted_end(), alone && claims_open == 0)) return {};
  const auto full = [&] {
    const auto holder = api::held_by(*topic);
    return holder ? refuse(Errc::full, title + ": its ring is full and held by " + *holder + "; retry or shed load.")
                  : refuse(Errc::full, title);
  };
  if (policy == layout::FullPolicy::fail) return full();
  const std::int64_t now = api::monotonic_ns();
  if (deadline == 0) deadline = api::deadline_after(options.block);
  if (topic->durable()) {
    if (const auto error = topic->control()->durable_error.load(std::memory_order_relaxed);
        error != 0 && now > deadline)
      return refuse(error == ENOSPC ? Errc::no_space : Errc::disk, title, std::uint32_t(error), topic->directory());
    poke(deadline - options.block.count());
    // A daemon that is being restarted is given a moment.
    if (api::daemon_of(*topic->state()))
      daemonless = 0;
    else if (daemonless == 0)
      daemonless = now;
    else if (now - daemonless > std::min<std::int64_t>(options.block.count(), 2'000'000'000))
      return refuse(Errc::no_daemon, title);
  }
  if (now > deadline) return full();
  std::this_thread::sleep_for(std::chrono::microseconds(200));
  return {};
}

// Only long attributes in a small ring come to this: a claim and the PAD before it must fit together.
Result<void> Producer::Impl::fits(std::uint64_t lines) const {
  if (lines > topic->ring().size() / 2)
    return refuse(Errc::too_large, "an event of " + std::to_string(lines * layout::kLine) +
                                       " bytes with its key, id and headers; topic " + topic->name() +
                                       " takes at most half its ring; send less, or create it with a larger ring.");
  return {};
}

Result<log::OpenClaim> Producer::Impl::claim(std::uint64_t lines, std::uint32_t count) {
  if (auto good = fits(lines); !good) return tl::unexpected(good.error());
  std::int64_t deadline = 0, daemonless = 0;
  for (;;) {
    const log::OpenClaim claim = publisher.claim(lines, count);
    if (claim.fault == log::ClaimFault::none) return claim;
    if (auto way = make_way(claim.fault, deadline, daemonless); !way) return tl::unexpected(way.error());
  }
}

// For events with ids on a topic that refuses duplicates: claims where the ids were looked for, and nowhere else. A
// claim with the same id that is open is its owner's to settle: only what is committed answers for it.
Result<Producer::Impl::Admitted> Producer::Impl::claim_unless_known(std::uint64_t lines,
                                                                    std::span<const layout::Id128> ids) {
  using Kind = api::RecentIds::Verdict::Kind;
  if (auto good = fits(lines); !good) return tl::unexpected(good.error());
  std::int64_t deadline = 0, daemonless = 0;
  for (;;) {
    auto verdict = recent->look(ids);
    if (!verdict) return tl::unexpected(verdict.error());
    if (verdict->kind == Kind::duplicate) return Admitted{{}, verdict->first};
    if (verdict->kind == Kind::open) {
      const std::int64_t now = api::monotonic_ns();
      if (deadline == 0) deadline = api::deadline_after(options.block);
      if (now > deadline)
        return refuse(Errc::timed_out, "topic " + topic->name() +
                                           ": an event that may have the same id is being published, slot " +
                                           std::to_string(verdict->slot) + "; try again");
      std::this_thread::yield();
      continue;
    }
    const log::OpenClaim open = publisher.claim_at(verdict->tail, lines, std::uint32_t(ids.size()), ids.front());
    if (open.fault == log::ClaimFault::none) return Admitted{open, std::nullopt};
    if (open.fault == log::ClaimFault::moved) continue;
    if (auto way = make_way(open.fault, deadline, daemonless); !way) return tl::unexpected(way.error());
  }
}

// With a sleeper there, commit and wake are one system call, so that no death falls between them. A sleeper that came
// between the look and the commit is seen by the look after it.
void Producer::Impl::commit(const log::OpenClaim& claim) {
  if (mask.load(std::memory_order_relaxed) == 0) {
    publisher.commit(claim);
    wake();
  } else {
    shm::settle_and_ring(topic->state()->live.wake(), mask, publisher.commit_half(claim), layout::kCommitBit);
  }
}

Producer::Producer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Producer::Producer(Producer&&) noexcept = default;
Producer& Producer::operator=(Producer&&) noexcept = default;
Producer::~Producer() = default;

bool Producer::last_duplicate() const { return impl_->duplicate; }
std::string_view Producer::topic() const { return impl_->topic->name(); }
std::uint64_t Producer::max_payload() const { return impl_->max_payload; }

EventId Producer::last_id(std::size_t back) const {
  const auto& batch = impl_->last_batch;
  if (back != 0 && back >= batch.size()) return {};
  const log::Stamp& stamp = batch.empty() ? impl_->last : *(batch.rbegin() + std::ptrdiff_t(back));
  EventView::Raw raw;
  raw.id_low = stamp.id_low;
  raw.id_high = stamp.id_high;
  raw.given_id = (stamp.flags & layout::kFlagGivenId) != 0;
  return EventView(raw).id();
}

// What most events are: no key, no id, no headers.
Result<Offset> Producer::publish(Bytes payload) {
  Impl& me = *impl_;
  if (!me.simple(payload.size())) return publish(payload, PublishOptions{});
  const std::uint64_t bytes = layout::body_at(me.publisher.checked_flag()) + payload.size();
  log::OpenClaim claim = me.publisher.claim(layout::lines_for(bytes), 1);
  if (claim.fault != log::ClaimFault::none) [[unlikely]] {
    auto waited = me.claim(layout::lines_for(bytes), 1);
    if (!waited) return tl::unexpected(waited.error());
    claim = *waited;
  }
  me.last_batch.clear();
  me.duplicate = false;
  const log::Stamp stamp{me.now(), me.number, me.sequence++, std::uint32_t(payload.size()), 0, 0};
  me.last = stamp;
  if (!payload.empty()) std::memcpy(me.publisher.body(claim.position, 0), payload.data(), payload.size());
  me.publisher.stamp(claim, claim.position, claim.offset, stamp);
  me.commit(claim);
  PENSTOCK_PROBE3(publish, me.topic_name, claim.offset, me.last.payload);
  return claim.offset;
}

Result<Offset> Producer::publish(Bytes payload, const PublishOptions& options) {
  Impl& me = *impl_;
  if (auto good = me.usable(); !good) return tl::unexpected(good.error());
  auto attributes = me.attributes(payload.size(), options);
  if (!attributes) return tl::unexpected(attributes.error());
  const std::int64_t now = me.now();
  me.last_batch.clear();
  const log::Stamp stamp = me.stamp(payload.size(), *attributes, options, now);
  const std::uint64_t bytes = layout::body_at(stamp.flags | me.publisher.checked_flag()) + *attributes + payload.size();
  auto admitted = me.admit(layout::lines_for(bytes), stamp);
  if (!admitted) return tl::unexpected(admitted.error());
  me.duplicate = admitted->first.has_value();
  if (me.duplicate) return *admitted->first;
  const log::OpenClaim* claim = &admitted->claim;
  std::byte* body = me.publisher.body(claim->position, stamp.flags);
  if (*attributes != 0) me.write_attributes(body, options, now);
  if (!payload.empty()) std::memcpy(body + *attributes, payload.data(), payload.size());
  me.publisher.stamp(*claim, claim->position, claim->offset, stamp);
  me.commit(*claim);
  PENSTOCK_PROBE3(publish, me.topic_name, claim->offset, me.last.payload);
  return claim->offset;
}

// All of a batch's ids are looked for together; events without one are nobody's duplicates.
Result<log::OpenClaim> Producer::Impl::claim_batch(std::uint64_t lines, std::span<const Message> messages) {
  const bool given =
      std::any_of(messages.begin(), messages.end(), [](const Message& message) { return !message.options.id.empty(); });
  if (!recent || !given) return claim(lines, std::uint32_t(messages.size()));
  std::vector<layout::Id128> ids;
  std::unordered_set<std::string_view> seen;
  for (const Message& message : messages) {
    const std::string_view id = message.options.id;
    ids.push_back(id.empty() ? layout::Id128{} : log::hash128(id.data(), id.size()));
    if (!id.empty() && !seen.insert(id).second)
      return refuse(Errc::duplicate, "topic " + topic->name() + ": a batch with the id " + std::string(id) + " twice");
  }
  auto admitted = claim_unless_known(lines, ids);
  if (!admitted) return tl::unexpected(admitted.error());
  if (admitted->first) return refuse_duplicate(*admitted->first);
  return admitted->claim;
}

Result<Offset> Producer::publish_batch(std::span<const Message> messages) {
  Impl& me = *impl_;
  if (auto good = me.usable(); !good) return tl::unexpected(good.error());
  if (messages.empty() || messages.size() > layout::kMaxBatch)
    return refuse(Errc::invalid_argument, "a batch has 1 to " + std::to_string(layout::kMaxBatch) + " events");
  std::uint64_t lines = 0;
  const std::uint64_t head = layout::body_at(me.publisher.checked_flag());
  for (const Message& message : messages) {
    auto attributes = me.attributes(message.payload.size(), message.options);
    if (!attributes) return tl::unexpected(attributes.error());
    lines += layout::lines_for(head + *attributes + message.payload.size());
  }
  // One event may take a quarter of the ring and its header; many together a quarter.
  if (messages.size() > 1 && lines > me.topic->ring().size() / 4)
    return refuse(Errc::too_large, "a batch of " + std::to_string(lines * layout::kLine) + " bytes; topic " +
                                       me.topic->name() + " takes at most " +
                                       std::to_string(me.topic->ring().size() / 4 * layout::kLine) +
                                       " at once; send smaller batches.");
  auto claim = me.claim_batch(lines, messages);
  if (!claim) return tl::unexpected(claim.error());
  me.duplicate = false;
  const std::int64_t now = me.now();
  me.last_batch.clear();  // keeps its capacity: allocates only until the largest batch was seen
  std::uint64_t position = claim->position, offset = claim->offset;
  for (const Message& message : messages) {
    const std::size_t attributes = *me.attributes(message.payload.size(), message.options);
    const log::Stamp stamp = me.stamp(message.payload.size(), attributes, message.options, now);
    me.last_batch.push_back(stamp);
    std::byte* body = me.publisher.body(position, stamp.flags);
    if (attributes != 0) me.write_attributes(body, message.options, now);
    if (!message.payload.empty()) std::memcpy(body + attributes, message.payload.data(), message.payload.size());
    me.publisher.stamp(*claim, position, offset, stamp);
    position += layout::lines_for(head + attributes + message.payload.size());
    ++offset;
  }
  me.commit(*claim);
  PENSTOCK_PROBE3(publish_batch, me.topic_name, claim->offset, claim->count);
  me.last_batch_begin.store(claim->offset, std::memory_order_relaxed);
  return claim->offset;
}

Result<void> Producer::await_durable(Offset offset, std::chrono::nanoseconds timeout) {
  Impl& me = *impl_;
  if (auto good = me.usable(); !good) return good;
  const std::string title = "topic " + me.topic->name();
  if (!me.topic->durable()) return refuse(Errc::invalid_argument, title + " is kept in memory only");
  const auto& state = *me.topic->state();
  const std::int64_t began = api::monotonic_ns();
  const auto durable = [&me, offset, began]() -> Result<bool> {
    if (me.topic->durable_end().offset > offset) return true;
    if (auto good = me.usable(); !good) return tl::unexpected(good.error());
    me.poke(began);
    return false;
  };
  // What is not on disk is what it published last, one event or a batch.
  const Offset batch = me.last_batch_begin.load(std::memory_order_relaxed);
  const bool in_batch = batch <= offset && offset - batch < layout::kMaxBatch;
  const bool alone = me.topic->durable_end().offset >= (in_batch ? batch : offset);
  api::Waiter waiter(state.live.sleeper(me.handle.slot()), me.options.wait);
  return api::await_disk(waiter, state, timeout,
                         {.listen = [&me](const shm::Sleeper& sleeper) { sleeper.listen(me.topic->disk_mask()); },
                          .done = durable,
                          .error = [&me] { return int(me.topic->control()->durable_error.load()); },
                          .title = [&title] { return title; },
                          .missing = "offset " + std::to_string(offset) + " is not on disk yet",
                          .alone = alone});
}

Result<Claim> Producer::claim(std::size_t size, const PublishOptions& options) {
  Impl& me = *impl_;
  if (auto good = me.usable(); !good) return tl::unexpected(good.error());
  auto attributes = me.attributes(size, options);
  if (!attributes) return tl::unexpected(attributes.error());
  const std::int64_t now = me.now();
  me.last_batch.clear();
  const log::Stamp stamp = me.stamp(size, *attributes, options, now);
  const std::uint64_t bytes = layout::body_at(stamp.flags | me.publisher.checked_flag()) + *attributes + size;
  auto admitted = me.admit(layout::lines_for(bytes), stamp);
  if (!admitted) return tl::unexpected(admitted.error());
  if (admitted->first) return me.refuse_duplicate(*admitted->first);
  const log::OpenClaim* open = &admitted->claim;
  std::byte* body = me.publisher.body(open->position, stamp.flags);
  if (*attributes != 0) me.write_attributes(body, options, now);
  ++me.claims_open;
  Claim out;
  out.impl_ = &me;
  out.payload_ = {body + *attributes, size};
  out.open_ = {open->position, open->offset,  open->lines,      stamp.time_ns,
               stamp.id_low,   stamp.id_high, stamp.attributes, stamp.flags};
  return out;
}

Claim::Claim(Claim&& other) noexcept
    : impl_(std::exchange(other.impl_, nullptr)), payload_(other.payload_), open_(other.open_) {}

Claim& Claim::operator=(Claim&& other) noexcept {
  if (this != &other) {
    abort();
    impl_ = std::exchange(other.impl_, nullptr);
    payload_ = other.payload_;
    open_ = other.open_;
  }
  return *this;
}

Claim::~Claim() { abort(); }

struct Claim::Access {
  static log::OpenClaim of(const Claim& claim, Producer::Impl& me) {
    const auto* head = me.topic->ring().at(claim.open_.position);
    return {log::ClaimFault::none,
            claim.open_.position,
            claim.open_.offset,
            claim.open_.lines,
            1,
            const_cast<layout::RecordHeader*>(head)};
  }
};

Result<Offset> Claim::commit() {
  if (impl_ == nullptr) return tl::unexpected(Error(Errc::closed));
  auto& me = *static_cast<Producer::Impl*>(std::exchange(impl_, nullptr));
  if (me.handle.in_child()) return tl::unexpected(Error(Errc::forked));
  const log::OpenClaim claim = Access::of(*this, me);
  const log::Stamp stamp{open_.time_ns,    open_.id_low, open_.id_high, std::uint32_t(payload_.size()),
                         open_.attributes, open_.flags};
  me.publisher.stamp(claim, claim.position, claim.offset, stamp);
  me.commit(claim);
  PENSTOCK_PROBE3(publish, me.topic_name, claim.offset, stamp.payload);
  --me.claims_open;
  return claim.offset;
}

void Claim::abort() {
  if (impl_ == nullptr) return;
  auto& me = *static_cast<Producer::Impl*>(std::exchange(impl_, nullptr));
  if (me.handle.in_child()) return;
  me.publisher.abort(Access::of(*this, me));
  --me.claims_open;
  me.wake();
}

namespace {

Result<void> become_only_producer(api::Topic& topic, const shm::Handle& handle) {
  layout::Word& owner = topic.writable()->single_owner;
  std::uint64_t seen = owner.load();
  if (seen != 0 &&
      !topic.state()->live.handles().dead(std::uint32_t(seen & 0xffff), std::uint32_t(seen >> 16 & 0xfff))) {
    const auto holder = topic.state()->live.handles().copy(std::uint32_t(seen & 0xffff));
    const std::uint64_t pid = holder ? holder->pid : 0;
    return refuse(
        Errc::busy,
        "topic " + topic.name() + " has its single producer in process " + std::to_string(pid) + "; end it first.",
        std::uint32_t(pid));
  }
  owner.store(handle.slot() | std::uint64_t(handle.incarnation()) << 16 | 1ull << 63);
  return {};
}

}  // namespace

Result<Producer> Bus::producer(std::string_view topic, const ProducerOptions& options) {
  if (auto good = state_->usable(); !good) return tl::unexpected(good.error());
  if (auto may = api::may_write(*state_, "topic " + std::string(topic)); !may) return tl::unexpected(may.error());
  auto opened = api::Topic::open(state_, topic, true);
  if (!opened && opened.error().code() == Errc::not_found && options.create) {
    if (auto made = api::create_topic(state_, topic, state_->settings.topic);
        !made && made.error().code() != Errc::already_exists)
      return tl::unexpected(made.error());
    opened = api::Topic::open(state_, topic, true);
  }
  if (!opened) return tl::unexpected(opened.error());
  // Who made the topic may have been killed before it told the daemon and those who wait for topics.
  if ((*opened)->end().position == (*opened)->ring().base_position) state_->announce_topics();
  // Under the bus lock, so that a daemon that stops sees every producer there is, or none comes until it is done.
  auto lock = api::BusLock::take(state_->directory);
  if (!lock) return tl::unexpected(lock.error());
  auto handle = api::acquire_handle(state_, layout::HandleKind::producer, (*opened)->header().topic_id, topic);
  if (!handle)
    return tl::unexpected(api::name(handle.error(), "a producer of topic " + std::string(topic), state_->live.path()));
  if ((*opened)->header().options.single_producer != 0)
    if (auto only = become_only_producer(**opened, *handle); !only) return tl::unexpected(only.error());
  return Producer(std::make_unique<Producer::Impl>(std::move(*opened), std::move(*handle), options));
}

}  // namespace penstock
