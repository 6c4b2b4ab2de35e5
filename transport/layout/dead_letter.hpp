// A dead letter's history: the value of the attribute `dead_letter` of an event in a group's DLQ. Fixed fields, then
// topic, group, member, error class and reason one after another.
#pragma once

#include "layout/base.hpp"

namespace penstock::layout {

struct DeadLetterFields {
  std::uint64_t offset;      // in the origin topic
  std::int64_t first_ns;     // first failure, nanoseconds since the epoch
  std::int64_t last_ns;      // last failure
  std::uint32_t attempts;    // failed attempts
  std::uint32_t redrives;    // times given back to the group before
  std::uint8_t disposition;  // Disposition
  std::uint8_t reserved;
  std::uint16_t topic_size, group_size, member_size, class_size, reason_size;
  std::uint32_t reserved1;
};
static_assert(sizeof(DeadLetterFields) == 48 && std::is_trivially_copyable_v<DeadLetterFields>);

enum class Disposition : std::uint8_t { attempts = 0, rejected = 1, expired = 2, crash = 3 };

}  // namespace penstock::layout
