#include "tools/measure/durable.hpp"

#include <thread>
#include <vector>

#include "tools/measure/clock.hpp"
#include "tools/measure/crew.hpp"
#include "tools/measure/inbox.hpp"
#include "tools/measure/payload.hpp"

namespace penstock::measure {
namespace {

using namespace std::chrono_literals;

void publish_and_wait(const DurablePlan& plan, Bus& bus, unsigned number, Board& board, Histogram& waits) {
  const auto give_up = [&](const Error& error) { board.fail("a publisher", error.message()); };
  auto producer = bus.producer(plan.topic);
  if (!producer) return give_up(producer.error());
  std::vector<std::byte> payload(plan.payload);
  const std::int64_t end = plan.longest_ns != 0 ? now_ns() + plan.longest_ns : INT64_MAX;
  for (std::uint64_t n = 0; n < plan.each && !board.stopped(); ++n) {
    fill(payload, {number, n});
    const std::int64_t begin = now_ns();
    if (begin > end) return;
    auto offset = producer->publish(payload);
    if (!offset) return give_up(offset.error());
    if (auto durable = producer->await_durable(*offset, 30s); !durable) return give_up(durable.error());
    waits.add(static_cast<std::uint64_t>(now_ns() - begin));
  }
}

std::string work(const DurablePlan& plan, DurableWaits& result, Board& board) {
  auto bus = Bus::open(plan.directory);
  if (!bus) return bus.error().message();
  if (auto made = bus->create_topic(plan.topic, {.durability = Durability::disk}); !made) return made.error().message();
  std::vector<Histogram> waits(plan.publishers);
  const std::int64_t begin = now_ns();
  {
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < plan.publishers; ++i)
      threads.emplace_back([&, i] { publish_and_wait(plan, *bus, i, board, waits[i]); });
  }
  result.took_ns = now_ns() - begin;
  for (const Histogram& wait : waits) result.waits.add(wait);
  result.events = result.waits.count();
  const auto info = bus->describe_topic(plan.topic);
  if (!info) return info.error().message();
  if (!board.stopped() && (info->next_offset != result.events || info->durable_offset != result.events))
    return std::to_string(result.events) + " events were called durable, but the topic has " +
           std::to_string(info->durable_offset) + " of " + std::to_string(info->next_offset) + " on disk";
  return {};
}

}  // namespace

tl::expected<DurableWaits, std::string> await_durable(const DurablePlan& plan) {
  const Shared<DurableWaits> result;
  Crew crew;
  if (plan.daemon) crew.serve("the daemon", [&plan] { return host_daemon(plan.directory); });
  crew.work("the publishers", -1, [&](Board& board) { return work(plan, *result, board); });
  if (std::string complaint = crew.finish(plan.asked); !complaint.empty()) return tl::unexpected(complaint);
  return *result;
}

}  // namespace penstock::measure
