// The bus: where topics and groups live. Cheap to copy; any thread may use it.
#pragma once

#include <memory>
#include <penstock/admin.hpp>
#include <penstock/consumer.hpp>
#include <penstock/producer.hpp>
#include <penstock/reader.hpp>

namespace penstock {

// How a bus is opened.
struct BusOptions {
  bool create = true;  // make the directory when it is missing or empty, else Errc::not_found
};

// An open bus.
class Bus {
 public:
  // Opens the bus in this directory, recovering its shared-memory side when it is gone (after a reboot, say).
  static Result<Bus> open(const std::string& directory, const BusOptions& options = {});

  // A producer of this topic. Errc::busy when the topic has a single producer and that lives.
  Result<Producer> producer(std::string_view topic, const ProducerOptions& options = {});
  // A member of this group, which is made when missing. Patterns: topic names, `*` for one word, `**` for the rest;
  // none: as the group has them.
  Result<Consumer> consumer(std::string_view group, const std::vector<std::string>& patterns = {},
                            const ConsumerOptions& options = {});
  // A reader of these topics, those included that are made later and match. Patterns as above.
  Result<Reader> reader(std::string_view topic_or_pattern, StartAt start = StartAt::end(),
                        const ReaderOptions& options = {});
  // The same, of several names and patterns.
  Result<Reader> reader(const std::vector<std::string>& patterns, StartAt start, const ReaderOptions& options = {});

  // Errc::already_exists when there is one of that name, with whatever options.
  Result<void> create_topic(std::string_view name, const TopicOptions& options);
  Result<void> create_topic(std::string_view name);  // with the bus's defaults
  TopicOptions topic_defaults() const;               // what create_topic(name) takes, bus.toml included
  // Removes it with all its events, on disk too; handles on it answer Errc::deleted from then on.
  Result<void> delete_topic(std::string_view name);
  Result<std::vector<std::string>> topics() const;  // sorted
  // Its options, places and sizes, and who holds it up.
  Result<TopicInfo> describe_topic(std::string_view name) const;
  // How much of a durable topic is kept on disk; 0: no bound. Whole segments go, the oldest first.
  Result<void> set_retention(std::string_view topic, std::uint64_t bytes, std::chrono::nanoseconds time);
  // Whether retention waits until every group that wants the topic has settled its events, members or not: a group that
  // is forgotten then keeps the log for ever. TopicInfo::retention_waits_for names it; delete_group, seek_group end it.
  Result<void> set_retain_unacked(std::string_view topic, bool retain);
  // Whether of each key the newest event alone is kept; durable topics. Takes effect within seconds of a running
  // daemon.
  Result<void> set_compaction(std::string_view topic, bool compact);

  Result<std::vector<std::string>> groups() const;  // sorted
  // Its options and members.
  Result<GroupInfo> describe_group(std::string_view group) const;
  // Where it is in each topic that it wants, and in its dead-letter queue while redriven letters are under way.
  Result<std::vector<GroupTopicInfo>> group_topics(std::string_view group) const;
  // Events that are leased, wait or are to be dead letters, by topic and offset.
  Result<std::vector<PendingInfo>> group_pending(std::string_view group) const;
  Result<std::vector<KeyInfo>> group_keys(std::string_view group) const;  // by topic and offset
  // Changes its options and subscriptions; what is left empty stays as it is.
  Result<void> set_group(std::string_view group, const std::vector<std::string>& patterns,
                         const ConsumerOptions& options);
  // Gives its members nothing until it is called with false, also after a restart.
  Result<void> pause_group(std::string_view group, bool paused);
  // It goes on there in all its topics; what was in flight is given up, what is between is skipped or comes again.
  Result<void> seek_group(std::string_view group, StartAt to);
  // Removes it and its progress; its dead letters stay. Its members answer Errc::deleted from then on.
  Result<void> delete_group(std::string_view group);

  // Dead letters of a group that are neither redriven nor purged, oldest first; return false to stop.
  Result<void> dead_letters(std::string_view group,
                            const std::function<bool(const EventView&, const DeadLetter&)>& visit) const;
  // Gives a letter back to the group that failed, and to no other; at once if a member waits.
  Result<void> redrive(std::string_view group, Offset letter);
  // Marks a letter as done with: it is shown no more. The log keeps it.
  Result<void> purge(std::string_view group, Offset letter);

  Result<BusInfo> describe() const;  // where it is, what it holds, which daemon it has
  // Removes the shared-memory side of a bus that nobody uses. Errc::busy names who does.
  static Result<void> unload(const std::string& directory);
  // Removes the bus with all it holds.
  static Result<void> remove(const std::string& directory);
  // bus.toml of this directory as it takes effect, every key with its value, as TOML; the defaults when there
  // is none. Errc::invalid_argument names the file, the line and the key that is wrong.
  static Result<std::string> settings(const std::string& directory);
  const std::string& directory() const;

  struct State;  // for the library's own layers
  const std::shared_ptr<State>& state() const { return state_; }

 private:
  explicit Bus(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

}  // namespace penstock
