// Settling deliveries.
#include "api/delivery.hpp"

namespace penstock {

using api::refuse;

Delivery::Delivery() = default;
Delivery::Delivery(Delivery&&) noexcept = default;

Delivery& Delivery::operator=(Delivery&& other) noexcept {
  if (this != &other) {
    Delivery gone(std::move(*this));  // settles what was here
    event_ = std::move(other.event_);
    group_ = std::move(other.group_);
    attempt_ = other.attempt_;
    redriven_ = std::move(other.redriven_);
    lease_ = std::move(other.lease_);
  }
  return *this;
}

Delivery::~Delivery() {
  if (!lease_ || lease_->in_child()) return;
  const group::NoteText note{"dropped", "the delivery was dropped unsettled"};
  static_cast<void>(
      lease_->topic->state().engine().nak(lease_->lease, api::instant(), note, std::nullopt, layout::Failure::dropped));
  lease_->topic->state().ring();
}

namespace {

// May this lease still be settled, for all that this process can see?
template <class Lease>
Result<void> usable(const std::unique_ptr<Lease>& lease) {
  if (!lease) return refuse(Errc::stale_lease, "this delivery");
  if (lease->in_child()) return tl::unexpected(Error(Errc::forked));
  const api::GroupState& state = lease->topic->state();
  if (state.group().deleted()) return refuse(Errc::deleted, "group " + state.group().name());
  if (lease->topic->feed().topic().deleted()) return refuse(Errc::deleted, "topic " + state.topic());
  return {};
}

template <class Lease>
Result<std::unique_ptr<Lease>> take_lease(std::unique_ptr<Lease>& lease) {
  if (auto good = usable(lease); !good) return tl::unexpected(good.error());
  lease->topic->settles();
  return std::move(lease);
}

}  // namespace

Result<void> Delivery::ack() {
  auto lease = take_lease(lease_);
  if (!lease) return tl::unexpected(lease.error());
  auto& state = (*lease)->topic->state();
  const std::uint64_t promoted = state.engine().promoted();
  auto done = state.engine().ack((*lease)->lease, api::instant());
  if (!done) return tl::unexpected(api::name(done.error(), "offset " + std::to_string(offset())));
  // An ack is news only for members that wait because of the cap, or for the order's sake.
  const layout::GroupOptions& options = state.group().options();
  if (options.ordering == layout::Ordering::strict || state.engine().promoted() != promoted ||
      state.control()->in_flight.load(std::memory_order_relaxed) + 1 >= options.max_in_flight)
    state.ring();
  else
    state.changed();
  return {};
}

Result<void> Delivery::nak(const NakOptions& why) {
  auto lease = take_lease(lease_);
  if (!lease) return tl::unexpected(lease.error());
  auto& state = (*lease)->topic->state();
  std::optional<std::int64_t> delay;
  if (why.delay) delay = why.delay->count();
  auto fate = state.engine().nak((*lease)->lease, api::instant(), {why.error_class, why.reason}, delay);
  if (!fate) return tl::unexpected(api::name(fate.error(), "offset " + std::to_string(offset())));
  state.ring();
  return {};
}

Result<void> Delivery::reject(const NakOptions& why) {
  auto lease = take_lease(lease_);
  if (!lease) return tl::unexpected(lease.error());
  auto& state = (*lease)->topic->state();
  auto done = state.engine().reject((*lease)->lease, api::instant(), {why.error_class, why.reason});
  if (!done) return tl::unexpected(api::name(done.error(), "offset " + std::to_string(offset())));
  state.ring();
  return {};
}

Result<void> Delivery::release() {
  auto lease = take_lease(lease_);
  if (!lease) return tl::unexpected(lease.error());
  auto& state = (*lease)->topic->state();
  auto done = state.engine().release((*lease)->lease, api::instant());
  if (!done) return tl::unexpected(api::name(done.error(), "offset " + std::to_string(offset())));
  state.ring();
  return {};
}

Result<void> Delivery::extend(std::chrono::nanoseconds duration) {
  if (auto good = usable(lease_); !good) return good;
  auto longer = lease_->topic->state().engine().extend(lease_->lease, api::instant(), duration.count());
  if (!longer) return tl::unexpected(api::name(longer.error(), "offset " + std::to_string(offset())));
  lease_->lease = *longer;
  return {};
}

}  // namespace penstock
