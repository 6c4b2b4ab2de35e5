// Memory orders of publishing, reading, waiting and making room, each as small as it can be. See relacy.hpp.
#include "relacy.hpp"

namespace penstock::models {
namespace {

using rl::memory_order;
using rl::mo_acquire;
using rl::mo_relaxed;
using rl::mo_release;
using rl::mo_seq_cst;

enum : unsigned { kClaimed = 1, kCommitted = 3 };

// Publisher::open() and commit(), glance(): the line of a lap before says COMMITTED. The body is plain memory: reading
// it before it is published is a race.
// `at_once` is Publisher::put(), where the tag commits.
enum class Publish {
  as_built,
  tag_relaxed,
  commit_relaxed,
  tag_before_word,
  word_before_tag_read,
  tag_read_relaxed,
  at_once,
  at_once_relaxed
};
template <Publish how>
struct PublishModel : rl::test_suite<PublishModel<how>, 2> {
  rl::atomic<unsigned> word, tag;
  rl::var<unsigned> body;
  void before() {
    word($).store(kCommitted | 1 << 8, mo_relaxed);
    tag($).store(1, mo_relaxed);
    body($) = 1;
  }
  void thread(unsigned index) {
    if (index == 0 && (how == Publish::at_once || how == Publish::at_once_relaxed)) {
      word($).store(kCommitted | 2 << 8, mo_relaxed);
      body($) = 2;
      tag($).store(2, how == Publish::at_once ? mo_release : mo_relaxed);
      return;
    }
    if (index == 0) {
      const memory_order release = how == Publish::tag_relaxed ? mo_relaxed : mo_release;
      if (how == Publish::tag_before_word) tag($).store(2, release);
      word($).store(kClaimed | 2 << 8, mo_relaxed);
      if (how != Publish::tag_before_word) tag($).store(2, release);
      body($) = 2;
      word($).store(kCommitted | 2 << 8, how == Publish::commit_relaxed ? mo_relaxed : mo_seq_cst);
      return;
    }
    // The generation is left out: it is the order of tag and word that this is about.
    unsigned early = 0;
    if (how == Publish::word_before_tag_read) early = word($).load(mo_acquire);
    if (tag($).load(how == Publish::tag_read_relaxed ? mo_relaxed : mo_acquire) != 2) return;
    const unsigned seen = how == Publish::word_before_tag_read ? early : word($).load(mo_acquire);
    if ((seen & 0xff) == kCommitted) RL_ASSERT(body($) == 2);
  }
};

// Ring::intact(): a reader copies and then asks whether a claim reached its line. Bytes are relaxed atomics here, since
// the copy is a race by intention.
enum class Copy { as_built, no_fence, bytes_before_tail };
template <Copy how>
struct CopyModel : rl::test_suite<CopyModel<how>, 2> {
  rl::atomic<unsigned> tail, first, second;
  void before() {
    tail($).store(0, mo_relaxed);
    first($).store(1, mo_relaxed);
    second($).store(1, mo_relaxed);
  }
  void thread(unsigned index) {
    if (index == 0) {
      unsigned expected = 0;
      if (how == Copy::bytes_before_tail) first($).store(2, mo_relaxed);
      tail($).compare_exchange_strong(expected, 1, mo_seq_cst);
      // The header's first word; x86-64 orders these stores after the locked instruction, in C++ a fence says so.
      rl::atomic_thread_fence(mo_release, $);
      first($).store(2, mo_relaxed);
      second($).store(2, mo_relaxed);
      return;
    }
    const unsigned a = first($).load(mo_relaxed), b = second($).load(mo_relaxed);
    if (how != Copy::no_fence) rl::atomic_thread_fence(mo_acquire, $);
    if (tail($).load(mo_relaxed) == 0) RL_ASSERT(a == 1 && b == 1);
  }
};

// take() and link_to(): the intent is complete before the claim is visible, and who reads its shape first reads halves
// that belong to it. Two intents one after the other in one entry; the first lost its race.
enum class Intent { as_built, shape_relaxed, shape_read_relaxed };
template <Intent how>
struct IntentModel : rl::test_suite<IntentModel<how>, 2> {
  rl::atomic<unsigned> tail, low, high, shape;
  void before() {
    tail($).store(5, mo_relaxed);
    low($).store(0, mo_relaxed);
    high($).store(0, mo_relaxed);
    shape($).store(0, mo_relaxed);
  }
  void write(unsigned position, unsigned lines) {
    shape($).store(0, mo_relaxed);
    low($).store(position, mo_release);
    high($).store(position, mo_release);
    shape($).store(lines, how == Intent::shape_relaxed ? mo_relaxed : mo_release);
  }
  void thread(unsigned index) {
    if (index == 0) {
      write(3, 2);  // reads like a claim that ends at 5; it lost
      write(5, 1);
      unsigned expected = 5;
      tail($).compare_exchange_strong(expected, 6, mo_seq_cst);
      return;
    }
    const unsigned end = tail($).load(mo_seq_cst);
    const unsigned lines = shape($).load(how == Intent::shape_read_relaxed ? mo_relaxed : mo_acquire);
    const unsigned at = low($).load(mo_relaxed), again = high($).load(mo_relaxed);
    // Once the claim is in the tail its intent is whole, and as long as the tail stands it stays.
    if (end == 6) RL_ASSERT(lines == 1 && at == 5 && again == 5);
    // A shape comes with its halves, or later ones.
    if (lines == 1) RL_ASSERT(at == 5 && again == 5);
  }
};

// Producer::commit() and a sleeper: either the producer sees the sleeper's bit or the sleeper sees the commit.
enum class Wait { as_built, commit_release, mask_relaxed, look_before_listen };
template <Wait how>
struct WaitModel : rl::test_suite<WaitModel<how>, 2> {
  rl::atomic<unsigned> word, mask;
  unsigned woken = 0, slept = 0;
  void before() {
    word($).store(kClaimed, mo_relaxed);
    mask($).store(0, mo_relaxed);
    woken = slept = 0;
  }
  void thread(unsigned index) {
    if (index == 0) {
      word($).store(kCommitted, how == Wait::commit_release ? mo_release : mo_seq_cst);
      woken = mask($).load(how == Wait::mask_relaxed ? mo_relaxed : mo_seq_cst);
      return;
    }
    unsigned seen = kClaimed;
    if (how == Wait::look_before_listen) seen = word($).load(mo_seq_cst);
    mask($).fetch_or(1, mo_seq_cst);
    // glance() loads with acquire, which after a locked instruction is as good on x86-64; C++ asks for more.
    if (how != Wait::look_before_listen) seen = word($).load(mo_seq_cst);
    slept = seen != kCommitted;
  }
  void after() { RL_ASSERT(!slept || woken); }
};

// A sleeper's bit, its doorbell and the waker's swap: who goes to sleep on the doorbell's value has its bit in the
// mask, or the doorbell is raised after the value was read. The bit is still set from an earlier sleep.
enum class Bell { as_built, read_after_listen };
template <Bell how>
struct BellModel : rl::test_suite<BellModel<how>, 2> {
  rl::atomic<unsigned> mask, bell;
  unsigned seen = 0;
  void before() {
    mask($).store(1, mo_relaxed);
    bell($).store(0, mo_relaxed);
  }
  void thread(unsigned index) {
    if (index == 0) {
      if (mask($).exchange(0, mo_seq_cst) != 0) bell($).fetch_add(1, mo_seq_cst);
      return;
    }
    if (how == Bell::as_built) seen = bell($).load(mo_seq_cst);
    if (mask($).load(mo_seq_cst) == 0) mask($).fetch_or(1, mo_seq_cst);
    if (how == Bell::read_after_listen) seen = bell($).load(mo_seq_cst);
  }
  void after() { RL_ASSERT(mask($).load(mo_seq_cst) != 0 || bell($).load(mo_seq_cst) != seen); }
};

// make_room() and Reader::add(): the mover announces, fences, looks at the pin; the reader stores its pin, looks at
// what was announced. Not both may miss the other. The pin is read by a system call: seq_cst here.
enum class Pin { as_built, no_fence, pin_release, announced_late };
template <Pin how>
struct PinModel : rl::test_suite<PinModel<how>, 2> {
  rl::atomic<unsigned> reclaim, pin;
  rl::var<unsigned> line;
  void before() {
    reclaim($).store(0, mo_relaxed);
    pin($).store(9, mo_relaxed);
    line($) = 1;
  }
  void thread(unsigned index) {
    if (index == 0) {
      unsigned expected = 0;
      const bool weak = how == Pin::no_fence;
      if (how != Pin::announced_late) reclaim($).compare_exchange_strong(expected, 1, weak ? mo_relaxed : mo_seq_cst);
      if (!weak) rl::atomic_thread_fence(mo_seq_cst, $);
      const unsigned seen = pin($).load(weak ? mo_acquire : mo_seq_cst);
      if (how == Pin::announced_late) reclaim($).compare_exchange_strong(expected, 1, mo_seq_cst);
      if (seen >= 1) line($) = 2;  // the line at 0 is given back and overwritten
      return;
    }
    pin($).store(0, how == Pin::pin_release ? mo_release : mo_seq_cst);
    if (reclaim($).load(mo_seq_cst) > 0) return;
    RL_ASSERT(line($) == 1);
    pin($).store(1, mo_release);  // read: from here on the line is anybody's
  }
};

// The limit: what a reader read before it moved its pin is not what the producer writes after it saw the limit.
enum class Limit { as_built, limit_relaxed, pin_relaxed };
template <Limit how>
struct LimitModel : rl::test_suite<LimitModel<how>, 3> {
  rl::atomic<unsigned> pin, limit;
  rl::var<unsigned> line;
  void before() {
    pin($).store(0, mo_relaxed);
    limit($).store(0, mo_relaxed);
    line($) = 1;
  }
  void thread(unsigned index) {
    if (index == 0) {
      RL_ASSERT(line($) == 1);
      pin($).store(1, how == Limit::pin_relaxed ? mo_relaxed : mo_release);
    } else if (index == 1) {
      if (pin($).load(mo_acquire) == 1) {
        unsigned expected = 0;
        limit($).compare_exchange_strong(expected, 1, mo_seq_cst);
      }
    } else if (limit($).load(how == Limit::limit_relaxed ? mo_relaxed : mo_acquire) == 1) {
      line($) = 2;
    }
  }
};

// A topic of one producer: header, body, commit, and the tail last, in one store. Who finds the tail moved finds the
// header. (Bytes before the tail: that is a mutant of the copy above, so there the tail alone cannot say that a copy is
// whole.)
enum class Single { as_built, tail_relaxed, tail_first };
template <Single how>
struct SingleModel : rl::test_suite<SingleModel<how>, 2> {
  rl::atomic<unsigned> tag, word, tail;
  rl::var<unsigned> body;
  void before() {
    tag($).store(0, mo_relaxed);
    word($).store(0, mo_relaxed);
    tail($).store(0, mo_relaxed);
    body($) = 0;
  }
  void thread(unsigned index) {
    if (index == 0) {
      if (how == Single::tail_first) tail($).store(1, mo_release);
      word($).store(kClaimed, mo_relaxed);
      tag($).store(1, mo_release);
      body($) = 1;
      word($).store(kCommitted, mo_seq_cst);
      if (how != Single::tail_first) tail($).store(1, how == Single::tail_relaxed ? mo_relaxed : mo_release);
      return;
    }
    if (tail($).load(mo_seq_cst) == 1) RL_ASSERT(tag($).load(mo_acquire) == 1);
    if (tag($).load(mo_acquire) == 1 && word($).load(mo_acquire) == kCommitted) RL_ASSERT(body($) == 1);
  }
};

int run() {
  Report report;
  report.holds<PublishModel<Publish::as_built>>("publish");
  report.fails<PublishModel<Publish::tag_relaxed>>("publish: the tag without release");
  report.fails<PublishModel<Publish::commit_relaxed>>("publish: the commit without release");
  report.fails<PublishModel<Publish::tag_before_word>>("publish: the tag before the word");
  report.fails<PublishModel<Publish::word_before_tag_read>>("publish: the word read before the tag");
  report.fails<PublishModel<Publish::tag_read_relaxed>>("publish: the tag read without acquire");
  report.holds<PublishModel<Publish::at_once>>("publish: at once");
  report.fails<PublishModel<Publish::at_once_relaxed>>("publish: at once, the tag without release");
  report.holds<CopyModel<Copy::as_built>>("copy");
  report.fails<CopyModel<Copy::no_fence>>("copy: no fence between copy and tail");
  report.fails<CopyModel<Copy::bytes_before_tail>>("copy: bytes before the tail");
  report.holds<IntentModel<Intent::as_built>>("intent");
  report.fails<IntentModel<Intent::shape_relaxed>>("intent: the shape without release");
  report.fails<IntentModel<Intent::shape_read_relaxed>>("intent: the shape read without acquire");
  report.holds<WaitModel<Wait::as_built>>("wait");
  report.fails<WaitModel<Wait::commit_release>>("wait: the commit with release alone");
  report.fails<WaitModel<Wait::mask_relaxed>>("wait: the mask read relaxed");
  report.fails<WaitModel<Wait::look_before_listen>>("wait: no look after listening");
  report.holds<BellModel<Bell::as_built>>("bell");
  report.fails<BellModel<Bell::read_after_listen>>("bell: read after listening");
  report.holds<PinModel<Pin::as_built>>("pin");
  report.fails<PinModel<Pin::no_fence>>("pin: no fence");
  report.fails<PinModel<Pin::pin_release>>("pin: stored with release alone");
  report.fails<PinModel<Pin::announced_late>>("pin: announced after the look");
  report.holds<LimitModel<Limit::as_built>>("limit");
  report.fails<LimitModel<Limit::limit_relaxed>>("limit: read without acquire");
  report.fails<LimitModel<Limit::pin_relaxed>>("limit: the pin without release");
  report.holds<SingleModel<Single::as_built>>("single");
  report.fails<SingleModel<Single::tail_relaxed>>("single: the tail without release");
  report.fails<SingleModel<Single::tail_first>>("single: the tail first");
  return report.failed;
}

}  // namespace
}  // namespace penstock::models

int main() { return penstock::models::run() == 0 ? 0 : 1; }
