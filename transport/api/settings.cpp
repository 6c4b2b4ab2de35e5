#include "api/settings.hpp"

#include <unistd.h>

#include <toml++/toml.h>
#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <sstream>

#include "api/error.hpp"
#include "api/near.hpp"

namespace penstock::api {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

std::optional<std::uint64_t> scaled(std::string_view text, std::span<const Unit> units) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return std::nullopt;
  const std::string_view unit(end, std::size_t(text.data() + text.size() - end));
  for (const Unit& known : units)
    if (unit == known.name) {
      if (number > ~0ull / known.factor) return std::nullopt;
      return number * known.factor;
    }
  return std::nullopt;
}

// For a word that is none of those there are: the one that was meant, or all of them.
std::string suggestion(std::string_view word, std::span<const std::string_view> known) {
  if (const auto meant = nearest(word, {known.begin(), known.end()})) return "did you mean " + *meant + "?";
  std::string all = "there are";
  for (const std::string_view each : known) all += (each == known.front() ? " " : ", ") + std::string(each);
  return all;
}

// What a key's value may be: in words, and as what it is read.
template <class Convert>
struct Kind {
  std::string wanted;
  Convert convert;
};
template <class Convert>
Kind(std::string, Convert) -> Kind<Convert>;

// Reads the keys of one table; what is left over is a mistake.
class Table {
 public:
  Table(const toml::table& table, std::string path, std::string name)
      : table_(table), path_(std::move(path)), name_(std::move(name)) {}

  template <class T, class Convert>
  void key(const char* key, T& out, const Kind<Convert>& kind) {
    known_.push_back(key);
    const toml::node* node = table_.get(key);
    if (node == nullptr || error_) return;
    if (auto value = kind.convert(*node))
      out = *value;
    else
      complain(*node, std::string("[") + name_ + "] " + key + " is not " + kind.wanted);
  }
  std::optional<Error> finish() {
    for (const auto& [key, node] : table_) {
      const std::string name(key.str());
      if (std::find(known_.begin(), known_.end(), name) == known_.end())
        complain(node, "unknown key " + name + " in [" + name_ + "]; " + suggestion(name, known_));
    }
    return error_;
  }

 private:
  void complain(const toml::node& node, const std::string& what) {
    if (!error_)
      error_ = fail(Errc::invalid_argument, path_ + ":" + std::to_string(node.source().begin.line) + ": " + what + ".");
  }
  const toml::table& table_;
  std::string path_, name_;
  std::vector<std::string_view> known_;
  std::optional<Error> error_;
};

const Kind text{"text in quotes", [](const toml::node& node) { return node.value<std::string>(); }};
const Kind bytes{"a size, such as 65536, \"64KiB\" or \"1GiB\"",
                 [](const toml::node& node) -> std::optional<std::uint64_t> {
                   if (const auto number = node.value_exact<std::int64_t>(); number && *number >= 0)
                     return static_cast<std::uint64_t>(*number);
                   if (const auto value = node.value_exact<std::string>()) return parse_bytes(*value);
                   return std::nullopt;
                 }};
const Kind number{"a whole number above 0", [](const toml::node& node) -> std::optional<std::uint64_t> {
                    const auto value = node.value_exact<std::int64_t>();
                    if (value && *value > 0) return static_cast<std::uint64_t>(*value);
                    return std::nullopt;
                  }};
const Kind yes_or_no{"true or false", [](const toml::node& node) { return node.value_exact<bool>(); }};
const Kind duration{"a duration, such as \"250ms\", \"30s\" or \"7d\"",
                    [](const toml::node& node) -> std::optional<std::chrono::nanoseconds> {
                      if (const auto value = node.value_exact<std::string>()) return parse_duration(*value);
                      return std::nullopt;
                    }};

template <class T, std::size_t N>
auto one_of(const std::array<std::pair<std::string_view, T>, N>& names) {
  std::string all;
  for (const auto& each : names)
    all += (all.empty() ? "\"" : each == names.back() ? " or \"" : ", \"") + std::string(each.first) + "\"";
  return Kind{all, [names](const toml::node& node) -> std::optional<T> {
                const auto value = node.value_exact<std::string>();
                for (const auto& [name, meaning] : names)
                  if (value && *value == name) return meaning;
                return std::nullopt;
              }};
}

constexpr std::array<std::string_view, 4> kTables{"bus", "access", "topics", "daemon"};
constexpr std::array kDurability{std::pair{std::string_view("memory"), Durability::memory},
                                 std::pair{std::string_view("disk"), Durability::disk}};
constexpr std::array kFull{std::pair{std::string_view("block"), Full::block},
                           std::pair{std::string_view("fail"), Full::fail},
                           std::pair{std::string_view("drop_oldest"), Full::drop_oldest}};
constexpr std::array kIo{std::pair{std::string_view("auto"), false}, std::pair{std::string_view("pwrite"), true}};

