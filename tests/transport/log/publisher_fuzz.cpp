// A producer of a ring whose control block and whose other producers' intents may say anything: what it writes is its
// own intents, the tail, and lines of the ring.
#include "heap_ring.hpp"
#include "tests/support/fuzz.hpp"

namespace penstock::fuzz {
namespace {

using test::HeapRing;

constexpr std::uint64_t kLines = 64;
constexpr std::uint32_t kSlot = 1;

struct Words {
  layout::Pair tail;
  std::uint64_t limit, bound, base_position;
  std::uint64_t disk;     // bit 0: records carry checksums; bit 1: a single producer
  std::uint64_t foreign;  // the slot of which `shape` is told, among those that the tail may name
  std::uint64_t low, high, shape;
  std::uint64_t claims;  // a nibble each: how many lines
};

Bytes input_of(const Words& words) { return Maker().put(words).done(); }

std::vector<Bytes> seeds() {
  Words words{};
  words.tail = pack(layout::TailFields{100, 7, 2});
  words.limit = 100 + kLines;
  words.bound = 1000;
  words.foreign = 2;
  words.low = pack(layout::TailFields{98, 6, 3}).low;
  words.high = pack(layout::TailFields{98, 6, 3}).high;
  words.shape = layout::pack_shape(2, 1, HeapRing::kIncarnation);
  words.claims = 0x123456789abcdef1;
  std::vector<Bytes> out{input_of(words)};
  words.disk = 1;
  words.limit = ~0ull;
  out.push_back(input_of(words));
  words.disk = 3;
  out.push_back(input_of(words));
  words.tail = pack(layout::TailFields{layout::k56, layout::k56, kSlot});  // where the numbers of a tail end
  words.bound = ~0ull;
  out.push_back(input_of(words));
  return out;
}

void must_be_in_ring(const HeapRing& ring, const std::byte* at, std::uint64_t bytes) {
  const std::byte* begin = ring.line(0);
  must(at >= begin && at + bytes <= begin + kLines * layout::kLine, "a claim is inside the ring");
}

void run(Input input) {
  Taker taker(input);
  const auto words = taker.take<Words>();
  HeapRing ring(kLines, words.disk % 2 == 1 ? layout::Durability::disk : layout::Durability::memory,
                words.base_position);
  layout::TopicControl& control = *ring.control();
  control.tail = words.tail;
  control.header.options.single_producer = std::uint8_t(words.disk >> 1 & 1);
  control.limit.store(words.limit);
  control.offset_bound.store(words.bound);
  layout::Intent& intent = ring.handle_page(std::uint32_t(words.foreign % HeapRing::kHandles))->intents[0];
  intent.tail_low.store(words.low);
  intent.tail_high.store(words.high);
  intent.shape.store(words.shape);
  const std::vector<std::byte> before(ring.line(0) - layout::kRingAt, ring.line(0));
  log::Publisher publisher = ring.publisher(kSlot);
  for (std::uint64_t left = words.claims; left != 0; left >>= 4) {
    const std::uint64_t lines = 1 + (left & 15) * 2;
    const log::OpenClaim claim = publisher.claim(lines, 1 + std::uint32_t(left & 1));
    if (claim.fault != log::ClaimFault::none) return;
    must_be_in_ring(ring, reinterpret_cast<const std::byte*>(claim.head), lines * layout::kLine);
    const std::uint64_t bytes = lines * layout::kLine - publisher.head_bytes();
    std::byte* body = publisher.body(claim.position);
    must_be_in_ring(ring, body, bytes);
    std::memset(body, int(left & 0xff), bytes);
    if ((left & 8) != 0) {
      publisher.abort(claim);
      continue;
    }
    publisher.stamp(claim, claim.position, claim.offset, {.time_ns = 1, .payload = std::uint32_t(bytes)});
    publisher.commit(claim);
    log::Look look;
    must(!log::glance(publisher.ring(), claim.position, claim.offset, look) || look.lines == lines,
         "what was committed is found as it was claimed");
  }
  // Of the control block nothing but the tail.
  const std::byte* after = ring.line(0) - layout::kRingAt;
  constexpr std::size_t kTail = offsetof(layout::TopicControl, tail);
  must(std::memcmp(after, before.data(), kTail) == 0, "the header stays");
  constexpr std::size_t kRest = kTail + sizeof(layout::Pair);
  must(std::memcmp(after + kRest, before.data() + kRest, layout::kRingAt - kRest) == 0, "others' words stay");
}

}  // namespace

const Target target{seeds, run, 30'000};

}  // namespace penstock::fuzz
