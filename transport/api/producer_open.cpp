// Opening producers, and waiting with one for the disk.
#include "api/disk_wait.hpp"
#include "api/producer_impl.hpp"
#include "shm/fence.hpp"

namespace penstock {

using api::refuse;

Result<void> Producer::await_durable(Offset offset, std::chrono::nanoseconds timeout) {
  Impl& me = *impl_;
  if (auto good = me.usable(); !good) return good;
  const std::string title = "topic " + me.topic->name();
  if (!me.topic->durable()) return refuse(Errc::invalid_argument, title + " is kept in memory only");
  const auto& state = *me.topic->state();
  const auto durable = [&me, offset]() -> Result<bool> {
    if (me.topic->durable_end().offset > offset) {
      if (me.waits_since.load(std::memory_order_relaxed) != 0) me.waits_since.store(0, std::memory_order_relaxed);
      return true;
    }
    if (auto good = me.usable(); !good) return tl::unexpected(good.error());
    me.poke();
    return false;
  };
  // What is not on disk is what it published last, one event or a batch.
  const Offset batch = me.last_batch_begin.load(std::memory_order_relaxed);
  const bool in_batch = batch <= offset && offset - batch < layout::kMaxBatch;
  const bool alone = me.topic->durable_end().offset >= (in_batch ? batch : offset);
  api::Waiter waiter(state.live.sleeper(me.handle.slot()), me.options.wait);
  return api::await_disk(waiter, state, timeout,
                         {.listen = [&me](shm::Listening& all) { all.to(me.topic->disk_mask()); },
                          .done = durable,
                          .error = [&me] { return int(me.topic->control()->durable_error.load()); },
                          .title = [&title] { return title; },
                          .missing = "offset " + std::to_string(offset) + " is not on disk yet",
                          .alone = alone});
}

// So that who goes to sleep sees whether it leaves fences out, and on a topic that takes one producer, that it is the
// one.
Result<void> Producer::Impl::enter(bool fenced) {
  layout::Word& owner = topic->writable()->single_owner;
  if (!alone) {
    if (!fenced) owner.fetch_or(layout::kUnfenced);
    return {};
  }
  const std::uint64_t seen = owner.load();
  const auto slot = std::uint32_t(seen & 0xffff);
  const shm::Handles& handles = topic->state()->live.handles();
  if (seen != 0 && !handles.dead(slot, std::uint32_t(seen >> 16 & 0xfff))) {
    const auto holder = handles.copy(slot);
    const std::uint64_t pid = holder ? holder->pid : 0;
    return refuse(
        Errc::busy,
        "topic " + topic->name() + " has its single producer in process " + std::to_string(pid) + "; end it first.",
        std::uint32_t(pid));
  }
  owner.store(owner_word());
  return {};
}

Result<Producer> Bus::producer(std::string_view topic, const ProducerOptions& options) {
  if (auto good = state_->usable(); !good) return tl::unexpected(good.error());
  if (auto may = api::may_write(*state_, "topic " + std::string(topic)); !may) return tl::unexpected(may.error());
  auto opened = api::Topic::open(state_, topic, true);
  if (!opened && opened.error().code() == Errc::not_found && options.create) {
    if (auto made = api::create_topic(state_, topic, state_->settings.topic);
        !made && made.error().code() != Errc::already_exists)
      return tl::unexpected(made.error());
    opened = api::Topic::open(state_, topic, true);
  }
  if (!opened) return tl::unexpected(opened.error());
  // Who made the topic may have been killed before it told the daemon and those who wait for topics.
  if ((*opened)->end().position == (*opened)->ring().base_position) state_->announce_topics();
  // Under the bus lock, so that a daemon that stops sees every producer there is, or none comes until it is done.
  auto lock = api::BusLock::take(state_->directory);
  if (!lock) return tl::unexpected(lock.error());
  auto handle = api::acquire_handle(state_, layout::HandleKind::producer, (*opened)->header().topic_id, topic);
  if (!handle)
    return tl::unexpected(api::name(handle.error(), "a producer of topic " + std::string(topic), state_->live.path()));
  const bool fenced = !shm::may_leave_fences_out();
  auto impl = std::make_unique<Producer::Impl>(std::move(*opened), std::move(*handle), options, fenced);
  if (auto entered = impl->enter(fenced); !entered) return tl::unexpected(entered.error());
  return Producer(std::move(impl));
}

}  // namespace penstock
