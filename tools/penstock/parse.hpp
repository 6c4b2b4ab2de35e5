// What people write on a command line, turned into values: sizes, durations, times, places in a log. Pure functions;
// an error is a sentence without its end that says what is accepted.
#pragma once

#include <chrono>
#include <cstdint>
#include <penstock/options.hpp>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

namespace penstock::tool {

template <class T>
using Parsed = tl::expected<T, std::string>;

Parsed<std::uint64_t> parse_number(std::string_view text);
// 65536, 64KiB, 1GiB, 10MB; units of either kind, in any case.
Parsed<std::uint64_t> parse_size(std::string_view text);
// 250ms, 30s, 1.5h, 7d, and 0.
Parsed<std::chrono::nanoseconds> parse_duration(std::string_view text);
// Durations with commas between: 100ms,1s,5s.
Parsed<std::vector<std::chrono::nanoseconds>> parse_durations(std::string_view text);
// RFC 3339, now, -10m (ago), +10m (from now).
Parsed<Timestamp> parse_time(std::string_view text, Timestamp now);
// beginning, end, an offset, -N (the last N), or a time.
Parsed<StartAt> parse_start(std::string_view text, Timestamp now);
// The character between key and payload: one character, or \t, \0, \n, \\.
Parsed<char> parse_delimiter(std::string_view text);

// Topics and groups: words of [A-Za-z0-9_-] joined by dots.
bool valid_name(std::string_view text);
bool is_pattern(std::string_view text);
// Whether a subscription to `pattern` covers `topic`: `*` is one word, `**` the rest; a pattern covers no .dlq.
bool covers(std::string_view pattern, std::string_view topic);
// The words of a hex id of 32 digits, or nothing.
std::optional<EventId> parse_id(std::string_view text);

Timestamp current_time();

}  // namespace penstock::tool
