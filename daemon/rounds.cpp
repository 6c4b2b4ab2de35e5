#include "daemon/rounds.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <thread>

#include "storage/recover.hpp"

namespace penstock::daemon {
namespace {

constexpr std::int64_t kTick = 100'000'000;  // a sleep while a claim is open, whose owner may die without a sound
// Who dies between its news and the ring tells nobody: now and then everything is looked at. An idle daemon takes no
// more than one part in so many of a processor for it, as long as it looks at all.
constexpr std::int64_t kLookEvery = 1'000'000'000, kLookShare = 2000, kLookAtLeast = 30'000'000'000;
constexpr std::int64_t kBooksTurn = 20'000'000;       // after so long the disk is looked at again
constexpr std::size_t kOrderTurn = 16;                // segments whose first page is looked at in an idle round
constexpr std::size_t kNewGroups = 256;               // names of groups looked at in a round: there may be any number
constexpr std::int64_t kRetainEvery = 1'000'000'000;  // old segments
constexpr std::int64_t kReapWait = 200'000;      // completions are waited for this long before new work is looked for
constexpr std::int64_t kDrain = 30'000'000'000;  // a stop waits this long for the disk
constexpr std::int64_t kLastBreath = 5'000'000'000;  // a killed daemon's files are closed within this
constexpr std::int64_t kPatience = 250'000'000;      // and its death may take a moment to show

// Has this process ended, though its parent may not have asked yet?
bool ended(std::uint64_t pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(stat, text);
  const auto name_end = text.rfind(')');
  return name_end == std::string::npos || name_end + 2 >= text.size() || text[name_end + 2] == 'Z' ||
         text[name_end + 2] == 'X';
}

// A daemon that was killed with writes under way keeps its lock until the kernel is done with them, which is after its
// process seems gone. Who comes in its place waits for that.
bool lock_or_outlive(const shm::Fd& lock, const api::State& state) {
  const std::int64_t began = api::monotonic_ns();
  while (!shm::try_lock(lock)) {
    const std::uint64_t pid = state.live.header()->daemon_pid.load();
    const std::int64_t patience = pid != 0 && ended(pid) ? kLastBreath : kPatience;
    if (api::monotonic_ns() - began > patience) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace

Rounds::Rounds(api::StatePtr state, shm::Fd lock, shm::Handle handle, const DaemonOptions& options, Log log,
               std::unique_ptr<io::Disk> disk)
    : state_(std::move(state)),
      lock_(std::move(lock)),
      handle_(std::move(handle)),
      options_(options),
      log_(std::move(log)),
      persister_(state_, std::move(disk), log_),
      retention_(state_, log_),
      compactor_(state_, log_, [this] { sleeper().ring(); }) {}

Result<std::unique_ptr<Rounds>> Rounds::open(const api::StatePtr& state, const DaemonOptions& options,
                                             std::unique_ptr<io::Disk> disk) {
  const std::string path = state->directory + "/daemon.lock";
  const shm::Access& access = state->access();
  if (access.shared)
    if (auto ours = api::only_owner(state->directory); !ours) return tl::unexpected(ours.error());
  auto lock = shm::create_file(path, access.lock_file(), 0);
  if (!lock && lock.error().code() == Errc::already_exists) lock = shm::open_file(path, true);
  if (!lock) return tl::unexpected(api::name(lock.error(), path));
  // Producers look here whether a daemon runs.
  if (access.shared && ::fchown(lock->get(), uid_t(-1), access.producers) != 0)
    return tl::unexpected(api::name(shm::from_errno(errno), path));
  if (!lock_or_outlive(*lock, *state)) {
    const auto pid = std::uint32_t(state->live.header()->daemon_pid.load());
    return api::refuse(
        Errc::busy,
        "another daemon (pid " + std::to_string(pid) + ") has the bus " + state->directory + "; stop it first.", pid);
  }
  auto handle = api::acquire_handle(state, layout::HandleKind::daemon, 0, "penstockd");
  if (!handle) return tl::unexpected(api::name(handle.error(), "the daemon"));
  Log log = options.log ? Log(options.log) : Log([](int, const std::string&) {});
  std::unique_ptr<Rounds> out(
      new Rounds(state, std::move(*lock), std::move(*handle), options, std::move(log), std::move(disk)));
  layout::LiveHeader* live = state->live.header();
  live->daemon_pid.store(std::uint64_t(::getpid()));
  live->daemon_backend.store(out->backend() == "io_uring" ? 1 : 2);
  live->daemon_started_ns.store(std::uint64_t(api::now_ns()));
  return out;
}

// What a daemon before us left unsealed is made sound; the ring still holds what it had not flushed.
Result<void> Rounds::persist(const TopicPtr& topic) {
  const std::string& name = topic->name();
  auto meta = api::read_topic_meta(*state_, name);
  storage::RecoverOptions recover;
  recover.durable = storage::Boundary{topic->durable_end().position, topic->durable_end().offset};
  recover.bus_id = state_->bus_id;
  recover.mode = state_->access().topic_file();
  auto recovered =
      storage::recover_topic(topic->directory(), meta ? std::optional(*meta) : std::nullopt, !meta, recover);
  if (!recovered) {
    // Who waits is told.
    const std::uint32_t detail = recovered.error().detail();
    topic->writable()->durable_error.store(detail != 0 ? detail : EIO, std::memory_order_seq_cst);
    topic->ring_all();
    return tl::unexpected(api::name(recovered.error(), "topic " + name + " is not written to disk"));
  }
  for (const std::string& problem : recovered->problems) log_(1, "topic " + name + ": " + problem);
  storage::remove_unfinished(topic->directory());
  order_.emplace_back(name, storage::OrderCheck(topic->directory(), topic->header().topic_id));
  persister_.add(topic, api::Place{recovered->log_position, recovered->log_offset});
  return {};
}

// Some segments, so that who awaits an event is not kept waiting by a long past.
void Rounds::check_some_order() {
  for (std::size_t turn = kOrderTurn; turn > 0 && !order_.empty();) {
    auto& [name, check] = order_.back();
    const std::size_t segments = std::min(turn, check.left());
    turn -= segments;
    for (const std::string& problem : check.step(segments)) log_(1, "topic " + name + ": " + problem);
    const std::vector<std::uint64_t> unindexed = check.take_unindexed();
    if (!unindexed.empty()) want_indexes(name, unindexed);
    if (check.done()) order_.pop_back();
  }
}

void Rounds::want_indexes(const std::string& name, const std::vector<std::uint64_t>& first_offsets) {
  for (const auto& topic : persister_.topics()) {
    if (topic->topic().name() != name) continue;
    for (const std::uint64_t first : first_offsets) topic->want_index(first);
  }
  next_retain_ = 0;  // with which they are made
}

void Rounds::find_groups() {
  std::erase_if(books_, [](const auto& book) { return book.second->deleted(); });
  const std::vector<std::string> names = api::group_names(*state_);
  const std::size_t most = state_->access().shared ? kNewGroups : names.size();
  for (std::size_t i = 0, looked_at = 0; i < names.size() && looked_at < most; ++i) {
    const std::string& name = names[(groups_turn_ + i) % names.size()];
    if (books_.contains(name)) continue;
    ++looked_at;
    advance();
    auto group = api::Group::open(state_, name);
    // With [access] one that its user has not opened since the live side was made is his to open.
    if (group && (*group)->live()) books_.emplace(name, std::make_unique<Books>(std::move(*group), sleeper(), log_));
    if (looked_at == most) groups_turn_ = (groups_turn_ + i + 1) % names.size();
  }
  turns_.clear();
  for (const auto& [name, book] : books_) turns_.push_back(book.get());
}

// Those that are new to us.
std::vector<TopicPtr> Rounds::find_topics(std::set<std::string>& complaints) {
  persister_.remove_deleted();
  std::erase_if(topics_, [](const auto& topic) { return topic.second->deleted(); });
  std::vector<TopicPtr> fresh;
  for (const std::string& name : api::topic_names(*state_)) {
    if (topics_.contains(name)) continue;
    advance();  // there may be thousands, each recovered
    auto topic = api::Topic::open(state_, name, true);
    if (topic) {
      topics_.emplace(name, *topic);
      if ((*topic)->durable()) unpersisted_.push_back(*topic);
      fresh.push_back(std::move(*topic));
    } else if (topic.error().code() != Errc::not_found) {
      complaints.insert(topic.error().message());
    }
  }
  std::erase_if(unpersisted_, [&](const TopicPtr& topic) {
    if (topic->deleted()) return true;
    advance();
    auto done = persist(topic);
    if (!done) complaints.insert(done.error().message());
    return done.has_value();
  });
  return fresh;
}

bool Rounds::news() const {
  return state_->live.header()->topics_epoch.load(std::memory_order_seq_cst) != topics_epoch_ ||
         state_->live.groups_epoch().load(std::memory_order_seq_cst) != groups_epoch_;
}

// Who makes a topic or a group tells of it afterwards, and may die in between: so we tell members and readers of each
// topic that is new to us.
void Rounds::refresh() {
  const std::int64_t began = api::monotonic_ns();
  topics_epoch_ = state_->live.header()->topics_epoch.load(std::memory_order_seq_cst);
  groups_epoch_ = state_->live.groups_epoch().load(std::memory_order_seq_cst);
  std::set<std::string> complaints;
  const std::vector<TopicPtr> fresh = find_topics(complaints);
  find_groups();
  for (Books* book : turns_) {
    advance();
    if (auto done = book->refresh(topics_, fresh); !done) complaints.insert(done.error().message());
  }
  for (const std::string& complaint : complaints)
    if (!refused_.contains(complaint)) log_(2, complaint);
  refused_ = std::move(complaints);
  next_retain_ = 0;  // a retention may be what was changed
  const std::int64_t ended = api::monotonic_ns();
  refresh_rest_ = ended + (ended - began);
  if (fresh.empty()) return;
  state_->announce_topics();
  ++topics_epoch_;  // that is no news to us
}

// Leases, retries and what is kept for a time run by the clock that nobody sets; when and how long in wall time was
// reckoned by the other.
void Rounds::look_at_clock(std::int64_t now) {
  const std::int64_t wall = api::now_ns();
  if (retention_.look_at_clock(now, wall, persister_)) {
    for (Books* book : turns_) book->wake_all();
    next_retain_ = 0;
  }
}

// Some news never comes, with [access] consumers can take back that of a group, and what was refused may be mended.
void Rounds::look_at_all(std::int64_t now) {
  next_look_ = now + kLookEvery;
  look_began_ = io::processor_ns();
  worked_ = false;
  refresh();
  for (Books* book : turns_) book->wake_all();
  for (const auto& [name, topic] : topics_) keep_ahead(*topic);
}

// Each group in its turn. Their members write what is read here, so no group's pages may keep the disk waiting.
bool Rounds::keep_books(std::int64_t now) {
  if (now < books_rest_) return false;
  const std::int64_t deadline = now + kBooksTurn;
  bool did = false;
  std::int64_t ended = now;
  for (std::size_t i = 0; i < turns_.size(); ++i) {
    advance();
    did |= turns_[(books_turn_ + i) % turns_.size()]->work(now, deadline, options_.checkpoint_every.count());
    ended = api::monotonic_ns();
    if (ended < deadline) continue;
    books_turn_ = (books_turn_ + i + 1) % turns_.size();
    books_rest_ = ended + (ended - now);
    worked_ |= did;
    return true;
  }
  if (!did) books_rest_ = ended + (ended - now);
  worked_ |= did;
  return did;
}

void Rounds::retain(std::int64_t now, bool did) {
  written_ |= did;
  if (now < next_retain_ && !(written_ && now >= retained_ + kRetainEvery)) return;
  retained_ = now;
  written_ = did;
  next_retain_ = retention_.step(api::now_ns(), persister_);
  if (next_retain_ != INT64_MAX) next_retain_ = std::max(next_retain_, now + kRetainEvery);
  if (!did && persister_.mend_one_index()) next_retain_ = std::min(next_retain_, now + kRetainEvery);
}

bool Rounds::work(std::int64_t now) {
  advance();
  look_at_clock(now);
  if (now >= next_look_)
    look_at_all(now);
  else if (now >= refresh_rest_ && news())
    refresh();
  bool did = persister_.step(api::now_ns(), kReapWait);
  worked_ |= did;
  if (did) compactor_.written();
  retain(now, did);
  did |= keep_books(now);
  did |= compactor_.step(now, persister_, retention_.jumps());  // after the checkpoints that it waits for
  if (!did) check_some_order();
  return did || !order_.empty() || !persister_.idle();
}

std::int64_t Rounds::listen(const shm::Sleeper& sleeper) const {
  shm::Listening all(sleeper);
  all.to(state_->live.mask(layout::kBusOrdinal));
  for (const auto& topic : persister_.topics()) topic->topic().listen(all);
  return all.settle();
}

std::int64_t Rounds::rest(std::int64_t now) {
  std::int64_t next = INT64_MAX;
  for (Books* book : turns_) next = std::min(next, book->rest(now));
  // What a look costs that found nothing to do. Where there is something, it is no idle daemon; and what could not be
  // taken over is tried again soon.
  if (look_began_ && !worked_ && refused_.empty()) {
    const std::int64_t cost = io::processor_ns() - *look_began_;
    next_look_ = std::max(next_look_, now + std::min(kLookShare * cost, kLookAtLeast));
  }
  look_began_.reset();
  next = std::min({std::max(next, books_rest_), next_look_, next_retain_, compactor_.next_step(now, persister_)});
  if (written_) next = std::min(next, retained_ + kRetainEvery);
  if (news()) next = std::min(next, refresh_rest_);
  return persister_.behind() ? std::min(next, now + kTick) : next;
}

Result<void> Rounds::finish() {
  compactor_.stop();
  refresh();
  const std::int64_t deadline = api::monotonic_ns() + kDrain;
  Result<void> out = persister_.drain(deadline);
  for (Books* book : turns_) {
    book->wake_all();
    book->move_letters(INT64_MAX, INT64_MAX);
  }
  refresh();  // a letter may have been its queue's first
  if (auto again = persister_.drain(deadline); !again) out = again;
  for (Books* book : turns_) {
    book->checkpoint(false, INT64_MAX);  // one that was waiting for its letters
    book->checkpoint(out.has_value(), INT64_MAX);
  }
  if (auto closed = persister_.close(); !closed) out = closed;
  auto held = api::BusLock::take(state_->directory);
  if (!held) return out;
  const auto published = api::published_topics(*state_);
  for (const auto& [name, topic] : topics_) {
    if (topic->deleted() || published.contains(topic->header().topic_id)) continue;
    if (topic->durable() && topic->durable_end().position < topic->end().position) continue;
    if (auto settled = api::settle_offset_bound(*topic); !settled)
      log_(1, "topic " + name + ": " + settled.error().message());
  }
  return out;
}

}  // namespace penstock::daemon
