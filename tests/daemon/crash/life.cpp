#include "daemon/crash/life.hpp"

#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>

namespace penstock::crash {
namespace {

using namespace std::chrono_literals;

std::atomic<std::uint64_t> last_serial{0};  // of any life: no event is like another

std::string payload_of(std::uint64_t serial, std::size_t size) {
  std::string text = std::to_string(serial) + ":" + std::to_string(size) + ":";
  while (text.size() < size) text += char('a' + (serial * 7 + text.size() * 11) % 26);
  return text;
}

Bytes bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

// Nothing when it is no payload of ours, or not as it was.
std::optional<std::uint64_t> serial_of(Bytes payload) {
  const std::string text(reinterpret_cast<const char*>(payload.data()), payload.size());
  unsigned long long serial = 0, size = 0;
  if (std::sscanf(text.c_str(), "%llu:%llu:", &serial, &size) != 2) return std::nullopt;
  if (text != payload_of(serial, size)) return std::nullopt;
  return serial;
}

constexpr const char* kSettings = "[topics]\nring = \"64KiB\"\n[daemon]\nsegment_bytes = 16384\n";
constexpr std::uint64_t kRing = 64 << 10;

}  // namespace

Knowledge History::until(std::size_t at, Knowledge known) const {
  for (const auto& [moment, change] : changes_)
    if (moment <= at) change(known);
  return known;
}

Tree new_disk(bool settings) {
  Tree tree = Tree::empty(0700);
  if (!settings) return tree;
  Node directory{.kind = Node::Kind::directory, .mode = 0700, .sectors = {}, .entries = {}};
  const NodeId bus = tree.add(tree.root, "bus", directory);
  Sector sector{};
  std::memcpy(sector.data(), kSettings, std::strlen(kSettings));
  Node file{.kind = Node::Kind::file, .mode = 0600, .size = std::strlen(kSettings), .sectors = {}, .entries = {}};
  file.sectors[0] = std::make_shared<const Sector>(sector);
  tree.add(bus, "bus.toml", file);
  return tree;
}

Life::Life(const Tree& disk, const Conduct& conduct) : conduct_(conduct), random_(conduct.seed) {
  char pattern[] = "/dev/shm/penstock-crash-XXXXXX";
  folder_ = ::mkdtemp(pattern);
  bus_path_ = folder_ + "/bus";
  recorder_ = std::make_unique<Recorder>(disk, folder_);
  recorder_->negligence = conduct.negligence;
  recorder_->before = [this] { sample(); };
  if (conduct.faults) {
    recorder_->decide = [this](std::size_t number, const Op& op) {
      const Fault fault = conduct_.faults(number, op);
      if (fault.error != 0 || fault.half) ++faults_;
      return fault;
    };
  }
}

// The power is cut: what the handles still do when they go does not reach the disk.
Life::~Life() {
  recorder_->pause();
  member_.reset();
  producers_.clear();
  worker_.reset();
  watched_.clear();
  bus_.reset();
  std::error_code ignored;
  if (!live_path_.empty()) std::filesystem::remove_all(live_path_, ignored);
  std::filesystem::remove_all(folder_, ignored);
}

template <class T>
bool Life::good(const Result<T>& result, const char* what) {
  if (!result) told_.push_back(std::string(what) + ": " + result.error().message());
  return result.has_value();
}

// What is told to be durable now, between two operations.
void Life::sample() {
  for (auto& [name, topic] : watched_) {
    const Offset durable = topic->durable_end().offset;
    Offset& seen = seen_durable_[name];
    if (durable <= seen) continue;
    seen = durable;
    history_.add(now(), [name = name, durable](Knowledge& known) { known.durable[name] = durable; });
  }
}

void Life::open() {
  auto bus = Bus::open(bus_path_);
  if (!good(bus, "open")) return;
  bus_ = std::make_unique<Bus>(std::move(*bus));
  live_path_ = bus_->state()->live.path();
}

void Life::create(const std::string& topic) {
  if (!good(bus_->create_topic(topic, {.ring_bytes = kRing}), "create")) return;
  history_.add(now(), [topic](Knowledge& known) { known.topics.insert(topic); });
}

void Life::join() {
  ConsumerOptions options;
  options.backoff = {1ms};
  options.dedupe = 16;
  auto member = bus_->consumer(kGroup, kTopics, options);
  if (!good(member, "join")) return;
  member_ = std::make_unique<Consumer>(std::move(*member));
  history_.add(now(), [](Knowledge& known) { known.group = true; });
}

void Life::publish(const std::string& topic, std::size_t size) {
  if (!producers_.contains(topic)) {
    auto producer = bus_->producer(topic, {.create = false, .block = 1ms});
    if (!producer && producer.error().code() == Errc::not_found) {  // making it failed before
      create(topic);
      producer = bus_->producer(topic, {.create = false, .block = 1ms});
    }
    if (!good(producer, "producer")) return;
    producers_.emplace(topic, std::move(*producer));
    auto watched = api::Topic::look(bus_->state(), topic);
    if (watched) {
      seen_durable_[topic] = (*watched)->durable_end().offset;
      watched_[topic] = std::move(*watched);
    }
  }
  const std::uint64_t serial = ++last_serial;
  const std::string payload = payload_of(serial, size);
  const auto offset = producers_.at(topic).publish(bytes_of(payload), {.key = "k"});
  if (!good(offset, "publish")) return;
  const EventKey key{topic, *offset};
  if (given_.contains(key)) told_.push_back("an offset was given twice in one life");
  given_[key] = serial;
  history_.add(now(), [key, serial](Knowledge& known) { known.given[key] = serial; });
}

void Life::publish_batch(const std::string& topic, std::size_t count) {
  if (!producers_.contains(topic)) publish(topic, 10);
  if (!producers_.contains(topic)) return;
  std::vector<std::string> payloads;
  std::vector<std::uint64_t> serials;
  std::vector<Message> messages;
  for (std::size_t i = 0; i < count; ++i) {
    serials.push_back(++last_serial);
    payloads.push_back(payload_of(serials.back(), 20 + 300 * i));
  }
  for (const std::string& payload : payloads) messages.push_back({bytes_of(payload), {}});
  const auto first = producers_.at(topic).publish_batch(messages);
  if (!good(first, "publish a batch")) return;
  for (std::size_t i = 0; i < count; ++i) {
    const EventKey key{topic, *first + i};
    given_[key] = serials[i];
    history_.add(now(), [key, serial = serials[i]](Knowledge& known) { known.given[key] = serial; });
  }
}

void Life::abort_claim(const std::string& topic) {
  if (!producers_.contains(topic)) return;
  auto claim = producers_.at(topic).claim(100);
  if (!good(claim, "claim")) return;
  const EventKey key{topic, claim->offset()};
  claim->abort();
  given_[key] = kNoEvent;
  history_.add(now(), [key](Knowledge& known) { known.given[key] = kNoEvent; });
}

bool Life::take(How how) {
  if (!member_) join();  // it failed before
  if (!member_) return false;
  auto delivery = member_->next(0ns);
  if (!good(delivery, "next") || !*delivery) return false;
  const EventKey key{std::string((*delivery)->topic()), (*delivery)->offset()};
  const auto serial = serial_of((*delivery)->payload());
  if (!serial) told_.push_back("a delivery's payload is wrong");
  ++delivered_[key];
  if (how == How::nak) return good((*delivery)->nak({.error_class = "test", .reason = "again"}), "nak");
  if (how == How::release) return good((*delivery)->release(), "release");
  const bool reject = how == How::reject;
  if (!good(reject ? (*delivery)->reject({.error_class = "test", .reason = "no"}) : (*delivery)->ack(), "settle"))
    return true;
  settled_.insert(key);
  history_.add(now(), [key, reject](Knowledge& known) {
    known.settled.insert(key);
    known.rejected.erase(key);  // an earlier power cut may have brought it back
    if (reject) known.rejected.insert(key), known.ever_rejected.insert(key);
  });
  return true;
}

void Life::start_worker() {
  const auto log = [this](int level, const std::string& text) {
    if (level > 0) remarks_.push_back(text);
  };
  worker_.reset();
  DaemonOptions options;
  options.log = log;
  auto rounds = daemon::Rounds::open(bus_->state(), options, std::make_unique<SimulatedDisk>(random_(), conduct_.vice));
  if (good(rounds, "daemon")) worker_ = std::move(*rounds);
}

void Life::stop_worker() {
  producers_.clear();
  if (!worker_) return;
  const std::size_t before = told_.size() + remarks_.size();
  const bool whole = good(worker_->finish(), "finish");
  worker_.reset();
  if (!whole || told_.size() + remarks_.size() != before || faults_ != 0) return;
  history_.add(
      now(), [settled = settled_](Knowledge& known) { known.settled_on_disk.insert(settled.begin(), settled.end()); });
}

void Life::work(std::size_t rounds) {
  if (!worker_) start_worker();  // it failed before
  for (std::size_t i = 0; i < rounds && worker_; ++i) {
    if (worker_->work(api::monotonic_ns())) continue;
    worker_->listen(worker_->sleeper());
    if (worker_->work(api::monotonic_ns())) continue;
    worker_->rest(api::monotonic_ns());
    return;
  }
}

void Life::rest() {
  const std::set<EventKey> settled = settled_;
  const std::size_t before = told_.size() + remarks_.size();
  for (int i = 0; i < 4; ++i) {
    advance_clock(300'000'000);
    work(1000);
  }
  sample();
  if (told_.size() + remarks_.size() != before || !worker_ || faults_ != 0) return;
  history_.add(now(), [settled](Knowledge& known) { known.settled_on_disk.insert(settled.begin(), settled.end()); });
}

// Two topics whose jobs overlap, events of several sizes, a batch and an aborted claim, every settlement, a letter,
// full segments, a clean stop, and a second daemon.
void Life::short_story() {
  open();
  if (!bus_) return;
  for (const std::string& topic : kTopics) create(topic);
  join();
  start_worker();
  publish("a", 20);
  publish("b", 700);
  work(3);
  publish("a", 1500);
  abort_claim("a");
  publish_batch("b", 3);
  rest();
  take(How::ack);
  take(How::reject);
  take(How::nak);
  take(How::ack);
  work(2);
  start_worker();  // the letter is in the ring, and who wrote it is dead
  rest();
  for (int i = 0; i < 3; ++i) publish("a", 4000);
  take(How::ack);
  rest();
  for (int i = 0; i < 2; ++i) take(How::ack);
  if (worker_) stop_worker();
  start_worker();
  publish("a", 5000);
  rest();
}

void Life::retention_story() {
  open();
  if (!bus_) return;
  create("a");
  history_.add(now(), [](Knowledge& known) { known.bounded.insert("a"); });
  if (!good(bus_->set_retain_unacked("a", true), "retain") || !good(bus_->set_retention("a", 1, 0ns), "bound")) return;
  join();
  start_worker();
  for (int i = 0; i < 24; ++i) {
    publish("a", 4000);
    if (i % 4 == 3) work(4);
  }
  rest();
  for (int i = 0; i < 4; ++i) take(How::ack);
  take(How::nak);
  for (int i = 0; i < 4; ++i) take(How::ack);
  rest();  // the segments before the one that failed go
  for (int i = 0; i < 4; ++i) take(How::ack);
  rest();  // it was settled
  if (bus_->describe_topic("a")->first_offset == 0) told_.push_back("retention took nothing");
}

void Life::stop_story() {
  open();
  create("a");
  join();
  start_worker();
  publish("a", 100);
  rest();
  take(How::reject);
  stop_worker();
}

void Life::birth_story() {
  open();
  if (!bus_) return;
  create("a");
  join();
  start_worker();
  publish("a", 100);
  rest();
  take(How::ack);
  rest();
}

void Life::long_story(std::size_t steps) {
  open();
  if (!bus_) return;
  for (const std::string& topic : kTopics) create(topic);
  join();
  start_worker();
  for (std::size_t step = 0; step < steps; ++step) {
    const std::string& topic = kTopics[random_() % kTopics.size()];
    const std::uint64_t what = random_() % 100;
    if (what < 30)
      publish(topic, 1 + random_() % (random_() % 4 == 0 ? 6000 : 300));
    else if (what < 35)
      publish_batch(topic, 2 + random_() % 4);
    else if (what < 38)
      abort_claim(topic);
    else if (what < 48)
      take(How::ack);
    else if (what < 52)
      take(How::reject);
    else if (what < 55)
      take(random_() % 2 == 0 ? How::nak : How::release);
    else if (what < 85)
      work(1 + random_() % 6);
    else if (what < 95)
      advance_clock(std::int64_t(random_() % 700'000'000));
    else if (what < 97)
      rest();
    else if (what < 98)
      start_worker();  // the one before was killed
    else if (worker_)
      stop_worker(), start_worker();
  }
}

bool Life::heals() {
  recorder_->decide = nullptr;
  conduct_.faults = nullptr;
  told_.clear();
  if (!bus_) open();
  if (!bus_) return false;
  const auto topics = bus_->topics();
  for (const std::string& topic : kTopics)
    if (std::count(topics->begin(), topics->end(), topic) == 0) create(topic);
  if (!member_) join();
  if (!worker_) start_worker();
  for (const std::string& topic : kTopics) publish(topic, 50);
  rest();
  told_.clear();  // what went wrong before may be told once more
  for (const std::string& topic : kTopics) publish(topic, 50);
  rest();
  while (take(How::ack)) {
  }
  rest();
  for (const auto& [key, serial] : given_) {
    if (seen_durable_[key.first] <= key.second) told_.push_back(key.first + " does not become durable again");
    if (serial != kNoEvent && !delivered_.contains(key)) told_.push_back(key.first + " is not delivered");
  }
  return told_.empty();
}

void Life::scan(Findings& out) {
  const auto topics = bus_->topics();
  if (!good(topics, "topics")) return;
  for (const std::string& topic : *topics) {
    out.topics.insert(topic);
    const bool letters = topic == std::string(kGroup) + ".dlq";
    auto log = Log::open(bus_path_, topic);
    if (!good(log, "log")) continue;
    LogVisitor visitor;
    std::optional<Offset> last;
    visitor.event = [&](const EventView& event) {
      if (last && event.offset() <= *last) told_.push_back(topic + " is out of order");
      last = event.offset();
      const auto serial = serial_of(event.payload());
      if (!serial) told_.push_back(topic + ": a payload is wrong at " + std::to_string(event.offset()));
      if (serial && !letters) out.events[{topic, event.offset()}] = *serial;
      if (letters) {
        if (const auto letter = DeadLetter::of(event))
          ++out.letters[{letter->topic, letter->offset}];
        else
          told_.push_back("a letter without its history");
      }
      return true;
    };
    visitor.damage = [&](const Damage& damage) {
      remarks_.push_back(topic + ": damage: " + damage.problem);
      return true;
    };
    static_cast<void>(good(log->scan({}, visitor), "scan"));
    const auto reports = log->verify();
    if (!good(reports, "verify")) continue;
    for (const FileReport& report : *reports)
      for (const std::string& problem : report.problems) remarks_.push_back(report.file + ": " + problem);
  }
}

Findings Life::find() {
  Findings out;
  open();
  if (bus_) {
    start_worker();
    work(1000);
    scan(out);
    const auto groups = bus_->groups();
    out.group = good(groups, "groups") && std::count(groups->begin(), groups->end(), kGroup) == 1;
    join();
    for (const std::string& topic : kTopics)
      if (out.topics.contains(topic)) publish(topic, 30);
    for (int i = 0; i < 3; ++i) {
      rest();
      while (take(How::ack)) {
      }
    }
    rest();
    for (const auto& [key, serial] : given_)
      if (seen_durable_[key.first] <= key.second) told_.push_back("what was published since does not become durable");
    stop_worker();
    out.letters.clear();
    Findings after;
    scan(after);
    out.letters = std::move(after.letters);
    for (const auto& [key, serial] : out.events) {
      const auto info = bus_->describe_topic(key.first);
      if (info && key.second < info->first_offset && info->options.retention_bytes != 0) continue;
      if (after.events[key] != serial) told_.push_back("an event changed while the bus went on");
    }
  }
  out.delivered = delivered_;
  out.given = given_;
  out.complaints = told_;
  out.remarks = remarks_;
  return out;
}

std::vector<std::string> judge(const Knowledge& known, const Findings& found, bool refused) {
  std::vector<std::string> out = found.complaints;
  if (!refused) out.insert(out.end(), found.remarks.begin(), found.remarks.end());
  const auto wrong = [&out](const std::string& what, const EventKey& key) {
    out.push_back(what + ": " + key.first + " " + std::to_string(key.second));
  };
  for (const std::string& topic : known.topics)
    if (!found.topics.contains(topic)) out.push_back("topic " + topic + " is gone");
  if (known.group && !found.group) out.push_back("the group is gone");
  for (const auto& [key, serial] : known.given) {
    const auto durable = known.durable.find(key.first);
    if (durable == known.durable.end() || key.second >= durable->second || serial == kNoEvent) continue;
    if (known.bounded.contains(key.first) && known.settled.contains(key)) continue;
    if (!found.events.contains(key)) wrong("an event is lost that was told to be durable", key);
  }
  for (const auto& [key, serial] : found.events) {
    const auto given = known.given.find(key);
    if (given == known.given.end())
      wrong("an event that was never published", key);
    else if (given->second != serial)
      wrong("another event's payload", key);
  }
  for (const auto& [key, serial] : found.given) {
    if (known.given.contains(key)) wrong("an offset is given twice", key);
    if (!found.delivered.contains(key)) wrong("a new event is not delivered", key);
  }
  for (const auto& [key, serial] : found.events) {
    const bool delivered = found.delivered.contains(key);
    const auto letters = found.letters.find(key);
    const int count = letters == found.letters.end() ? 0 : letters->second;
    if (!delivered && count == 0 && !known.settled.contains(key)) wrong("skipped by the group", key);
    if (delivered && known.settled_on_disk.contains(key)) wrong("its settlement was on disk; delivered again", key);
    if (known.rejected.contains(key) && !delivered && count != 1)
      wrong("rejected, and has " + std::to_string(count) + " letters", key);
  }
  for (const auto& [key, count] : found.letters)
    if (!known.ever_rejected.contains(key) && count != 0) wrong("a letter of an event that nobody rejected", key);
  return out;
}

}  // namespace penstock::crash
