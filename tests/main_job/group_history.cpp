#include "group_history.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "group_history_life.hpp"

namespace penstock::test {
namespace {

constexpr std::size_t kMostTold = 5;

bool of_life(What what) { return what == What::begun || what == What::calling || what == What::returned; }

class Judge {
 public:
  explicit Judge(const History& history) : history_(history), around_(history) {}

  Judgement run() {
    gather();
    for (auto& [name, life] : lives_) {
      if (auto wrong = life.live()) {
        add(life, *wrong);
        continue;
      }
      end(life);
    }
    letters();
    order();
    ids();
    told();
    pauses();
    unseen();
    count();
    return std::move(out_);
  }

 private:
  // How a life may have ended, in agreement with what is in the dead-letter queue.
  struct End {
    Possibles possibles;
    bool skipped = false;  // it was never delivered: a copy of it was
    bool acked() const {
      return std::all_of(possibles.begin(), possibles.end(), [](const auto& p) { return p.phase == Phase::acked; }) &&
             !skipped;
    }
    bool maybe_acked() const {
      return std::any_of(possibles.begin(), possibles.end(), [](const auto& p) { return p.phase == Phase::acked; });
    }
  };

  void add(std::string what) {
    if (out_.wrong.size() < kMostTold) out_.wrong.push_back(std::move(what));
  }
  void add(const Life& life, const std::string& what) { add(life.name().text() + " " + what + life.told()); }

  void gather() {
    std::map<LifeName, std::vector<std::uint64_t>> notes;
    for (const LoggedEvent& event : history_.events) {
      events_.emplace(event.offset, &event);
      notes[{event.offset, 0}];
    }
    for (std::uint64_t number = 0; number < history_.notes.size(); ++number) {
      const Note& note = history_.notes[number];
      const LifeName name{note.offset, note.redrives};
      if (note.what == What::redriving) asked_.emplace(name, number);
      if (note.what == What::redriven && note.accepted && !given_.emplace(name, number).second)
        add(name.text() + " was given back twice");
      if (of_life(note.what)) notes[name].push_back(number);
    }
    for (const auto& [name, number] : given_) notes[{name.offset, name.redrives + 1}];
    for (const LoggedLetter& letter : history_.letters) {
      const LifeName name{letter.offset, letter.redrives};
      if (!letter.shown) notes[{name.offset, name.redrives + 1}];  // somebody died giving it back
      if (!letters_.emplace(name, &letter).second) add(name.text() + " is in the dead-letter queue twice");
      notes[name];
    }
    for (auto& [name, numbers] : notes) lives_.emplace(name, Life(around_, name, std::move(numbers)));
  }

  const LoggedLetter* letter_of(const LifeName& name) const {
    const auto found = letters_.find(name);
    return found == letters_.end() ? nullptr : found->second;
  }

  void end(const Life& life) {
    const LifeName name = life.name();
    const auto event = events_.find(name.offset);
    if (event == events_.end()) return add(life, "is not in the log");
    if (name.redrives > 0) {
      const auto asked = asked_.find({name.offset, name.redrives - 1});
      if (asked == asked_.end()) return add(life, "was never given back");
      if (!life.notes().empty() && life.notes().front() < asked->second)
        return add(life, "was delivered before it was given back");
    }
    End ended;
    const LoggedLetter* letter = letter_of(name);
    std::string wrong;
    for (const Possible& possible : life.possibles()) {
      if (letter != nullptr && possible.phase == Phase::dead) {
        const std::string differs = difference(life, possible, *letter);
        if (differs.empty()) ended.possibles.insert(possible);
        if (wrong.empty()) wrong = differs;
      }
      if (letter == nullptr && possible.phase == Phase::acked) ended.possibles.insert(possible);
    }
    ended.skipped = letter == nullptr && name.redrives == 0 && life.notes().empty() && !event->second->id.empty();
    if (ended.possibles.empty() && !ended.skipped) return add(life, why_not_ended(life, letter, wrong));
    ends_.emplace(name, std::move(ended));
  }

  static std::string why_not_ended(const Life& life, const LoggedLetter* letter, const std::string& differs) {
    if (!differs.empty()) return differs;
    const auto may_be = [&life](Phase phase) {
      return std::any_of(life.possibles().begin(), life.possibles().end(),
                         [phase](const Possible& one) { return one.phase == phase; });
    };
    if (letter != nullptr)
      return may_be(Phase::acked) ? "was acked and is a dead letter" : "is a dead letter, and should not be";
    if (may_be(Phase::dead)) return "died and is no dead letter";
    return life.notes().empty() ? "was never delivered" : "was lost: neither acked nor a dead letter";
  }

