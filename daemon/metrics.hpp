// What monitoring is told of a bus: Prometheus' text format, and whether what is published comes to disk. One thread,
// which may be slow: it describes the bus as `penstock stats` does, and nobody waits for it.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <penstock/penstock.hpp>
#include <string>
#include <vector>

#include "api/group.hpp"

namespace penstock::daemon {

class Metrics {
 public:
  // Everything there is to tell. Nothing instead of a bus: it is not open yet, or is being opened anew.
  std::string text(const Bus* bus);
  // Why not everything that is published to durable topics, or settled, comes to disk. Nothing: it does.
  std::optional<std::string> why_not_ready(const Bus* bus);

  struct Group {
    GroupInfo info;
    std::optional<std::uint64_t> letters;  // neither redriven nor purged; nothing: never had one
  };
  struct GroupTopic {
    GroupTopicInfo info;
    int checkpoint_error = 0;  // errno
  };

 private:
  struct Seen {
    std::optional<BusInfo> bus;
    std::vector<TopicInfo> topics;
    std::vector<Group> groups;
    std::vector<GroupTopic> group_topics;
  };
  // Dead letters in a DLQ's log, counted on from where the last count ended: there may be very many.
  struct Letters {
    Offset first = 0, next = 0;
    std::uint64_t events = 0;
  };
  Seen look(const Bus& bus);
  static std::optional<std::string> why_not_ready(const Seen& seen);
  void look_at_group(const Bus& bus, const std::string& name, Seen& out);
  std::optional<std::uint64_t> letters_of(const Bus& bus, const std::shared_ptr<api::Group>& group);

  std::map<std::string, Letters> letters_;
  std::uint64_t refused_ = 0;  // descriptions that could not be had
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

// As a label's value: backslash, quote and line feed escaped.
std::string label_text(std::string_view value);

}  // namespace penstock::daemon
