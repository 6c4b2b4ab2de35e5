// A whole bus, running or at rest, of which any file holds anything, at any length: everybody who comes to it gets an
// answer, an error among them, and goes on. Nobody writes outside the bus, crashes, or waits for ever.
#include "daemon/books.hpp"
#include "group/pattern.hpp"
#include "log/checksum.hpp"
#include "storage/recover.hpp"
#include "tests/support/fuzz.hpp"
#include "tests/support/scratch.hpp"
#include "tests/support/small_bus.hpp"
#include "tests/support/tree_image.hpp"

namespace penstock::fuzz {
namespace {

enum class Edit : std::uint8_t { word, byte, flip, fill, cut, grow, remove, mend, count };

struct Step {
  std::uint8_t file;
  Edit edit;
  std::uint8_t header;  // odd: within the file's first 1024 bytes
  std::uint8_t reserved[5];
  std::uint64_t at;
  std::uint64_t value;
};
static_assert(sizeof(Step) == 24);

constexpr int kSteps = 16;

// The bus as it was made, its shared side in the same folder. An input is which of the two, and edits.
struct Base {
  explicit Base(bool running) {
    test::make_small_bus(folder.path(), running);
    image.emplace(folder.path());
    // What bus.toml may say is settings_fuzz's.
    std::erase_if(image->files, [](const test::FileImage& file) { return file.name.ends_with(".lock"); });
    for (std::size_t i = 0; i < image->files.size(); ++i)
      if (S_ISREG(image->files[i].mode) && !image->files[i].name.ends_with(".toml")) editable.push_back(i);
  }
  test::Scratch folder;
  std::optional<test::TreeImage> image;
  std::vector<std::size_t> editable;
};
const Base& base(bool running) {
  static const Base kRunning(true), kResting(false);
  return running ? kRunning : kResting;
}

std::vector<Bytes> seeds() {
  std::vector<Bytes> out;
  for (const std::uint8_t running : {0, 1}) {
    const Base& bus = base(running == 1);
    for (std::uint8_t file = 0; file < bus.editable.size(); ++file) {
      const test::FileImage& image = bus.image->files[bus.editable[file]];
      const auto put = [&](const Step& step) { out.push_back(Maker().put(running).put(step).done()); };
      put({file, Edit::word, 1, {}, 64, ~0ull});
      put({file, Edit::remove, 0, {}, 0, 0});
      // Pages that every member can write come at each length.
      const bool shared = image.name.find("/penstock-") != std::string::npos;
      std::vector<std::uint64_t> lengths{0, 1, layout::kPage - 1, layout::kPage, image.size - 1};
      if (!shared) lengths = {lengths[file % lengths.size()]};
      for (const std::uint64_t length : lengths) put({file, Edit::cut, 0, {}, length, 0});
      if (shared) put({file, Edit::grow, 0, {}, layout::kPage, 0});
      const Step far{file, Edit::word, 0, {}, 96, 1ull << 60}, mend{file, Edit::mend, 0, {}, 0, 0};
      if (!shared) out.push_back(Maker().put(running).put(far).put(mend).done());
    }
  }
  return out;
}

// The checksum of a double-buffered file is made to fit what it holds.
void mend(test::FileImage& file) {
  constexpr std::size_t kHeader = 80;
  if (file.pieces.size() != 1 || file.pieces[0].bytes.size() < kHeader) return;
  std::vector<std::byte>& bytes = file.pieces[0].bytes;
  std::uint64_t body = 0;
  std::memcpy(&body, bytes.data() + kHeader - sizeof body, sizeof body);
  body = std::min<std::uint64_t>(body, bytes.size() - kHeader);
  std::byte* sum_at = bytes.data() + offsetof(layout::Preamble, checksum);
  std::memset(sum_at, 0, 8);
  const std::uint64_t sum = log::hash64(bytes.data() + kHeader, body, log::hash64(bytes.data(), kHeader));
  std::memcpy(sum_at, &sum, sizeof sum);
}

void apply(test::FileImage& file, const Step& step) {
  const std::uint64_t held = file.held();
  const std::uint64_t most = step.header % 2 == 1 ? std::min<std::uint64_t>(held, 1024) : held;
  const std::uint64_t at = most == 0 ? 0 : step.at % most;
  const auto set = [&](std::uint64_t index, std::byte value) {
    if (index < held) file.byte(index) = value;
  };
  switch (step.edit) {
    case Edit::word:
      for (int i = 0; i < 8; ++i) set(at / 8 * 8 + unsigned(i), std::byte(step.value >> (8 * i)));
      break;
    case Edit::byte:
      set(at, std::byte(step.value));
      break;
    case Edit::flip:
      if (at < held) file.byte(at) ^= std::byte(1u << step.value % 8);
      break;
    case Edit::fill:
      for (std::uint64_t i = 0; i < step.value >> 8 && i < 4096; ++i) set(at + i, std::byte(step.value));
      break;
    case Edit::cut:
      file.cut(step.at % (file.size + 1));
      break;
    case Edit::grow:
      file.size += step.at % (1 << 20);
      break;
    case Edit::mend:
      mend(file);
      break;
    default:
      break;
  }
}

class Visit {
 public:
  explicit Visit(const std::string& directory) : directory_(directory) {}

