// What a delivery holds of its group, until it is settled.
#pragma once

#include <penstock/consumer.hpp>

#include "api/member.hpp"

namespace penstock {

struct Delivery::Lease {
  std::shared_ptr<api::MemberTopic> topic;
  group::Lease lease;
  bool in_child() const { return topic->state().group().state()->in_child(); }
};

}  // namespace penstock
