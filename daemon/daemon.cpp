// The daemon: one thread that persists, keeps the books, and sleeps when there is nothing to do.
#include <penstock/daemon.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <set>
#include <thread>

#include "daemon/books.hpp"
#include "storage/recover.hpp"

namespace penstock {

using api::refuse;

namespace {

constexpr std::int64_t kTick = 100'000'000;           // how long an idle daemon sleeps at most
constexpr std::int64_t kBooksTurn = 20'000'000;       // after so long the disk is looked at again
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

// So that no producer has to raise the bound of offsets itself, which costs it a flush. Who holds the bus lock just
// now is not waited for.
void keep_ahead(api::Topic& topic) {
  if (!topic.deleted() && api::offsets_run_low(topic)) static_cast<void>(api::raise_offset_bound(topic, 0));
}

}  // namespace

struct Daemon::Impl {
  api::StatePtr state;
  shm::Fd lock;
  shm::Handle handle;
  DaemonOptions options;
  daemon::Log log;
  daemon::Persister persister;
  std::vector<std::unique_ptr<daemon::Books>> books;
  std::vector<std::shared_ptr<api::Topic>> memory_topics;
  std::uint64_t topics_epoch = 0, groups_epoch = 0;
  bool looked = false;
  std::set<std::string> refused;  // what could not be taken over at the last look, and why
  std::int64_t next_checkpoint = 0, next_retain = 0;
  std::int64_t books_rest = 0;  // until then the books wait, so that they take half the time at most
  std::size_t books_turn = 0;   // whose turn is next
  std::size_t groups_turn = 0;  // which new names are looked at next
  std::atomic<bool> stopping{false};
  std::thread thread;
  Result<void> result;

  Impl(api::StatePtr opened, shm::Fd locked, shm::Handle acquired, const DaemonOptions& chosen, daemon::Log logger)
      : state(opened),
        lock(std::move(locked)),
        handle(std::move(acquired)),
        options(chosen),
        log(std::move(logger)),
        persister(opened, chosen.force_pwrite || opened->settings.force_pwrite, log) {}

