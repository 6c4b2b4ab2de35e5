// --format: %t topic, %o offset, %k key, %v payload, %i id (as given, else its digits), %T time, %a attempt, %% and the
// escapes \n \t \r \0 \\. Nothing is added: a line ends where the format says \n.
#pragma once

#include <penstock/event.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tools/penstock/parse.hpp"

namespace penstock::tool {

class Format {
 public:
  static Parsed<Format> compile(std::string_view text);
  void render(std::string& out, const EventView& event, unsigned attempt) const;

 private:
  struct Part {
    char field;  // 0: literal text
    std::string text;
  };
  std::vector<Part> parts_;
};

// The id as given, else its 32 digits.
std::string id_for_people(const EventView& event);

}  // namespace penstock::tool
