// Attributes: what an event carries beside its payload, as typed entries between header and payload.
// Writing sizes first and bytes then, so that a claim is made once; reading any bytes without trust.
#pragma once

#include <cstring>
#include <optional>
#include <span>
#include <string_view>

#include "layout/record.hpp"

namespace penstock::log {

using Bytes = std::span<const std::byte>;

constexpr std::size_t attribute_bytes(std::size_t value) { return layout::kAttributeHeader + value; }
constexpr std::size_t padded(std::size_t attributes) { return (attributes + 7) & ~std::size_t{7}; }

// Appends entries to a buffer that is large enough; pads to 8 bytes at the end.
class AttributeWriter {
 public:
  explicit AttributeWriter(std::byte* at) : begin_(at), at_(at) {}
  void put(layout::Attribute type, std::string_view value) {
    const std::uint16_t size = std::uint16_t(value.size());
    at_[0] = std::byte(type);
    std::memcpy(at_ + 1, &size, sizeof size);
    copy(at_ + layout::kAttributeHeader, value);
    at_ += attribute_bytes(size);
  }
  void put_header(std::string_view name, std::string_view value) {
    const std::uint16_t size = std::uint16_t(name.size() + 1 + value.size());
    at_[0] = std::byte(layout::Attribute::header);
    std::memcpy(at_ + 1, &size, sizeof size);
    std::byte* const text = at_ + layout::kAttributeHeader;
    copy(text, name);
    text[name.size()] = std::byte{0};
    copy(text + name.size() + 1, value);
    at_ += attribute_bytes(size);
  }
  void finish() {
    while ((at_ - begin_) % 8 != 0) *at_++ = std::byte{0};
  }

 private:
  static void copy(std::byte* to, std::string_view text) {
    if (!text.empty()) std::memcpy(to, text.data(), text.size());
  }
  std::byte* begin_;
  std::byte* at_;
};

// Walks entries; ends at the first that cannot be.
class AttributeReader {
 public:
  explicit AttributeReader(Bytes bytes) : rest_(bytes) {}
  struct Entry {
    layout::Attribute type;
    std::string_view value;
  };
  std::optional<Entry> next() {
    while (!rest_.empty() && rest_[0] == std::byte{0}) rest_ = rest_.subspan(1);
    if (rest_.size() < layout::kAttributeHeader) return std::nullopt;
    std::uint16_t size;
    std::memcpy(&size, rest_.data() + 1, sizeof size);
    if (rest_.size() - layout::kAttributeHeader < size) return std::nullopt;
    const Entry entry{layout::Attribute(rest_[0]),
                      {reinterpret_cast<const char*>(rest_.data()) + layout::kAttributeHeader, size}};
    rest_ = rest_.subspan(attribute_bytes(size));
    return entry;
  }

 private:
  Bytes rest_;
};

inline std::optional<std::string_view> find_attribute(Bytes attributes, layout::Attribute type) {
  AttributeReader reader(attributes);
  while (const auto entry = reader.next())
    if (entry->type == type) return entry->value;
  return std::nullopt;
}

inline std::optional<std::int64_t> find_time(Bytes attributes, layout::Attribute type) {
  const auto value = find_attribute(attributes, type);
  if (!value || value->size() != sizeof(std::int64_t)) return std::nullopt;
  std::int64_t out;
  std::memcpy(&out, value->data(), sizeof out);
  return out;
}

}  // namespace penstock::log
