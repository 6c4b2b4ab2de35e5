// Which of some words somebody meant who wrote one that is none of them. Depends on nothing; any thread may ask.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::api {

// The word that takes the fewest changed, added or left out characters to get to (two exchanged ones are one change),
// if these are no more than a third of its length, or one.
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& known);

// "; did you mean X?", or nothing when no word is near.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& known);

// Of words of a command line that nothing took: the first that is an option, as it was written but without its value,
// and which of the known ones, which have no dashes, was meant. Nothing: none is an option.
struct NoOption {
  std::string name;
  std::optional<std::string> meant;
};
std::optional<NoOption> first_option(const std::vector<std::string>& words, const std::vector<std::string>& known);

}  // namespace penstock::api