  void run() {
    look();
    auto bus = Bus::open(directory_);
    if (!bus) return;
    read(*bus);
    consume(*bus);
    publish(*bus);
    keep_books(*bus);
    administer(*bus);
    look();
    static_cast<void>(Log::verify_books(directory_));
  }

 private:
  static constexpr std::chrono::nanoseconds kNow{0};

  // Without touching anything: dump and verify.
  void look() const {
    for (const char* topic : {"orders", "ticks", "desk.dlq"}) {
      auto log = Log::open(directory_, topic);
      if (!log) continue;
      static_cast<void>(log->verify());
      for (const bool reverse : {false, true}) {
        std::uint64_t told = 0;
        const LogVisitor visitor{[&](const EventView& event) { return use(event), ++told < 5000; },
                                 [&](Offset, std::uint64_t) { return ++told < 5000; },
                                 [&](const Damage&) { return ++told < 5000; }};
        static_cast<void>(
            log->scan({.to_offset = reverse ? std::optional<Offset>(100) : std::nullopt, .reverse = reverse}, visitor));
        must(told < 5000, "a scan ends");
      }
      static_cast<void>(log->end());
    }
  }

  static void use(const EventView& event) {
    std::uint64_t sum = 0;
    for (const std::byte byte : event.payload()) sum += std::uint64_t(byte);
    for (const Header& header : event.headers()) sum += header.name.size();
    static_cast<void>(DeadLetter::of(event));
    must(sum <= 255 * (event.payload().size() + 1) + (1u << 20), "every byte was looked at");
  }

  static void read(Bus& bus) {
    for (const StartAt& start : {StartAt::beginning(), StartAt::offset(5), StartAt::last(2)}) {
      auto reader = bus.reader("**", start);
      for (int rounds = 0; reader && rounds < 8; ++rounds)
        if (!reader->poll([](const EventView& event) { use(event); }, 64)) break;
    }
  }

  static void consume(Bus& bus) {
    auto consumer = bus.consumer(test::kGroup);
    for (int i = 0; consumer && i < 12; ++i) {
      auto delivery = consumer->next(kNow);
      if (!delivery || !*delivery) break;
      use((*delivery)->event().view());
      if (i % 3 == 0) static_cast<void>((*delivery)->nak({.error_class = "c", .reason = "r", .delay = kNow}));
      if (i % 3 == 1) static_cast<void>((*delivery)->ack());
    }
    auto other = bus.consumer("another", {"*"});
    for (int i = 0; other && i < 4; ++i)
      if (!other->poll([](const EventView& event) { return use(event), Settle::ack(); }, 16)) break;
  }

  static void publish(Bus& bus) {
    for (const char* topic : {"orders", "ticks"}) {
      auto producer = bus.producer(topic, {.create = false, .block = kNow});
      if (!producer) continue;
      for (int i = 0; i < 3; ++i) static_cast<void>(producer->publish(test::bytes_of("more"), {.id = "x", .key = "k"}));
      if (auto claim = producer->claim(std::min<std::uint64_t>(producer->max_payload(), 1 << 14)))
        std::memset(claim->payload().data(), 1, claim->payload().size());
    }
  }

