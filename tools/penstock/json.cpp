#include "tools/penstock/json.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstring>

namespace penstock::tool {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";

void append_number(std::string& out, std::uint64_t value) {
  std::array<char, 24> digits;
  out.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr);
}

void append_padded(std::string& out, std::uint64_t value, int width) {
  std::array<char, 20> digits;
  for (int i = width; i-- > 0; value /= 10) digits[static_cast<std::size_t>(i)] = static_cast<char>('0' + value % 10);
  out.append(digits.data(), static_cast<std::size_t>(width));
}

// YYYY-MM-DDTHH:MM:SS. with its point. Events of one second share it, so the last one is kept.
void append_seconds(std::string& out, std::int64_t seconds) {
  thread_local std::int64_t kept_for = -1;
  thread_local std::string kept;
  if (kept.empty() || kept_for != seconds) {
    const std::chrono::sys_seconds time{std::chrono::seconds(seconds)};
    const auto day = std::chrono::floor<std::chrono::days>(time);
    const std::chrono::year_month_day date(day);
    const std::chrono::hh_mm_ss clock(time - day);
    kept.clear();
    append_padded(kept, static_cast<std::uint64_t>(static_cast<int>(date.year())), 4);
    kept += '-';
    append_padded(kept, static_cast<unsigned>(date.month()), 2);
    kept += '-';
    append_padded(kept, static_cast<unsigned>(date.day()), 2);
    kept += 'T';
    append_padded(kept, static_cast<std::uint64_t>(clock.hours().count()), 2);
    kept += ':';
    append_padded(kept, static_cast<std::uint64_t>(clock.minutes().count()), 2);
    kept += ':';
    append_padded(kept, static_cast<std::uint64_t>(clock.seconds().count()), 2);
    kept += '.';
    kept_for = seconds;
  }
  out += kept;
}

void append_time(std::string& out, Timestamp time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  append_seconds(out, seconds.time_since_epoch().count());
  append_padded(out, static_cast<std::uint64_t>((time - seconds).count()), 9);
  out += 'Z';
}

// "name":"text", or "name_base64":"..." when it is not UTF-8.
void append_text(std::string& out, std::string_view name, std::string_view text) {
  out += '"';
  out += name;
  if (valid_utf8(text)) {
    out += "\":";
    append_string(out, text);
  } else {
    out += "_base64\":\"";
    out += base64(text);
    out += '"';
  }
}

void append_optional(std::string& out, std::string_view name, std::optional<std::string_view> text) {
  out += ',';
  if (text) {
    append_text(out, name, *text);
  } else {
    out += '"';
    out += name;
    out += "\":null";
  }
}

// Values that are UTF-8 under "headers", the others under "headers_base64". A name given twice counts once, as the
// event's own look-up by name has it: the first.
void append_headers(std::string& out, const std::vector<Header>& headers) {
  std::string plain, encoded;
  for (std::size_t i = 0; i < headers.size(); ++i) {
    const std::string_view name = headers[i].name, value = headers[i].value;
    const auto before = headers.begin() + static_cast<std::ptrdiff_t>(i);
    if (std::any_of(headers.begin(), before, [&](const Header& h) { return h.name == name; })) continue;
    const bool text = valid_utf8(value);
    std::string& into = text ? plain : encoded;
    if (!into.empty()) into += ',';
    append_string(into, valid_utf8(name) ? std::string(name) : escaped(name));
    into += ':';
    append_string(into, text ? std::string(value) : base64(value));
  }
  out += ",\"headers\":{" + plain + "}";
  if (!encoded.empty()) out += ",\"headers_base64\":{" + encoded + "}";
}

void append_payload(std::string& out, std::string_view payload, PayloadAs as) {
  if (as == PayloadAs::nothing) return;
  out += ',';
  if (as == PayloadAs::text) {
    append_text(out, "payload", payload);
  } else {
    out += "\"payload_hex\":\"" + hex(payload) + "\"";
  }
}

void append_letter(std::string& out, const DeadLetter& letter) {
  out += ",\"dead_letter\":" + Json{{"topic", letter.topic},
                                    {"offset", letter.offset},
                                    {"group", letter.group},
                                    {"member", letter.member},
                                    {"attempts", letter.attempts},
                                    {"first_failure", time_text(letter.first_failure)},
                                    {"last_failure", time_text(letter.last_failure)},
                                    {"disposition", letter.disposition},
                                    {"error_class", letter.error_class},
                                    {"reason", letter.reason},
                                    {"redrives", letter.redrives}}
                                   .dump(-1, ' ', false, Json::error_handler_t::replace);
}

