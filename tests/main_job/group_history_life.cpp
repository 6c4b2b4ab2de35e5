#include "group_history_life.hpp"

#include <algorithm>
#include <climits>
#include <cstdio>

namespace penstock::test {
namespace {

constexpr std::uint64_t kNobodys = ~0ull;  // a lease that was never told of
constexpr std::uint32_t kMostUnseen = 3;   // of one event
constexpr const char* kCalls[] = {"ack", "nak", "reject", "release", "drop", "extend"};

Cause cause_of(Call call) {
  return call == Call::nak ? Cause::nak : call == Call::reject ? Cause::reject : Cause::drop;
}

Moment later(Moment a, Moment b) { return {std::max(a.note, b.note), std::max(a.time, b.time)}; }

// Everything but when it began.
bool alike(const Possible& a, const Possible& b) {
  Possible c = b;
  c.since = a.since;
  return a == c;
}

std::string name_of(Phase phase) {
  switch (phase) {
    case Phase::waiting:
      return "not held by anybody";
    case Phase::leased:
      return "held by another lease";
    case Phase::acked:
      return "acked";
    case Phase::dead:
      return "dead";
  }
  return {};
}

}  // namespace

Circumstances::Circumstances(const History& of) : history(of) {
  for (std::uint64_t number = 0; number < history.notes.size(); ++number) {
    const Note& note = history.notes[number];
    if (note.what == What::dying) dying.emplace(note.member, number);
    if (note.what == What::died) died.emplace(note.member, number);
    if (note.what == What::died || note.what == What::unloaded) ends.push_back(number);
    const bool searched = note.what == What::stalled || (note.what == What::died && note.count != 0);
    if (!searched) continue;
    unseen.push_back({note.since, note.asked});
    unseen_leases += note.count;
  }
  std::sort(unseen.begin(), unseen.end(), [](const Unseen& a, const Unseen& b) { return a.since < b.since; });
}

std::string LifeName::text() const {
  return "offset " + std::to_string(offset) +
         (redrives == 0 ? std::string() : ", redriven for the " + std::to_string(redrives) + ". time,");
}

std::int64_t Life::backoff(std::uint32_t failed) const {
  const auto& steps = around_.history.backoff;
  return steps[std::min<std::size_t>(failed, steps.size()) - 1] * 9 / 10;  // with all of the jitter
}

void Life::keep(Possible possible) {
  for (const Possible& there : possibles_) {
    const bool earlier = there.since.note <= possible.since.note && there.since.time <= possible.since.time;
    if (earlier && alike(there, possible)) return;  // what can come of this one can come of that one
  }
  fresh_.push_back(possible);
  possibles_.insert(std::move(possible));
}

void Life::fail(Possible to, Cause cause, std::int64_t comes_back, Moment when) {
  to.failed += 1;
  to.cause = cause;
  to.since = later(to.since, when);
  const bool dead = cause == Cause::reject || to.failed >= around_.history.max_attempts;
  to.phase = dead ? Phase::dead : Phase::waiting;
  to.until = dead ? 0 : comes_back;
  keep(std::move(to));
}

// A call of whoever held the lease, at this moment.
void Life::settle(const Possible& from, std::uint64_t call) {
  const Note& told = note(call);
  Possible to = from;
  const bool holds = from.phase == Phase::leased && from.lease == told.lease;
  to.pending[call] = holds ? 1 : 0;
  if (!holds) return keep(std::move(to));
  const Moment when{std::max(call, passed_), told.time};
  switch (told.call) {
    case Call::ack:
      to.phase = Phase::acked;
      to.since = later(to.since, when);
      to.until = 0;
      return keep(std::move(to));
    case Call::release:
      to.phase = Phase::waiting;
      to.since = later(to.since, when);
      to.until = 0;
      return keep(std::move(to));
    case Call::extend:
      to.until = told.time + told.delay;
      return keep(std::move(to));
    case Call::nak:
    case Call::reject:
    case Call::drop:
      const std::int64_t delay = told.delay >= 0 ? told.delay : backoff(from.failed + 1);
      return fail(std::move(to), cause_of(told.call), told.time + delay, when);
  }
}

void Life::from_waiting(const Possible& from, std::uint64_t number, std::int64_t now) {
  if (from.until > now) return;
  for (const std::uint64_t begun : notes_) {
    const Note& told = note(begun);
    if (told.what != What::begun || begun < number || told.since > number || from.pending.contains(begun)) continue;
    if (told.attempt != from.failed + 1) continue;
    Possible to = from;
    to.phase = Phase::leased;
    to.lease = begun;
    to.pending[begun] = 1;
    to.since = later(to.since, {std::max(told.since == 0 ? 0 : told.since - 1, passed_), told.asked});
    to.until = told.asked + around_.history.lease;
    keep(std::move(to));
  }
  if (from.unseen == std::min<std::uint64_t>(kMostUnseen, around_.unseen_leases)) return;
  // Of the searches so far the first allows all that the others do.
  const Unseen& search = around_.unseen.front();
  if (search.since > number) return;
  Possible to = from;
  ++to.unseen;
  to.lease = kNobodys;
  fail(std::move(to), Cause::unseen, 0, {std::max(search.since, passed_), search.asked});
}

void Life::from_leased(const Possible& from, std::uint64_t number, std::int64_t now) {
  if (from.until <= now) fail(from, Cause::expired, from.until + backoff(from.failed + 1), {passed_, from.until});
  const auto dying = around_.dying.find(note(from.lease).member);
  if (dying != around_.dying.end() && dying->second <= number)
    fail(from, Cause::crash, 0, {std::max(dying->second, passed_), note(dying->second).time});
}

void Life::spread(std::uint64_t number, std::int64_t now) {
  fresh_.assign(possibles_.begin(), possibles_.end());
  while (!fresh_.empty()) {
    const Possible from = fresh_.back();
    fresh_.pop_back();
    if (from.phase == Phase::waiting) from_waiting(from, number, now);
    if (from.phase == Phase::leased) from_leased(from, number, now);
    for (const std::uint64_t call : calls_)
      if (!from.pending.contains(call)) settle(from, call);
  }
}

// The lease was taken before.
void Life::meet_begun(std::uint64_t number) {
  Possibles kept;
  for (Possible possible : possibles_)
    if (possible.pending.erase(number) != 0) kept.insert(std::move(possible));
  possibles_ = std::move(kept);
}

void Life::meet_returned(const Note& told) {
  const auto call = std::find_if(calls_.begin(), calls_.end(), [&](auto at) { return note(at).lease == told.lease; });
  if (call == calls_.end()) return possibles_.clear();
  Possibles kept;
  for (Possible possible : possibles_) {
    const auto effect = possible.pending.find(*call);
    if (effect == possible.pending.end()) continue;
    if (told.call != Call::drop && (effect->second != 0) != told.accepted) continue;  // a drop is told nothing
    possible.pending.erase(effect);
    kept.insert(std::move(possible));
  }
  possibles_ = std::move(kept);
  calls_.erase(call);
}

// Leases of the dead come back uncounted; those of others have been settled.
void Life::meet_unloaded(std::uint64_t number) {
  Possibles kept;
  for (Possible possible : possibles_) {
    if (possible.phase == Phase::leased) {
      if (!around_.died.contains(note(possible.lease).member)) continue;
      possible.phase = Phase::waiting;
      possible.since.note = number;
    }
    if (possible.phase == Phase::waiting) possible.until = 0;  // waits no longer than it would have
    kept.insert(std::move(possible));
  }
  possibles_ = std::move(kept);
}

std::string Life::why_not(const Note& told, const Possibles& before) const {
  const Possible& one = *before.begin();
  if (told.what == What::returned)
    return told.accepted ? "had a settlement accepted by a lease that it no longer was held by"
                         : "had a settlement refused though its lease held";
  if (told.what == What::unloaded) return "was still held when all had ended";
  const auto all = [&](auto&& is) { return std::all_of(before.begin(), before.end(), is); };
  if (all([](const Possible& p) { return p.phase == Phase::acked || p.phase == Phase::dead; }))
    return "was delivered when it was " + name_of(one.phase);
  if (all([](const Possible& p) { return p.phase == Phase::leased; }))
    return "was delivered when it was " + name_of(one.phase);
  return "was delivered as attempt " + std::to_string(told.attempt) + " after " + std::to_string(one.failed) +
         (one.failed == 1 ? " failure" : " failures");
}

std::optional<std::string> Life::meet(std::uint64_t number) {
  const Note& told = note(number);
  if (told.what == What::calling) {
    calls_.insert(number);
    return {};
  }
  spread(number, told.time);
  const Possibles before = possibles_;
  if (told.what == What::begun) meet_begun(number);
  if (told.what == What::returned) meet_returned(told);
  if (told.what == What::unloaded) meet_unloaded(number);
  if (told.what == What::died) {
    std::erase_if(calls_, [&](auto call) { return note(call).member == told.member; });
    Possibles kept;
    for (Possible possible : possibles_) {
      std::erase_if(possible.pending, [&](const auto& one) {
        return note(one.first).what == What::calling && note(one.first).member == told.member;
      });
      kept.insert(std::move(possible));
    }
    possibles_ = std::move(kept);
  }
  passed_ = number;
  if (possibles_.empty()) return why_not(told, before) + " (note " + std::to_string(number) + ")";
  return {};
}

std::optional<std::string> Life::live() {
  std::vector<std::uint64_t> all;
  std::merge(notes_.begin(), notes_.end(), around_.ends.begin(), around_.ends.end(), std::back_inserter(all));
  possibles_ = {Possible{}};
  for (const std::uint64_t number : all)
    if (auto wrong = meet(number)) return wrong;
  spread(around_.history.notes.size(), INT64_MAX);
  return {};
}

std::string Life::told() const {
  std::vector<std::uint64_t> all;
  std::merge(notes_.begin(), notes_.end(), around_.ends.begin(), around_.ends.end(), std::back_inserter(all));
  std::string out;
  const std::int64_t began = all.empty() ? 0 : note(0).time;
  for (const std::uint64_t number : all) {
    const Note& told = note(number);
    char line[200];
    const char* call = kCalls[std::size_t(told.call)];
    const double ms = double(told.time - began) / 1e6;
    switch (told.what) {
      case What::begun:
        std::snprintf(line, sizeof line, "attempt %u, asked for at %.3f ms, after note %lu", told.attempt,
                      double(told.asked - began) / 1e6, told.since);
        break;
      case What::calling:
        std::snprintf(line, sizeof line, "%s of lease %lu, delay %.3f ms", call, told.lease, double(told.delay) / 1e6);
        break;
      case What::returned:
        std::snprintf(line, sizeof line, "%s of lease %lu %s", call, told.lease,
                      told.accepted ? "accepted" : "refused");
        break;
      default:
        std::snprintf(line, sizeof line, "%s", told.what == What::died ? "dead" : "all unloaded");
    }
    out += "\n    note " + std::to_string(number) + ", " + std::to_string(ms) + " ms, member " +
           std::to_string(told.member) + ": " + line;
  }
  return out;
}

}  // namespace penstock::test
