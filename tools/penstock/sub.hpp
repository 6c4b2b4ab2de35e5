// What `penstock sub` was asked for, and its three ways of working.
#pragma once

#include <penstock/penstock.hpp>
#include <string>
#include <vector>

#include "tools/penstock/format.hpp"
#include "tools/penstock/session.hpp"

namespace penstock::tool {

struct SubOptions {
  std::vector<std::string> patterns;
  std::string group;
  std::string from;  // as given
  std::optional<std::uint64_t> most;
  bool exit_at_end = false;
  std::optional<Format> format;
  std::optional<std::string> exec;
  ConsumerOptions consumer;
  std::uint32_t jobs = 1;
};

using Ends = std::vector<std::pair<std::string, Offset>>;

// Everything in order, nothing settled.
int sub_looking(const Globals& globals, const SubOptions& options, Bus& bus);
// As a member of a group: an event is acked after it was written out and flushed.
int sub_as_member(const Globals& globals, const SubOptions& options, Bus& bus);
// As a member of a group: a command handles each event, and its end settles it.
int sub_with_handlers(const Globals& globals, const SubOptions& options, Bus& bus, Consumer& consumer,
                      const Ends& ends);

// True when everything before the ends is settled; says once what it waits for when only the daemon can go on.
class Settled {
 public:
  Settled(const Globals& globals, const Bus& bus, const Consumer& consumer, const Ends& ends)
      : globals_(globals), bus_(bus), consumer_(consumer), ends_(ends) {}
  Result<bool> reached();

 private:
  const Globals& globals_;
  const Bus& bus_;
  const Consumer& consumer_;
  const Ends& ends_;
  std::chrono::steady_clock::time_point quiet_since_{};
  bool told_ = false;
};

}  // namespace penstock::tool
