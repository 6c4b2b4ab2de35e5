// A ring on the heap with as many handles as a test wants, some of them dead.
#pragma once

#include <array>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "log/publisher.hpp"

namespace penstock::test {

class HeapRing final : public log::Witness, public log::Neighbours {
 public:
  static constexpr std::uint32_t kHandles = 8;

  explicit HeapRing(std::uint64_t lines, layout::Durability durability = layout::Durability::memory,
                    std::uint64_t base_position = 0, std::uint64_t base_offset = 0)
      : bytes_(layout::kRingAt + lines * layout::kLine), memory_(static_cast<std::byte*>(pages(bytes_))) {
    pages_ = static_cast<layout::HandlePage*>(pages(sizeof(layout::HandlePage) * kHandles));
    auto* control = this->control();
    control->header.ring_lines = lines;
    control->header.nonce = 0x1234567812345678ull;
    control->header.base_position = base_position;
    control->header.base_offset = base_offset;
    control->header.options.durability = durability;
    control->tail = pack(layout::TailFields{base_position, base_offset, layout::kNoSlot});
    control->limit.store(base_position + lines);
    control->offset_bound.store(~0ull >> 8);
    ring_ = log::ring_of(control, bytes_);
  }
  ~HeapRing() override {
    std::free(memory_);
    std::free(pages_);
  }
  HeapRing(const HeapRing&) = delete;
  HeapRing& operator=(const HeapRing&) = delete;

  layout::TopicControl* control() const { return reinterpret_cast<layout::TopicControl*>(memory_); }
  const log::Ring& ring() const { return ring_; }
  std::byte* line(std::uint64_t position) const {
    return memory_ + layout::kRingAt + (position & ring_.mask) * layout::kLine;
  }
  layout::HandlePage* handle_page(std::uint32_t slot) const { return pages_ + slot; }
  log::Publisher publisher(std::uint32_t slot) {
    return {control(), ring_, handle_page(slot), slot, kIncarnation, *this};
  }
  void kill(std::uint32_t slot) { dead_[slot] = true; }
  // Another ring of the same shape becomes what this one is at this moment, handles included.
  void put_into(HeapRing& other) const {
    std::memcpy(static_cast<void*>(other.memory_), memory_, bytes_);
    std::memcpy(static_cast<void*>(other.pages_), static_cast<const void*>(pages_),
                sizeof(layout::HandlePage) * kHandles);
    other.ring_ = log::ring_of(other.control(), bytes_);
  }
  bool differs_from(const HeapRing& other) const {
    return std::memcmp(memory_, other.memory_, bytes_) != 0 ||
           std::memcmp(static_cast<const void*>(pages_), static_cast<const void*>(other.pages_),
                       sizeof(layout::HandlePage) * kHandles) != 0;
  }
  void fill_with(std::byte value) { std::memset(memory_ + layout::kRingAt, int(value), bytes_ - layout::kRingAt); }

  bool dead(std::uint32_t slot, std::uint32_t incarnation) override {
    return slot < kHandles && incarnation == kIncarnation && dead_[slot];
  }
  std::optional<std::array<IntentCopy, 2>> intents(std::uint32_t slot) override {
    std::array<IntentCopy, 2> out;
    for (int i = 0; i < 2; ++i) {
      const layout::Intent& intent = pages_[slot].intents[i];
      const std::uint64_t shape = intent.shape.load();
      out[i] = {layout::tail_of({intent.tail_low.load(), intent.tail_high.load()}), layout::shape_lines(shape),
                layout::shape_count(shape), layout::shape_incarnation(shape)};
    }
    return out;
  }
  std::uint32_t slots() override { return kHandles; }
  const layout::HandlePage* page(std::uint32_t slot) override { return slot < kHandles ? pages_ + slot : nullptr; }

  static constexpr std::uint32_t kIncarnation = 7;

 private:
  static void* pages(std::size_t bytes) {
    const std::size_t whole = (bytes + layout::kPage - 1) / layout::kPage * layout::kPage;
    return std::memset(std::aligned_alloc(layout::kPage, whole), 0, whole);
  }

  std::uint64_t bytes_;
  std::byte* memory_;
  layout::HandlePage* pages_;
  std::array<std::atomic<bool>, kHandles> dead_{};
  log::Ring ring_;
};

inline std::uint64_t lines_of_text(const log::Publisher& publisher, std::string_view text) {
  return publisher.lines_for(text.size());
}

inline void fill(log::Publisher& publisher, const log::OpenClaim& claim, std::string_view text) {
  std::memcpy(publisher.body(claim.position), text.data(), text.size());
  log::Stamp stamp;
  stamp.payload = std::uint32_t(text.size());
  stamp.time_ns = 1'000;
  publisher.stamp(claim, claim.position, claim.offset, stamp);
}

inline log::OpenClaim publish(log::Publisher& publisher, std::string_view text) {
  const log::OpenClaim claim = publisher.claim(lines_of_text(publisher, text), 1);
  if (claim.fault != log::ClaimFault::none) return claim;
  fill(publisher, claim, text);
  publisher.commit(claim);
  return claim;
}

// The quick way; false where it is not to be had.
inline bool put(log::Publisher& publisher, std::string_view text, std::uint64_t& offset) {
  return publisher.put(1'000, 0, offset, std::as_bytes(std::span(text)), offset);
}

inline std::string text_of(const log::Record& record) {
  return {reinterpret_cast<const char*>(record.payload.data()), record.payload.size()};
}

}  // namespace penstock::test
