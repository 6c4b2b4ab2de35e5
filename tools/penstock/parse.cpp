#include "tools/penstock/parse.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

namespace penstock::tool {
namespace {

using std::chrono::nanoseconds;

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return result;
}

std::string quoted(std::string_view text) { return "'" + std::string(text) + "'"; }

bool all_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// Exactly `width` digits at the front, taken off.
bool take_digits(std::string_view& text, std::size_t width, int& value) {
  if (text.size() < width || !all_digits(text.substr(0, width))) return false;
  std::from_chars(text.data(), text.data() + width, value);
  text.remove_prefix(width);
  return true;
}

bool take(std::string_view& text, std::string_view any) {
  if (text.empty() || any.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

// The part after the seconds' point, in nanoseconds; further digits are cut.
bool take_fraction(std::string_view& text, std::int64_t& ns) {
  std::size_t digits = 0;
  while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
    if (digits < 9) ns = ns * 10 + (text.front() - '0');
    ++digits;
    text.remove_prefix(1);
  }
  for (std::size_t i = digits; i < 9; ++i) ns *= 10;
  return digits > 0;
}

bool take_zone(std::string_view& text, int& minutes) {
  if (take(text, "Zz")) return true;
  const int sign = !text.empty() && text.front() == '-' ? -1 : 1;
  int hour = 0, minute = 0;
  if (!take(text, "+-") || !take_digits(text, 2, hour) || !take(text, ":") || !take_digits(text, 2, minute))
    return false;
  minutes = sign * (hour * 60 + minute);
  return hour < 24 && minute < 60;
}

std::optional<Timestamp> rfc3339(std::string_view text) {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, zone = 0;
  std::int64_t fraction = 0;
  if (!take_digits(text, 4, year) || !take(text, "-") || !take_digits(text, 2, month) || !take(text, "-") ||
      !take_digits(text, 2, day) || !take(text, "Tt ") || !take_digits(text, 2, hour) || !take(text, ":") ||
      !take_digits(text, 2, minute) || !take(text, ":") || !take_digits(text, 2, second)) {
    return {};
  }
  if (take(text, ".") && !take_fraction(text, fraction)) return {};
  if (!take_zone(text, zone) || !text.empty()) return {};
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  // Nanoseconds since 1970 in 64 bits reach from 1677 to 2262.
  if (!date.ok() || year < 1678 || year > 2261 || hour > 23 || minute > 59 || second > 60) return {};
  return Timestamp(std::chrono::sys_days(date)) + std::chrono::hours(hour) + std::chrono::minutes(minute - zone) +
         std::chrono::seconds(second) + nanoseconds(fraction);
}

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

// The number before the unit, which may have a fraction, times the unit; nothing when it does not fit 63 bits.
std::optional<std::uint64_t> scaled(std::string_view number, std::uint64_t factor) {
  constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
  if (all_digits(number)) {
    std::uint64_t whole = 0;
    if (std::from_chars(number.data(), number.data() + number.size(), whole).ec != std::errc{}) return {};
    if (whole > most / factor) return {};
    return whole * factor;
  }
  double value = 0;
  const auto [end, error] =
      std::from_chars(number.data(), number.data() + number.size(), value, std::chars_format::fixed);
  if (error != std::errc{} || end != number.data() + number.size() || value < 0) return {};
  const double result = std::round(value * static_cast<double>(factor));
  if (!(result < 9.2e18)) return {};
  return static_cast<std::uint64_t>(result);
}

template <std::size_t N>
std::optional<std::uint64_t> with_unit(std::string_view text, const std::array<Unit, N>& units) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  if (digits == 0) return {};
  const std::string unit = lower(text.substr(digits));
  for (const Unit& known : units) {
    if (unit == known.name) return scaled(text.substr(0, digits), known.factor);
  }
  return {};
}

}  // namespace

Timestamp current_time() { return std::chrono::time_point_cast<nanoseconds>(std::chrono::system_clock::now()); }

Parsed<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) {
    return tl::unexpected(quoted(text) + " is not a number; give a whole number, 0 or more");
  }
  return value;
}