  // In what the letter is not that of an event that ended so; empty: in nothing.
  std::string difference(const Life& life, const Possible& ended, const LoggedLetter& letter) const {
    const LoggedEvent& event = *events_.at(letter.offset);
    if (letter.attempts != ended.failed)
      return "has a letter with " + std::to_string(letter.attempts) + " attempts after " +
             std::to_string(ended.failed) + " failures";
    if (letter.key != event.key || letter.id != event.id || letter.number != event.number)
      return "has a letter with another key, id or payload";
    if (letter.topic != history_.topic) return "has a letter of topic " + letter.topic;
    const bool told = letter.process != 0 && ended.cause != Cause::unseen;
    if (told && letter.process != history_.notes[ended.lease].process)
      return "has a letter of process " + std::to_string(letter.process);
    const bool crash = letter.disposition == "crash", attempts = letter.disposition == "attempts";
    const auto is = [&](Cause cause) { return ended.cause == cause; };
    const bool disposed = is(Cause::reject)   ? letter.disposition == "rejected"
                          : is(Cause::crash)  ? crash
                          : is(Cause::unseen) ? crash || attempts
                                              : attempts;
    if (!disposed) return "has a letter with disposition " + letter.disposition;
    if (!reasoned(life, ended, letter))
      return "has a letter with the reason '" + letter.error_class + ": " + letter.reason + "'";
    return {};
  }

  // The words of the handler that failed it last. Where it had none they are those of an earlier one, or the daemon's;
  // so they are when a handler that was stopped in an earlier settlement went on during this one, or after it, and
  // wrote its own words over the later ones. A handler of another event takes them away.
  bool reasoned(const Life& life, const Possible& ended, const LoggedLetter& letter) const {
    const bool words = ended.cause == Cause::nak || ended.cause == Cause::reject || ended.cause == Cause::drop;
    if (ended.cause == Cause::drop && letter.error_class == "dropped") return true;
    bool spoken = false, stopped = false;
    std::set<std::uint64_t> open;  // leases with a call that has not returned
    for (const std::uint64_t number : life.notes()) {
      const Note& note = history_.notes[number];
      const bool last = note.lease == ended.lease;
      if (note.what == What::returned) open.erase(note.lease);
      if (note.what != What::calling) continue;
      if (last) stopped = !open.empty();
      open.insert(note.lease);
      const bool says = letter.error_class == class_of(note.call) && letter.reason == reason_of(note.lease);
      if (says && last) return true;
      spoken = spoken || says;
    }
    const bool none = letter.error_class.empty() && letter.reason.empty();
    if (words && (spoken || none) && overwritten(life, ended)) return true;
    if (ended.cause == Cause::drop || (words && !stopped)) return false;
    return spoken || letter.error_class == "lease-expired" || letter.error_class == "member-died" ||
           letter.error_class == "dropped" || (stopped && letter.error_class.empty());
  }

  // Was a handler of another event stopped in its settlement until its lease had run out and this event had the cell,
  // to write its words when this one's were there? It called before this event was first delivered, and was alive and
  // had not returned when this event was settled. Letters that were given back have cells of their own.
  bool overwritten(const Life& life, const Possible& ended) const {
    const std::uint64_t first = life.notes().front();
    const auto settled = std::find_if(life.notes().begin(), life.notes().end(), [&](std::uint64_t number) {
      const Note& note = history_.notes[number];
      return note.what == What::calling && note.lease == ended.lease;
    });
    if (settled == life.notes().end()) return false;
    std::map<std::uint64_t, std::uint32_t> open;  // members by their leases
    for (std::uint64_t number = 0; number < history_.notes.size(); ++number) {
      const Note& note = history_.notes[number];
      const bool says = note.call == Call::nak || note.call == Call::reject || note.call == Call::drop;
      const bool over = note.asked + history_.lease <= history_.notes[first].time;
      const bool same_cells = (note.redrives == 0) == (life.name().redrives == 0);
      const bool accepted = note.accepted && note.call != Call::drop;  // a drop is told nothing
      if (note.what == What::calling && number < first && says && over && same_cells)
        open.emplace(note.lease, note.member);
      if (note.what == What::returned && (number < *settled || accepted)) open.erase(note.lease);
      if (note.what == What::died && number < *settled)
        std::erase_if(open, [&note](const auto& one) { return one.second == note.member; });
    }
    return !open.empty();
  }

  // Which letters the operator is shown.
  void letters() {
    for (const auto& [name, letter] : letters_) {
      if (letter->shown && given_.contains(name)) add(name.text() + " was given back and its letter is still shown");
      if (!letter->shown && !asked_.contains(name)) add(name.text() + " has a hidden letter and was not given back");
    }
    for (const auto& [name, number] : given_)
      if (letter_of(name) == nullptr) add(name.text() + " was given back and had no letter");
  }

