// A member of a group whose pages another member scribbles on between any two of its calls. Nothing may crash, hang, or
// touch what lies outside the mapping; what is asked for may be refused, and the group's own progress may suffer.
#include "shared_group.hpp"
#include "tests/support/fuzz.hpp"

namespace penstock::fuzz {
namespace {

using namespace group;
using namespace group::testing;

constexpr std::uint64_t kWindow = 64;
constexpr std::uint32_t kCells = 256;  // what a scribbler may claim to be allocated, so that a round stays short

enum class Op : std::uint8_t {
  word,     // a word of the control page
  cell,     // a word of a cell
  entry,    // a word of the dedupe window
  bits,     // a word of `occupied` or `due`
  note,     // a word of a note
  options,  // a byte of the group's options
  fresh,    // take what the cursor names
  due,      // take what is due
  ack,
  nak,
  reject,
  release,
  park,
  extend,
  admit,
  settle,  // as a duplicate or overdue
  sweep,
  skip,
  seek,
  letters,
  snapshot,
  look,
  time,
  count,
};

struct Step {
  Op op;
  std::uint8_t a;
  std::uint16_t b;
  std::uint32_t c;
  std::uint64_t value;
};
static_assert(sizeof(Step) == 16);

Bytes input_of(const std::vector<Step>& steps) {
  Maker maker;
  for (const Step& step : steps) maker.put(step);
  return maker.done();
}

std::vector<Bytes> seeds() {
  std::vector<Bytes> out;
  out.push_back(input_of({{Op::fresh, 0, 0, 0, 0},
                          {Op::admit, 0, 0, 0, 0},
                          {Op::ack, 0, 0, 0, 0},
                          {Op::fresh, 0, 0, 0, 0},
                          {Op::nak, 0, 0, 0, 5},
                          {Op::time, 0, 0, 0, 2'000'000'000},
                          {Op::due, 0, 0, 0, 0},
                          {Op::extend, 0, 0, 0, 1'000'000},
                          {Op::reject, 0, 0, 0, 0},
                          {Op::letters, 0, 0, 0, 0},
                          {Op::fresh, 1, 0, 0, 0},
                          {Op::sweep, 0, 0, 0, 2},
                          {Op::look, 0, 0, 0, 0},
                          {Op::snapshot, 0, 0, 0, 0}}));
  out.push_back(input_of({{Op::fresh, 0, 0, 0, 0},
                          {Op::fresh, 1, 0, 0, 0},
                          {Op::admit, 1, 0, 0, 0},
                          {Op::park, 0, 0, 0, 77},
                          {Op::release, 0, 0, 0, 0},
                          {Op::skip, 0, 0, 3, 9},
                          {Op::settle, 0, 0, 0, 0},
                          {Op::sweep, 0, 0, 0, 1},
                          {Op::seek, 1, 0, 4, 9},
                          {Op::snapshot, 0, 0, 0, 0}}));
  // Each state that a cell can say it is in, under a member that looks at everything.
  for (std::uint64_t state = 0; state < 8; ++state) {
    layout::CellFields fields;
    fields.slot = 3;
    const std::uint64_t word = pack(fields) | state;
    out.push_back(input_of({{Op::fresh, 0, 0, 0, 0},
                            {Op::cell, 0, 1, 0, word},
                            {Op::cell, 1, 1, 0, ~0ull},
                            {Op::bits, 0, 0, 0, ~0ull},
                            {Op::bits, 1, 0, 0, 0},
                            {Op::due, 0, 0, 0, 0},
                            {Op::sweep, 0, 0, 0, ~0ull},
                            {Op::look, 0, 0, 0, 0},
                            {Op::letters, 0, 0, 0, 0},
                            {Op::snapshot, 0, 0, 0, 0},
                            {Op::seek, 0, 0, 0, 0}}));
  }
  const std::uint64_t done = layout::pack_done(5);
  out.push_back(input_of({{Op::fresh, 0, 0, 0, 0},
                          {Op::admit, 0, 0, 0, 0},
                          {Op::entry, 0, 0, 0, done},
                          {Op::entry, 1, 0, 0, 1ull << 63},  // done before all time
                          {Op::fresh, 0, 0, 0, 0},
                          {Op::admit, 0, 0, 0, 0},
                          {Op::snapshot, 0, 0, 0, 0},
                          {Op::word, 0, (layout::kPage + 3 * layout::kFalseShare) / 8, 0, 1ull << 63},  // in_flight
                          {Op::sweep, 0, 0, 0, 0}}));
  return out;
}

// The mapping is as sparse as the file; its neighbours in memory cannot be touched.
class Guarded {
 public:
  Guarded() : size_(file_bytes(dedupe_entries_for(kWindow))) {
    void* at = mmap(nullptr, size_ + 2 * kGuard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    must(at != MAP_FAILED, "there is memory");
    base_ = static_cast<std::byte*>(at) + kGuard;
    must(mprotect(base_, size_, PROT_READ | PROT_WRITE) == 0, "it can be opened");
    format({base_, size_}, 1, 2, 3, 4, dedupe_entries_for(kWindow), "group", "topic");
  }
  ~Guarded() { munmap(base_ - kGuard, size_ + 2 * kGuard); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  std::span<std::byte> bytes() const { return {base_, size_}; }
  void put(std::size_t at, std::uint64_t value) const {
    std::memcpy(base_ + at / 8 * 8 % (size_ - 8), &value, sizeof value);
  }

 private:
  static constexpr std::size_t kGuard = 1ull << 30;
  std::size_t size_;
  std::byte* base_;
};

class Member {
 public:
  Member(const Guarded& mapping, const layout::GroupOptions& options, std::uint32_t slot) {
    Setup setup;
    setup.member = {slot, 1};
    setup.options = &options;
    setup.marks = slot == 2;
    setup.allocate = [size = mapping.bytes().size()](std::size_t offset, std::size_t bytes) {
      must(offset <= size && bytes <= size - offset, "what is allocated is the file's");
      return true;
    };
    if (auto opened = GroupTopic::open(mapping.bytes(), std::move(setup))) view_.emplace(std::move(*opened));
  }
  GroupTopic* view() { return view_ ? &*view_ : nullptr; }
  void keep(const Result<Taken>& taken) {
    if (!taken || taken->outcome != Outcome::lease) return;
    must(taken->lease.cell < layout::kCellsMax, "a lease has a cell");
    lease = taken->lease;
  }
  Lease lease;

 private:
  std::optional<GroupTopic> view_;
};

class Round {
 public:
  explicit Round(Taker taker) : taker_(taker) { options_.dedupe = kWindow; }

  void run() {
    a_.emplace(mapping_, options_, 1);
    b_.emplace(mapping_, options_, 2);
    a_->view()->start({0, position_of(0)});
    for (int steps = 0; steps < 64 && !taker_.empty(); ++steps) step(taker_.take<Step>());
    // Any length that the file may have been cut to.
    const std::size_t most = mapping_.bytes().size();
    const std::size_t length = std::size_t(now_) % (most + 1);
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, layout::kPage - 1, layout::kPage, length, most - 1})
      static_cast<void>(GroupTopic::open(mapping_.bytes().first(size), {.options = &options_}));
  }

 private:
  void scribble(const Step& step) {
    using layout::kPage;
    switch (step.op) {
      case Op::word: {
        const std::size_t at = step.b * 8u % (2 * kPage);
        const bool allocated = at >= offsetof(layout::GroupTopicControl, cells_allocated) &&
                               at < offsetof(layout::GroupTopicControl, started);
        // A header is read once, when it is opened; and what it says has to stay within what may be touched quickly.
        mapping_.put(at, allocated ? step.value % (kCells + 1) : step.value);
        break;
      }
      case Op::cell:
        mapping_.put(layout::kCellsAt + step.b % kCells * 64u + step.a % 8 * 8u, step.value);
        break;
      case Op::entry:
        mapping_.put(layout::kDedupeAt + step.b % 256 * 32u + step.a % 4 * 8u, step.value);
        break;
      case Op::bits: {
        const std::size_t due = offsetof(layout::GroupTopicControl, due);
        const std::size_t occupied = offsetof(layout::GroupTopicControl, occupied);
        mapping_.put((step.a % 2 == 0 ? occupied : due) + step.b % (kCells / 64) * 8u, step.value);
        break;
      }
      case Op::note:
        mapping_.put(layout::kNotesAt + step.b % kCells * 1024u + step.c % 1024, step.value);
        break;
      default:
        std::memset(reinterpret_cast<char*>(&options_) + step.b % sizeof options_, int(step.value & 0xff), 1);
        break;
    }
  }

  void step(const Step& step) {
    if (step.op <= Op::options) return scribble(step);
    Member& member = step.a % 2 == 0 ? *a_ : *b_;
    GroupTopic& group = *member.view();
    const Lease& lease = member.lease;
    const IsDead dead = [&](std::uint32_t slot, std::uint32_t) { return (step.value >> (slot % 64) & 1) != 0; };
    switch (step.op) {
      case Op::fresh: {
        const layout::CursorFields cursor = group.cursor();
        member.keep(group.take_fresh(
            cursor, {cursor.offset, cursor.position, cursor.offset + 1, cursor.position + 2, id_of(step.c % 4)}, now_));
        break;
      }
      case Op::due:
        for (int most = 0; most < 3; ++most) member.keep(group.take_due(now_));
        break;
      case Op::ack:
        static_cast<void>(group.ack(lease, now_));
        break;
      case Op::nak:
        static_cast<void>(group.nak(lease, now_, {"class", "reason"}));
        break;
      case Op::reject:
        static_cast<void>(group.reject(lease, now_, {"class", "reason"}));
        break;
      case Op::release:
        static_cast<void>(group.release(lease, now_));
        break;
      case Op::park:
        static_cast<void>(group.park(lease, std::int64_t(step.value)));
        break;
      case Op::extend:
        if (auto longer = group.extend(lease, now_, std::int64_t(step.value))) member.lease = *longer;
        break;
      case Op::admit:
        static_cast<void>(group.admit(member.lease, now_));
        static_cast<void>(group.remembered(member.lease.id, now_));
        break;
      case Op::settle:
        static_cast<void>(step.b % 2 == 0 ? group.settle_duplicate(lease) : group.settle_overdue(lease));
        break;
      case Op::sweep:
        group.sweep(now_, dead);
        break;
      case Op::skip:
        group.skip(group.cursor(), {step.c, step.value}, GroupTopic::Skip::gap);
        break;
      case Op::seek:
        group.seek({step.c, step.value % (1ull << 40)}, step.b % 2 == 1);
        break;
      case Op::letters:
        letters(group, step);
        break;
      case Op::snapshot: {
        std::vector<std::byte> bytes;
        group.snapshot(bytes, now_);
        break;
      }
      case Op::look:
        static_cast<void>(group.info());
        static_cast<void>(group.committed());
        group.for_each_pending([&](const CellView& cell) {
          static_cast<void>(group.note(cell));
          return true;
        });
        break;
      case Op::time:
        now_ += std::int64_t(step.value % (1ull << 40));
        break;
      default:
        break;
    }
  }

  void letters(GroupTopic& group, const Step& step) {
    group.for_each_dead([&](const CellView& cell) {
      static_cast<void>(group.note(cell));
      static_cast<void>(group.settle_dead(cell.cell, cell.state));
      return true;
    });
    static_cast<void>(group.settle_dead(step.c, {step.value, 0}));
    GroupTopic& own = *b_->view();
    Redrive redrive(own);
    static_cast<void>(redrive.give_back(step.c % (1u << 20), 1, id_of(1), now_));
    static_cast<void>(own.marked(step.value));
    static_cast<void>(own.mark(step.c));
  }

  Taker taker_;
  layout::GroupOptions options_;
  Guarded mapping_;
  std::optional<fuzz::Member> a_, b_;
  std::int64_t now_ = kStart;
};

void run(Input input) { Round(Taker(input)).run(); }

}  // namespace

const Target target{seeds, run, 10'000};

}  // namespace penstock::fuzz