Parsed<std::uint64_t> parse_size(std::string_view text) {
  static constexpr std::array<Unit, 11> units{{{"", 1},
                                               {"b", 1},
                                               {"kib", 1ull << 10},
                                               {"mib", 1ull << 20},
                                               {"gib", 1ull << 30},
                                               {"tib", 1ull << 40},
                                               {"kb", 1'000},
                                               {"mb", 1'000'000},
                                               {"gb", 1'000'000'000},
                                               {"tb", 1'000'000'000'000},
                                               {"pib", 1ull << 50}}};
  if (const auto value = with_unit(text, units)) return *value;
  return tl::unexpected(quoted(text) + " is not a size; give bytes or a unit, such as 64KiB, 16MiB or 1GiB");
}

Parsed<nanoseconds> parse_duration(std::string_view text) {
  static constexpr std::array<Unit, 7> units{{{"ns", 1},
                                              {"us", 1'000},
                                              {"ms", 1'000'000},
                                              {"s", 1'000'000'000},
                                              {"m", 60'000'000'000},
                                              {"h", 3'600'000'000'000},
                                              {"d", 86'400'000'000'000}}};
  if (text == "0") return nanoseconds(0);
  if (const auto value = with_unit(text, units)) return nanoseconds(static_cast<std::int64_t>(*value));
  return tl::unexpected(quoted(text) +
                        " is not a duration; give a number and a unit, such as 250ms, 30s, 5m, 2h or 7d");
}

Parsed<std::vector<nanoseconds>> parse_durations(std::string_view text) {
  std::vector<nanoseconds> result;
  for (;;) {
    const std::size_t comma = std::min(text.find(','), text.size());
    auto one = parse_duration(text.substr(0, comma));
    if (!one) return tl::unexpected(one.error());
    result.push_back(*one);
    if (comma == text.size()) return result;
    text.remove_prefix(comma + 1);
  }
}

Parsed<Timestamp> parse_time(std::string_view text, Timestamp now) {
  if (text == "now") return now;
  if (text.size() > 1 && (text.front() == '-' || text.front() == '+')) {
    if (const auto distance = parse_duration(text.substr(1))) {
      return text.front() == '-' ? now - std::min(*distance, now.time_since_epoch()) : now + *distance;
    }
  } else if (const auto time = rfc3339(text)) {
    return *time;
  }
  return tl::unexpected(quoted(text) + " is not a time; give RFC 3339 such as 2026-11-23T07:00:00Z, now, or -10m");
}

Parsed<StartAt> parse_start(std::string_view text, Timestamp now) {
  if (text == "beginning") return StartAt::beginning();
  if (text == "end") return StartAt::end();
  const bool last = text.size() > 1 && text.front() == '-';
  const std::string_view digits = last ? text.substr(1) : text;
  if (all_digits(digits)) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error == std::errc{} && value <= std::numeric_limits<std::int64_t>::max()) {
      return last ? StartAt::last(value) : StartAt::offset(value);
    }
  }
  if (const auto time = parse_time(text, now)) return StartAt::time(*time);
  return tl::unexpected(quoted(text) +
                        " is no place in a topic; give beginning, end, an offset, -N for the last N, or a time such as "
                        "2026-11-23T07:00:00Z or -10m");
}

Parsed<char> parse_delimiter(std::string_view text) {
  if (text.size() == 1) return text.front();
  if (text == "\\t") return '\t';
  if (text == "\\0") return '\0';
  if (text == "\\n") return '\n';
  if (text == "\\\\") return '\\';
  return tl::unexpected(quoted(text) + " is not one character; give one, or \\t for a tab");
}

bool valid_name(std::string_view text) {
  if (text.empty() || text.front() == '.' || text.back() == '.') return false;
  if (text.find("..") != std::string_view::npos) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  });
}

bool is_pattern(std::string_view text) { return text.find('*') != std::string_view::npos; }

bool covers(std::string_view pattern, std::string_view topic) {
  if (!is_pattern(pattern)) return pattern == topic;
  if (topic.ends_with(".dlq")) return false;
  for (;;) {
    const std::size_t in_pattern = std::min(pattern.find('.'), pattern.size());
    const std::size_t in_topic = std::min(topic.find('.'), topic.size());
    const std::string_view word = pattern.substr(0, in_pattern);
    if (word == "**") return true;
    if (word != "*" && word != topic.substr(0, in_topic)) return false;
    const bool pattern_ends = in_pattern == pattern.size();
    const bool topic_ends = in_topic == topic.size();
    if (pattern_ends || topic_ends) return pattern_ends && topic_ends;
    pattern.remove_prefix(in_pattern + 1);
    topic.remove_prefix(in_topic + 1);
  }
}

std::optional<EventId> parse_id(std::string_view text) {
  EventId id;
  if (text.size() != 2 * id.bytes.size()) return {};
  for (std::size_t i = 0; i < id.bytes.size(); ++i) {
    unsigned value = 0;
    const char* at = text.data() + 2 * i;
    const auto [end, error] = std::from_chars(at, at + 2, value, 16);
    if (error != std::errc{} || end != at + 2) return {};
    id.bytes[i] = static_cast<std::byte>(value);
  }
  return id;
}

}  // namespace penstock::tool
