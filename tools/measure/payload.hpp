// Payloads that prove themselves: each of their words follows from who sent the event and its number, so a torn, mixed,
// lost, repeated or reordered event is noticed. Every byte is checked.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

namespace penstock::measure {

struct Sent {
  std::uint32_t sender = 0;  // below 256
  std::uint64_t number = 0;  // from 0, below 2^56
};

constexpr std::size_t kLeastPayload = 8;  // bytes: the words of a payload begin with sender and number

namespace detail {

constexpr std::size_t kWord = sizeof(std::uint64_t);
// Payloads of so many words go without a call, since most cases send them: what is measured is not to be the measuring.
constexpr std::size_t kShort = 8;

inline std::uint64_t name_of(Sent sent) { return std::uint64_t{sent.sender} << 56 | sent.number; }
// Odd, so that different events have different words everywhere.
inline std::uint64_t seed_of(std::uint64_t name) { return name * 0x9e3779b97f4a7c15ull; }
[[gnu::always_inline]] inline void write(std::uint64_t* words, std::size_t count, std::uint64_t seed) {
#pragma GCC unroll 8
  for (std::size_t i = 0; i < count; ++i) words[i] = seed + i;
}
[[gnu::always_inline]] inline std::uint64_t differences(const std::uint64_t* words, std::size_t count,
                                                        std::uint64_t seed) {
  std::uint64_t found = 0;
#pragma GCC unroll 8
  for (std::size_t i = 0; i < count; ++i) found |= words[i] ^ (seed + i);
  return found;
}

}  // namespace detail

void fill_any(std::span<std::byte> payload, Sent sent);
bool intact_any(std::span<const std::byte> payload, Sent& sent);

// Whom and which the payload names, unchecked.
inline Sent named(std::span<const std::byte> payload) {
  std::uint64_t name = 0;
  std::memcpy(&name, payload.data(), std::min(payload.size(), kLeastPayload));
  return {static_cast<std::uint32_t>(name >> 56), name & (~0ull >> 8)};
}

// Payloads of at least kLeastPayload bytes.
inline void fill(std::span<std::byte> payload, Sent sent) {
  if (payload.size() != detail::kShort * detail::kWord) return fill_any(payload, sent);
  const std::uint64_t name = detail::name_of(sent);
  auto* words = reinterpret_cast<std::uint64_t*>(payload.data());
  detail::write(words + 1, detail::kShort - 1, detail::seed_of(name) + 1);
  words[0] = name;
}
// Whether the payload is exactly what fill() makes of the sender and number it names, which are left in `sent`.
inline bool intact(std::span<const std::byte> payload, Sent& sent) {
  if (payload.size() != detail::kShort * detail::kWord) return intact_any(payload, sent);
  sent = named(payload);
  const auto* words = reinterpret_cast<const std::uint64_t*>(payload.data());
  return detail::differences(words + 1, detail::kShort - 1, detail::seed_of(detail::name_of(sent)) + 1) == 0;
}

// A number that stands for an event. Two sets of events are the same if they have as many and the same sum of these.
std::uint64_t mark_of(Sent sent);

// What one reader has seen of each sender. False from accept: complaint() says why.
class Sequence {
 public:
  explicit Sequence(std::size_t senders) : next_(senders, 0) {}
  // The payload must be intact, of this size, and its sender's next.
  bool accept(std::span<const std::byte> payload, std::size_t size) {
    Sent sent;
    if (payload.size() == size && intact(payload, sent) && sent.sender < next_.size() &&
        sent.number == next_[sent.sender]) [[likely]] {
      ++next_[sent.sender];
      ++received_;
      return true;
    }
    complain(payload, size);
    return false;
  }
  std::uint64_t received() const { return received_; }
  const std::string& complaint() const { return complaint_; }

 private:
  void complain(std::span<const std::byte> payload, std::size_t size);
  std::vector<std::uint64_t> next_;
  std::uint64_t received_ = 0;
  std::string complaint_;
};

}  // namespace penstock::measure