std::optional<Error> read_tables(const toml::table& root, const std::string& path, Settings& out) {
  for (const auto& [key, node] : root) {
    const std::string name(key.str());
    const toml::table* table = node.as_table();
    const std::string line = path + ":" + std::to_string(node.source().begin.line);
    if (std::find(kTables.begin(), kTables.end(), name) == kTables.end())
      return fail(Errc::invalid_argument, line + ": unknown " + (table != nullptr ? "table " : "key ") + name + "; " +
                                              suggestion(name, kTables) + ".");
    if (table == nullptr)
      return fail(Errc::invalid_argument, line + ": " + name + " is a table; write [" + name + "] and its keys below.");
    Table keys(*table, path, name);
    if (name == "bus") {
      keys.key("shared_memory", out.shared_memory, text);
      keys.key("network_disk", out.network_disk, yes_or_no);
    }
    if (name == "access") {
      keys.key("producers", out.producers, text);
      keys.key("consumers", out.consumers, text);
    }
    if (name == "topics") {
      keys.key("durability", out.topic.durability, one_of(kDurability));
      keys.key("ring", out.topic.ring_bytes, bytes);
      keys.key("full", out.topic.full, one_of(kFull));
      keys.key("retention_bytes", out.topic.retention_bytes, bytes);
      keys.key("retention_time", out.topic.retention_time, duration);
      keys.key("retain_unacked", out.topic.retain_unacked, yes_or_no);
    }
    if (name == "daemon") {
      keys.key("io", out.force_pwrite, one_of(kIo));
      keys.key("segment_bytes", out.segment_bytes, bytes);
      keys.key("checkpoint", out.checkpoint, duration);
      keys.key("compact_keys", out.compact_keys, number);
      keys.key("tombstones", out.tombstones, duration);
    }
    if (auto error = keys.finish()) return error;
  }
  if (out.producers.empty() != out.consumers.empty())
    return fail(Errc::invalid_argument, path + ": [access] names both producers and consumers, or is left out.");
  return std::nullopt;
}

}  // namespace

std::optional<std::uint64_t> parse_bytes(std::string_view value) {
  static constexpr Unit kUnits[] = {
      {"", 1},      {"B", 1},     {"KiB", 1ull << 10}, {"MiB", 1ull << 20}, {"GiB", 1ull << 30}, {"TiB", 1ull << 40},
      {"kB", 1000}, {"KB", 1000}, {"MB", 1000000},     {"GB", 1000000000}};
  return scaled(value, kUnits);
}

std::optional<std::chrono::nanoseconds> parse_duration(std::string_view value) {
  static constexpr Unit kUnits[] = {{"ns", 1},
                                    {"us", 1'000},
                                    {"ms", 1'000'000},
                                    {"s", 1'000'000'000},
                                    {"m", 60'000'000'000},
                                    {"h", 3'600'000'000'000},
                                    {"d", 86'400'000'000'000}};
  const auto ns = scaled(value, kUnits);
  if (!ns || *ns > std::uint64_t(INT64_MAX)) return std::nullopt;
  return std::chrono::nanoseconds(static_cast<std::int64_t>(*ns));
}

Result<Settings> load_settings(const std::string& path) {
  Settings out;
  std::error_code missing;
  if (!std::filesystem::exists(path, missing)) {
    if (missing) return refuse(Errc::permission, path, std::uint32_t(missing.value()));
    return out;
  }
  if (::access(path.c_str(), R_OK) != 0) return refuse(Errc::permission, path, std::uint32_t(errno));
  try {
    const toml::table root = toml::parse_file(path);
    if (auto error = read_tables(root, path, out)) return tl::unexpected(*error);
  } catch (const toml::parse_error& error) {
    return refuse(Errc::invalid_argument, path + ":" + std::to_string(error.source().begin.line) + ": " +
                                              std::string(error.description()) +
                                              "; texts, durations and sizes with a unit stand in quotes.");
  }
  return out;
}

std::string print_settings(const Settings& settings) {
  const auto name = [](const auto& names, auto value) {
    for (const auto& [spelled, meaning] : names)
      if (meaning == value) return std::string(spelled);
    return std::string();
  };
  std::ostringstream out;
  out << "[bus]\nshared_memory = \"" << settings.shared_memory
      << "\"\nnetwork_disk = " << (settings.network_disk ? "true" : "false") << "\n\n";
  if (!settings.producers.empty())
    out << "[access]\nproducers = \"" << settings.producers << "\"\nconsumers = \"" << settings.consumers << "\"\n\n";
  out << "[topics]\ndurability = \"" << name(kDurability, settings.topic.durability)
      << "\"\nring = " << settings.topic.ring_bytes << "\nfull = \"" << name(kFull, settings.topic.full)
      << "\"\nretention_bytes = " << settings.topic.retention_bytes << "\nretention_time = \""
      << settings.topic.retention_time.count()
      << "ns\"\nretain_unacked = " << (settings.topic.retain_unacked ? "true" : "false") << "\n\n[daemon]\nio = \""
      << name(kIo, settings.force_pwrite) << "\"\nsegment_bytes = " << settings.segment_bytes << "\ncheckpoint = \""
      << settings.checkpoint.count() << "ns\"\ncompact_keys = " << settings.compact_keys << "\ntombstones = \""
      << settings.tombstones.count() << "ns\"\n";
  return out.str();
}

}  // namespace penstock::api
