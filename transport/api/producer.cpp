// Publishing: claim, fill in, commit and wake.
#include "api/producer_impl.hpp"
#include "layout/probe.hpp"
#include "log/attributes.hpp"
#include "log/checksum.hpp"

namespace penstock {

using api::refuse;
using layout::Attribute;

namespace {

bool has_attributes(const PublishOptions& given) {
  return !given.key.empty() || given.has_key || !given.id.empty() || !given.headers.empty() ||
         !given.content_type.empty() || !given.schema.empty() || given.deliver_at || given.ttl;
}

}  // namespace

// Padded; 0 when there are none.
std::size_t Producer::Impl::attribute_bytes(const PublishOptions& given) {
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
  return log::padded(bytes);
}

Result<void> Producer::Impl::takes(std::size_t payload, std::size_t attributes) const {
  if (payload > max_payload)
    return refuse(Errc::too_large,
                  "a payload of " + std::to_string(payload) + " bytes; topic " + topic->name() + " takes at most " +
                      std::to_string(max_payload) + " bytes; send less, or create it with a larger ring.",
                  std::uint32_t(max_payload));
  if (attributes > layout::kAttributesMax)
    return refuse(Errc::too_large, "key, id and headers of " + std::to_string(attributes) +
                                       " bytes; an event takes at most " + std::to_string(layout::kAttributesMax));
  return {};
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
  if (given.ttl) put_time(Attribute::expires_at, now + std::min(given.ttl->count(), INT64_MAX - now));
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
  last.ids.push_back({out.id_low, out.id_high, !given.id.empty()});
  return out;
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
  const LastIds& last = impl_->last;
  EventView::Raw raw;
  if (back < last.generated) {
    raw.id_low = impl_->number;
    raw.id_high = impl_->sequence - 1 - back;
  } else if (last.generated == 0 && back < last.ids.size()) {
    const LastIds::Id& id = *(last.ids.rbegin() + std::ptrdiff_t(back));
    raw.id_low = id.low;
    raw.id_high = id.high;
    raw.given_id = id.given;
  } else {
    return {};
  }
  return EventView(raw).id();
}

// What most events are: no key, no id, no headers. With a sleeper there the commit is to be a system call.
bool Producer::publish_plain(Bytes payload, Offset& offset) {
  Impl& me = *impl_;
  if (payload.size() > me.at_once || !me.simple() || me.mask.load(std::memory_order_relaxed) != 0 ||
      !me.publisher.put(me.now(), me.number, me.sequence, payload, offset)) [[unlikely]]
    return false;
  me.wake();
  me.generated_ids(1);
  PENSTOCK_PROBE3(publish, me.topic_name, offset, payload.size());
  return true;
}

Result<Offset> Producer::publish_by_claim(Bytes payload) {
  Impl& me = *impl_;
  if (!me.simple() || payload.size() > me.max_payload) return publish(payload, PublishOptions{});
  const auto open = me.claim(me.publisher.lines_for(payload.size()), 1);
  if (!open) return tl::unexpected(open.error());
  log::Publisher::copy(me.publisher.body(open->position), payload);
  me.publisher.stamp(*open, open->position, open->offset, me.generated(payload.size()));
  me.commit(*open);
  me.generated_ids(1);
  PENSTOCK_PROBE3(publish, me.topic_name, open->offset, payload.size());
  return open->offset;
}

Result<Offset> Producer::publish(Bytes payload, const PublishOptions& options) {
  Impl& me = *impl_;
  if (auto good = me.usable(); !good) return tl::unexpected(good.error());
  const std::size_t attributes = Impl::attribute_bytes(options);
  if (auto fit = me.takes(payload.size(), attributes); !fit) return tl::unexpected(fit.error());
  const std::int64_t now = me.now();
  me.last.clear();
  const log::Stamp stamp = me.stamp(payload.size(), attributes, options, now);
  auto admitted = me.admit(me.publisher.lines_for(attributes + payload.size()), stamp);
  if (!admitted) return tl::unexpected(admitted.error());
  me.duplicate = admitted->first.has_value();
  if (me.duplicate) return *admitted->first;
  const log::OpenClaim* claim = &admitted->claim;
  std::byte* body = me.publisher.body(claim->position);
  if (attributes != 0) me.write_attributes(body, options, now);
  log::Publisher::copy(body + attributes, payload);
  me.publisher.stamp(*claim, claim->position, claim->offset, stamp);
  me.commit(*claim);
  PENSTOCK_PROBE3(publish, me.topic_name, claim->offset, payload.size());
  return claim->offset;
}

Result<Offset> Producer::publish_batch(std::span<const Message> messages) {
  Impl& me = *impl_;
  if (auto good = me.usable(); !good) return tl::unexpected(good.error());
  if (messages.empty() || messages.size() > layout::kMaxBatch)
    return refuse(Errc::invalid_argument, "a batch has 1 to " + std::to_string(layout::kMaxBatch) + " events");
  std::uint64_t lines = 0;
  bool plain = true;  // without attributes, all of them
  for (const Message& message : messages) {
    const std::size_t payload = message.payload.size();
    std::size_t attributes = 0;
    if (payload > me.max_payload || has_attributes(message.options)) {
      attributes = Impl::attribute_bytes(message.options);
      if (auto fit = me.takes(payload, attributes); !fit) return tl::unexpected(fit.error());
      plain = false;
    }
    lines += me.publisher.lines_for(attributes + payload);
  }
  // One event may take a quarter of the ring and its header; many together a quarter.
  if (messages.size() > 1 && lines > me.topic->ring().size() / 4)
    return refuse(Errc::too_large, "a batch of " + std::to_string(lines * layout::kLine) + " bytes; topic " +
                                       me.topic->name() + " takes at most " +
                                       std::to_string(me.topic->ring().size() / 4 * layout::kLine) +
                                       " at once; send smaller batches.");
  auto claim = me.claim_batch(lines, messages);
  if (!claim) return tl::unexpected(claim.error());
  me.fill(*claim, messages, plain);
  me.commit(*claim);
  PENSTOCK_PROBE3(publish_batch, me.topic_name, claim->offset, claim->count);
  me.last_batch_begin.store(claim->offset, std::memory_order_relaxed);
  return claim->offset;
}

void Producer::Impl::fill(const log::OpenClaim& claim, std::span<const Message> messages, bool plain) {
  duplicate = false;
  const std::int64_t time = now();
  if (!plain) last.clear();
  std::uint64_t next_id = sequence;  // generated
  std::uint64_t position = claim.position, offset = claim.offset;
  for (const Message& message : messages) {
    const std::size_t attributes = plain ? 0 : attribute_bytes(message.options), payload = message.payload.size();
    std::byte* body = publisher.body(position);
    if (attributes != 0) write_attributes(body, message.options, time);
    log::Publisher::copy(body + attributes, message.payload);
    publisher.stamp(claim, position, offset++,
                    plain ? log::Stamp{time, number, next_id++, std::uint32_t(payload), 0, 0}
                          : this->stamp(payload, attributes, message.options, time));
    position += publisher.lines_for(attributes + payload);
  }
  if (plain) generated_ids(messages.size());
}

struct Claim::Made {
  Producer::Impl& by;
  const log::OpenClaim& claim;
  const log::Stamp& stamp;

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

inline Claim::Claim(const Made& made)
    : impl_(&made.by),
      payload_(made.by.publisher.body(made.claim.position) + made.stamp.attributes, made.stamp.payload),
      open_{made.claim.position, made.claim.offset,  made.claim.lines,      made.stamp.time_ns,
            made.stamp.id_low,   made.stamp.id_high, made.stamp.attributes, made.stamp.flags} {
  ++made.by.claims_open;
}

Result<Claim> Producer::claim(std::size_t size, const PublishOptions& options) {
  Impl& me = *impl_;
  if (auto good = me.usable(); !good) return tl::unexpected(good.error());
  const std::size_t attributes = Impl::attribute_bytes(options);
  if (auto fit = me.takes(size, attributes); !fit) return tl::unexpected(fit.error());
  const std::int64_t now = me.now();
  me.last.clear();
  const log::Stamp stamp = me.stamp(size, attributes, options, now);
  auto admitted = me.admit(me.publisher.lines_for(attributes + size), stamp);
  if (!admitted) return tl::unexpected(admitted.error());
  if (admitted->first) return me.refuse_duplicate(*admitted->first);
  if (attributes != 0) me.write_attributes(me.publisher.body(admitted->claim.position), options, now);
  return Result<Claim>(tl::in_place, Claim::Made{me, admitted->claim, stamp});
}

Result<Claim> Producer::claim(std::size_t size) {
  Impl& me = *impl_;
  if (!me.simple() || size > me.max_payload) return claim(size, PublishOptions{});
  const std::uint64_t lines = me.publisher.lines_for(size);
  log::OpenClaim open = me.publisher.claim(lines, 1);
  if (open.fault != log::ClaimFault::none) [[unlikely]] {
    auto waited = me.claim(lines, 1);
    if (!waited) return tl::unexpected(waited.error());
    open = *waited;
  }
  const log::Stamp stamp = me.generated(size);
  me.generated_ids(1);
  return Result<Claim>(tl::in_place, Claim::Made{me, open, stamp});
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

bool Claim::settle() {
  if (impl_ == nullptr) return false;
  auto& me = *static_cast<Producer::Impl*>(impl_);
  if (me.handle.in_child()) return false;
  impl_ = nullptr;
  const log::OpenClaim claim = Made::of(*this, me);
  const log::Stamp stamp{open_.time_ns,    open_.id_low, open_.id_high, std::uint32_t(payload_.size()),
                         open_.attributes, open_.flags};
  me.publisher.stamp(claim, claim.position, claim.offset, stamp);
  me.commit(claim);
  PENSTOCK_PROBE3(publish, me.topic_name, claim.offset, stamp.payload);
  --me.claims_open;
  return true;
}

Result<Offset> Claim::refuse() const { return tl::unexpected(Error(impl_ == nullptr ? Errc::closed : Errc::forked)); }

void Claim::abort() {
  if (impl_ == nullptr) return;
  auto& me = *static_cast<Producer::Impl*>(std::exchange(impl_, nullptr));
  if (me.handle.in_child()) return;
  me.publisher.abort(Made::of(*this, me));
  --me.claims_open;
  me.wake();
}

}  // namespace penstock
