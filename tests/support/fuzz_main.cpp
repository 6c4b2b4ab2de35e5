// Drives a fuzz target. With libFuzzer, PENSTOCK_FUZZ_SEEDS names a directory into which the target's seeds are written
// before it reads its corpus; without any limit it ends after `runs` inputs then. Without libFuzzer:
//
//   X_fuzz [--runs N] [--seed S] [--only K]    the seeds, then N mutations of them; or the K-th mutation alone
//   X_fuzz FILE...                             these inputs
//
// An input that takes longer than kPatience counts as a hang. What fails is named by its number.
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "fuzz.hpp"

namespace penstock::fuzz {
namespace {

#ifdef PENSTOCK_LIBFUZZER

void write_seeds(const std::string& directory) {
  const std::vector<Bytes> seeds = target.seeds();
  for (std::size_t i = 0; i < seeds.size(); ++i) {
    std::ofstream file(directory + "/seed-" + std::to_string(i), std::ios::binary);
    file.write(reinterpret_cast<const char*>(seeds[i].data()), static_cast<std::streamsize>(seeds[i].size()));
  }
}

void limit_runs(int* argc, char*** argv) {
  for (int i = 1; i < *argc; ++i)
    if (std::strncmp((*argv)[i], "-runs=", 6) == 0 || std::strncmp((*argv)[i], "-max_total_time=", 16) == 0) return;
  static std::string runs = "-runs=" + std::to_string(target.runs);
  static std::vector<char*> words(*argv, *argv + *argc);
  words.insert(words.begin() + 1, runs.data());
  words.push_back(nullptr);
  *argc += 1;
  *argv = words.data();
}

#else

constexpr unsigned kPatience = 30;  // seconds

class Random {  // splitmix64
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t x = state_ += 0x9E3779B97F4A7C15ull;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ x >> 27) * 0x94D049BB133111EBull;
    return x ^ x >> 31;
  }
  std::size_t below(std::size_t bound) { return bound == 0 ? 0 : std::size_t(next() % bound); }

 private:
  std::uint64_t state_;
};

// Numbers at which arithmetic turns.
std::uint64_t turning_point(Random& random) {
  const std::uint64_t power = 1ull << random.below(64);
  switch (random.below(4)) {
    case 0:
      return power;
    case 1:
      return power - 1;
    case 2:
      return ~power;
    default:
      return 0 - power;
  }
}

void put_word(Bytes& bytes, std::size_t at, std::uint64_t word, std::size_t size) {
  if (bytes.size() < size) return;
  std::memcpy(bytes.data() + std::min(at, bytes.size() - size), &word, size);
}

void mutate_once(Bytes& bytes, const std::vector<Bytes>& seeds, Random& random) {
  const std::size_t at = random.below(bytes.size());
  const std::size_t size = std::size_t{1} << random.below(4);
  switch (random.below(10)) {
    case 0:
    case 1:
      if (!bytes.empty()) bytes[at] ^= std::byte(1u << random.below(8));
      break;
    case 2:
      if (!bytes.empty()) bytes[at] = std::byte(random.next());
      break;
    case 3:
      put_word(bytes, at, turning_point(random), size);
      break;
    case 4:
      put_word(bytes, at / 8 * 8, turning_point(random), 8);
      break;
    case 5: {  // a word a little up or down
      std::uint64_t word = 0;
      if (at + size <= bytes.size()) std::memcpy(&word, bytes.data() + at, size);
      put_word(bytes, at, word + random.below(33) - 16, size);
      break;
    }
    case 6:
      bytes.resize(at);
      break;
    case 7:
      bytes.insert(bytes.begin() + std::ptrdiff_t(at), 1 + random.below(16), std::byte(random.next()));
      break;
    case 8: {  // a stretch from elsewhere
      const Bytes& from = seeds[random.below(seeds.size())];
      const std::size_t begin = random.below(from.size());
      const std::size_t most = std::min(bytes.size() - at, from.size() - begin);
      const std::size_t count = random.below(std::min<std::size_t>(most, 256) + 1);
      if (count != 0) std::memcpy(bytes.data() + at, from.data() + begin, count);
      break;
    }
    default: {
      const std::size_t end = std::min(bytes.size(), at + 1 + random.below(8));
      bytes.erase(bytes.begin() + std::ptrdiff_t(at), bytes.begin() + std::ptrdiff_t(end));
      break;
    }
  }
}

// The K-th mutation is always the same one.
Bytes mutation(const std::vector<Bytes>& seeds, std::uint64_t seed, std::uint64_t number) {
  Random random(seed * 0x9E3779B97F4A7C15ull + number);
  Bytes bytes = seeds[random.below(seeds.size())];
  for (std::size_t times = 1 + random.below(6); times > 0; --times) mutate_once(bytes, seeds, random);
  return bytes;
}

char g_current[64] = "";  // what runs just now

void tell_current() { static_cast<void>(!::write(STDERR_FILENO, g_current, std::strlen(g_current))); }
void on_signal(int signal) {
  tell_current();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}
extern "C" void __sanitizer_set_death_callback(void (*)()) __attribute__((weak));

void try_input(const Bytes& bytes, const char* kind, std::uint64_t number) {
  std::snprintf(g_current, sizeof g_current, "in %s %llu\n", kind, static_cast<unsigned long long>(number));
  ::alarm(kPatience);
  // A copy of exactly this size: reading past its end is seen.
  const auto exact = std::make_unique<std::byte[]>(bytes.size());
  if (!bytes.empty()) std::memcpy(exact.get(), bytes.data(), bytes.size());
  target.run({exact.get(), bytes.size()});
  ::alarm(0);
}

int drive(int argc, char** argv) {
  std::uint64_t runs = target.runs, seed = 1, from = 0;
  std::vector<std::string> files;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const auto number = [&] { return i + 1 < argc ? std::strtoull(argv[++i], nullptr, 10) : 0; };
    if (word == "--runs")
      runs = number();
    else if (word == "--seed")
      seed = number();
    else if (word == "--only")
      from = number(), runs = from + 1;
    else
      files.emplace_back(word);
  }
  for (const int signal : {SIGABRT, SIGALRM}) std::signal(signal, on_signal);
  if (__sanitizer_set_death_callback != nullptr)
    __sanitizer_set_death_callback(tell_current);
  else
    for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(signal, on_signal);
  for (const std::string& path : files) {
    std::ifstream file(path, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    const Input bytes = std::as_bytes(std::span(text));
    try_input(Bytes(bytes.begin(), bytes.end()), path.c_str(), 0);
  }
  if (!files.empty()) return 0;
  const std::vector<Bytes> seeds = target.seeds();
  must(!seeds.empty(), "there are seeds");
  if (from == 0)
    for (std::size_t i = 0; i < seeds.size(); ++i) try_input(seeds[i], "seed", i);
  for (std::uint64_t i = from; i < runs; ++i) try_input(mutation(seeds, seed, i), "mutation", i);
  std::printf("%zu seeds, %llu mutations\n", seeds.size(), static_cast<unsigned long long>(runs - from));
  return 0;
}

#endif

}  // namespace
}  // namespace penstock::fuzz

#ifdef PENSTOCK_LIBFUZZER

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  const char* directory = std::getenv("PENSTOCK_FUZZ_SEEDS");
  if (directory == nullptr) return 0;
  penstock::fuzz::limit_runs(argc, argv);
  penstock::fuzz::write_seeds(directory);
  return 0;
}
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  penstock::fuzz::target.run(std::as_bytes(std::span(data, size)));
  return 0;
}

#else

int main(int argc, char** argv) { return penstock::fuzz::drive(argc, argv); }

#endif
