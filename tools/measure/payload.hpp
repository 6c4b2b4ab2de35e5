// Payloads that prove themselves: each of their words follows from who sent the event and its number, so a torn, mixed,
// lost, repeated or reordered event is noticed. Every byte is checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace penstock::measure {

struct Sent {
  std::uint32_t sender = 0;  // below 256
  std::uint64_t number = 0;  // from 0, below 2^56
};

constexpr std::size_t kLeastPayload = 8;  // bytes: the words of a payload begin with sender and number

// Payloads of at least kLeastPayload bytes.
void fill(std::span<std::byte> payload, Sent sent);
// Whether the payload is exactly what fill() makes of the sender and number it names, which are left in `sent`.
bool intact(std::span<const std::byte> payload, Sent& sent);

// Whom and which the payload names, unchecked.
Sent named(std::span<const std::byte> payload);
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
