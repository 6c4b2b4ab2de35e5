#include "group/notes.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <bit>
#include <cstring>

namespace penstock::group {
namespace {

using namespace layout;

constexpr std::size_t kClassMost = 200;
constexpr std::size_t kTextMost = sizeof(layout::Note::text);
constexpr std::size_t kWords = sizeof(layout::Note) / sizeof(Word);

// A note's bytes after the checksum, as they are copied word by word.
struct Body {
  std::uint32_t delivered = 0;
  std::uint32_t pid = 0;
  std::uint16_t class_size = 0;
  std::uint16_t reason_size = 0;
  std::uint32_t reserved = 0;
  std::array<char, kTextMost> text{};
};
using Words = std::array<std::uint64_t, kWords - 1>;
static_assert(sizeof(Body) == sizeof(Words));
static_assert(offsetof(layout::Note, text) == sizeof(Word) + offsetof(Body, text));

std::uint64_t checksum(const Body& body, std::uint64_t offset) {
  const std::uint64_t sum = XXH3_64bits_withSeed(&body, sizeof body, offset);
  return sum == 0 ? 1 : sum;  // zero says that there is no note
}

std::optional<NoteCopy> read_one(const Region& region, std::uint32_t cell, std::uint32_t delivered,
                                 std::uint64_t offset) {
  const Word* words = region.note(cell, delivered, false);
  if (words == nullptr) return std::nullopt;
  const std::uint64_t sum = words[0].load();
  if (sum == 0) return std::nullopt;
  Words copy;
  for (std::size_t i = 0; i < copy.size(); ++i) copy[i] = words[i + 1].load(std::memory_order_relaxed);
  const Body body = std::bit_cast<Body>(copy);
  if (checksum(body, offset) != sum || body.delivered != delivered) return std::nullopt;
  if (std::size_t{body.class_size} + body.reason_size > kTextMost) return std::nullopt;
  NoteCopy note;
  note.error_class.assign(body.text.data(), body.class_size);
  note.reason.assign(body.text.data() + body.class_size, body.reason_size);
  note.pid = body.pid;
  note.delivered = delivered;
  return note;
}

}  // namespace

std::string_view cut(std::string_view text, std::size_t most) {
  if (text.size() <= most) return text;
  std::size_t end = most;
  // text[end] is the first byte left out; while that continues a character, the character began before.
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end);
}

ReadyNote::ReadyNote(const Region& region, const Lease& lease, std::uint32_t pid, const NoteText& text)
    : words_(region.note(lease.cell, lease.delivered(), true)) {
  if (words_ == nullptr) return;
  static_cast<void>(words_[0].load());  // the page comes into this process now
  Body body;
  const std::string_view error_class = cut(text.error_class, kClassMost);
  const std::string_view reason = cut(text.reason, kTextMost - error_class.size());
  body.delivered = lease.delivered();
  body.pid = pid;
  body.class_size = std::uint16_t(error_class.size());
  body.reason_size = std::uint16_t(reason.size());
  // An empty view may have no bytes to point at.
  if (!error_class.empty()) std::memcpy(body.text.data(), error_class.data(), error_class.size());
  if (!reason.empty()) std::memcpy(body.text.data() + error_class.size(), reason.data(), reason.size());
  body_ = std::bit_cast<Words>(body);
  checksum_ = checksum(body, lease.offset);
}

bool ReadyNote::write() const {
  if (words_ == nullptr) return false;
  words_[0].store(0);
  for (std::size_t i = 0; i < body_.size(); ++i) words_[i + 1].store(body_[i], std::memory_order_relaxed);
  words_[0].store(checksum_);
  return true;
}

std::optional<NoteCopy> read_note(const Region& region, std::uint32_t cell, const CellFields& fields,
                                  std::uint64_t offset) {
  if (cell >= region.cells()) return std::nullopt;
  auto note = read_one(region, cell, fields.delivered, offset);
  if (!note && fields.delivered > 1) note = read_one(region, cell, fields.delivered - 1, offset);
  return note;
}

}  // namespace penstock::group
