// Members of groups.
#include <penstock/bus.hpp>
#include <penstock/consumer.hpp>
#include <unordered_set>

#include "api/delivery.hpp"
#include "api/disk_wait.hpp"
#include "api/event_fd.hpp"
#include "api/member.hpp"
#include "api/waiter.hpp"

namespace penstock {

using api::MemberTopic;
using api::refuse;

namespace {

constexpr std::size_t kLively = 16;  // with more topics than this, not all of them are asked each time

}  // namespace

struct Consumer::Impl {
  api::StatePtr state;
  std::shared_ptr<api::Group> group;
  shm::Handle handle;
  ConsumerOptions options;
  api::Waiter waiter;
  std::vector<std::shared_ptr<MemberTopic>> topics;
  std::uint64_t topics_epoch = 0, groups_epoch = 0;
  std::size_t turn = 0;
  // Where there are many: those that had something lately are asked first.
  std::vector<std::shared_ptr<MemberTopic>> lively;
  std::size_t lively_turn = 0;
  bool looked = false;
  struct Taken {
    std::shared_ptr<MemberTopic> topic;
    MemberTopic::Work work;
  };
  std::optional<Taken> waiting;  // what wait() fetched, for the next or poll after it
  std::unique_ptr<api::EventFd> news;

  Impl(api::StatePtr opened, std::shared_ptr<api::Group> joined, shm::Handle acquired, const ConsumerOptions& chosen)
      : state(std::move(opened)),
        group(std::move(joined)),
        handle(std::move(acquired)),
        options(chosen),
        waiter(state->live.sleeper(handle.slot()), chosen.wait) {}

  ~Impl() {
    if (!waiting || handle.in_child()) return;
    static_cast<void>(waiting->topic->state().engine().release(waiting->work.lease, api::instant()));
    waiting->topic->state().ring();
  }

