// A reader of a ring in which anything may stand: control block, records, other handles' intents, and who is dead. It
// must end, stay inside the ring, and never come back to where it was.
#include "heap_ring.hpp"
#include "log/attributes.hpp"
#include "tests/support/fuzz.hpp"

namespace penstock::fuzz {
namespace {

using test::HeapRing;

constexpr std::uint64_t kLines = 64;  // a page: one byte past the ring is past its memory

struct Words {  // what an input begins with; the ring's lines follow
  layout::Pair tail;
  std::uint64_t limit, reclaim;
  std::uint64_t base_position, base_offset, nonce;
  std::uint64_t position, offset;  // where the reader begins
  std::uint64_t dead;              // a bit a slot
  std::uint64_t retag, restamp;    // lines whose tags, or generations, are made to fit
  struct {
    std::uint64_t low, high, shape;
  } intents[HeapRing::kHandles][2];
};

Bytes input_of(const HeapRing& ring, std::uint64_t position, std::uint64_t offset, std::uint64_t dead) {
  const layout::TopicControl& control = *ring.control();
  Words words{};
  words.tail = control.tail;
  words.limit = control.limit.load();
  words.reclaim = control.reclaim.load();
  words.base_position = control.header.base_position;
  words.base_offset = control.header.base_offset;
  words.nonce = control.header.nonce;
  words.position = position;
  words.offset = offset;
  words.dead = dead;
  for (std::uint32_t slot = 0; slot < HeapRing::kHandles; ++slot)
    for (int i = 0; i < 2; ++i) {
      const layout::Intent& intent = ring.handle_page(slot)->intents[i];
      words.intents[slot][i] = {intent.tail_low.load(), intent.tail_high.load(), intent.shape.load()};
    }
  return Maker().put(words).put(Input(ring.line(0), kLines * layout::kLine)).done();
}

std::vector<Bytes> seeds() {
  std::vector<Bytes> out;
  for (const auto durability : {layout::Durability::memory, layout::Durability::disk}) {
    HeapRing ring(kLines, durability, 40, 1000);
    log::Publisher a = ring.publisher(1), b = ring.publisher(2);
    test::publish(a, "one");
    test::publish(b, std::string(300, 'x'));
    const log::OpenClaim batch = a.claim(3, 3);
    for (std::uint64_t i = 0; i < 3; ++i) {
      std::memset(a.body(batch.position + i), 'b', 2);
      a.stamp(batch, batch.position + i, batch.offset + i, {.time_ns = 5, .payload = 2});
    }
    a.commit(batch);
    a.abort(a.claim(2, 1));
    out.push_back(input_of(ring, 40, 1000, 0));
    b.claim(20, 2);  // over the ring's end: a PAD, and then a claim that stays open
    out.push_back(input_of(ring, 40, 1000, 4));
    out.push_back(input_of(ring, 50, 1007, 0));
  }
  // A dead owner's claim of no offsets, which fits the same offset again on the next lap, and the next.
  HeapRing ring(kLines);
  for (std::uint64_t at = 0; at < kLines; ++at) {
    auto* head = reinterpret_cast<layout::RecordHeader*>(ring.line(at));
    head->word.store(pack(layout::WordFields{layout::State::claimed, 1, 1, HeapRing::kIncarnation, 0}));
    head->tag.store(layout::tag_for(ring.ring().nonce, 0));
  }
  out.push_back(input_of(ring, 0, 0, 2));
  return out;
}

class HostileRing {
 public:
  explicit HostileRing(Taker taker) : ring_(kLines) {
    words_ = taker.take<Words>();
    layout::TopicControl& control = *ring_.control();
    control.tail = words_.tail;
    control.limit.store(words_.limit);
    control.reclaim.store(words_.reclaim);
    control.header.base_position = words_.base_position;
    control.header.base_offset = words_.base_offset;
    control.header.nonce = words_.nonce;
    for (std::uint32_t slot = 0; slot < HeapRing::kHandles; ++slot) {
      if ((words_.dead >> slot & 1) != 0) ring_.kill(slot);
      for (int i = 0; i < 2; ++i) {
        layout::Intent& intent = ring_.handle_page(slot)->intents[i];
        intent.tail_low.store(words_.intents[slot][i].low);
        intent.tail_high.store(words_.intents[slot][i].high);
        intent.shape.store(words_.intents[slot][i].shape);
      }
    }
    const Input lines = taker.take(kLines * layout::kLine);
    if (!lines.empty()) std::memcpy(ring_.line(0), lines.data(), lines.size());
    view_ = log::ring_of(&control, layout::kRingAt + kLines * layout::kLine);
    mend();
  }
  const log::Ring& view() const { return view_; }
  HeapRing& witness() { return ring_; }
  const Words& words() const { return words_; }

  void must_hold(Input bytes) const {
    const auto* begin = view_.lines;
    must(bytes.empty() || (bytes.data() >= begin && bytes.data() + bytes.size() <= begin + kLines * layout::kLine),
         "a record's bytes are the ring's");
  }

 private:
  // Mutations hardly ever hit on a tag: where asked to, the line gets one that a reader on its way would match.
  void mend() {
    for (std::uint64_t i = 0; i < kLines; ++i) {
      const std::uint64_t position = words_.position + i;
      auto* head = reinterpret_cast<layout::RecordHeader*>(ring_.line(position));
      if ((words_.retag >> i & 1) != 0) head->tag.store(layout::tag_for(view_.nonce, words_.offset + i));
      if ((words_.restamp >> i & 1) != 0) {
        constexpr std::uint64_t kRest = (1ull << 52) - 1;
        head->word.store((head->word.load() & kRest) | std::uint64_t{view_.generation(position)} << 52);
      }
    }
  }

  HeapRing ring_;
  Words words_{};
  log::Ring view_;
};

void run(Input input) {
  HostileRing hostile{Taker(input)};
  const log::Ring& ring = hostile.view();
  std::uint64_t position = hostile.words().position, offset = hostile.words().offset;
  // Every line is a record's once, and every intent explains one claim.
  constexpr std::uint64_t kMost = kLines + 2 * HeapRing::kHandles + 1;
  for (std::uint64_t steps = 0;; ++steps) {
    must(steps <= kMost, "a walk ends");
    must(log::claim_of(ring, position) <= position, "a claim begins at its records or before");
    static_cast<void>(ring.intact(position));
    const log::Look look = log::look(ring, position, offset, hostile.witness());
    if (look.kind == log::Look::Kind::settled || look.kind == log::Look::Kind::dead) {
      must(look.lines != 0 && (position & ring.mask) + look.lines <= ring.size(), "a claim is inside the ring");
      must(look.kind == log::Look::Kind::dead || look.head != nullptr, "a settled claim has a header");
    }
    const log::Found found = log::event_at(ring, position, offset, hostile.witness());
    if (found.kind != log::Found::Kind::event && found.kind != log::Found::Kind::skipped) return;
    must(found.next_position > position && found.next_position - position <= kLines, "reading goes on, line by line");
    if (found.kind == log::Found::Kind::event) {
      must(found.record.offset == offset && found.next_offset == offset + 1, "an event has the offset looked for");
      hostile.must_hold(found.record.attributes);
      hostile.must_hold(found.record.payload);
      log::AttributeReader attributes(found.record.attributes);
      while (const auto entry = attributes.next()) hostile.must_hold(std::as_bytes(std::span(entry->value)));
    }
    position = found.next_position;
    offset = found.next_offset;
  }
}

}  // namespace

const Target target{seeds, run, 30'000};

}  // namespace penstock::fuzz
