// Publishing what `penstock pub` was given: takes events into batches, publishes them, tells what was accepted.
#pragma once

#include <chrono>
#include <deque>
#include <optional>
#include <penstock/penstock.hpp>
#include <string>
#include <vector>

#include "tools/penstock/cloudevents.hpp"
#include "tools/penstock/lines.hpp"
#include "tools/penstock/output.hpp"
#include "tools/penstock/session.hpp"

namespace penstock::tool {

enum class IdFrom : std::uint8_t { payload, key };

struct PubOptions {
  std::string topic, payload, id;
  bool has_payload = false, has_id = false, has_key = false;
  bool whole = false, null = false, cloudevents = false, await_disk = false;
  std::string key;
  std::optional<char> key_delimiter;
  std::optional<IdFrom> id_from;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string deliver_at;
  std::optional<std::chrono::nanoseconds> ttl;
  std::chrono::nanoseconds wait{std::chrono::seconds(10)};
};

// How long a call may block before signals are looked at; what a producer's `block` is to be.
inline constexpr std::chrono::nanoseconds kPublishSlice = std::chrono::milliseconds(100);

// An event that waits in the batch. The texts are views into the input; what had to be made lies in `owned`.
struct Waiting {
  std::uint64_t number = 0;  // in the input, from 1
  bool given_id = false;
};

class Publisher {
 public:
  Publisher(const Globals& globals, const PubOptions& options, Producer producer, const TopicOptions& topic)
      : globals_(globals),
        options_(options),
        producer_(std::move(producer)),
        waits_(topic.full != Full::fail),
        progress_(!globals.quiet, "events") {}

  int run();

 private:
  int run_lines(Lines& lines);
  int run_whole(Lines& lines);
  // Takes one event into the batch; false: an error was told and its code is in code_.
  bool add(std::string_view text);
  bool add_cloudevent(std::string_view text);
  bool stage(std::string_view payload, PublishOptions&& publish);
  bool flush_batch();
  bool publish_singly(std::chrono::nanoseconds patience);
  // Tries until it is taken, refused, or the ring stayed full for so long.
  template <class Try>
  Result<Offset> insist(std::chrono::nanoseconds patience, Try attempt);
  void accepted(std::size_t index, Offset offset, std::size_t back);
  // Hands out what was accepted, waiting for the disk where that was asked for.
  bool settle(bool must_be_durable);
  bool await(Offset offset);
  bool refuse(const Error& error, std::uint64_t number, std::size_t size);
  bool wrong(int code, std::string_view what);
  std::string published_text() const;  // "3 events were published"
  int finish(int code);

  const Globals& globals_;
  const PubOptions& options_;
  Producer producer_;
  bool waits_;  // for a full ring
  std::vector<Message> batch_;
  std::vector<Waiting> waiting_;
  std::deque<std::string> owned_;  // texts of the batch that are in nobody's buffer
  std::deque<CloudEvent> cloud_;
  std::size_t batch_bytes_ = 0;
  std::uint64_t taken_ = 0, published_ = 0, duplicates_ = 0;
  std::optional<Offset> last_;  // the offset given last
  std::chrono::steady_clock::time_point awaited_ = std::chrono::steady_clock::now();
  int code_ = kDone;
  std::string accepted_json_;
  Out out_;
  Progress progress_;
};

}  // namespace penstock::tool
