#include "group/pattern.hpp"

#include <algorithm>

#include "layout/base.hpp"

namespace penstock::group {
namespace {

constexpr std::string_view kLetters = ".dlq";

bool is_word(std::string_view word) {
  return !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

// Cuts the first word off; `last` says that nothing follows it.
std::string_view next_word(std::string_view& rest, bool& last) {
  const std::size_t dot = rest.find('.');
  last = dot == std::string_view::npos;
  const std::string_view word = rest.substr(0, dot);
  rest = last ? std::string_view{} : rest.substr(dot + 1);
  return word;
}

bool valid(std::string_view text, bool stars) {
  if (text.size() > layout::kNameMax) return false;
  for (bool last = false; !last;) {
    const std::string_view word = next_word(text, last);
    const bool star = stars && (word == "*" || (word == "**" && last));
    if (!star && !is_word(word)) return false;
  }
  return true;
}

}  // namespace

bool valid_name(std::string_view name) { return valid(name, false); }
bool valid_pattern(std::string_view pattern) { return valid(pattern, true); }
bool is_pattern(std::string_view text) { return text.find('*') != std::string_view::npos; }

bool matches(std::string_view pattern, std::string_view name) {
  if (!valid_pattern(pattern) || !valid_name(name)) return false;
  if (pattern == name) return true;
  if (name.ends_with(kLetters)) return false;
  for (bool pattern_ends = false, name_ends = false;;) {
    const std::string_view want = next_word(pattern, pattern_ends);
    const std::string_view word = next_word(name, name_ends);
    if (want == "**") return true;
    if (want != "*" && want != word) return false;
    if (pattern_ends || name_ends) return pattern_ends && name_ends;
  }
}

}  // namespace penstock::group