void append_rare(std::string& out, const EventView& event) {
  if (const auto type = event.content_type()) append_optional(out, "content_type", type);
  if (const auto schema = event.schema()) append_optional(out, "schema", schema);
  if (const auto at = event.deliver_at()) out += ",\"deliver_at\":\"" + time_text(*at) + "\"";
  if (const auto at = event.expires_at()) out += ",\"expires_at\":\"" + time_text(*at) + "\"";
}

}  // namespace

std::string time_text(Timestamp time) {
  std::string result;
  append_time(result, time);
  return result;
}

bool valid_utf8(std::string_view text) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  const auto* const end = p + text.size();
  while (p != end) {
    std::uint64_t eight = 0;  // plain ASCII, which most text is, goes eight bytes at a time
    if (end - p >= 8 && (std::memcpy(&eight, p, 8), (eight & 0x8080808080808080ull) == 0)) {
      p += 8;
      continue;
    }
    const unsigned char first = *p++;
    if (first < 0x80) continue;
    const int more = first >= 0xc2 && first < 0xe0   ? 1
                     : (first & 0xf0) == 0xe0        ? 2
                     : first >= 0xf0 && first < 0xf5 ? 3
                                                     : 0;
    if (more == 0 || end - p < more) return false;
    for (int i = 0; i < more; ++i) {
      if ((p[i] & 0xc0) != 0x80) return false;
    }
    const unsigned char second = *p;  // refuses overlong forms, surrogates, and what lies past U+10FFFF
    if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) || (first == 0xf0 && second < 0x90) ||
        (first == 0xf4 && second > 0x8f)) {
      return false;
    }
    p += more;
  }
  return true;
}

std::string base64(std::string_view bytes) {
  static constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string result;
  result.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t left = std::min<std::size_t>(3, bytes.size() - i);
    unsigned three = 0;
    for (std::size_t j = 0; j < 3; ++j) three = three << 8 | (j < left ? static_cast<unsigned char>(bytes[i + j]) : 0u);
    for (std::size_t j = 0; j < 4; ++j) result += j <= left ? digits[three >> (18 - 6 * j) & 63] : '=';
  }
  return result;
}

std::string hex(std::string_view bytes) {
  std::string result;
  result.reserve(2 * bytes.size());
  for (const char c : bytes) {
    result += kHexDigits[static_cast<unsigned char>(c) >> 4];
    result += kHexDigits[static_cast<unsigned char>(c) & 15];
  }
  return result;
}

void append_string(std::string& out, std::string_view text) {
  out += '"';
  std::size_t from = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f) continue;
    out.append(text, from, i - from);
    from = i + 1;
    out += '\\';
    switch (c) {
      case '"':
        out += '"';
        break;
      case '\\':
        out += '\\';
        break;
      case '\b':
        out += 'b';
        break;
      case '\f':
        out += 'f';
        break;
      case '\n':
        out += 'n';
        break;
      case '\r':
        out += 'r';
        break;
      case '\t':
        out += 't';
        break;
      default:
        out.append("u00").append(1, kHexDigits[c >> 4]).append(1, kHexDigits[c & 15]);
    }
  }
  out.append(text, from);
  out += '"';
}

std::string escaped(std::string_view text) {
  const bool utf8 = valid_utf8(text);
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n')
      result += "\\n";
    else if (c == '\t')
      result += "\\t";
    else if (c == '\r')
      result += "\\r";
    else if (c == '\\')
      result += "\\\\";
    else if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !utf8))
      (result += "\\x") += hex({&c, 1});
    else
      result += c;
  }
  return result;
}

void append_event(std::string& out, const EventView& event, const EventExtras& extras) {
  out += "{\"topic\":";
  append_string(out, event.topic());
  out += ",\"offset\":";
  append_number(out, event.offset());
  out += ",\"time\":\"";
  append_time(out, event.time());
  out += "\",\"id\":\"";
  const EventId id = event.id();
  out += hex(text_of(id.bytes));
  out += '"';
  append_optional(out, "id_text", event.id_text());
  append_optional(out, "key", event.key());
  append_headers(out, event.headers());
  out += ",\"size\":";
  append_number(out, event.payload().size());
  append_payload(out, text_of(event.payload()), extras.payload);
  append_rare(out, event);
  if (!extras.group.empty()) {
    out += ",\"group\":";
    append_string(out, extras.group);
    out += ",\"attempt\":";
    append_number(out, extras.attempt);
  }
  if (extras.letter != nullptr) {
    append_letter(out, *extras.letter);
  } else if (!event.attribute_bytes().empty()) {
    if (const auto letter = DeadLetter::of(event)) append_letter(out, *letter);
  }
  out += "}\n";
}

std::string line(const Json& object) { return object.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"; }

}  // namespace penstock::tool
