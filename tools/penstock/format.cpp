#include "tools/penstock/format.hpp"

#include "tools/penstock/json.hpp"

namespace penstock::tool {
namespace {

constexpr std::string_view kFields = "tokviTa";

// The character that `\c` stands for, or nothing.
std::optional<char> escape(char c) {
  switch (c) {
    case 'n':
      return '\n';
    case 't':
      return '\t';
    case 'r':
      return '\r';
    case '0':
      return '\0';
    case '\\':
      return '\\';
    default:
      return {};
  }
}

}  // namespace

std::string id_for_people(const EventView& event) {
  if (const auto given = event.id_text()) return std::string(*given);
  return event.id().hex();
}

Parsed<Format> Format::compile(std::string_view text) {
  Format format;
  std::string literal;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%' && text[i] != '\\') {
      literal += text[i];
      continue;
    }
    const char next = i + 1 < text.size() ? text[i + 1] : '\0';
    if (text[i] == '\\') {
      const auto c = i + 1 < text.size() ? escape(next) : std::nullopt;
      literal += c.value_or('\\');  // an unknown escape stays as it is written
      if (c) ++i;
    } else if (next == '%') {
      literal += '%';
      ++i;
    } else if (next != '\0' && kFields.find(next) != std::string_view::npos) {
      if (!literal.empty()) format.parts_.push_back({'\0', std::move(literal)});
      literal.clear();
      format.parts_.push_back({next, {}});
      ++i;
    } else {
      return tl::unexpected("'%" + (next == '\0' ? std::string() : std::string(1, next)) +
                            "' is no field; there are %t %o %k %v %i %T %a and %%");
    }
  }
  if (!literal.empty()) format.parts_.push_back({'\0', std::move(literal)});
  return format;
}

void Format::render(std::string& out, const EventView& event, unsigned attempt) const {
  for (const auto& [field, text] : parts_) {
    switch (field) {
      case 't':
        out += event.topic();
        break;
      case 'o':
        out += std::to_string(event.offset());
        break;
      case 'k':
        out += event.key().value_or(std::string_view());
        break;
      case 'v':
        out += text_of(event.payload());
        break;
      case 'i':
        out += id_for_people(event);
        break;
      case 'T':
        out += time_text(event.time());
        break;
      case 'a':
        out += std::to_string(attempt);
        break;
      default:
        out += text;
    }
  }
}

}  // namespace penstock::tool
