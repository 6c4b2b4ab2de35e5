// The judge of histories, given histories made by hand: right ones, and each kind of wrong one.
#include "group_history.hpp"

#include <gtest/gtest.h>

namespace penstock::test {
namespace {

constexpr std::int64_t kMs = 1'000'000;

// A history as it is written down, a tenth of a millisecond from note to note; leases last ten milliseconds.
class Story {
 public:
  History history;

  std::uint64_t event(const std::string& key = {}, const std::string& id = {}) {
    const std::uint64_t offset = history.events.size();
    history.events.push_back({offset, offset * 7, key, id});
    Note told;
    told.what = What::told;
    told.offset = offset;
    told.number = offset * 7;
    write(told);
    return offset;
  }
  Note take(std::uint64_t offset, std::uint32_t attempt = 1, std::uint32_t member = 1, std::uint32_t redrives = 0) {
    Note note;
    note.what = What::begun;
    note.member = member;
    note.process = 100 + member;
    note.offset = offset;
    note.redrives = redrives;
    note.attempt = attempt;
    note.since = history.notes.size();
    note.asked = now_;
    note.lease = write(note);
    return note;
  }
  void call(Note of, Call call, std::int64_t delay = -1) {
    of.what = What::calling;
    of.call = call;
    of.delay = delay;
    write(of);
  }
  void returned(Note of, Call call, bool accepted = true) {
    of.what = What::returned;
    of.call = call;
    of.accepted = accepted;
    write(of);
  }
  void settle(const Note& of, Call what, bool accepted = true, std::int64_t delay = -1) {
    call(of, what, delay);
    returned(of, what, accepted);
    pass(what == Call::nak ? 5 * kMs : 0);
  }
  void letter(const Note& last, const std::string& disposition, std::uint32_t attempts, Call why = Call::nak) {
    const LoggedEvent& event = history.events[last.offset];
    LoggedLetter letter;
    letter.offset = last.offset, letter.redrives = last.redrives, letter.attempts = attempts;
    letter.number = event.number, letter.key = event.key, letter.id = event.id, letter.topic = history.topic;
    letter.disposition = disposition, letter.error_class = class_of(why), letter.reason = reason_of(last.lease);
    letter.process = last.process;
    history.letters.push_back(letter);
  }
  void note(What what, std::uint32_t member = 0) {
    Note note;
    note.what = what;
    note.member = member;
    write(note);
  }
  void redrive(const Note& last) {
    Note note = last;
    note.what = What::redriving;
    write(note);
    note.what = What::redriven;
    note.accepted = true;
    write(note);
    for (LoggedLetter& letter : history.letters)
      if (letter.offset == last.offset && letter.redrives == last.redrives) letter.shown = false;
  }
  void pass(std::int64_t time) { now_ += time; }

  // What the judge has to say; nothing when it is right.
  std::string wrong() const {
    std::string out;
    for (const std::string& one : judge(history).wrong) out += one + "\n";
    return out;
  }

