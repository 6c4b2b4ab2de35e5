// A checkpoint whose bytes may be anything: it is refused, or what it restores can be worked with and stored again.
#include "shared_group.hpp"
#include "tests/support/fuzz.hpp"

namespace penstock::fuzz {
namespace {

using namespace group;
using namespace group::testing;

constexpr std::uint64_t kWindow = 64;
constexpr Place kEnd{50, 1100};

std::vector<std::byte> snapshot_of(GroupTopic& group, Instant at) {
  std::vector<std::byte> out;
  group.snapshot(out, at);
  return out;
}

std::vector<Bytes> seeds() {
  std::vector<Bytes> out;
  layout::GroupOptions options;
  options.dedupe = kWindow;
  options.max_attempts = 2;
  for (const bool marks : {false, true}) {
    Mapping mapping(kWindow);
    GroupTopic group = open_view(mapping, options, 1, 1, marks);
    group.start({0, position_of(0)});
    const auto put = [&] { out.push_back(Maker().put(std::uint8_t(marks)).put(snapshot_of(group, kStart)).done()); };
    put();
    for (int i = 0; i < 6; ++i) {
      Lease lease = take_next(group, kStart).lease;
      static_cast<void>(group.admit(lease, kStart));
      if (i == 0) static_cast<void>(group.ack(lease, kStart));
      if (i == 1) static_cast<void>(group.nak(lease, kStart, {"class", "a reason"}));
      if (i == 2) static_cast<void>(group.reject(lease, kStart, {"class", "another"}));
    }
    if (marks) {
      Redrive redrive(group);
      static_cast<void>(redrive.give_back(40, 1080, id_of(40), kStart));
      static_cast<void>(group.mark(7));
    }
    put();
  }
  return out;
}

void run(Input input) {
  Taker taker(input);
  const bool marks = taker.take<std::uint8_t>() % 2 == 1;
  layout::GroupOptions options;
  options.dedupe = kWindow;
  Mapping mapping(kWindow);
  GroupTopic group = open_view(mapping, options, 1, 1, marks);
  const Instant now(kStart, kStart + kSecond);
  if (!group.restore(taker.rest(), kEnd, now)) return;
  must(!group.started() || group.cursor().offset <= kEnd.offset, "a cursor is not beyond the log");
  group.for_each_pending([](const CellView& cell) {
    must(cell.offset < kEnd.offset, "nothing is pending that the log has not");
    return true;
  });
  const std::vector<std::byte> again = snapshot_of(group, now);
  Mapping other(kWindow);
  GroupTopic second = open_view(other, options, 1, 1, marks);
  must(second.restore(again, kEnd, now).has_value(), "what was restored can be stored and restored");
  must(second.info().waiting == group.info().waiting && second.info().dead == group.info().dead, "with all it had");
  group.sweep(now, kNobodyIsDead);
  for (int i = 0; i < 3; ++i) {
    const auto due = group.take_due(now);
    if (!due || due->outcome != Outcome::lease) break;
    Lease lease = due->lease;
    static_cast<void>(group.admit(lease, now));
    static_cast<void>(group.ack(lease, now));
  }
}

}  // namespace

const Target target{seeds, run, 5'000};

}  // namespace penstock::fuzz
