#include "daemon/letter_writer.hpp"

#include <cstring>

#include "log/attributes.hpp"

namespace penstock::daemon {
namespace {

std::string_view clipped(std::string_view text, std::size_t most) { return text.substr(0, most); }

// The value of the dead_letter attribute.
std::string encode(const DeadLetter& letter, layout::Disposition disposition) {
  layout::DeadLetterFields fields{};
  fields.offset = letter.offset;
  fields.first_ns = letter.first_failure.time_since_epoch().count();
  fields.last_ns = letter.last_failure.time_since_epoch().count();
  fields.attempts = letter.attempts;
  fields.redrives = letter.redrives;
  fields.disposition = std::uint8_t(disposition);
  std::string out(sizeof fields, '\0');
  const auto put = [&out](std::uint16_t& size, std::string_view text) {
    size = std::uint16_t(text.size());
    out.append(text);
  };
  put(fields.topic_size, letter.topic);
  put(fields.group_size, letter.group);
  put(fields.member_size, letter.member);
  put(fields.class_size, clipped(letter.error_class, 1024));
  put(fields.reason_size, clipped(letter.reason, 4096));
  std::memcpy(out.data(), &fields, sizeof fields);
  return out;
}

}  // namespace

LetterKey key_of(const DeadLetter& letter, const EventView::Raw& event) {
  return {letter.topic, letter.offset, letter.redrives, event.id_low, event.id_high, event.time_ns};
}

LetterWriter::LetterWriter(std::shared_ptr<api::Topic> topic, shm::Handle handle)
    : topic_(std::move(topic)),
      handle_(std::move(handle)),
      publisher_(topic_->writable(), topic_->ring(), handle_.page(), handle_.slot(), handle_.incarnation(), *topic_) {}

Result<std::unique_ptr<LetterWriter>> LetterWriter::open(const api::StatePtr& state, const std::string& dlq,
                                                         std::uint64_t origin_ring) {
  auto topic = api::Topic::open(state, dlq, true);
  if (!topic && topic.error().code() == Errc::not_found) {
    TopicOptions options = state->settings.topic;
    options.durability = Durability::disk;
    options.full = Full::block;
    options.single_producer = false;
    options.retention_bytes = 0;
    options.retention_time = {};
    options.retain_unacked = false;
    // Half as much again for the history: a payload of a quarter of the origin's ring must fit a quarter of this one.
    options.ring_bytes = std::min<std::uint64_t>(std::max(options.ring_bytes, origin_ring * 2), 16ull << 30);
    if (auto made = api::create_topic(state, dlq, options); !made && made.error().code() != Errc::already_exists)
      return tl::unexpected(made.error());
    topic = api::Topic::open(state, dlq, true);
  }
  if (!topic) return tl::unexpected(topic.error());
  auto handle = api::acquire_handle(state, layout::HandleKind::daemon, (*topic)->header().topic_id, dlq);
  if (!handle) return tl::unexpected(api::name(handle.error(), "the daemon's handle of " + dlq));
  return std::unique_ptr<LetterWriter>(new LetterWriter(std::move(*topic), std::move(*handle)));
}

Result<void> LetterWriter::append(const EventView::Raw& event, const DeadLetter& letter,
                                  layout::Disposition disposition) {
  const std::string history = encode(letter, disposition);
  // Everything the event carried, but for the history of an earlier failure.
  std::vector<log::AttributeReader::Entry> kept;
  std::size_t bytes = log::attribute_bytes(history.size());
  log::AttributeReader reader(event.attributes);
  while (const auto entry = reader.next()) {
    if (entry->type == layout::Attribute::dead_letter) continue;
    kept.push_back(*entry);
    bytes += log::attribute_bytes(entry->value.size());
  }
  // A letter whose attributes are full keeps the event's and gives up the reason's text.
  if (log::padded(bytes) > layout::kAttributesMax) {
    if (letter.reason.empty() && letter.error_class.empty())
      return api::refuse(Errc::too_large, "the attributes of a dead letter of " + letter.topic);
    DeadLetter terse = letter;
    terse.reason.clear();
    terse.error_class.clear();
    return append(event, terse, disposition);
  }
  bytes = log::padded(bytes);
  log::Stamp stamp;
  stamp.time_ns = event.time_ns;
  stamp.id_low = event.id_low;
  stamp.id_high = event.id_high;
  stamp.payload = std::uint32_t(event.payload.size());
  stamp.attributes = std::uint32_t(bytes);
  stamp.flags = event.given_id ? std::uint32_t{layout::kFlagGivenId} : 0u;
  const std::uint64_t total = publisher_.head_bytes() + bytes + event.payload.size();
  if (layout::lines_for(total) > topic_->ring().size() / 2)
    return api::refuse(Errc::too_large, "a dead letter of " + std::to_string(total) + " bytes for " + topic_->name());
  auto claim = publisher_.claim(layout::lines_for(total), 1);
  if (claim.fault == log::ClaimFault::exhausted) {
    if (auto raised = api::raise_offset_bound(*topic_); !raised) return raised;
    claim = publisher_.claim(layout::lines_for(total), 1);
  }
  if (claim.fault != log::ClaimFault::none) return api::refuse(Errc::full, "dead-letter queue " + topic_->name());
  std::byte* body = publisher_.body(claim.position);
  log::AttributeWriter writer(body);
  for (const auto& entry : kept) writer.put(entry.type, entry.value);
  writer.put(layout::Attribute::dead_letter, history);
  writer.finish();
  log::Publisher::copy(body + bytes, event.payload);
  publisher_.stamp(claim, claim.position, claim.offset, stamp);
  publisher_.commit(claim);
  shm::ring_all(topic_->state()->live.wake(), topic_->mask());
  return {};
}

Result<LettersPresent> LetterWriter::present() {
  LettersPresent out;
  api::Feed feed(topic_, false);
  auto place = feed.first();
  if (!place) return tl::unexpected(place.error());
  for (;;) {
    auto found = feed.at(*place);
    if (!found) return tl::unexpected(found.error());
    if (found->kind != api::Feed::Kind::event) return out;
    if (const auto letter = DeadLetter::of(EventView(found->event)))
      out.add(key_of(*letter, found->event), found->event.offset, letter->last_failure.time_since_epoch().count());
    *place = found->next;
  }
}

}  // namespace penstock::daemon