  group::Member member() const { return {handle.slot(), handle.incarnation()}; }
  Result<void> refresh();
  Result<void> find_topics();
  Result<void> add(const std::string& topic);
  Result<std::optional<Taken>> take(std::int64_t& until, bool execute);
  Result<bool> begin(Taken& taken, bool fetched_before);
  Result<std::optional<Taken>> take_lively(std::int64_t& until, bool execute);
  Result<std::optional<Taken>> ask(const std::shared_ptr<MemberTopic>& topic, std::int64_t& until, bool execute);
  void listen(shm::Listening& all) const;
  Result<api::Waiter::Look> look();
  Result<void> await_news();
  bool peek() const {
    return std::any_of(topics.begin(), topics.end(), [](const auto& topic) { return topic->peek(); });
  }
};

Result<void> Consumer::Impl::add(const std::string& topic) {
  auto opened = api::Topic::open(state, topic, false);
  if (!opened) return tl::unexpected(opened.error());
  auto file = api::GroupState::open(group, topic, {.member = member(), .writable = true});
  if (!file) return tl::unexpected(file.error());
  const bool held = (*opened)->held_by_readers();
  topics.push_back(std::make_shared<MemberTopic>(std::move(*file), api::Feed(std::move(*opened), held)));
  return {};
}

Result<void> Consumer::Impl::find_topics() {
  lively.clear();
  std::erase_if(topics, [](const auto& topic) { return topic->feed().topic().deleted(); });
  std::unordered_set<std::string_view> known;
  for (const auto& topic : topics) known.insert(topic->state().topic());
  // The group's own dead letters are members' work once one was given back.
  for (const std::string& topic : group->topic_names()) {
    if (known.contains(topic)) continue;
    if (auto added = add(topic); !added) {
      const Errc code = added.error().code();
      if (code == Errc::not_found || code == Errc::deleted) continue;
      return added;
    }
  }
  return {};
}

Result<void> Consumer::Impl::refresh() {
  if (handle.in_child()) return tl::unexpected(Error(Errc::forked));
  if (group->deleted()) return refuse(Errc::deleted, "group " + group->name());
  const layout::LiveHeader* live = state->live.header();
  const std::uint64_t topic_news = live->topics_epoch.load(std::memory_order_seq_cst);
  const std::uint64_t group_news = state->live.groups_epoch().load(std::memory_order_seq_cst);
  if (group->refresh()) looked = false;  // whatever the epoch says, which others may write
  if (looked && topic_news == topics_epoch && group_news == groups_epoch) return {};
  if (auto found = find_topics(); !found) return found;
  looked = true;
  topics_epoch = topic_news;
  groups_epoch = group_news;
  return {};
}

Result<std::optional<Consumer::Impl::Taken>> Consumer::Impl::take(std::int64_t& until, bool execute) {
  if (waiting) return std::exchange(waiting, std::nullopt);
  if (auto good = refresh(); !good) return tl::unexpected(good.error());
  if (topics.size() > kLively)
    if (auto taken = take_lively(until, execute); !taken || *taken) return taken;
  for (std::size_t i = 0; i < topics.size(); ++i) {
    const auto& topic = topics[(turn + i) % topics.size()];
    auto taken = ask(topic, until, execute);
    if (!taken) return taken;
    if (!*taken) continue;
    // The next look begins behind this topic, so that a busy one starves no other.
    turn = (turn + i + 1) % topics.size();
    if (topics.size() > kLively) {
      if (lively.size() < kLively)
        lively.push_back(topic);
      else
        lively[lively_turn++ % kLively] = topic;
    }
    return taken;
  }
  return std::nullopt;
}

// The handler's from here on. False: the lease ran out since it was fetched, and the event is another's by now.
Result<bool> Consumer::Impl::begin(Taken& taken, bool fetched_before) {
  group::GroupTopic& engine = taken.topic->state().engine();
  group::Lease& lease = taken.work.lease;
  if (lease.executing()) return true;
  Result<void> begun;
  if (fetched_before) {
    const bool admitted = lease.admitted;
    auto whole = engine.extend(lease, api::instant(), std::int64_t(group->options().lease_ns));
    if (whole)
      lease = *whole, lease.admitted = admitted;
    else
      begun = tl::unexpected(whole.error());
  }
  if (begun) begun = engine.begin(lease);
  if (!begun && begun.error().code() != Errc::stale_lease) return tl::unexpected(begun.error());
  return begun.has_value();
}

Result<std::optional<Consumer::Impl::Taken>> Consumer::Impl::ask(const std::shared_ptr<MemberTopic>& topic,
                                                                 std::int64_t& until, bool execute) {
  auto work = topic->take({options.durable_only, execute}, until);
  if (!work && work.error().code() != Errc::deleted) return tl::unexpected(work.error());
  if (!work || !*work) return std::nullopt;
  return Taken{topic, **work};
}

// One of all topics in its turn, so that none is starved, and those that had something lately.
Result<std::optional<Consumer::Impl::Taken>> Consumer::Impl::take_lively(std::int64_t& until, bool execute) {
  if (auto taken = ask(topics[turn++ % topics.size()], until, execute); !taken || *taken) return taken;
  for (std::size_t i = 0; i < lively.size(); ++i)
    if (auto taken = ask(lively[++lively_turn % lively.size()], until, execute); !taken || *taken) return taken;
  return std::nullopt;
}

// With everything that may bring work.
void Consumer::Impl::listen(shm::Listening& all) const {
  all.to(state->live.mask(layout::kBusOrdinal));
  for (const auto& topic : topics) {
    topic->feed().topic().listen(all);
    all.to(topic->state().sleepers());
  }
}

Consumer::Consumer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Consumer::Consumer(Consumer&&) noexcept = default;
Consumer& Consumer::operator=(Consumer&&) noexcept = default;
Consumer::~Consumer() = default;

std::uint64_t Consumer::missed() const {
  std::uint64_t sum = 0;
  for (const auto& topic : impl_->topics) sum += topic->missed();
  return sum;
}
std::uint64_t Consumer::damaged() const {
  std::uint64_t sum = 0;
  for (const auto& topic : impl_->topics) sum += topic->damaged();
  return sum;
}
std::string_view Consumer::group() const { return impl_->group->name(); }
void Consumer::interrupt() { impl_->waiter.interrupt(); }

Result<std::optional<Delivery>> Consumer::next(std::chrono::nanoseconds timeout) {
  Impl& me = *impl_;
  const std::int64_t deadline = api::deadline_after(timeout);
  std::optional<Impl::Taken> taken;
  while (!taken) {
    const bool fetched_before = me.waiting.has_value();
    auto ready = wait(std::chrono::nanoseconds(std::max<std::int64_t>(deadline - api::monotonic_ns(), 0)));
    if (!ready) return tl::unexpected(ready.error());
    if (!*ready) {
      if (auto armed = me.await_news(); !armed) return tl::unexpected(armed.error());
      return std::optional<Delivery>();
    }
    taken = std::exchange(me.waiting, std::nullopt);
    auto begun = me.begin(*taken, fetched_before);
    if (!begun) return tl::unexpected(begun.error());
    if (!*begun) taken.reset();
  }
  Delivery out;
  EventView::Raw event = taken->work.event;
  if (taken->topic->state().letters()) {
    // A letter given back shows where it came from.
    if (auto letter = DeadLetter::of(EventView(event))) {
      out.redriven_ = std::move(*letter);
      ++out.redriven_->redrives;
      event.topic = out.redriven_->topic;
      event.offset = out.redriven_->offset;
    }
  }
  out.event_ = Event(EventView(event));
  out.group_ = me.group->name();
  out.attempt_ = taken->work.lease.attempt();
  out.lease_.reset(new Delivery::Lease{taken->topic, taken->work.lease});
  return std::optional<Delivery>(std::move(out));
}

// Takes what it finds: a lease that waits for the next call, which comes at once.
Result<api::Waiter::Look> Consumer::Impl::look() {
  api::Waiter::Look out;
  auto found = take(out.until, false);
  if (!found) return tl::unexpected(found.error());
  waiting = std::move(*found);
  out.ready = waiting.has_value();
  return out;
}

Result<void> Consumer::Impl::await_news() {
  if (!news) return {};
  return news->await([this](shm::Listening& all) { listen(all); }, [this] { return look(); });
}

Result<int> Consumer::event_fd() {
  Impl& me = *impl_;
  if (me.news) return me.news->fd();
  auto made = api::EventFd::make(me.waiter.sleeper());
  if (!made) return tl::unexpected(api::name(made.error(), "the descriptor of a member of group " + me.group->name()));
  me.news = std::move(*made);
  if (auto armed = me.await_news(); !armed) return tl::unexpected(armed.error());
  return me.news->fd();
}

Result<bool> Consumer::wait(std::chrono::nanoseconds timeout) {
  Impl& me = *impl_;
  return me.waiter.wait(
      timeout, [&me](shm::Listening& all) { me.listen(all); }, [&me] { return me.look(); },
      [&me] { return me.peek(); });
}

Result<std::size_t> Consumer::poll_with(Call call, void* context, std::size_t most) {
  Impl& me = *impl_;
  std::size_t handled = 0;
  while (handled < most) {
    std::int64_t until = INT64_MAX;
    const bool fetched_before = me.waiting.has_value();
    auto taken = me.take(until, true);
    if (!taken) return tl::unexpected(taken.error());
    if (!*taken) break;
    auto begun = me.begin(**taken, fetched_before);
    if (!begun) return tl::unexpected(begun.error());
    if (!*begun) continue;
    ++handled;
    auto& state = (*taken)->topic->state();
    (*taken)->topic->settles();
    const group::Lease& lease = (*taken)->work.lease;
    const Settle settle = call(context, EventView((*taken)->work.event), lease.attempt());
    const group::NoteText note{settle.error_class, settle.reason};
    const std::uint64_t promoted = state.engine().promoted();
    Result<void> done;
    switch (settle.kind) {
      case Settle::Kind::ack:
        // When is of interest for ids alone.
        done = state.engine().ack(lease, lease.admitted ? api::instant() : group::Instant(0));
        break;
      case Settle::Kind::nak:
        if (auto fate = state.engine().nak(lease, api::instant(), note); !fate) done = tl::unexpected(fate.error());
        break;
      case Settle::Kind::reject:
        done = state.engine().reject(lease, api::instant(), note);
        break;
      case Settle::Kind::release:
        done = state.engine().release(lease, api::instant());
        break;
    }
    if (settle.kind != Settle::Kind::ack || state.engine().promoted() != promoted)
      state.ring();
    else
      state.changed();
    if (!done) return tl::unexpected(api::name(done.error(), "offset " + std::to_string(lease.offset)));
  }
  if (handled == 0 && most != 0)
    if (auto armed = me.await_news(); !armed) return tl::unexpected(armed.error());
  return handled;
}

Result<std::uint64_t> Consumer::ack_through(std::string_view topic, Offset offset) {
  Impl& me = *impl_;
  if (auto good = me.refresh(); !good) return tl::unexpected(good.error());
  const auto found = std::find_if(me.topics.begin(), me.topics.end(),
                                  [&](const auto& there) { return there->state().topic() == topic; });
  const std::string title = "topic " + std::string(topic) + " of group " + me.group->name();
  if (found == me.topics.end()) return refuse(Errc::not_found, title);
  (*found)->settles();
  auto acked = (*found)->state().engine().ack_through(offset, api::instant());
  if (!acked) return tl::unexpected(api::name(acked.error(), title));
  if (*acked != 0) (*found)->state().ring();
  return acked;
}

Result<void> Consumer::await_settled(std::chrono::nanoseconds timeout) {
  Impl& me = *impl_;
  const api::GroupState* behind = nullptr;
  const auto settled = [&me, &behind]() -> Result<bool> {
    if (auto good = me.refresh(); !good) return tl::unexpected(good.error());
    behind = nullptr;
    for (const auto& topic : me.topics) {
      if (topic->feed().topic().deleted()) continue;
      const std::uint64_t wanted = topic->wanted_checkpoint();
      if (topic->state().checkpoint_done() < wanted) behind = &topic->state();
    }
    return behind == nullptr;
  };
  const auto listen = [&me](shm::Listening& all) {
    for (const auto& topic : me.topics) all.to(topic->state().sleepers());
  };
  return api::await_disk(
      me.waiter, *me.state, timeout,
      {.listen = listen,
       .done = settled,
       .error = [&behind] { return behind == nullptr ? 0 : behind->checkpoint_error(); },
       .title = [&me, &behind] { return "group " + me.group->name() + " in topic " + behind->topic(); },
       .missing = "what was settled is not on disk yet"});
}

Result<bool> Consumer::settled_through(const std::vector<std::pair<std::string, Offset>>& ends) const {
  Impl& me = *impl_;
  if (auto good = me.refresh(); !good) return tl::unexpected(good.error());
  for (const auto& [name, end] : ends) {
    if (end == 0) continue;
    const auto found = std::find_if(me.topics.begin(), me.topics.end(),
                                    [&name = name](const auto& topic) { return topic->state().topic() == name; });
    if (found == me.topics.end()) return false;
    if (!(*found)->state().engine().started() || (*found)->state().engine().committed().offset < end) return false;
  }
  for (const auto& topic : me.topics)
    if (topic->state().letters() && topic->state().engine().info().oldest) return false;
  return true;
}

Result<Consumer> Bus::consumer(std::string_view group, const std::vector<std::string>& patterns,
                               const ConsumerOptions& options) {
  if (auto good = state_->usable(); !good) return tl::unexpected(good.error());
  auto joined = api::Group::join(state_, group, patterns, options);
  if (!joined) return tl::unexpected(joined.error());
  auto handle = api::acquire_handle(state_, layout::HandleKind::consumer, 0, group);
  if (!handle)
    return tl::unexpected(api::name(handle.error(), "a member of group " + std::string(group), state_->live.path()));
  auto impl = std::make_unique<Consumer::Impl>(state_, std::move(*joined), std::move(*handle), options);
  if (auto found = impl->refresh(); !found) return tl::unexpected(found.error());
  return Consumer(std::move(impl));
}

}  // namespace penstock