 private:
  std::uint64_t write(Note note) {
    now_ += kMs / 10;
    note.time = now_;
    history.notes.push_back(note);
    return history.notes.size() - 1;
  }
  std::int64_t now_ = kMs;
};

#define EXPECT_WRONG(story, text) EXPECT_NE((story).wrong().find(text), std::string::npos) << (story).wrong()
#define EXPECT_RIGHT(story) EXPECT_EQ((story).wrong(), "")

// An event that failed three times, and its letter.
Note die(Story& story, std::uint64_t offset, std::uint32_t redrives = 0) {
  Note last;
  for (std::uint32_t attempt = 1; attempt <= 3; ++attempt) {
    last = story.take(offset, attempt, 1, redrives);
    story.settle(last, Call::nak);
  }
  story.letter(last, "attempts", 3);
  return last;
}

TEST(GroupHistory, EverySettlementIsRightInItsPlace) {
  Story story;
  const auto offset = story.event("key");
  story.settle(story.take(offset), Call::release);
  const Note longer = story.take(offset);
  story.settle(longer, Call::extend, true, 30 * kMs);
  story.pass(20 * kMs);
  story.settle(longer, Call::nak);
  story.settle(story.take(offset, 2), Call::ack);
  const Note last = die(story, story.event("key"));
  story.redrive(last);
  story.settle(story.take(last.offset, 1, 1, 1), Call::ack);
  EXPECT_RIGHT(story);
}

TEST(GroupHistory, LostEventIsReported) {
  Story story;
  story.settle(story.take(story.event()), Call::ack);
  const auto offset = story.event();
  EXPECT_WRONG(story, "offset 1 was never delivered");
  story.settle(story.take(offset), Call::nak);
  EXPECT_WRONG(story, "offset 1 was lost");
}

TEST(GroupHistory, EventThatAProducerWasToldOfIsInTheLog) {
  Story story;
  story.settle(story.take(story.event()), Call::ack);
  story.history.events[0].number = 99;
  EXPECT_WRONG(story, "told to a producer");
}

TEST(GroupHistory, OrderBrokenWithinAKeyIsReported) {
  for (const Ordering ordering : {Ordering::parallel, Ordering::key, Ordering::strict}) {
    for (const std::string key : {"a", "b"}) {
      Story story;
      story.history.ordering = ordering;
      const auto first = story.event("a"), second = story.event(key);
      const Note one = story.take(first), other = story.take(second, 1, 2);
      story.settle(other, Call::ack);
      story.settle(one, Call::ack);
      if (ordering == Ordering::strict || (ordering == Ordering::key && key == "a"))
        EXPECT_WRONG(story, "offset 1 was delivered before an earlier event");
      else
        EXPECT_RIGHT(story);
    }
  }
}

TEST(GroupHistory, LaterEventOfAKeyWaitsForARetry) {
  Story story;
  story.history.ordering = Ordering::key;
  const auto first = story.event("a"), second = story.event("a");
  story.settle(story.take(first), Call::nak);
  story.settle(story.take(second), Call::ack);
  story.settle(story.take(first, 2), Call::ack);
  EXPECT_WRONG(story, "offset 1 was delivered before an earlier event");
}

TEST(GroupHistory, ExtraAttemptIsReported) {
  Story story;
  const auto offset = story.event();
  story.settle(story.take(offset), Call::release);
  story.settle(story.take(offset, 2), Call::ack);
  EXPECT_WRONG(story, "was delivered as attempt 2 after 0 failures");
}

TEST(GroupHistory, AttemptThatWasNotCountedIsReported) {
  Story story;
  const auto offset = story.event();
  story.settle(story.take(offset), Call::nak);
  story.settle(story.take(offset, 1), Call::ack);
  EXPECT_WRONG(story, "was delivered as attempt 1 after 1 failure");
}

TEST(GroupHistory, DeathCountsForWhatWasExecuting) {
  for (const std::uint32_t attempt : {1u, 2u}) {
    Story story;
    const auto offset = story.event(), other = story.event();
    story.settle(story.take(other), Call::release);
    story.take(offset);
    story.note(What::dying, 1);
    story.note(What::died, 1);
    story.settle(story.take(offset, 2, 2), Call::ack);
    story.settle(story.take(other, attempt, 2), Call::ack);
    if (attempt == 1)
      EXPECT_RIGHT(story);
    else
      EXPECT_WRONG(story, "offset 1 was delivered as attempt 2 after 0 failures");
  }
}

TEST(GroupHistory, WhatAMemberWasGivenUnseenIsOneLease) {
  for (const int events : {1, 2}) {
    Story story;
    std::vector<std::uint64_t> offsets;
    for (int i = 0; i < events; ++i) offsets.push_back(story.event());
    story.note(What::dying, 1);
    story.note(What::died, 1);
    story.history.notes.back().count = 1;  // it was searching
    for (const auto offset : offsets) story.settle(story.take(offset, 2, 2), Call::ack);
    if (events == 1)
      EXPECT_RIGHT(story);
    else
      EXPECT_WRONG(story, "2 failures have no lease");
  }
}

TEST(GroupHistory, TwoSuccessesForOneIdAreReported) {
  Story story;
  const auto one = story.event("", "id"), copy = story.event("", "id");
  story.settle(story.take(one), Call::ack);
  EXPECT_RIGHT(story);
  EXPECT_EQ(judge(story.history).skipped, 1u);
  story.settle(story.take(copy), Call::ack);
  EXPECT_WRONG(story, "id id was processed with success 2 times");
}

TEST(GroupHistory, CopyIsSkippedOnlyForASuccess) {
  Story story;
  die(story, story.event("", "id"));
  story.event("", "id");
  EXPECT_WRONG(story, "or a copy was never delivered");
}

TEST(GroupHistory, MissingLetterIsReported) {
  Story story;
  die(story, story.event());
  EXPECT_RIGHT(story);
  story.history.letters.clear();
  EXPECT_WRONG(story, "died and is no dead letter");
}

TEST(GroupHistory, LetterTwiceIsReported) {
  Story story;
  die(story, story.event());
  story.history.letters.push_back(story.history.letters[0]);
  EXPECT_WRONG(story, "is in the dead-letter queue twice");
}

TEST(GroupHistory, LetterOfAnEventThatLivesIsReported) {
  Story story;
  const Note lease = story.take(story.event());
  story.settle(lease, Call::ack);
  story.letter(lease, "attempts", 1);
  EXPECT_WRONG(story, "was acked and is a dead letter");
}

TEST(GroupHistory, LetterBeforeTheLastAttemptIsReported) {
  Story story;
  const Note lease = story.take(story.event());
  story.settle(lease, Call::nak);
  story.letter(lease, "attempts", 1);
  EXPECT_WRONG(story, "is a dead letter, and should not be");
}

TEST(GroupHistory, LetterSaysWhatHappened) {
  Story story;
  die(story, story.event("key", "id"));
  const auto with = [&story](auto&& change) {
    Story changed = story;
    change(changed.history.letters[0]);
    return changed;
  };
  EXPECT_WRONG(with([](auto& letter) { letter.attempts = 2; }), "2 attempts after 3 failures");
  EXPECT_WRONG(with([](auto& letter) { letter.disposition = "rejected"; }), "disposition rejected");
  EXPECT_WRONG(with([](auto& letter) { letter.disposition = "crash"; }), "disposition crash");
  EXPECT_WRONG(with([](auto& letter) { letter.reason = "lease 1"; }), "with the reason");
  EXPECT_WRONG(with([](auto& letter) { letter.error_class = "never"; }), "with the reason");
  EXPECT_WRONG(with([](auto& letter) { letter.key = "other"; }), "another key");
  EXPECT_WRONG(with([](auto& letter) { letter.id = ""; }), "another key, id");
  EXPECT_WRONG(with([](auto& letter) { letter.number += 1; }), "or payload");
  EXPECT_WRONG(with([](auto& letter) { letter.offset = 5; }), "is not in the log");
  EXPECT_WRONG(with([](auto& letter) { letter.topic = "other"; }), "of topic other");
  EXPECT_WRONG(with([](auto& letter) { letter.process = 102; }), "of process 102");
}

// A member is stopped in its settlement of another event.
TEST(GroupHistory, WordsAreLostOnlyToACallOfAnEarlierEventThatHadNotReturned) {
  struct Case {
    const char* name;
    bool right;
    Call call = Call::nak;
    bool run_out = true, before = true, returned = false, died = false, accepted = false;
    const char* reason = "";
  };
  const Case cases[] = {
      {.name = "open nak", .right = true},
      {.name = "open reject", .right = true, .call = Call::reject},
      {.name = "open drop", .right = true, .call = Call::drop},
      {.name = "an ack says nothing", .right = false, .call = Call::ack},
      {.name = "its lease held", .right = false, .run_out = false},
      {.name = "called when the later event had its cell", .right = false, .before = false},
      {.name = "returned before", .right = false, .returned = true},
      {.name = "dead before", .right = false, .died = true},
      {.name = "accepted, so it wrote while it held its lease", .right = false, .accepted = true},
      {.name = "its own words", .right = false, .reason = "lease 2"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    Story story;
    const auto first = story.event(), second = story.event();
    const Note late = story.take(first);
    if (one.before) story.call(late, one.call);
    if (one.run_out) story.pass(20 * kMs);
    Note other;
    if (one.run_out) other = story.take(first, 2, 2);
    if (one.run_out) story.settle(other, Call::ack);
    if (one.died) story.note(What::dying, 1);
    if (one.died) story.note(What::died, 1);
    if (one.returned) story.returned(late, one.call, false);
    const Note lease = story.take(second, 1, 2);
    if (!one.before) story.call(late, one.call);
    story.settle(lease, Call::reject);
    story.letter(lease, "rejected", 1, Call::reject);
    story.history.letters[0].error_class = "";
    story.history.letters[0].reason = one.reason;
    if (!one.returned && !one.died) story.returned(late, one.call, one.accepted || !one.run_out);
    if (!one.run_out) story.settle(story.take(first, 2, 2), Call::ack);
    if (one.right)
      EXPECT_RIGHT(story);
    else
      EXPECT_WRONG(story, "offset 1 has a letter with the reason");
  }
}

TEST(GroupHistory, RejectedEventIsDeadAtOnce) {
  Story story;
  const Note lease = story.take(story.event());
  story.settle(lease, Call::reject);
  story.letter(lease, "rejected", 1, Call::reject);
  EXPECT_RIGHT(story);
  story.settle(story.take(lease.offset, 2), Call::ack);
  EXPECT_WRONG(story, "was delivered when it was dead");
}

TEST(GroupHistory, StaleAckThatIsAcceptedIsReported) {
  for (const bool accepted : {false, true}) {
    Story story;
    const auto offset = story.event();
    const Note late = story.take(offset);
    story.pass(20 * kMs);
    const Note next = story.take(offset, 2, 2);
    story.settle(late, Call::ack, accepted);
    story.settle(next, Call::ack);
    if (accepted)
      EXPECT_WRONG(story, "accepted by a lease that it no longer was held by");
    else
      EXPECT_RIGHT(story);
  }
}

TEST(GroupHistory, RefusalOfALeaseThatHoldsIsReported) {
  Story story;
  story.settle(story.take(story.event()), Call::ack, false);
  EXPECT_WRONG(story, "refused though its lease held");
}

TEST(GroupHistory, LeaseThatIsTakenAwayBeforeItsEndIsReported) {
  for (const std::int64_t passed : {5 * kMs, 15 * kMs}) {
    Story story;
    const auto offset = story.event();
    story.take(offset);
    story.pass(passed);
    story.settle(story.take(offset, 2, 2), Call::ack);
    if (passed < 10 * kMs)
      EXPECT_WRONG(story, "was delivered when it was held by another lease");
    else
      EXPECT_RIGHT(story);
  }
}

TEST(GroupHistory, RetryBeforeItsBackoffIsReported) {
  Story story;
  const auto offset = story.event();
  story.settle(story.take(offset), Call::nak, true, 50 * kMs);
  story.settle(story.take(offset, 2), Call::ack);
  EXPECT_WRONG(story, "was delivered as attempt 2 after 1 failure");
}

TEST(GroupHistory, DeliveryAfterASettlementIsReported) {
  Story story;
  const auto offset = story.event();
  story.settle(story.take(offset), Call::ack);
  story.take(offset);
  EXPECT_WRONG(story, "was delivered when it was acked");
}

TEST(GroupHistory, AckThatNobodyWasToldOfMayHaveBeenOne) {
  for (const bool again : {false, true}) {
    Story story;
    const auto offset = story.event();
    story.call(story.take(offset), Call::ack);
    story.note(What::dying, 1);
    story.note(What::died, 1);
    if (again) story.settle(story.take(offset, 2, 2), Call::ack);
    EXPECT_RIGHT(story);
  }
}

TEST(GroupHistory, LetterThatWasGivenBackIsDelivered) {
  Story story;
  story.redrive(die(story, story.event()));
  EXPECT_WRONG(story, "offset 0, redriven for the 1. time, was never delivered");
  die(story, 0, 1);
  EXPECT_RIGHT(story);
  story.history.letters[0].shown = true;
  EXPECT_WRONG(story, "its letter is still shown");
}

TEST(GroupHistory, LetterThatWasNotGivenBackIsNotDelivered) {
  Story story;
  const Note last = die(story, story.event());
  story.settle(story.take(last.offset, 1, 1, 1), Call::ack);
  EXPECT_WRONG(story, "was never given back");
  story.redrive(last);
  EXPECT_WRONG(story, "was delivered before it was given back");
}

TEST(GroupHistory, PausedGroupDeliversNothing) {
  Story story;
  const auto offset = story.event();
  story.note(What::paused);
  story.pass(kMs);
  story.settle(story.take(offset), Call::ack);
  EXPECT_RIGHT(story);  // never resumed: it is not known how long it was paused
  story.note(What::resuming);
  EXPECT_WRONG(story, "was delivered while the group was paused");
}

TEST(GroupHistory, UnloadingKeepsAttemptsButForLeasesOfTheDead) {
  for (const bool dead : {false, true}) {
    Story story;
    const auto offset = story.event();
    story.settle(story.take(offset), Call::nak);
    story.take(offset, 2, 1);
    if (dead) {
      story.note(What::dying, 1);
      story.note(What::died, 1);
    }
    story.note(What::unloaded);
    story.settle(story.take(offset, 2, 2), Call::ack);
    if (dead)
      EXPECT_RIGHT(story);
    else
      EXPECT_WRONG(story, "was still held when all had ended");
  }
}

}  // namespace
}  // namespace penstock::test
