#include "daemon/books.hpp"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "log/checksum.hpp"

namespace penstock::daemon {
namespace {

constexpr std::int64_t kRetryAfter = 500'000'000;
constexpr std::int64_t kSweepEvery = 250'000'000;  // leases that no member asks about
constexpr std::int64_t kClockSet = 1'000'000'000;  // the clocks went apart by this much: the wall clock was set
// A group whose state takes long to look at or to write is looked at less often, so that others' turns come.
constexpr std::int64_t kShare = 4;

layout::Disposition disposition_of(layout::Failure failure) {
  switch (failure) {
    case layout::Failure::rejected:
      return layout::Disposition::rejected;
    case layout::Failure::overdue:
      return layout::Disposition::expired;
    case layout::Failure::crash:
      return layout::Disposition::crash;
    default:
      return layout::Disposition::attempts;
  }
}

// What is told when no handler could say why.
DeadLetter without_note(DeadLetter letter, layout::Failure failure) {
  if (!letter.error_class.empty() || !letter.reason.empty()) return letter;
  switch (failure) {
    case layout::Failure::expired:
      letter.error_class = "lease-expired";
      letter.reason = "the lease ran out before the event was settled";
      break;
    case layout::Failure::crash:
      letter.error_class = "member-died";
      letter.reason = "the member died while processing the event";
      break;
    case layout::Failure::overdue:
      letter.error_class = "expired";
      letter.reason = "its time to live was over";
      break;
    default:
      break;
  }
  return letter;
}

}  // namespace

bool Books::Sight::same(const Sight& other) const {
  return signature == other.signature && std::abs(clock - other.clock) < kClockSet;
}

Result<void> Books::refresh(const Topics& all, const std::vector<TopicPtr>& fresh) {
  const bool changed = group_->refresh() || !refreshed_;
  refreshed_ = true;
  std::erase_if(watches_, [](const auto& watch) { return watch->feed.topic().deleted(); });
  std::vector<TopicPtr> wanted = std::exchange(missing_, {});
  std::unordered_set<const api::Topic*> known;
  for (const TopicPtr& topic : wanted) known.insert(topic.get());
  if (changed)
    for (const auto& watch : watches_) known.insert(&watch->feed.topic());
  const auto consider = [&](const TopicPtr& topic) {
    const bool ours = topic->name() == group_->dlq() || group_->wants(topic->name());
    if (ours && !known.contains(topic.get())) wanted.push_back(topic);
  };
  if (changed)
    for (const auto& [name, topic] : all) consider(topic);
  else
    for (const TopicPtr& topic : fresh) consider(topic);
  Result<void> out;
  for (const TopicPtr& topic : wanted) {
    if (topic->deleted()) continue;
    auto done = watch(topic);
    if (done) continue;
    // One that cannot be watched keeps no other from it.
    missing_.push_back(topic);
    // With [access] its members make it, and their user says whether we may write it.
    if (done.error().code() != Errc::not_found && out)
      out = tl::unexpected(api::name(done.error(), "group " + name() + " in topic " + topic->name()));
  }
  return out;
}

Result<void> Books::watch(const TopicPtr& topic) {
  auto opened = api::GroupState::open(group_, topic->name(), {});
  if (!opened) return tl::unexpected(opened.error());
  if (!(*opened)->writable()) return api::refuse(Errc::permission, "the place of group " + group_->name());
  auto watch = std::make_unique<Watch>(Watch{std::move(*opened), api::Feed(topic, false)});
  watch->dead_seen = ~0ull;  // there may be letters from before
  const layout::GroupTopicControl& control = *watch->state->control();
  watch->saved = {control.saved.load(), std::int64_t(control.saved_clock.load())};
  watches_.push_back(std::move(watch));
  return {};
}

bool Books::is_saved(const Watch& watch) const {
  return watch.bytes.empty() && sight(watch).same(watch.saved) && !asked(watch);
}

// What no ring tells of: when letters are to be moved that are there, and leases may have run out or lost their owner.
std::int64_t Books::next_round(const Watch& watch, std::int64_t now) const {
  const group::GroupTopic& engine = watch.state->engine();
  std::int64_t next = INT64_MAX;
  if (engine.dead_raised() != watch.dead_seen) next = std::max(quiet_until_, now);
  if (engine.wants_sweep() || (engine.waits_for_clock() && engine.clock_ahead(api::instant()) != 0))
    next = std::min(next, next_sweep_);
  return next;
}

// A place that changed since it was saved has a round coming, which finds what changes until then, and need not ring:
// members ring for one change in that time, however many there are.
std::int64_t Books::rest(std::int64_t now) {
  std::int64_t next = INT64_MAX;
  rested_ = true;
  if (deleted()) return next;
  for (const auto& watch : watches_) {
    if (!resting(*watch, now)) put_to_rest(*watch, now);
    rested_ &= watch->rests_until != 0;
    next = std::min(next, watch->rests_until != 0 ? watch->rests_until : next_checkpoint_);
  }
  return next;
}

void Books::put_to_rest(Watch& watch, std::int64_t now) {
  watch.rests_until = 0;
  if (is_saved(watch)) {
    // The bit first, then a last look: who changed something before the bit was there did not ring.
    sleeper_.listen(watch.state->keepers());
    const std::int64_t next = next_round(watch, now);
    if (is_saved(watch)) watch.rests_until = std::max<std::int64_t>(next, 1);
  }
  if (watch.rests_until == 0) sleeper_.leave(watch.state->keepers());
}

void Books::wake_all() {
  for (const auto& watch : watches_) watch->rests_until = 0;
}

Result<void> Books::open_writer(const api::Topic& origin) {
  if (writer_) return {};
  auto writer = LetterWriter::open(group_->state(), group_->dlq(), origin.ring().size() * layout::kLine);
  if (!writer) return tl::unexpected(writer.error());
  // A daemon before us may have died between appending a letter and settling its event.
  auto present = (*writer)->present();
  if (!present) return tl::unexpected(present.error());
  present_ = std::move(*present);
  writer_ = std::move(*writer);
  return {};
}

const Books::Watch* Books::queue() const {
  const auto found =
      std::find_if(watches_.begin(), watches_.end(), [](const auto& it) { return it->state->letters(); });
  return found == watches_.end() ? nullptr : found->get();
}

// Neither redriven nor purged?
bool Books::is_open(Offset letter) const {
  const Watch* place = queue();
  return place == nullptr || !place->state->engine().marked(letter);
}

// Appended first, settled then: a death in between leaves both, and the next daemon finds the letter in the DLQ.
Result<bool> Books::move_one(Watch& watch, const group::CellView& cell) {
  // An event that the topic has not got yet was never delivered: no letter for a cell that somebody made up.
  if (cell.offset >= watch.feed.topic().end().offset) {
    auto settled = watch.state->engine().settle_dead(cell.cell, cell.state);
    if (!settled && settled.error().code() != Errc::stale_lease) return tl::unexpected(settled.error());
    return true;
  }
  if (auto opened = open_writer(watch.feed.topic()); !opened) return tl::unexpected(opened.error());
  auto found = watch.feed.at({cell.position, cell.offset});
  if (!found) return tl::unexpected(found.error());
  EventView::Raw event;
  const bool readable = found->kind == api::Feed::Kind::event && found->event.offset == cell.offset;
  if (readable)
    event = found->event;
  else
    event.id_low = cell.id.low, event.id_high = cell.id.high, event.time_ns = cell.first_failure;
  DeadLetter letter;
  letter.topic = watch.state->topic();
  letter.offset = cell.offset;
  letter.attempts = std::max(cell.fields.failed, 1u);
  if (watch.state->letters() && readable) {
    if (auto former = DeadLetter::of(EventView(event))) {
      letter.topic = former->topic;
      letter.offset = former->offset;
      letter.redrives = former->redrives + 1;
    }
  }
  letter.group = group_->name();
  const auto holder = group_->state()->live.handles().copy(cell.fields.slot);
  const auto note = watch.state->engine().note(cell);
  letter.member = "slot " + std::to_string(cell.fields.slot);
  // The note may be of the delivery before, and the slot somebody else's by now.
  if (note && note->delivered == cell.fields.delivered)
    letter.member += ", pid " + std::to_string(note->pid);
  else if (holder && holder->incarnation == cell.fields.incarnation)
    letter.member += ", pid " + std::to_string(holder->pid);
  if (note) {
    letter.error_class = note->error_class;
    letter.reason = note->reason;
  }
  letter.first_failure = Timestamp(std::chrono::nanoseconds(cell.first_failure));
  letter.last_failure = Timestamp(std::chrono::nanoseconds(cell.last_failure));
  letter = without_note(std::move(letter), cell.fields.failure);
  if (!readable)
    letter.reason += letter.reason.empty() ? "the event can no longer be read" : "; the event can no longer be read";
  const auto open = [this](Offset it) { return it < writer_->topic().header().base_offset && is_open(it); };
  if (!present_.take(key_of(letter, event), cell.last_failure, open)) {
    if (auto appended = writer_->append(event, letter, disposition_of(cell.fields.failure)); !appended)
      return tl::unexpected(appended.error());
  }
  auto settled = watch.state->engine().settle_dead(cell.cell, cell.state);
  if (!settled && settled.error().code() != Errc::stale_lease) return tl::unexpected(settled.error());
  watch.state->ring();
  return true;
}

bool Books::work(std::int64_t now, std::int64_t deadline, std::int64_t checkpoint_every) {
  const bool moved = move_letters(now, deadline);
  // What just changed after a rest is not written at once: more is coming, and the disk has the events to write.
  if (std::exchange(rested_, false))
    next_checkpoint_ = std::max(next_checkpoint_, api::monotonic_ns() + checkpoint_every / 2);
  const auto paced = [](std::int64_t& next, std::int64_t every, auto&& work) {
    const std::int64_t began = api::monotonic_ns();
    if (began < next) return;
    work();
    const std::int64_t ended = api::monotonic_ns();
    next = ended + std::max(every, kShare * (ended - began));
  };
  paced(next_sweep_, kSweepEvery, [this] { sweep(); });
  paced(next_checkpoint_, checkpoint_every, [this, deadline] { checkpoint(false, deadline); });
  return moved;
}

bool Books::move_letters(std::int64_t now, std::int64_t deadline) {
  if (now < quiet_until_) return false;
  bool moved = false;
  for (std::size_t i = 0; i < watches_.size(); ++i) {
    const auto& watch = watches_[(turn_ + i) % watches_.size()];
    if (resting(*watch, now)) continue;
    const std::uint64_t raised = watch->state->engine().dead_raised();
    if (raised == watch->dead_seen) continue;
    std::vector<group::CellView> dead;
    watch->state->engine().for_each_dead([&dead](const group::CellView& cell) {
      dead.push_back(cell);
      return dead.size() < 1024;
    });
    std::sort(dead.begin(), dead.end(), [](const auto& a, const auto& b) { return a.offset < b.offset; });
    Result<bool> done = true;
    for (const group::CellView& cell : dead) {
      done = move_one(*watch, cell);
      if (!done) break;
      moved = true;
      if (api::monotonic_ns() < deadline) continue;
      turn_ = (turn_ + i + 1) % watches_.size();
      return true;
    }
    if (!done) {
      watch->state->control()->letters_error.store(std::uint64_t(done.error().code()));
      if (!letters_told_) log_(2, "group " + name() + ": dead letters wait: " + done.error().message());
      letters_told_ = true;
      quiet_until_ =
          std::min(now, INT64_MAX - kRetryAfter) + kRetryAfter;  // a stopping daemon has all the time there is
      return moved;
    }
    if (letters_told_) log_(0, "group " + name() + ": dead letters are moved again");
    letters_told_ = false;
    watch->state->control()->letters_error.store(0);
    if (dead.size() < 1024) watch->dead_seen = raised;
  }
  return moved;
}

void Books::sweep() {
  const shm::Handles& handles = group_->state()->live.handles();
  for (const auto& watch : watches_) {
    const group::Instant at = api::instant();
    if (resting(*watch, at.now)) continue;
    if (!watch->state->engine().wants_sweep() && watch->state->engine().clock_ahead(at) == 0) continue;
    const group::Sweep swept = watch->state->engine().sweep(
        at, [&handles](std::uint32_t slot, std::uint32_t incarnation) { return handles.dead(slot, incarnation); });
    if (swept.brought_back() || swept.ahead != 0) watch->state->ring();
  }
}

// Changes whenever something was taken, settled or failed, and when the clock was set: a checkpoint tells by wall time
// when retries are due, and how long ago ids were done.
Books::Sight Books::sight(const Watch& watch) const {
  const layout::GroupTopicControl* control = watch.state->control();
  const std::uint64_t words[] = {control->cursor.low,
                                 control->cursor.high,
                                 control->acked.load(),
                                 control->delivered.load(),
                                 control->redelivered.load(),
                                 control->duplicates.load(),
                                 control->dead_lettered.load(),
                                 control->redriven.load(),
                                 control->dead_waiting.load(),
                                 control->in_flight.load(),
                                 control->expired_skipped.load(),
                                 control->next_due.load(),
                                 control->letters_allocated.load()};
  const group::Instant at = api::instant();
  return {log::hash64(words, sizeof words, 1), at.wall - at.now};
}

// Whoever appended to it: a daemon before us may have settled an event whose letter is not on disk yet.
const api::Topic* Books::dlq() const {
  if (writer_) return &writer_->topic();
  const Watch* place = queue();
  return place == nullptr ? nullptr : &place->feed.topic();
}

bool Books::dlq_on_disk(const Watch& watch) const {
  const api::Topic* topic = dlq();
  return topic == nullptr || topic->durable_end().offset >= watch.dlq_end;
}

void Books::checkpoint(bool force, std::int64_t deadline) {
  if (deleted()) return;
  std::int64_t now = api::monotonic_ns();
  for (std::size_t i = 0; i < watches_.size(); ++i) {
    Watch& watch = *watches_[(saved_turn_ + i) % watches_.size()];
    if (resting(watch, now)) continue;
    save(watch, force);
    now = api::monotonic_ns();
    if (now < deadline) continue;
    saved_turn_ = (saved_turn_ + i + 1) % watches_.size();
    return;
  }
}

// A checkpoint that no longer has a dead event is written only once its letter is on disk.
void Books::save(Watch& watch, bool force) {
  layout::GroupTopicControl& control = *watch.state->control();
  if (watch.bytes.empty()) {
    if (is_saved(watch)) return;
    const Sight now = sight(watch);  // before the number is given, and the state read
    watch.number = control.checkpoint_begun.fetch_add(1) + 1;
    // A memory topic's events are gone with the live side, and nobody would read what was known of them.
    if (!watch.feed.topic().durable()) return keep(watch, now);
    watch.bytes_sight = now;
    api::take_checkpoint(*watch.state, watch.bytes);
    watch.dlq_end = dlq() != nullptr ? dlq()->end().offset : 0;
  }
  if (!dlq_on_disk(watch)) return;
  auto written = api::write_checkpoint(*watch.state, watch.bytes, force);
  watch.bytes.clear();
  if (written) {
    state_told_ = false;
    return keep(watch, watch.bytes_sight);
  }
  if (!state_told_) log_(2, "group " + name() + ": its state is not written to disk: " + written.error().message());
  state_told_ = true;
  control.checkpoint_error.store(written.error().detail() == 0 ? EIO : written.error().detail());
  if (watch.number <= control.checkpoint_asked.load()) watch.state->ring();
}

bool Books::asked(const Watch& watch) const {
  const layout::GroupTopicControl& control = *watch.state->control();
  return control.checkpoint_asked.load() > control.checkpoint_done.load();
}

void Books::keep(Watch& watch, const Sight& sight) const {
  layout::GroupTopicControl& control = *watch.state->control();
  watch.saved = sight;
  control.saved.store(sight.signature);
  control.saved_clock.store(std::uint64_t(sight.clock));
  control.checkpoint_error.store(0);
  control.checkpoint_done.store(watch.number);
  if (watch.number <= control.checkpoint_asked.load()) watch.state->ring();
}

}  // namespace penstock::daemon
