// Slot files that hold anything, at any length. They are judged without harm, none keeps others from a slot of their
// own, and a slot that nobody locks is proved dead whatever stands in it.
#include "layout/topic.hpp"
#include "shm/handles.hpp"
#include "tests/support/fuzz.hpp"
#include "tests/support/scratch.hpp"

namespace penstock::fuzz {
namespace {

using namespace shm;

constexpr Identity kIdentity{7, 9};
constexpr std::uint32_t kFiles = 3;

Bytes page_of(std::uint32_t incarnation, layout::HandleKind kind) {
  Bytes bytes(layout::kPage);
  auto* page = reinterpret_cast<layout::HandlePage*>(bytes.data());
  page->preamble = preamble(layout::kMagicHandle, sizeof(layout::HandlePage), kIdentity);
  page->incarnation.store(incarnation);
  page->kind.store(std::uint64_t(kind));
  page->intents[0].shape.store(layout::pack_shape(1, 1, incarnation));
  std::memset(page->target.text, 'x', sizeof page->target.text);
  return bytes;
}

// An input is one slot file; a first byte says which of the others are made of the same bytes.
std::vector<Bytes> seeds() {
  std::vector<Bytes> out;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, layout::kPage - 1, layout::kPage, 2 * layout::kPage}) {
    Bytes bytes = page_of(5, layout::HandleKind::producer);
    bytes.resize(size);
    out.push_back(Maker().put(std::uint8_t{1}).put(Input(bytes)).done());
  }
  out.push_back(Maker().put(std::uint8_t{7}).put(Input(page_of(4094, layout::HandleKind::none))).done());
  return out;
}

void run(Input input) {
  static const test::Scratch directory;
  static const std::string files = directory.path() + "/handles";
  std::filesystem::create_directory(files);
  static layout::LiveHeader live;
  Taker taker(input);
  const auto which = taker.take<std::uint8_t>();
  const Input bytes = taker.rest();
  live.handle_slots.store(which % 16 == 15 ? ~0ull : kFiles);
  for (std::uint32_t slot = 0; slot < 2 * kFiles; ++slot) std::filesystem::remove(files + "/" + std::to_string(slot));
  for (std::uint32_t slot = 0; slot < kFiles; ++slot)
    if (slot == 0 || (which >> slot & 1) != 0) test::write_file(files + "/" + std::to_string(slot), bytes);
  Handles handles(directory.path(), kIdentity, &live, Access{}, false);
  must(handles.slots() <= layout::kNoSlot, "slots are bounded");
  const auto copy = handles.copy(0);
  must(!copy || bytes.size() >= sizeof(layout::HandlePage), "a page that is not whole is none");
  must(!handles.alive(0), "nobody holds a file that nobody opened");
  must(handles.dead(0, 5) && handles.dead(0, 6), "a free lock proves death");
  std::unordered_map<std::uint32_t, Mapping> kept;
  if (const layout::HandlePage* page = handles.map(0, kept)) static_cast<void>(page->intents[1].shape.load());

  const auto keep = [&](const HandleCopy& former) { return former.target.size() % 2 == 0; };
  auto one = handles.acquire(layout::HandleKind::producer, 3, "orders", keep);
  auto two = handles.acquire(layout::HandleKind::consumer, 3, "orders", keep);
  must(one && two && one->slot() != two->slot(), "there are slots for others");
  must(handles.alive(one->slot()) && !handles.dead(one->slot(), one->incarnation()), "a living handle is alive");
  const auto seen = handles.copy(one->slot());
  must(seen && seen->incarnation == one->incarnation() && seen->topic_id == 3 && seen->target == "orders",
       "a handle is what was asked for");
  must(one->incarnation() >= 1 && one->incarnation() <= 4094, "an incarnation can be told");
}

}  // namespace

const Target target{seeds, run, 2'000};

}  // namespace penstock::fuzz