  void refresh();
  void find_groups();
  bool keep_books(std::int64_t now);
  Result<void> add_topic(const std::string& name);
  bool work(std::int64_t now);
  void rest(const shm::Sleeper& sleeper);
  void run();
  Result<void> finish();
};

Result<void> Daemon::Impl::add_topic(const std::string& name) {
  auto topic = api::Topic::open(state, name, true);
  if (!topic) {
    if (topic.error().code() == Errc::not_found) return {};
    return tl::unexpected(topic.error());
  }
  if (!(*topic)->durable()) {
    memory_topics.push_back(std::move(*topic));
    return {};
  }
  // What a daemon before us left unsealed is made sound; the ring still holds what it had not flushed.
  auto meta = api::read_topic_meta(*state, name);
  storage::RecoverOptions recover;
  recover.durable = storage::Boundary{(*topic)->durable_end().position, (*topic)->durable_end().offset};
  recover.bus_id = state->bus_id;
  recover.mode = state->access().topic_file();
  auto recovered =
      storage::recover_topic((*topic)->directory(), meta ? std::optional(*meta) : std::nullopt, !meta, recover);
  if (!recovered) return tl::unexpected(api::name(recovered.error(), "topic " + name + " is not written to disk"));
  for (const std::string& problem : recovered->problems) log(1, "topic " + name + ": " + problem);
  persister.add(std::move(*topic), api::Place{recovered->log_position, recovered->log_offset});
  return {};
}

void Daemon::Impl::find_groups() {
  std::erase_if(books, [](const auto& book) { return book->deleted(); });
  const std::vector<std::string> names = api::group_names(*state);
  const std::size_t most = state->access().shared ? kNewGroups : names.size();
  for (std::size_t i = 0, looked_at = 0; i < names.size() && looked_at < most; ++i) {
    const std::string& name = names[(groups_turn + i) % names.size()];
    const bool known = std::any_of(books.begin(), books.end(), [&](const auto& book) { return book->name() == name; });
    if (known) continue;
    ++looked_at;
    auto group = api::Group::open(state, name);
    // With [access] one that its user has not opened since the live side was made is his to open.
    if (group && (*group)->live()) books.push_back(std::make_unique<daemon::Books>(std::move(*group), log));
    if (looked_at == most) groups_turn = (groups_turn + i + 1) % names.size();
  }
}

void Daemon::Impl::refresh() {
  const layout::LiveHeader* live = state->live.header();
  const std::uint64_t topic_news = live->topics_epoch.load(std::memory_order_seq_cst);
  const std::uint64_t group_news = state->live.groups_epoch().load(std::memory_order_seq_cst);
  if (looked && topic_news == topics_epoch && group_news == groups_epoch) return;
  std::set<std::string> complaints;
  const auto check = [&](const Result<void>& done) {
    if (!done) complaints.insert(done.error().message());
  };
  persister.remove_deleted();
  std::erase_if(memory_topics, [](const auto& topic) { return topic->deleted(); });
  for (const std::string& name : api::topic_names(*state)) {
    const bool memory = std::any_of(memory_topics.begin(), memory_topics.end(),
                                    [&](const auto& topic) { return topic->name() == name; });
    if (!memory && !persister.has(name)) check(add_topic(name));
  }
  find_groups();
  for (const auto& book : books) check(book->refresh());
  for (const std::string& complaint : complaints)
    if (!refused.contains(complaint)) log(2, complaint);
  refused = std::move(complaints);
  looked = true;
  topics_epoch = topic_news;
  groups_epoch = group_news;
}

// Each group in its turn. Their members write what is read here, so no group's pages may keep the disk waiting.
bool Daemon::Impl::keep_books(std::int64_t now) {
  if (now < books_rest) return false;
  const std::int64_t deadline = now + kBooksTurn;
  bool did = false;
  std::int64_t ended = now;
  for (std::size_t i = 0; i < books.size(); ++i) {
    did |= books[(books_turn + i) % books.size()]->work(now, deadline, options.checkpoint_every.count());
    ended = api::monotonic_ns();
    if (ended < deadline) continue;
    books_turn = (books_turn + i + 1) % books.size();
    books_rest = ended + (ended - now);
    return true;
  }
  return did;
}

// One round. True when there may be more to do at once.
bool Daemon::Impl::work(std::int64_t now) {
  refresh();
  bool did = persister.step(api::now_ns(), kReapWait);
  did |= keep_books(now);
  if (now >= next_checkpoint) {
    next_checkpoint = now + options.checkpoint_every.count();
    for (const auto& topic : persister.topics()) keep_ahead(topic->topic());
    for (const auto& topic : memory_topics) keep_ahead(*topic);
  }
  if (now >= next_retain) {
    persister.retain(api::now_ns());
    if (!did) persister.mend_one_index();
    next_retain = now + kRetainEvery;
    // Consumers can take back the news of a group; and what was refused may be mended.
    if (state->access().shared || !refused.empty()) looked = false;
  }
  return did || !persister.idle();
}

// Registers everywhere, looks once more, and sleeps.
void Daemon::Impl::rest(const shm::Sleeper& sleeper) {
  const std::uint32_t seen = sleeper.read();
  sleeper.listen(state->live.mask(layout::kBusOrdinal));
  for (const auto& topic : persister.topics()) sleeper.listen(topic->topic().mask());
  for (const auto& book : books) book->listen(sleeper);
  const std::int64_t now = api::monotonic_ns();
  if (stopping.load(std::memory_order_seq_cst) || work(now)) return;
  const std::int64_t wake = std::min(next_checkpoint, now + kTick);
  if (wake > now) sleeper.sleep(seen, wake - now);
}

void Daemon::Impl::run() {
  const shm::Sleeper sleeper = state->live.sleeper(handle.slot());
  while (!stopping.load(std::memory_order_seq_cst))
    if (!work(api::monotonic_ns())) rest(sleeper);
  result = finish();
}

// Everything that was committed, and the groups' state, to disk; and, when nobody publishes any more, what the next
// life may rely on.
Result<void> Daemon::Impl::finish() {
  refresh();
  const std::int64_t deadline = api::monotonic_ns() + kDrain;
  Result<void> out = persister.drain(deadline);
  for (const auto& book : books) book->move_letters(INT64_MAX, INT64_MAX);
  if (auto again = persister.drain(deadline); !again) out = again;
  for (const auto& book : books) {
    book->checkpoint(false);  // one that was waiting for its letters
    book->checkpoint(out.has_value());
  }
  if (auto closed = persister.close(); !closed) out = closed;
  auto held = api::BusLock::take(state->directory);
  if (!held) return out;
  const auto settle = [this](api::Topic& topic) {
    if (topic.deleted() || api::has_producer(topic)) return;
    if (topic.durable() && topic.durable_end().position < topic.end().position) return;
    if (auto settled = api::settle_offset_bound(topic); !settled)
      log(1, "topic " + topic.name() + ": " + settled.error().message());
  };
  for (const auto& topic : persister.topics()) settle(topic->topic());
  for (const auto& topic : memory_topics) settle(*topic);
  return out;
}

Daemon::Daemon(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Daemon::Daemon(Daemon&&) noexcept = default;
Daemon& Daemon::operator=(Daemon&& other) noexcept {
  if (this != &other) {
    static_cast<void>(stop());
    impl_ = std::move(other.impl_);
  }
  return *this;
}
Daemon::~Daemon() { static_cast<void>(stop()); }

std::string_view Daemon::backend() const { return impl_ ? impl_->persister.backend() : std::string_view(); }

Result<void> Daemon::stop() {
  if (!impl_ || !impl_->thread.joinable()) return {};
  impl_->stopping.store(true, std::memory_order_seq_cst);
  impl_->state->live.sleeper(impl_->handle.slot()).ring();
  impl_->thread.join();
  impl_->state->live.header()->daemon_pid.store(0);
  Result<void> result = impl_->result;
  impl_.reset();
  return result;
}

Result<Daemon> Daemon::start(const Bus& bus, const DaemonOptions& options) {
  const api::StatePtr& state = bus.state();
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
    return refuse(
        Errc::busy,
        "another daemon (pid " + std::to_string(pid) + ") has the bus " + state->directory + "; stop it first.", pid);
  }
  auto handle = api::acquire_handle(state, layout::HandleKind::daemon, 0, "penstockd");
  if (!handle) return tl::unexpected(api::name(handle.error(), "the daemon"));
  daemon::Log log = options.log ? daemon::Log(options.log) : daemon::Log([](int, const std::string&) {});
  auto impl = std::make_unique<Impl>(state, std::move(*lock), std::move(*handle), options, std::move(log));
  layout::LiveHeader* live = state->live.header();
  live->daemon_pid.store(std::uint64_t(::getpid()));
  live->daemon_backend.store(impl->persister.backend() == "io_uring" ? 1 : 2);
  live->daemon_started_ns.store(std::uint64_t(api::now_ns()));
  Impl* running = impl.get();
  impl->thread = std::thread([running] { running->run(); });
  return Daemon(std::move(impl));
}

}  // namespace penstock