  // Events of one key, or of a topic in strict order, are delivered when those before are settled or dead.
  void order() {
    if (history_.ordering == Ordering::parallel) return;
    std::map<std::string, std::vector<Moment>> settled;  // of the key's events so far: when the last of them may be
    for (const auto& [offset, event] : events_) {
      if (history_.ordering == Ordering::key && event->key.empty()) continue;
      std::vector<Moment>& before = settled[history_.ordering == Ordering::key ? event->key : ""];
      const Life& life = lives_.at({offset, 0});
      for (const std::uint64_t number : life.notes()) {
        const Note& note = history_.notes[number];
        if (note.what != What::begun || before.empty()) continue;
        const bool after = std::any_of(before.begin(), before.end(), [&](const Moment& moment) {
          return moment.note < number && moment.time <= note.time;
        });
        if (!after) add(life, "was delivered before an earlier event of its order was settled");
        if (!after) break;
      }
      const auto ended = ends_.find({offset, 0});
      if (ended == ends_.end() || ended->second.skipped) continue;
      before.clear();
      for (const Possible& possible : ended->second.possibles) before.push_back(possible.since);
    }
  }

  // Of all events with an id one is processed with success at most, and one that was skipped has one that was.
  void ids() {
    std::map<std::string, std::vector<std::uint64_t>> copies;
    for (const auto& [offset, event] : events_)
      if (!event->id.empty()) copies[event->id].push_back(offset);
    for (const auto& [id, offsets] : copies) {
      std::uint64_t acked = 0, maybe = 0, skipped = 0;
      for (const std::uint64_t offset : offsets) {
        const auto ended = ends_.find({offset, 0});
        if (ended == ends_.end()) return;  // told already
        acked += ended->second.acked() ? 1 : 0;
        maybe += ended->second.maybe_acked() ? 1 : 0;
        skipped += ended->second.skipped ? 1 : 0;
      }
      out_.skipped += skipped;
      if (acked > 1) add("id " + id + " was processed with success " + std::to_string(acked) + " times");
      if (skipped > 0 && maybe == 0)
        add("id " + id + ": offset " + std::to_string(offsets[0]) + " or a copy was never delivered");
    }
  }

  void told() {
    for (const Note& note : history_.notes) {
      if (note.what != What::told) continue;
      const auto event = events_.find(note.offset);
      if (event == events_.end() || event->second->number != note.number)
        add("offset " + std::to_string(note.offset) + " was told to a producer and is not in the log");
    }
  }

  void pauses() {
    std::uint64_t paused = 0;
    bool now = false;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> pauses;
    for (std::uint64_t number = 0; number < history_.notes.size(); ++number) {
      const What what = history_.notes[number].what;
      if (what == What::paused) paused = number, now = true;
      if (what == What::resuming && std::exchange(now, false)) pauses.emplace_back(paused, number);
    }
    for (const auto& [from, to] : pauses)
      for (std::uint64_t number = from; number < to; ++number) {
        const Note& note = history_.notes[number];
        if (note.what == What::begun && note.since > from)
          add("offset " + std::to_string(note.offset) + " was delivered while the group was paused (note " +
              std::to_string(number) + ")");
      }
  }

  // Failures without a lease that anybody was told of need a member that died or was stopped in its search.
  void unseen() {
    std::uint64_t needed = 0;
    for (const auto& [name, ended] : ends_) {
      if (ended.skipped) continue;
      needed += std::min_element(ended.possibles.begin(), ended.possibles.end(), [](const auto& a, const auto& b) {
                  return a.unseen < b.unseen;
                })->unseen;
    }
    if (needed > around_.unseen_leases)
      add(std::to_string(needed) + " failures have no lease, and only " + std::to_string(around_.unseen_leases) +
          " can be those of members that died or were stopped in their search");
  }

  void count() {
    for (const Note& note : history_.notes) {
      const bool accepted = note.what == What::returned && note.accepted;
      out_.deliveries += note.what == What::begun ? 1 : 0;
      out_.acked += accepted && note.call == Call::ack ? 1 : 0;
      out_.failures += accepted && (note.call == Call::nak || note.call == Call::reject) ? 1 : 0;
      out_.refused += note.what == What::returned && note.call != Call::drop && !note.accepted ? 1 : 0;
      out_.crashes += note.what == What::died ? 1 : 0;
    }
    out_.letters = letters_.size();
    out_.redriven = given_.size();
  }

  const History& history_;
  Circumstances around_;
  std::map<std::uint64_t, const LoggedEvent*> events_;
  std::map<LifeName, Life> lives_;
  std::map<LifeName, const LoggedLetter*> letters_;
  std::map<LifeName, std::uint64_t> asked_, given_;  // letters that the operator gave back: notes
  std::map<LifeName, End> ends_;
  Judgement out_;
};

}  // namespace

Judgement judge(const History& history) { return Judge(history).run(); }

std::string reason_of(std::uint64_t lease) { return "lease " + std::to_string(lease); }
const char* class_of(Call call) { return call == Call::reject ? "never" : "not-now"; }

}  // namespace penstock::test
