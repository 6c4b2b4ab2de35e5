#include "log/ring.hpp"

#include <bit>

namespace penstock::log {
namespace {

using layout::RecordHeader;
using layout::State;

constexpr unsigned kPatience = 64;  // looks at a header that is due any moment, about a microsecond

bool tag_matches(const Ring& ring, std::uint64_t position, std::uint64_t offset) {
  return ring.at(position)->tag.load(std::memory_order_acquire) == layout::tag_for(ring.nonce, offset);
}

bool fits(const Ring& ring, std::uint64_t position, std::uint64_t lines) {
  return lines != 0 && (position & ring.mask) + lines <= ring.size();
}

struct Hole {
  std::uint32_t slot, incarnation, lines, count;
};

// Does anything prove that `slot` made the claim [position, next) that used the offsets below `next_offset`?
// The tail or the successor's header names its predecessor, and so does every intent that read that tail.
bool named(const Ring& ring, Witness& witness, const Hole& hole, std::uint64_t position, std::uint64_t offset) {
  const layout::TailFields expected{position + hole.lines, offset + hole.count, hole.slot};
  const layout::TailFields tail = ring.tail();
  if (tail.end == expected.end) return tail == expected;
  if (tail.end < expected.end) return false;
  if (tag_matches(ring, expected.end, expected.offset)) {
    const layout::LinkFields link = layout::link_of(ring.at(expected.end)->link.load(std::memory_order_relaxed));
    return link.slot == (hole.slot & 0xfff) && link.lines == hole.lines && link.count == hole.count;
  }
  for (std::uint32_t slot = 0; slot < witness.slots(); ++slot) {
    const auto intents = witness.intents(slot);
    if (!intents) continue;
    for (const auto& intent : *intents)
      if (intent.lines != 0 && intent.tail == expected) return true;
  }
  return false;
}

std::optional<Hole> find_owner(const Ring& ring, std::uint64_t position, std::uint64_t offset, Witness& witness) {
  for (std::uint32_t slot = 0; slot < witness.slots(); ++slot) {
    const auto intents = witness.intents(slot);
    if (!intents) continue;
    for (const auto& intent : *intents) {
      if (intent.tail.end != position || intent.tail.offset != offset) continue;
      const Hole hole{slot, intent.incarnation, intent.lines, intent.count};
      if (fits(ring, position, hole.lines) && named(ring, witness, hole, position, offset)) return hole;
    }
  }
  return std::nullopt;
}

// The header's own account, when it is written: the word is re-read after the proof of death, because the owner may
// have committed between our first look and its end.
std::optional<Look> from_header(const Ring& ring, std::uint64_t position, std::uint64_t offset, Witness& witness) {
  Look out;
  if (glance(ring, position, offset, out)) return out;
  if (!tag_matches(ring, position, offset)) return std::nullopt;
  const RecordHeader* head = ring.at(position);
  const std::uint64_t word = head->word.load(std::memory_order_acquire);
  // Another lap's word counts as not written. Else a claim of no offsets, whose tag fits again and again, would lead a
  // reader round the ring for ever.
  if (layout::generation_of(word) != ring.generation(position)) return std::nullopt;
  out.lines = layout::lines_of(word);
  out.count = layout::sizes_of(head->sizes.load(std::memory_order_relaxed)).count;
  out.slot = layout::slot_of(word);
  out.incarnation = layout::incarnation_of(word);
  out.head = head;
  out.kind = Look::Kind::waiting;
  if (layout::state_of(word) != State::claimed || !fits(ring, position, out.lines)) {
    if (glance(ring, position, offset, out)) return out;  // settled meanwhile
    return out;                                           // nonsense: nobody can go past it
  }
  if (!witness.dead(out.slot, out.incarnation)) return out;
  Look again;
  if (glance(ring, position, offset, again)) return again;
  out.kind = Look::Kind::dead;
  out.state = State::aborted;
  return out;
}

}  // namespace

Ring ring_of(const layout::TopicControl* control, std::uint64_t file_bytes) {
  Ring ring;
  const std::uint64_t lines = control->header.ring_lines;
  if (!std::has_single_bit(lines) || lines > (1ull << 40) || file_bytes != layout::kRingAt + lines * layout::kLine)
    return ring;
  ring.control = control;
  ring.lines = reinterpret_cast<const std::byte*>(control) + layout::kRingAt;
  ring.mask = lines - 1;
  ring.shift = unsigned(std::countr_zero(lines));
  ring.nonce = control->header.nonce;
  ring.base_position = control->header.base_position;
  ring.base_offset = control->header.base_offset;
  return ring;
}

Look look(const Ring& ring, std::uint64_t position, std::uint64_t offset, Witness& witness) {
  Look out;
  // A living owner settles its claim, or at least writes its header, within a few instructions, and asking after a dead
  // one takes long.
  for (unsigned patience = 0; patience < kPatience; ++patience) {
    if (glance(ring, position, offset, out)) return out;
    if (!tag_matches(ring, position, offset) && ring.tail().end <= position) return out;
    __builtin_ia32_pause();
  }
  if (auto header = from_header(ring, position, offset, witness)) return *header;
  if (ring.tail().end <= position) return out;
  // Somebody claimed this place and has not written its header.
  const auto hole = find_owner(ring, position, offset, witness);
  if (auto header = from_header(ring, position, offset, witness)) return *header;
  out.kind = Look::Kind::waiting;
  if (!hole) return out;  // the intent was replaced while we looked: the header is there at the next look
  out.slot = hole->slot;
  out.incarnation = hole->incarnation;
  out.lines = hole->lines;
  out.count = hole->count;
  if (!witness.dead(hole->slot, hole->incarnation)) return out;
  if (auto header = from_header(ring, position, offset, witness)) return *header;
  out.kind = Look::Kind::dead;
  out.state = hole->count == 0 ? State::pad : State::aborted;
  return out;
}

namespace {

// A later record of a batch names its head by distance; it counts when that head is committed and spans it. False: it
// is none. A reader comes to it only after the head was committed, so a head that is not there was overwritten.
bool inner_at(const Ring& ring, std::uint64_t position, std::uint64_t offset, Found& out) {
  const RecordHeader* record = ring.at(position);
  if (record->tag.load(std::memory_order_acquire) != layout::tag_for(ring.nonce, offset)) return false;
  if (layout::state_of(record->word.load(std::memory_order_relaxed)) != State::inner) return false;
  out.kind = Found::Kind::gone;
  const std::uint64_t distance = record->link.load(std::memory_order_relaxed);
  if (distance == 0 || distance > (position & ring.mask)) return true;
  const std::uint64_t head_position = position - distance;
  const std::uint64_t head_offset =
      layout::offset_of_tag(ring.nonce, ring.at(head_position)->tag.load(std::memory_order_acquire));
  Look head;
  if (!glance(ring, head_position, head_offset, head) || head.state != State::committed) return true;
  if (offset <= head_offset || offset >= head_offset + head.count) return true;
  const std::uint64_t end = head_position + head.lines;
  if (!read_record(ring, position, offset, end, out.next_position, out.record)) return true;
  if (offset + 1 == head_offset + head.count) out.next_position = end;
  out.next_offset = offset + 1;
  out.kind = Found::Kind::event;
  return true;
}

}  // namespace

std::uint64_t claim_of(const Ring& ring, std::uint64_t position) {
  if (position >= ring.tail().end) return position;
  const RecordHeader* record = ring.at(position);
  const std::uint64_t word = record->word.load(std::memory_order_acquire);
  if (layout::state_of(word) != State::inner || layout::generation_of(word) != ring.generation(position))
    return position;
  const std::uint64_t distance = record->link.load(std::memory_order_relaxed);
  return distance <= (position & ring.mask) ? position - distance : position;
}

namespace {

// Lines and events of the claim that ends where the place is.
std::optional<layout::LinkFields> link_at(const Ring& ring, std::uint64_t position, std::uint64_t offset,
                                          Witness& witness) {
  const layout::TailFields tail = ring.tail();
  if (tail.end != position) {
    if (!tag_matches(ring, position, offset)) return std::nullopt;
    const RecordHeader* head = ring.at(position);
    const std::uint64_t word = head->word.load(std::memory_order_acquire);
    if (layout::state_of(word) == State::inner || layout::generation_of(word) != ring.generation(position))
      return std::nullopt;
    return layout::link_of(head->link.load(std::memory_order_relaxed));
  }
  const auto intents = witness.intents(tail.slot);
  if (!intents || tail.offset != offset) return std::nullopt;
  for (const auto& intent : *intents)
    if (intent.tail.end + intent.lines == position && intent.tail.offset + intent.count == offset)
      return layout::LinkFields{tail.slot, intent.incarnation, intent.lines, intent.count};
  return std::nullopt;
}

}  // namespace

std::optional<Back> claim_before(const Ring& ring, std::uint64_t position, std::uint64_t offset, Witness& witness) {
  const auto link = link_at(ring, position, offset, witness);
  if (!link || link->lines == 0 || position < ring.base_position + link->lines ||
      offset < ring.base_offset + link->count)
    return std::nullopt;
  const Back out{position - link->lines, offset - link->count, ring.at(position - link->lines)};
  if (!fits(ring, out.position, link->lines) || !tag_matches(ring, out.position, out.offset)) return std::nullopt;
  const std::uint64_t word = out.head->word.load(std::memory_order_acquire);
  if (layout::lines_of(word) != link->lines || layout::generation_of(word) != ring.generation(out.position) ||
      !ring.intact(out.position))
    return std::nullopt;
  return out;
}

Found event_at(const Ring& ring, std::uint64_t position, std::uint64_t offset, Witness& witness) {
  Found out;
  Look seen;
  if (!glance(ring, position, offset, seen)) {
    if (inner_at(ring, position, offset, out)) return out;
    seen = look(ring, position, offset, witness);
  }
  out.slot = seen.slot;
  out.incarnation = seen.incarnation;
  if (seen.kind == Look::Kind::nothing || seen.kind == Look::Kind::waiting) {
    out.kind = seen.kind == Look::Kind::nothing ? Found::Kind::nothing : Found::Kind::waiting;
    return out;
  }
  const std::uint64_t end = position + seen.lines;
  if (seen.kind == Look::Kind::settled && seen.state == State::committed && seen.count != 0 &&
      read_record(ring, position, offset, end, out.next_position, out.record)) {
    if (seen.count == 1) out.next_position = end;
    out.next_offset = offset + 1;
    out.kind = Found::Kind::event;
    return out;
  }
  out.kind = Found::Kind::skipped;
  out.skipped = seen.count;
  out.next_position = end;
  out.next_offset = offset + seen.count;
  return out;
}

}  // namespace penstock::log
