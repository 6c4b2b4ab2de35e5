// Readers without a group.
#include <penstock/bus.hpp>
#include <penstock/reader.hpp>
#include <unordered_set>

#include "api/event_fd.hpp"
#include "api/feed.hpp"
#include "api/waiter.hpp"
#include "group/pattern.hpp"

namespace penstock {

using api::Feed;
using api::Place;
using api::refuse;

namespace {

// Who reads as fast as events come and touches each line the moment it is written makes the producer fetch it back for
// the next store. So after a burst of this many events a reader that has caught up lets some gather: about two
// microseconds of not looking. A lone event is never waited for.
constexpr std::uint64_t kBurst = 16;
constexpr unsigned kGatherPauses = 256;

void gather() {
  for (unsigned pause = 0; pause < kGatherPauses; ++pause) __builtin_ia32_pause();
}

// Where an event begins follows from the one before it, so a processor waits for each one's lines in turn, unless they
// were asked for: so many lines ahead.
constexpr std::uint64_t kLinesAhead = 16;
// Only lines that are claimed, else their producer has to take them back. A reader in a burst that has come to the end
// it knew looks at the tail again, which is the producers' line, after so many lines at the earliest.
constexpr std::uint64_t kTailEvery = 256;

// Polls that find nothing look at the tail once in so many, or when the coarse clock moved, which is asked less often.
constexpr unsigned kLookEvery = 64, kClockEvery = 8;

}  // namespace

struct Reader::Impl {
  struct Source {
    Feed feed;
    Place place;
    shm::Handle pin;              // of memory topics that wait for their readers
    std::uint64_t burst = 0;      // events found one after another without an empty look
    std::uint64_t empty = ~0ull;  // the position at which the log ended when all was looked at
    std::uint64_t claimed = 0;    // up to this position, when the tail was looked at in a burst
    unsigned skipped = 0;         // empty polls since
    std::int64_t looked = 0;      // when; coarse

    bool due();
    void fetch_ahead(std::uint64_t next);
    void take(const Feed::Next& next);
    void pin_here();
    bool durable(Offset offset) const { return feed.topic().durable_end().offset > offset; }
  };

  api::StatePtr state;
  shm::Handle handle;  // its slot says which doorbell is ours
  std::vector<std::string> patterns;
  ReaderOptions options;
  api::Waiter waiter;
  std::vector<std::unique_ptr<Source>> sources;
  std::uint64_t epoch = 0;  // of the topics when they were last looked for
  std::uint64_t missed = 0, damaged = 0;
  std::size_t turn = 0;  // where the next poll begins, so that no topic starves another
  std::unique_ptr<api::EventFd> news;

  Impl(api::StatePtr opened, shm::Handle acquired, std::vector<std::string> wanted, const ReaderOptions& chosen)
      : state(std::move(opened)),
        handle(std::move(acquired)),
        patterns(std::move(wanted)),
        options(chosen),
        waiter(state->live.sleeper(handle.slot()), chosen.wait) {}

