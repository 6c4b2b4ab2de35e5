// penstock sub --exec: leases as many events as handlers may run, and settles each by how its handler ended.
#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>

#include "tools/penstock/handlers.hpp"
#include "tools/penstock/signals.hpp"
#include "tools/penstock/sub.hpp"

namespace penstock::tool {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

class Workshop {
 public:
  Workshop(const Globals& globals, const SubOptions& options, Bus& bus, Consumer& consumer, const Ends& ends)
      : globals_(globals), options_(options), consumer_(consumer), settled_(globals, bus, consumer, ends) {
    const auto group = bus.describe_group(options.group);
    if (group && group->options.lease) lease_ = *group->options.lease;
  }
  int run();

 private:
  bool full() const { return running_.size() >= options_.jobs || (options_.most && started_ >= *options_.most); }
  // Starts handlers while there are events and room. Waits for an event only when nothing runs.
  Result<void> hire();
  void wait_for_handlers();
  Result<void> reap();
  Result<void> settle(Handler& handler, const Verdict& verdict);
  void extend_leases();
  bool finished();

  const Globals& globals_;
  const SubOptions& options_;
  Consumer& consumer_;
  Settled settled_;
  std::chrono::nanoseconds lease_ = 30s;
  std::vector<Handler> running_;
  std::uint64_t started_ = 0;
  int code_ = kDone;
};

std::string name_of(const Delivery& delivery) {
  return std::string(delivery.topic()) + " at " + std::to_string(delivery.offset());
}

Result<void> Workshop::hire() {
  while (!stopping() && !full()) {
    const auto patience = running_.empty() ? (options_.exit_at_end ? 20ms : 250ms) : 0ms;
    auto next = consumer_.next(patience);
    if (!next && next.error().code() == Errc::interrupted) return {};
    if (!next) return tl::unexpected(next.error());
    if (!*next) return {};
    auto handler = Handler::start(*options_.exec, std::move(**next));
    if (!handler) return tl::unexpected(handler.error());
    running_.push_back(std::move(*handler));
    ++started_;
  }
  return {};
}

void Workshop::wait_for_handlers() {
  std::vector<pollfd> wanted;
  bool blind = false;  // a handler without a pidfd: its end is found by looking
  for (const Handler& handler : running_) {
    wanted.push_back({handler.ended(), POLLIN, 0});
    wanted.push_back({handler.errors(), POLLIN, 0});
    wanted.push_back({handler.input(), POLLOUT, 0});
    blind = blind || handler.ended() < 0;
  }
  // With room for another handler the next event is looked for often; poll() does not see it come.
  auto patience = full() || stopping() ? 250ms : 5ms;
  if (blind) patience = 5ms;
  patience = std::min<std::chrono::milliseconds>(patience, std::chrono::ceil<std::chrono::milliseconds>(lease_ / 4));
  ::poll(wanted.data(), wanted.size(), static_cast<int>(patience.count()));
  for (std::size_t i = 0; i < running_.size(); ++i) {
    if (wanted[3 * i + 1].revents != 0) running_[i].listen();
    if (wanted[3 * i + 2].revents != 0) running_[i].feed();
  }
}

Result<void> Workshop::settle(Handler& handler, const Verdict& verdict) {
  Delivery& delivery = handler.delivery();
  const NakOptions why{.error_class = verdict.error_class, .reason = verdict.reason};
  const auto settled = verdict.kind == Verdict::Kind::ack   ? delivery.ack()
                       : verdict.kind == Verdict::Kind::nak ? delivery.nak(why)
                                                            : delivery.reject(why);
  if (settled || settled.error().code() != Errc::stale_lease) return settled;
  note(globals_, name_of(delivery) + ": the lease was lost while the handler ran; the event will be seen again");
  return {};
}

Result<void> Workshop::reap() {
  for (auto handler = running_.begin(); handler != running_.end();) {
    const auto verdict = handler->try_wait();
    if (!verdict) {
      ++handler;
      continue;
    }
    const auto settled = settle(*handler, *verdict);
    handler = running_.erase(handler);
    if (!settled) return settled;
  }
  return {};
}

void Workshop::extend_leases() {
  const auto now = Clock::now();
  for (Handler& handler : running_) {
    if (now - handler.extended < lease_ / 2) continue;
    handler.extended = now;
    const auto extended = handler.delivery().extend(lease_);
    if (extended) continue;
    note(globals_, name_of(handler.delivery()) + ": the lease could not be made longer: " + extended.error().message());
  }
}

bool Workshop::finished() {
  if (!running_.empty()) return false;
  if (code_ != kDone || stopping()) return true;
  if (options_.most && started_ >= *options_.most) return true;
  if (!options_.exit_at_end) return false;
  const auto reached = settled_.reached();
  if (!reached) code_ = complain(reached.error(), options_.group);
  return !reached || *reached;
}

int Workshop::run() {
  while (!finished()) {
    // After an error no new handler starts; those that run are still awaited and settled.
    if (code_ == kDone) {
      if (const auto hired = hire(); !hired) code_ = complain(hired.error(), options_.group);
    }
    if (!running_.empty()) wait_for_handlers();
    if (const auto reaped = reap(); !reaped) code_ = complain(reaped.error(), options_.group);
    extend_leases();
  }
  if (code_ != kDone || !stopping()) return code_;
  note(globals_, "interrupted; the " + std::to_string(started_) +
                     " handlers that were started have ended and are "
                     "settled, group " +
                     options_.group + " goes on with the next event");
  return kInterrupted;
}

}  // namespace

int sub_with_handlers(const Globals& globals, const SubOptions& options, Bus& bus, Consumer& consumer,
                      const Ends& ends) {
  return Workshop(globals, options, bus, consumer, ends).run();
}

}  // namespace penstock::tool
