// One page a producer, consumer or reader handle: live/handles/<slot>. The page's owner holds an exclusive
// open-file-description lock on the file for as long as it lives; a free lock proves the owner dead.
#pragma once

#include "layout/base.hpp"
#include "layout/record.hpp"

namespace penstock::layout {

enum class HandleKind : std::uint32_t { none = 0, producer = 1, consumer = 2, reader = 3, daemon = 4 };

// Written before the tail is replaced: whoever finds the claim's header unwritten learns its size here.
// Two entries alternate, each taken again only after the next claim succeeded.
struct Intent {
  Word tail_low;   // the tail as read, so whose claim came before: also proof that that claim was made
  Word tail_high;  //
  Word shape;      // of this claim: lines 0..31, count 32..47, incarnation 48..63
};
static_assert(sizeof(Intent) == 24);
constexpr std::uint64_t pack_shape(std::uint64_t lines, std::uint32_t count, std::uint32_t incarnation) {
  return lines | std::uint64_t(count) << 32 | std::uint64_t(incarnation) << 48;
}
constexpr std::uint32_t shape_lines(std::uint64_t shape) { return std::uint32_t(shape); }
constexpr std::uint32_t shape_count(std::uint64_t shape) { return std::uint32_t(shape >> 32 & 0xffff); }
constexpr std::uint32_t shape_incarnation(std::uint64_t shape) { return std::uint32_t(shape >> 48); }

// In buses with [access] the slots from here on are the consumers', in live/guests: nothing they say is taken for a
// producer's, and taking them all keeps no producer out.
inline constexpr std::uint32_t kGuestSlot = 2048;

inline constexpr std::uint64_t kNoPosition = ~0ull;  // an intent or pin that names no line

struct HandlePage {
  Preamble preamble;
  Word incarnation;  // 1..4094; raised by each new owner under the lock, before anything else is written
  Word kind;         // HandleKind; none: closed cleanly
  Word pid;          // of the owner, for people; the lock is the proof
  Word start_time;   // the process's start in clock ticks since boot, for people
  Word topic_id;     // producers and readers: whose intents or pin these are
  Word reserved;
  alignas(kFalseShare) Intent intents[2];
  alignas(kFalseShare) Word pin;     // readers of memory topics: the line they have read up to; kNoPosition: none
  alignas(kFalseShare) Name target;  // the topic's or group's name, for people
};
static_assert(offsetof(HandlePage, intents) == 128 && offsetof(HandlePage, pin) == 256);
static_assert(sizeof(HandlePage) <= kPage);

}  // namespace penstock::layout
