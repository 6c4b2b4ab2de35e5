#include "api/near.hpp"

#include <algorithm>

namespace penstock::api {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// How many characters have to be changed, exchanged with the next, put in or left out to make one word of the other.
// Capitals are the same letters: who mixes them up wrote every letter right.
std::size_t distance(std::string_view from, std::string_view to) {
  std::vector<std::size_t> before, last, row(to.size() + 1);
  for (std::size_t j = 0; j <= to.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= from.size(); ++i) {
    before = std::move(last);
    last = row;
    row[0] = i;
    for (std::size_t j = 1; j <= to.size(); ++j) {
      const char a = lower(from[i - 1]), b = lower(to[j - 1]);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a == b ? 0 : 1)});
      const bool exchanged = i > 1 && j > 1 && a == lower(to[j - 2]) && lower(from[i - 2]) == b;
      if (exchanged) row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row.back();
}

}  // namespace

std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& known) {
  std::optional<std::string> found;
  // One change in a word of up to five letters, two in eight: with more it is another word, as color is for follow.
  std::size_t least = std::max<std::size_t>(word.size() / 3, 1) + 1;
  for (const std::string& each : known) {
    const std::size_t length = std::max(word.size(), each.size());
    if (length - std::min(word.size(), each.size()) >= least) continue;  // not by far, and the way there is long
    const std::size_t changes = distance(word, each);
    if (changes >= length || changes >= least) continue;
    found = each;
    least = changes;
  }
  return found;
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& known) {
  const auto meant = nearest(word, known);
  return meant ? "; did you mean " + *meant + "?" : std::string();
}

std::optional<NoOption> first_option(const std::vector<std::string>& words, const std::vector<std::string>& known) {
  const auto word =
      std::find_if(words.begin(), words.end(), [](const std::string& each) { return each.starts_with('-'); });
  if (word == words.end()) return {};
  const std::string name = word->substr(0, word->find('='));
  return NoOption{name, nearest(name.substr(std::min(name.find_first_not_of('-'), name.size())), known)};
}

}  // namespace penstock::api