  // Whether this reader may see what stands at this offset.
  bool shows(const Source& source, Offset offset) const { return !options.durable_only || source.durable(offset); }
  Result<void> find_topics(StartAt start);
  Result<void> add(const std::string& topic, StartAt start);
  void listen(shm::Listening& all) const;
  Result<api::Waiter::Look> look();
  Result<void> await_news();
  Result<void> refresh() {
    if (handle.in_child()) return tl::unexpected(Error(Errc::forked));
    if (state->live.header()->topics_epoch.load(std::memory_order_seq_cst) == epoch) return {};
    return find_topics(StartAt::beginning());
  }
};

Result<void> Reader::Impl::add(const std::string& topic, StartAt start) {
  auto opened = api::Topic::open(state, topic, false);
  if (!opened) return tl::unexpected(opened.error());
  const bool held = (*opened)->held_by_readers() && !options.lossy && !options.durable_only;
  auto source = std::make_unique<Source>(Source{Feed(*opened, held), {}, {}});
  if (held) {
    auto pin = api::acquire_handle(state, layout::HandleKind::reader, (*opened)->header().topic_id, topic);
    if (!pin) return tl::unexpected(api::name(pin.error(), "a reader of topic " + topic, state->live.path()));
    source->pin = std::move(*pin);
    // The pin first, then a look at what was given up: whoever raises the limit announces it before he scans the pins.
    source->pin.page()->pin.store((*opened)->ring().base_position, std::memory_order_seq_cst);
  }
  auto place = source->feed.start(start);
  if (!place) return tl::unexpected(place.error());
  source->place = *place;
  if (held) {
    for (;;) {
      source->pin.page()->pin.store(source->place.position, std::memory_order_seq_cst);
      if (source->place.position >= (*opened)->control()->reclaim.load(std::memory_order_seq_cst)) break;
      source->place = (*opened)->oldest();
    }
  }
  sources.push_back(std::move(source));
  return {};
}

Result<void> Reader::Impl::find_topics(StartAt start) {
  const std::uint64_t seen = state->live.header()->topics_epoch.load(std::memory_order_seq_cst);
  std::erase_if(sources, [](const auto& source) { return source->feed.topic().deleted(); });
  std::unordered_set<std::string_view> known;
  for (const auto& source : sources) known.insert(source->feed.topic().name());
  for (const std::string& topic : api::topic_names(*state, patterns)) {
    if (known.contains(topic)) continue;
    if (auto added = add(topic, start); !added) {
      if (added.error().code() == Errc::not_found || added.error().code() == Errc::deleted) continue;
      return added;
    }
  }
  epoch = seen;
  return {};
}

// Whether the place, where no event stands plainly, deserves the whole look: at the tail, which is the producers' line,
// and for claims of the dead. Where the log ended at the last one, what comes next shows in the header (a PAD or an
// aborted claim does too), unless its owner dies or a lap went by.
bool Reader::Impl::Source::due() {
  const log::Ring& ring = feed.topic().ring();
  if (place.position != empty || ring.control->limit.load(std::memory_order_relaxed) > place.position + ring.size() ||
      feed.glance(place))
    return true;
  if (++skipped % kClockEvery != 0) return false;
  return skipped >= kLookEvery || api::coarse_monotonic_ns() != looked;
}

// Before the reader goes on from its place to the next.
[[gnu::always_inline]] inline void Reader::Impl::Source::fetch_ahead(std::uint64_t next) {
  const log::Ring& ring = feed.topic().ring();
  if (next + kLinesAhead < claimed) {
    const std::uint64_t end = std::min(next, place.position + kLinesAhead);
    for (std::uint64_t at = place.position; at < end; ++at) __builtin_prefetch(ring.at(at + kLinesAhead));
  } else if (next >= claimed && burst > kBurst) {
    claimed = std::max(ring.tail().end, next + kTailEvery);
  }
}

void Reader::Impl::Source::take(const Feed::Next& next) {
  place = next.place;
  empty = next.kind == Feed::Kind::nothing ? place.position : ~0ull;
  skipped = 0;
  if (next.kind == Feed::Kind::nothing) looked = api::coarse_monotonic_ns();
}

void Reader::Impl::Source::pin_here() {
  if (pin && pin.page()->pin.load(std::memory_order_relaxed) != place.position)
    pin.page()->pin.store(place.position, std::memory_order_release);
}

Reader::Reader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Reader::Reader(Reader&&) noexcept = default;
Reader& Reader::operator=(Reader&&) noexcept = default;
Reader::~Reader() = default;

Result<std::size_t> Reader::poll_with(Call call, void* context, std::size_t most) {
  Impl& me = *impl_;
  if (auto good = me.refresh(); !good) return tl::unexpected(good.error());
  std::size_t handled = 0;
  const std::size_t count = me.sources.size();
  for (std::size_t i = 0; i < count && handled < most; ++i) {
    Impl::Source& source = *me.sources[(me.turn + i) % count];
    EventView event(EventView::Raw{.topic = source.feed.topic().name()});
    Place place = source.place;
    while (handled < most) {
      if (!me.shows(source, place.offset)) break;
      if (source.feed.quick(place, event.raw())) {
        source.fetch_ahead(place.position);
        source.place = place;  // before the handler, which may throw
        ++source.burst;
        ++handled;
        call(context, event);
        continue;
      }
      if (std::exchange(source.burst, 0) >= kBurst) {
        gather();
        continue;
      }
      if (!source.due()) break;
      auto next = source.feed.at(source.place);
      if (!next) {
        if (next.error().code() == Errc::deleted) break;
        return tl::unexpected(next.error());
      }
      me.missed += next->missed;
      me.damaged += next->damaged;
      source.take(*next);
      if (next->kind != Feed::Kind::event || !me.shows(source, next->event.offset)) break;
      source.place = place = next->next;
      ++handled;
      call(context, EventView(next->event));
    }
    source.pin_here();
  }
  if (count != 0) me.turn = (me.turn + 1) % count;
  if (handled == 0 && most != 0)
    if (auto armed = me.await_news(); !armed) return tl::unexpected(armed.error());
  return handled;
}

Result<std::optional<Event>> Reader::next(std::chrono::nanoseconds timeout) {
  std::optional<Event> out;
  const std::int64_t deadline = api::deadline_after(timeout);
  for (;;) {
    auto handled = poll([&out](const EventView& event) { out.emplace(event); }, 1);
    if (!handled) return tl::unexpected(handled.error());
    if (out) return out;
    auto more = wait(std::chrono::nanoseconds(deadline - api::monotonic_ns()));
    if (!more) return tl::unexpected(more.error());
    if (!*more) return out;
  }
}

void Reader::Impl::listen(shm::Listening& all) const {
  all.to(state->live.mask(layout::kBusOrdinal));
  for (const auto& source : sources) source->feed.topic().listen(all);
}

Result<api::Waiter::Look> Reader::Impl::look() {
  if (auto good = refresh(); !good) return tl::unexpected(good.error());
  api::Waiter::Look out;
  for (const auto& source : sources) {
    auto next = source->feed.at(source->place);
    if (!next) {
      if (next.error().code() == Errc::deleted) continue;
      return tl::unexpected(next.error());
    }
    missed += next->missed;
    damaged += next->damaged;
    source->take(*next);
    if (next->kind == Feed::Kind::event && shows(*source, next->event.offset)) out.ready = true;
    // An open claim: its owner may die without a sound.
    if (next->kind == Feed::Kind::waiting) out.until = std::min(out.until, api::monotonic_ns() + 5'000'000);
  }
  return out;
}

Result<void> Reader::Impl::await_news() {
  if (!news) return {};
  return news->await([this](shm::Listening& all) { listen(all); }, [this] { return look(); });
}

Result<int> Reader::event_fd() {
  Impl& me = *impl_;
  if (me.news) return me.news->fd();
  auto made = api::EventFd::make(me.waiter.sleeper());
  if (!made) return tl::unexpected(api::name(made.error(), "the descriptor of a reader"));
  me.news = std::move(*made);
  if (auto armed = me.await_news(); !armed) return tl::unexpected(armed.error());
  return me.news->fd();
}

Result<bool> Reader::wait(std::chrono::nanoseconds timeout) {
  Impl& me = *impl_;
  const auto peek = [&me] {
    return std::any_of(me.sources.begin(), me.sources.end(), [&me](const auto& source) {
      return source->feed.glance(source->place) && me.shows(*source, source->place.offset);
    });
  };
  return me.waiter.wait(
      timeout, [&me](shm::Listening& all) { me.listen(all); }, [&me] { return me.look(); }, peek);
}

void Reader::interrupt() { impl_->waiter.interrupt(); }
std::uint64_t Reader::missed() const { return impl_->missed; }
std::uint64_t Reader::damaged() const { return impl_->damaged; }

std::vector<std::pair<std::string, Offset>> Reader::places() const {
  std::vector<std::pair<std::string, Offset>> out;
  for (const auto& source : impl_->sources) out.emplace_back(source->feed.topic().name(), source->place.offset);
  return out;
}

Result<Reader> Bus::reader(std::string_view topic_or_pattern, StartAt start, const ReaderOptions& options) {
  return reader(std::vector<std::string>{std::string(topic_or_pattern)}, start, options);
}

Result<Reader> Bus::reader(const std::vector<std::string>& patterns, StartAt start, const ReaderOptions& options) {
  if (auto good = state_->usable(); !good) return tl::unexpected(good.error());
  if (patterns.empty()) return refuse(Errc::invalid_argument, "a reader wants at least one topic or pattern");
  for (const std::string& pattern : patterns)
    if (!group::valid_pattern(pattern)) return refuse(Errc::invalid_name, "topic or pattern " + pattern);
  auto handle = api::acquire_handle(state_, layout::HandleKind::reader, 0, patterns.front());
  if (!handle) return tl::unexpected(api::name(handle.error(), "a reader", state_->live.path()));
  auto impl = std::make_unique<Reader::Impl>(state_, std::move(*handle), patterns, options);
  if (auto found = impl->find_topics(start); !found) return tl::unexpected(found.error());
  return Reader(std::move(impl));
}

}  // namespace penstock
