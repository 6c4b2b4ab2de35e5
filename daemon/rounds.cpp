#include "daemon/rounds.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <thread>
#include <unordered_set>

#include "storage/recover.hpp"

namespace penstock::daemon {
namespace {

constexpr std::int64_t kTick = 100'000'000;           // how long an idle daemon sleeps at most
constexpr std::int64_t kBooksTurn = 20'000'000;       // after so long the disk is looked at again
constexpr std::size_t kOrderTurn = 16;                // segments whose first page is looked at in an idle round
constexpr std::size_t kNewGroups = 256;               // names of groups looked at in a round: there may be any number
constexpr std::int64_t kRetainEvery = 1'000'000'000;  // old segments, and what nobody told of
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

// So that no producer has to raise the bound of offsets itself, which costs it a flush. Who holds the bus lock just
// now is not waited for.
void keep_ahead(api::Topic& topic) {
  if (!topic.deleted() && api::offsets_run_low(topic)) static_cast<void>(api::raise_offset_bound(topic, 0));
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
      retention_(log_),
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

Result<void> Rounds::add_topic(const std::string& name) {
  auto topic = api::Topic::open(state_, name, true);
  if (!topic) {
    if (topic.error().code() == Errc::not_found) return {};
    return tl::unexpected(topic.error());
  }
  if (!(*topic)->durable()) {
    memory_topics_.push_back(std::move(*topic));
    return {};
  }
  // What a daemon before us left unsealed is made sound; the ring still holds what it had not flushed.
  auto meta = api::read_topic_meta(*state_, name);
  storage::RecoverOptions recover;
  recover.durable = storage::Boundary{(*topic)->durable_end().position, (*topic)->durable_end().offset};
  recover.bus_id = state_->bus_id;
  recover.mode = state_->access().topic_file();
  auto recovered =
      storage::recover_topic((*topic)->directory(), meta ? std::optional(*meta) : std::nullopt, !meta, recover);
  if (!recovered) {
    // Who waits is told.
    const std::uint32_t detail = recovered.error().detail();
    (*topic)->writable()->durable_error.store(detail != 0 ? detail : EIO, std::memory_order_seq_cst);
    (*topic)->ring_all();
    return tl::unexpected(api::name(recovered.error(), "topic " + name + " is not written to disk"));
  }
  for (const std::string& problem : recovered->problems) log_(1, "topic " + name + ": " + problem);
  storage::remove_unfinished((*topic)->directory());
  order_.emplace_back(name, storage::OrderCheck((*topic)->directory(), (*topic)->header().topic_id));
  persister_.add(std::move(*topic), api::Place{recovered->log_position, recovered->log_offset});
  return {};
}

// Some segments of one topic, so that who awaits an event is not kept waiting by a long past.
void Rounds::check_some_order() {
  if (order_.empty()) return;
  auto& [name, check] = order_.back();
  for (const std::string& problem : check.step(kOrderTurn)) log_(1, "topic " + name + ": " + problem);
  if (check.done()) order_.pop_back();
}

void Rounds::find_groups() {
  std::erase_if(books_, [](const auto& book) { return book->deleted(); });
  std::unordered_set<std::string> known;
  for (const auto& book : books_) known.insert(book->name());
  const std::vector<std::string> names = api::group_names(*state_);
  const std::size_t most = state_->access().shared ? kNewGroups : names.size();
  for (std::size_t i = 0, looked_at = 0; i < names.size() && looked_at < most; ++i) {
    const std::string& name = names[(groups_turn_ + i) % names.size()];
    if (known.contains(name)) continue;
    ++looked_at;
    auto group = api::Group::open(state_, name);
    // With [access] one that its user has not opened since the live side was made is his to open.
    if (group && (*group)->live()) books_.push_back(std::make_unique<Books>(std::move(*group), log_));
    if (looked_at == most) groups_turn_ = (groups_turn_ + i + 1) % names.size();
  }
}

// True: there is one that was not known.
bool Rounds::find_topics(std::set<std::string>& complaints) {
  const auto count = [this] { return persister_.topics().size() + memory_topics_.size(); };
  persister_.remove_deleted();
  std::erase_if(memory_topics_, [](const auto& topic) { return topic->deleted(); });
  std::unordered_set<std::string> known;
  for (const auto& topic : persister_.topics())
    if (!topic->topic().deleted()) known.insert(topic->topic().name());
  for (const auto& topic : memory_topics_) known.insert(topic->name());
  const std::size_t before = count();
  for (const std::string& name : api::topic_names(*state_)) {
    if (known.contains(name)) continue;
    if (auto added = add_topic(name); !added) complaints.insert(added.error().message());
  }
  return count() > before;
}

// Who makes a topic or a group tells of it afterwards, and may die in between: so we look now and then, and tell
// members and readers of each topic that is new to us.
void Rounds::refresh() {
  const layout::LiveHeader* live = state_->live.header();
  const std::uint64_t topic_news = live->topics_epoch.load(std::memory_order_seq_cst);
  const std::uint64_t group_news = state_->live.groups_epoch().load(std::memory_order_seq_cst);
  if (looked_ && topic_news == topics_epoch_ && group_news == groups_epoch_) return;
  std::set<std::string> complaints;
  const bool found = find_topics(complaints);
  find_groups();
  for (const auto& book : books_)
    if (auto done = book->refresh(); !done) complaints.insert(done.error().message());
  for (const std::string& complaint : complaints)
    if (!refused_.contains(complaint)) log_(2, complaint);
  refused_ = std::move(complaints);
  looked_ = true;
  topics_epoch_ = topic_news;
  groups_epoch_ = group_news;
  if (!found) return;
  state_->announce_topics();
  ++topics_epoch_;  // that is no news to us
}

// Each group in its turn. Their members write what is read here, so no group's pages may keep the disk waiting.
bool Rounds::keep_books(std::int64_t now) {
  if (now < books_rest_) return false;
  const std::int64_t deadline = now + kBooksTurn;
  bool did = false;
  std::int64_t ended = now;
  for (std::size_t i = 0; i < books_.size(); ++i) {
    did |= books_[(books_turn_ + i) % books_.size()]->work(now, deadline, options_.checkpoint_every.count());
    ended = api::monotonic_ns();
    if (ended < deadline) continue;
    books_turn_ = (books_turn_ + i + 1) % books_.size();
    books_rest_ = ended + (ended - now);
    return true;
  }
  return did;
}

bool Rounds::work(std::int64_t now) {
  refresh();
  bool did = persister_.step(api::now_ns(), kReapWait);
  did |= keep_books(now);
  if (now >= next_checkpoint_) {
    next_checkpoint_ = now + options_.checkpoint_every.count();
    for (const auto& topic : persister_.topics()) keep_ahead(topic->topic());
    for (const auto& topic : memory_topics_) keep_ahead(*topic);
  }
  if (now >= next_retain_) {
    retention_.step(api::now_ns(), persister_);
    if (!did) persister_.mend_one_index();
    next_retain_ = now + kRetainEvery;
    // Some news never comes, with [access] consumers can take back that of a group, and what was refused may be mended.
    looked_ = false;
  }
  did |= compactor_.step(now, persister_, retention_.jumps());
  if (!did) check_some_order();
  return did || !order_.empty() || !persister_.idle();
}

void Rounds::listen(const shm::Sleeper& sleeper) const {
  sleeper.listen(state_->live.mask(layout::kBusOrdinal));
  for (const auto& topic : persister_.topics()) sleeper.listen(topic->topic().mask());
  for (const auto& book : books_) book->listen(sleeper);
}

std::int64_t Rounds::next_round(std::int64_t now) const { return std::min(next_checkpoint_, now + kTick); }

Result<void> Rounds::finish() {
  compactor_.stop();
  refresh();
  const std::int64_t deadline = api::monotonic_ns() + kDrain;
  Result<void> out = persister_.drain(deadline);
  for (const auto& book : books_) book->move_letters(INT64_MAX, INT64_MAX);
  refresh();  // a letter may have been its queue's first
  if (auto again = persister_.drain(deadline); !again) out = again;
  for (const auto& book : books_) {
    book->checkpoint(false);  // one that was waiting for its letters
    book->checkpoint(out.has_value());
  }
  if (auto closed = persister_.close(); !closed) out = closed;
  auto held = api::BusLock::take(state_->directory);
  if (!held) return out;
  const auto settle = [this](api::Topic& topic) {
    if (topic.deleted() || api::has_producer(topic)) return;
    if (topic.durable() && topic.durable_end().position < topic.end().position) return;
    if (auto settled = api::settle_offset_bound(topic); !settled)
      log_(1, "topic " + topic.name() + ": " + settled.error().message());
  };
  for (const auto& topic : persister_.topics()) settle(topic->topic());
  for (const auto& topic : memory_topics_) settle(*topic);
  return out;
}

}  // namespace penstock::daemon
