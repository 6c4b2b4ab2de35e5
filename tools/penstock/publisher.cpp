#include "tools/penstock/publisher.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tools/penstock/json.hpp"
#include "tools/penstock/signals.hpp"

namespace penstock::tool {
namespace {

using std::chrono::nanoseconds;
using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::size_t kBatchEvents = 512;
constexpr std::size_t kBatchBytes = 64 << 10;
constexpr std::size_t kAttributesMost = 64 << 10;  // what keys and ids may add to a line
constexpr std::size_t kIdTextMost = 1024;          // a longer payload, and an empty one, is named by its hash
constexpr nanoseconds kDaemonGrace = 2s;           // a daemon that is being started again

}  // namespace

bool Publisher::wrong(int code, std::string_view what) {
  progress_.clear();
  code_ = complain(code, "pub " + options_.topic + ": " + std::string(what));
  return false;
}

std::string Publisher::published_text() const {
  return std::to_string(published_) + (published_ == 1 ? " event was" : " events were") + " published";
}

bool Publisher::refuse(const Error& error, std::uint64_t number, std::size_t size) {
  if (error.code() == Errc::too_large && size > producer_.max_payload()) {
    return wrong(kFailed, "event " + std::to_string(number) + " has more than the topic's limit of " +
                              std::to_string(producer_.max_payload()) + " bytes and was not published; " +
                              published_text() + " before it" +
                              "; send less, or make the topic with a larger --ring or --max-payload");
  }
  if (error.code() == Errc::interrupted) {
    return wrong(kInterrupted,
                 "interrupted at event " + std::to_string(number) + "; " + published_text() + " before it");
  }
  return wrong(exit_code(error.code()), "event " + std::to_string(number) + " was not published, " + published_text() +
                                            " before it: " + error.message());
}

template <class Try>
Result<Offset> Publisher::insist(nanoseconds patience, Try attempt) {
  const auto start = Clock::now();
  for (;;) {
    Result<Offset> result = attempt();
    if (result) return result;
    const Errc code = result.error().code();
    const auto waited = Clock::now() - start;
    const bool again = (code == Errc::full && waits_ && waited < patience) ||
                       (code == Errc::no_daemon && waited < std::min(patience, kDaemonGrace)) ||
                       code == Errc::interrupted;
    if (!again) return result;
    if (stopping()) return tl::unexpected(Error(Errc::interrupted));
    if (code == Errc::no_daemon) ::usleep(10'000);  // which is told at once
    progress_.show(published_);
  }
}

void Publisher::accepted(std::size_t index, Offset offset, std::size_t back) {
  const bool duplicate = producer_.last_duplicate();
  duplicate ? ++duplicates_ : ++published_;
  last_ = std::max(last_.value_or(offset), offset);
  if (!globals_.json) return;
  const EventId id = waiting_[index].given_id ? EventId::of(batch_[index].options.id) : producer_.last_id(back);
  accepted_json_ += "{\"topic\":\"";
  accepted_json_ += options_.topic;  // a valid name needs no escapes
  accepted_json_ += "\",\"offset\":";
  accepted_json_ += std::to_string(offset);
  accepted_json_ += ",\"id\":\"";
  accepted_json_ += hex(text_of(id.bytes));
  accepted_json_ += duplicate ? "\",\"duplicate\":true}\n" : "\",\"duplicate\":false}\n";
}

bool Publisher::publish_singly(nanoseconds patience) {
  for (std::size_t i = 0; i < batch_.size(); ++i) {
    const auto offset = insist(patience, [&] { return producer_.publish(batch_[i].payload, batch_[i].options); });
    if (!offset) return refuse(offset.error(), waiting_[i].number, batch_[i].payload.size());
    accepted(i, *offset, 0);
  }
  return true;
}

bool Publisher::flush_batch() {
  if (batch_.empty()) return code_ == kDone;
  bool good = true;
  if (batch_.size() == 1) {
    good = publish_singly(options_.wait);
  } else {
    const auto first = insist(options_.wait, [&] { return producer_.publish_batch(batch_); });
    if (first) {
      for (std::size_t i = 0; i < batch_.size(); ++i) accepted(i, *first + i, batch_.size() - 1 - i);
    } else if (first.error().code() == Errc::interrupted) {
      good = refuse(first.error(), waiting_.front().number, 0);
    } else {
      // All or none: nothing of it is in yet, and one by one tells which is at fault. A ring that stayed full has been
      // waited for; what still fits goes in.
      const bool waited = first.error().code() == Errc::full || first.error().code() == Errc::no_daemon;
      good = publish_singly(waited ? nanoseconds(0) : options_.wait);
    }
  }
  batch_.clear();
  waiting_.clear();
  owned_.clear();
  cloud_.clear();
  batch_bytes_ = 0;
  return good;
}

bool Publisher::stage(std::string_view payload, PublishOptions&& publish) {
  ++taken_;
  if (payload.size() > producer_.max_payload()) {
    // Those before it are published, so that what was and what was not is told exactly.
    return flush_batch() && refuse(Error(Errc::too_large), taken_, payload.size());
  }
  // An estimate from above of what the record takes: its header, the attributes with theirs, and the payload, in lines.
  std::size_t size = 56 + 8 + payload.size() + publish.id.size() + publish.key.size() + publish.schema.size() +
                     publish.content_type.size() + 64;
  for (const Header& header : publish.headers) size += header.name.size() + header.value.size() + 16;
  size = (size + 63) / 64 * 64;
  const std::size_t most = std::min<std::size_t>(kBatchBytes, producer_.max_payload());
  if (!batch_.empty() && (batch_.size() == kBatchEvents || batch_bytes_ + size > most)) {
    // The texts of this event may lie in owned_ or cloud_, at their backs: keep those over the flush.
    auto owned = std::move(owned_);
    auto cloud = std::move(cloud_);
    owned_.clear();
    cloud_.clear();
    if (!flush_batch()) return false;
    owned_ = std::move(owned);
    cloud_ = std::move(cloud);
  }
  waiting_.push_back({taken_, !publish.id.empty()});
  batch_.push_back({bytes_of(payload), std::move(publish)});
  batch_bytes_ += size;
  return true;
}

bool Publisher::add(std::string_view text) {
  if (options_.cloudevents) return add_cloudevent(text);
  PublishOptions publish;
  publish.has_key = options_.has_key;
  publish.key = options_.key;
  if (options_.key_delimiter) {
    const std::size_t at = text.find(*options_.key_delimiter);
    if (at != std::string_view::npos) {
      publish.key = text.substr(0, at);
      publish.has_key = true;
      text.remove_prefix(at + 1);
    }
  }
  publish.id = options_.id;
  if (options_.id_from == IdFrom::key) {
    if (!publish.has_key || publish.key.empty()) {
      flush_batch();
      return code_ == kDone &&
             wrong(kFailed, "event " + std::to_string(taken_ + 1) + " has no key to take its id from; " +
                                published_text() + " before it; give --key or --key-delim");
    }
    publish.id = publish.key;
  } else if (options_.id_from == IdFrom::payload) {
    publish.id = text;
    // An empty id would be a generated one.
    if (text.empty() || (text.size() > kIdTextMost && text.size() <= producer_.max_payload())) {
      publish.id = owned_.emplace_back(EventId::of(text).hex());
    }
  }
  for (const auto& [name, value] : options_.headers) publish.headers.push_back({name, value});
  if (!options_.deliver_at.empty()) publish.deliver_at = *parse_time(options_.deliver_at, current_time());
  publish.ttl = options_.ttl;
  return stage(text, std::move(publish));
}

bool Publisher::add_cloudevent(std::string_view text) {
  auto parsed = parse_cloudevent(text);
  if (!parsed) {
    flush_batch();
    return code_ == kDone && wrong(kFailed, "event " + std::to_string(taken_ + 1) + " is no CloudEvent: " +
                                                parsed.error() + "; " + published_text() + " before it");
  }
  const CloudEvent& cloud = cloud_.emplace_back(std::move(*parsed));
  PublishOptions publish;
  publish.id = cloud.id;
  publish.has_key = cloud.key.has_value() || options_.has_key;
  publish.key = cloud.key ? std::string_view(*cloud.key) : std::string_view(options_.key);
  publish.content_type = cloud.content_type;
  publish.schema = cloud.schema;
  for (const auto& [name, value] : cloud.headers) publish.headers.push_back({name, value});
  for (const auto& [name, value] : options_.headers) publish.headers.push_back({name, value});
  if (!options_.deliver_at.empty()) publish.deliver_at = *parse_time(options_.deliver_at, current_time());
  publish.ttl = options_.ttl;
  return stage(cloud.payload, std::move(publish));
}

bool Publisher::await(Offset offset) {
  Clock::time_point alone{};  // since when no daemon has been there; zero: it is
  for (;;) {
    const auto durable = producer_.await_durable(offset, kPublishSlice);
    if (durable) return true;
    const Errc code = durable.error().code();
    if (stopping()) {
      return wrong(kInterrupted, "interrupted; " + published_text() + ", the last not known to be on disk");
    }
    if (code == Errc::timed_out || code == Errc::interrupted) {
      alone = {};
      progress_.show(published_);
      continue;
    }
    if (code == Errc::no_daemon) {
      if (alone == Clock::time_point{}) alone = Clock::now();
      if (Clock::now() - alone < kDaemonGrace) {
        ::usleep(10'000);
        continue;
      }
    }
    return wrong(exit_code(code),
                 published_text() + ", but the last is not known to be on disk: " + durable.error().message());
  }
}

bool Publisher::settle(bool must_be_durable) {
  // Without --json nobody sees when an event became durable, so a look a second tells a failing disk early.
  const bool due = globals_.json || must_be_durable || Clock::now() - awaited_ > 1s;
  if (options_.await_disk && last_ && due) {
    if (!await(*last_)) return false;
    awaited_ = Clock::now();
  }
  out_ << accepted_json_;
  accepted_json_.clear();
  out_.flush();
  return out_.good();
}

int Publisher::run_lines(Lines& lines) {
  struct stat input {};
  if (::fstat(STDIN_FILENO, &input) == 0 && S_ISREG(input.st_mode))
    progress_.total(static_cast<std::uint64_t>(input.st_size));
  std::uint64_t bytes = 0;
  for (Lines::Fill fill = Lines::Fill::more; fill == Lines::Fill::more;) {
    fill = lines.fill();
    if (fill == Lines::Fill::failed) {
      wrong(kFailed, std::string("stdin: ") + std::strerror(errno) + "; " + published_text());
      break;
    }
    if (fill == Lines::Fill::interrupted) {
      wrong(kInterrupted, "interrupted; " + published_text());
      break;
    }
    while (const auto text = lines.next()) {
      bytes += text->size() + 1;
      if (!add(*text)) return code_;
    }
    if (!flush_batch() || !settle(false)) return code_;
    if (stopping()) {
      wrong(kInterrupted, "interrupted; " + published_text());
      break;
    }
    progress_.show(published_, bytes);
  }
  return code_;
}

int Publisher::run_whole(Lines& lines) {
  std::string_view all;
  switch (lines.read_all(all)) {
    case Lines::Fill::failed:
      wrong(kFailed, std::string("stdin: ") + std::strerror(errno));
      break;
    case Lines::Fill::interrupted:
      wrong(kInterrupted, "interrupted; nothing was published");
      break;
    default:
      add(all) && flush_batch();
  }
  return code_;
}

int Publisher::run() {
  if (options_.has_payload) {
    add(options_.payload) && flush_batch();
  } else {
    // A line may be as long as the largest payload with its key before it; base64 in a CloudEvent takes a third more.
    const std::size_t room = options_.cloudevents ? producer_.max_payload() + (1 << 20) : kAttributesMost;
    Lines lines(STDIN_FILENO, options_.null ? '\0' : '\n', producer_.max_payload() + room);
    options_.whole ? run_whole(lines) : run_lines(lines);
  }
  return finish(code_);
}

int Publisher::finish(int code) {
  if (out_.good() && last_) {
    if (code == kDone) {
      if (!settle(true)) code = code_;
    } else if (!options_.await_disk || producer_.await_durable(*last_, 2s)) {
      out_ << accepted_json_;  // what was accepted before the error is told too
    }
  }
  progress_.clear();
  if (code == kDone && progress_.wanted() && !options_.has_payload) note(globals_, progress_.summary(published_));
  return out_.finish(code);
}

}  // namespace penstock::tool
