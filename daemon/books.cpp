#include "daemon/books.hpp"

#include <algorithm>
#include <unordered_set>

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

Result<void> Books::refresh() {
  group_->refresh();
  std::erase_if(watches_, [](const auto& watch) { return watch->feed.topic().deleted(); });
  std::unordered_set<std::string> known;
  for (const auto& watch : watches_) known.insert(watch->state->topic());
  Result<void> out;
  for (const std::string& name : group_->topic_names()) {
    if (known.contains(name) || !api::topic_exists(*group_->state(), name)) continue;
    // One that cannot be watched keeps no other from it.
    if (auto added = watch(name); !added && out)
      out = tl::unexpected(api::name(added.error(), "group " + this->name() + " in topic " + name));
  }
  return out;
}

Result<void> Books::watch(const std::string& name) {
  auto topic = api::Topic::open(group_->state(), name, false);
  if (!topic && topic.error().code() == Errc::not_found) return {};
  if (!topic) return tl::unexpected(topic.error());
  auto opened = api::GroupState::open(group_, name, {});
  // With [access] its members make it, and their user says whether we may write it.
  if (!opened && opened.error().code() == Errc::not_found) return {};
  if (!opened) return tl::unexpected(opened.error());
  if (!(*opened)->writable()) return api::refuse(Errc::permission, "the place of group " + group_->name());
  auto watch = std::make_unique<Watch>(Watch{std::move(*opened), api::Feed(std::move(*topic), false)});
  watch->dead_seen = ~0ull;  // there may be letters from before
  watches_.push_back(std::move(watch));
  return {};
}

void Books::listen(const shm::Sleeper& sleeper) const {
  for (const auto& watch : watches_) sleeper.listen(watch->state->sleepers());
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
  const auto paced = [](std::int64_t& next, std::int64_t every, auto&& work) {
    const std::int64_t began = api::monotonic_ns();
    if (began < next) return;
    work();
    const std::int64_t ended = api::monotonic_ns();
    next = ended + std::max(every, kShare * (ended - began));
  };
  paced(next_sweep_, kSweepEvery, [this] { sweep(); });
  paced(next_checkpoint_, checkpoint_every, [this] { checkpoint(false); });
  return moved;
}

bool Books::move_letters(std::int64_t now, std::int64_t deadline) {
  if (now < quiet_until_) return false;
  bool moved = false;
  for (std::size_t i = 0; i < watches_.size(); ++i) {
    const auto& watch = watches_[(turn_ + i) % watches_.size()];
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
    if (!watch->state->engine().wants_sweep() && watch->state->engine().clock_ahead(at) == 0) continue;
    const group::Sweep swept = watch->state->engine().sweep(
        at, [&handles](std::uint32_t slot, std::uint32_t incarnation) { return handles.dead(slot, incarnation); });
    if (swept.brought_back() || swept.ahead != 0) watch->state->ring();
  }
}

// Changes whenever something was taken, settled or failed, and when the clock was set: a checkpoint tells by wall time
// when retries are due, and how long ago ids were done.
std::uint64_t Books::signature(const Watch& watch) const {
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
                                 control->letters_allocated.load(),
                                 std::uint64_t(clock_)};
  return log::hash64(words, sizeof words, 1);
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

// A checkpoint that no longer has a dead event is written only once its letter is on disk.
void Books::checkpoint(bool force) {
  if (deleted()) return;
  const group::Instant at = api::instant();
  if (std::abs(at.wall - at.now - clock_) >= kClockSet) clock_ = at.wall - at.now;
  for (const auto& watch : watches_) {
    layout::GroupTopicControl& control = *watch->state->control();
    if (watch->bytes.empty()) {
      const std::uint64_t now = signature(*watch);
      if (now == watch->saved && control.checkpoint_asked.load() <= control.checkpoint_done.load()) continue;
      watch->number = control.checkpoint_begun.fetch_add(1) + 1;
      watch->bytes_signature = now;
      api::take_checkpoint(*watch->state, watch->bytes);
      watch->dlq_end = dlq() != nullptr ? dlq()->end().offset : 0;
    }
    if (!dlq_on_disk(*watch)) continue;
    auto written = api::write_checkpoint(*watch->state, watch->bytes, force);
    if (!written) {
      if (!state_told_) log_(2, "group " + name() + ": its state is not written to disk: " + written.error().message());
      state_told_ = true;
      control.checkpoint_error.store(written.error().detail() == 0 ? EIO : written.error().detail());
    } else {
      watch->saved = watch->bytes_signature;
      state_told_ = false;
      control.checkpoint_error.store(0);
      control.checkpoint_done.store(watch->number);
    }
    if (watch->number <= control.checkpoint_asked.load()) watch->state->ring();
    watch->bytes.clear();
  }
}

}  // namespace penstock::daemon