  // What the daemon does, step by step, without its thread.
  static void keep_books(Bus& bus) {
    const api::StatePtr& state = bus.state();
    const daemon::Log silent = [](int, const std::string&) {};
    daemon::Persister persister(state, io::make_disk(true), silent);
    daemon::Topics topics;
    for (const std::string& name : api::topic_names(*state)) {
      auto topic = api::Topic::open(state, name, true);
      if (!topic) continue;
      topics.emplace(name, *topic);
      if (!(*topic)->durable()) continue;
      storage::RecoverOptions options{.bus_id = state->bus_id};
      options.durable = storage::Boundary{(*topic)->durable_end().position, (*topic)->durable_end().offset};
      auto meta = api::read_topic_meta(*state, name);
      auto recovered =
          storage::recover_topic((*topic)->directory(), meta ? std::optional(*meta) : std::nullopt, !meta, options);
      if (recovered) persister.add(std::move(*topic), {recovered->log_position, recovered->log_offset});
    }
    for (int rounds = 0; rounds < 8; ++rounds) persister.step(api::now_ns(), 1'000'000);
    for (const std::string& name : api::group_names(*state)) {
      auto group = api::Group::open(state, name);
      if (!group) continue;
      daemon::Books books(std::move(*group), state->live.sleeper(0), silent);
      static_cast<void>(books.refresh(topics, {}));
      books.move_letters(INT64_MAX, INT64_MAX);
      books.sweep();
      static_cast<void>(books.rest(api::monotonic_ns()));
      books.wake_all();
      books.checkpoint(true, INT64_MAX);
    }
    static_cast<void>(persister.drain(api::monotonic_ns() + 1'000'000'000));
    static_cast<void>(persister.close());
  }

  static void administer(Bus& bus) {
    static_cast<void>(bus.describe());
    for (const char* topic : {"orders", "ticks"}) static_cast<void>(bus.describe_topic(topic));
    static_cast<void>(bus.describe_group(test::kGroup));
    static_cast<void>(bus.group_topics(test::kGroup));
    static_cast<void>(bus.group_pending(test::kGroup));
    std::vector<Offset> letters;
    static_cast<void>(bus.dead_letters(test::kGroup, [&](const EventView& event, const DeadLetter&) {
      letters.push_back(event.offset());
      return letters.size() < 4;
    }));
    for (const Offset letter : letters) static_cast<void>(bus.redrive(test::kGroup, letter));
    ConsumerOptions options;
    options.max_attempts = 3;
    static_cast<void>(bus.set_group(test::kGroup, {"*"}, options));
    static_cast<void>(bus.seek_group(test::kGroup, StartAt::offset(2)));
    static_cast<void>(bus.delete_topic("ticks"));
    static_cast<void>(bus.delete_group("another"));
  }

  std::string directory_;
};

void run(Input input) {
  Taker taker(input);
  const Base& bus = base(taker.take<std::uint8_t>() % 2 == 1);
  test::TreeImage image = *bus.image;
  std::vector<std::size_t> removed;
  for (int steps = 0; steps < kSteps && !taker.empty(); ++steps) {
    const auto step = taker.take<Step>();
    const std::size_t file = bus.editable[step.file % bus.editable.size()];
    if (step.edit == Edit::remove)
      removed.push_back(file);
    else
      apply(image.files[file], step);
  }
  std::sort(removed.rbegin(), removed.rend());
  removed.erase(std::unique(removed.begin(), removed.end()), removed.end());
  for (const std::size_t file : removed) image.files.erase(image.files.begin() + std::ptrdiff_t(file));
  image.put_into(bus.folder.path());
  Visit(bus.folder / "bus").run();
  std::size_t beside = 0;
  for (const auto& entry : std::filesystem::directory_iterator(bus.folder.path()))
    beside += entry.path().filename() == "bus" || entry.path().filename().string().starts_with("penstock-") ? 0 : 1;
  must(beside == 0, "nothing is written beside the bus");
}

}  // namespace

const Target target{seeds, run, 200};

}  // namespace penstock::fuzz
