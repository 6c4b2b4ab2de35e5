// How a producer comes to its place in the log when something is in the way: a full ring, offsets that run out, ids
// that the topic refuses.
#include <thread>
#include <unordered_set>

#include "api/producer_impl.hpp"
#include "log/checksum.hpp"

namespace penstock {

using api::refuse;

namespace {

constexpr std::int64_t kPokeEvery = 100'000'000;

}  // namespace

Result<void> Producer::Impl::usable() const {
  if (handle.in_child()) return tl::unexpected(Error(Errc::forked));
  if (topic->deleted()) return refuse(Errc::deleted, "topic " + topic->name());
  return {};
}

// The daemon sleeps until somebody rings, and who was to ring may have died: who waits long for the disk does it again.
// Many wait in short calls one after another: a wait goes on until one of them finds what it waits for.
void Producer::Impl::poke() {
  const std::int64_t now = api::monotonic_ns();
  std::int64_t since = waits_since.load(std::memory_order_relaxed);
  if (since == 0) waits_since.store(since = now, std::memory_order_relaxed);
  if (now - std::max(since, last_poke.load(std::memory_order_relaxed)) < kPokeEvery) return;
  last_poke.store(now, std::memory_order_relaxed);
  const api::StatePtr& state = topic->state();
  shm::ring_all(state->live.wake(), state->live.mask(layout::kBusOrdinal));
}

// Waits a little for what keeps the claim from being made, or says why it will not be made.
Result<void> Producer::Impl::make_way(log::ClaimFault fault, std::int64_t& deadline, std::int64_t& daemonless) {
  if (auto good = usable(); !good) return good;
  if (fault == log::ClaimFault::exhausted) return api::raise_offset_bound(*topic);
  const std::string title = "topic " + topic->name();
  const layout::FullPolicy policy = topic->header().options.full;
  if (!topic->durable() &&
      api::make_room(*topic, publisher.wanted_end(), handle.slot(), claims_open == 0 ? &ends : nullptr))
    return {};
  const auto full = [&] {
    const auto holder = api::held_by(*topic);
    return holder ? refuse(Errc::full, title + ": its ring is full and held by " + *holder + "; retry or shed load.")
                  : refuse(Errc::full, title);
  };
  if (policy == layout::FullPolicy::fail) return full();
  const std::int64_t now = api::monotonic_ns();
  if (deadline == 0) deadline = api::deadline_after(options.block);
  if (topic->durable()) {
    if (const auto error = topic->control()->durable_error.load(std::memory_order_relaxed);
        error != 0 && now > deadline)
      return refuse(error == ENOSPC ? Errc::no_space : Errc::disk, title, std::uint32_t(error), topic->directory());
    poke();
    // A daemon that is being restarted is given a moment.
    if (api::daemon_of(*topic->state()))
      daemonless = 0;
    else if (daemonless == 0)
      daemonless = now;
    else if (now - daemonless > std::min<std::int64_t>(options.block.count(), 2'000'000'000))
      return refuse(Errc::no_daemon, title);
  }
  if (now > deadline) return full();
  std::this_thread::sleep_for(std::chrono::microseconds(200));
  return {};
}

// Only long attributes in a small ring come to this: a claim and the PAD before it must fit together.
Result<void> Producer::Impl::fits(std::uint64_t lines) const {
  if (lines > topic->ring().size() / 2)
    return refuse(Errc::too_large, "an event of " + std::to_string(lines * layout::kLine) +
                                       " bytes with its key, id and headers; topic " + topic->name() +
                                       " takes at most half its ring; send less, or create it with a larger ring.");
  return {};
}

Result<log::OpenClaim> Producer::Impl::claim(std::uint64_t lines, std::uint32_t count) {
  if (auto good = fits(lines); !good) return tl::unexpected(good.error());
  std::int64_t deadline = 0, daemonless = 0;
  for (;;) {
    const log::OpenClaim claim = publisher.claim(lines, count);
    if (claim.fault == log::ClaimFault::none) return claim;
    if (auto way = make_way(claim.fault, deadline, daemonless); !way) return tl::unexpected(way.error());
  }
}

// For events with ids on a topic that refuses duplicates: claims where the ids were looked for, and nowhere else. A
// claim with the same id that is open is its owner's to settle: only what is committed answers for it.
Result<Producer::Impl::Admitted> Producer::Impl::claim_unless_known(std::uint64_t lines,
                                                                    std::span<const layout::Id128> ids) {
  using Kind = api::RecentIds::Verdict::Kind;
  if (auto good = fits(lines); !good) return tl::unexpected(good.error());
  std::int64_t deadline = 0, daemonless = 0;
  for (;;) {
    auto verdict = recent->look(ids);
    if (!verdict) return tl::unexpected(verdict.error());
    if (verdict->kind == Kind::duplicate) return Admitted{{}, verdict->first};
    if (verdict->kind == Kind::open) {
      const std::int64_t now = api::monotonic_ns();
      if (deadline == 0) deadline = api::deadline_after(options.block);
      if (now > deadline)
        return refuse(Errc::timed_out, "topic " + topic->name() +
                                           ": an event that may have the same id is being published, slot " +
                                           std::to_string(verdict->slot) + "; try again");
      std::this_thread::yield();
      continue;
    }
    const log::OpenClaim open = publisher.claim_at(verdict->tail, lines, std::uint32_t(ids.size()), ids.front());
    if (open.fault == log::ClaimFault::none) return Admitted{open, std::nullopt};
    if (open.fault == log::ClaimFault::moved) continue;
    if (auto way = make_way(open.fault, deadline, daemonless); !way) return tl::unexpected(way.error());
  }
}

// All of a batch's ids are looked for together; events without one are nobody's duplicates.
Result<log::OpenClaim> Producer::Impl::claim_batch(std::uint64_t lines, std::span<const Message> messages) {
  const auto given = [](const Message& message) { return !message.options.id.empty(); };
  if (!recent || std::none_of(messages.begin(), messages.end(), given))
    return claim(lines, std::uint32_t(messages.size()));
  std::vector<layout::Id128> ids;
  std::unordered_set<std::string_view> seen;
  for (const Message& message : messages) {
    const std::string_view id = message.options.id;
    ids.push_back(id.empty() ? layout::Id128{} : log::hash128(id.data(), id.size()));
    if (!id.empty() && !seen.insert(id).second)
      return refuse(Errc::duplicate, "topic " + topic->name() + ": a batch with the id " + std::string(id) + " twice");
  }
  auto admitted = claim_unless_known(lines, ids);
  if (!admitted) return tl::unexpected(admitted.error());
  if (admitted->first) return refuse_duplicate(*admitted->first);
  return admitted->claim;
}

}  // namespace penstock
