// bus.toml: what people set for a bus. Unknown keys are errors, so that a typo is not a default.
#pragma once

#include <penstock/options.hpp>
#include <string>

namespace penstock::api {

struct Settings {
  std::string shared_memory = "/dev/shm";     // [bus] shared_memory: where the live side is made
  bool network_disk = false;                  // [bus] network_disk: it may be on one; no other host opens the bus
  TopicOptions topic;                         // [topics]: defaults of topics created without options
  std::string producers, consumers;           // [access]: Unix groups; empty: the bus is one user's
  bool force_pwrite = false;                  // [daemon] io = "auto" | "pwrite"
  std::uint64_t segment_bytes = 64ull << 20;  // [daemon] segment_bytes
  std::uint64_t compact_keys = 1'000'000;     // [daemon] compact_keys: held in memory at a time by a compaction
  std::chrono::nanoseconds tombstones{
      std::chrono::hours(24)};  // [daemon] tombstones: kept so long after what they delete
  std::chrono::nanoseconds checkpoint{std::chrono::milliseconds(100)};  // [daemon] checkpoint
};

// The defaults when the file does not exist. Errc::invalid_argument names the file, the line and the key.
Result<Settings> load_settings(const std::string& path);
std::string print_settings(const Settings& settings);  // as TOML, every key

// "64KiB", "1GiB", "4096"; "250ms", "30s", "5m", "7d".
std::optional<std::uint64_t> parse_bytes(std::string_view text);
std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text);

}  // namespace penstock::api
