// One life of a bus, from the opening to the power cut: producers, a group's member and the daemon's rounds, stepped in
// one thread over a recorded disk. What was promised to whom, and how many operations had reached the disk by then, is
// kept beside it. What a later life finds is judged by that.
#pragma once

#include <penstock/log.hpp>
#include <penstock/penstock.hpp>

#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "daemon/crash/recorder.hpp"
#include "daemon/crash/simulated_disk.hpp"
#include "daemon/rounds.hpp"

namespace penstock::crash {

inline constexpr const char* kGroup = "g";
inline const std::vector<std::string> kTopics = {"a", "b"};

using EventKey = std::pair<std::string, Offset>;
constexpr std::uint64_t kNoEvent = 0;  // the serial of an offset that was used up by an aborted claim

// What may be relied on after a power cut, and what may have happened before it.
struct Knowledge {
  std::map<EventKey, std::uint64_t> given;  // offsets that were given, each with its event's serial
  std::map<std::string, Offset> durable;    // every event below was told to be on disk
  std::set<std::string> topics;             // made
  std::set<EventKey> settled, rejected;     // by the group's member, and how last
  std::set<EventKey> ever_rejected;
  std::set<EventKey> settled_on_disk;  // and known to be in a checkpoint
  bool group = false;                  // joined
  std::set<std::string> bounded;       // topics whose retention gives up what the group has settled, and nothing else
};

// The same with the moment of each: how many operations there had been.
class History {
 public:
  template <class Change>
  void add(std::size_t at, Change change) {
    changes_.push_back({at, std::move(change)});
  }
  // What was known when `at` operations had been made, on top of what was known before.
  Knowledge until(std::size_t at, Knowledge known) const;

 private:
  std::vector<std::pair<std::size_t, std::function<void(Knowledge&)>>> changes_;
};

struct Conduct {
  std::uint64_t seed = 1;
  Vice vice = Vice::none;
  Negligence negligence;
  std::function<Fault(std::size_t number, const Op& op)> faults;  // then calls may fail, else none may
};

// What a life finds that begins after a power cut.
struct Findings {
  std::vector<std::string> complaints;  // what is wrong whatever was promised
  std::vector<std::string> remarks;     // warnings, what verification says; a disk that refused leaves reason for some
  std::set<std::string> topics;
  bool group = false;
  std::map<EventKey, std::uint64_t> events;
  std::map<EventKey, int> delivered, letters;
  std::map<EventKey, std::uint64_t> given;  // offsets of this life's own events
};

class Life {
 public:
  Life(const Tree& disk, const Conduct& conduct);
  ~Life();
  Life(const Life&) = delete;
  Life& operator=(const Life&) = delete;

  // A short one with a little of everything, and one of so many random steps.
  void short_story();
  void long_story(std::size_t steps);
  void stop_story();       // whose first letter is written by a daemon that stops
  void retention_story();  // segments go behind a group that fails events and settles them later
  void birth_story();      // of a bus whose directory is not there yet
  // Nothing fails from here on: does everything go on by itself? False: told() says what does not.
  bool heals();
  // What there is; then goes on with it for a while, and ends cleanly.
  Findings find();

  const std::vector<Op>& ops() const { return recorder_->ops(); }
  const Tree& disk() const { return recorder_->tree(); }
  const History& history() const { return history_; }
  const std::vector<std::string>& told() const { return told_; }
  const std::vector<std::string>& remarks() const { return remarks_; }
  std::size_t faults() const { return faults_; }
  void compare() const { recorder_->compare(); }

 private:
  std::size_t now() const { return recorder_->ops().size(); }
  void sample();
  template <class T>
  bool good(const Result<T>& result, const char* what);

  void open();
  void create(const std::string& topic);
  void join();
  void publish(const std::string& topic, std::size_t size);
  void publish_batch(const std::string& topic, std::size_t count);
  void abort_claim(const std::string& topic);
  enum class How : std::uint8_t { ack, nak, reject, release };
  bool take(How how);
  void start_worker();
  void stop_worker();
  void work(std::size_t rounds);
  void rest();  // until everything is on disk, the groups' state included
  void scan(Findings& out);

  Conduct conduct_;
  std::mt19937_64 random_;
  std::string folder_, bus_path_, live_path_;
  std::unique_ptr<Recorder> recorder_;
  History history_;
  std::vector<std::string> told_;     // what was refused, and what is wrong
  std::vector<std::string> remarks_;  // warnings
  std::size_t faults_ = 0;

  std::unique_ptr<Bus> bus_;
  std::unique_ptr<daemon::Rounds> worker_;
  std::map<std::string, Producer> producers_;
  std::unique_ptr<Consumer> member_;
  std::map<std::string, std::shared_ptr<api::Topic>> watched_;
  std::map<std::string, Offset> seen_durable_;
  std::map<EventKey, int> delivered_;
  std::map<EventKey, std::uint64_t> given_;
  std::set<EventKey> settled_;
};

// The disk of a machine on which only bus.toml was written; without it, the bus's directory is missing too.
Tree new_disk(bool settings);

// What is wrong with the findings; empty: nothing. `refused`: the disk did refuse something before the power cut.
std::vector<std::string> judge(const Knowledge& known, const Findings& found, bool refused);

}  // namespace penstock::crash
