// What a durable topic's retention gives up, and who keeps it from that. Makes nothing and takes no lock.
#pragma once

#include "api/hold.hpp"
#include "storage/segment_set.hpp"

namespace penstock::api {

// The oldest segments that are too many bytes, or whose events are all older than `before` (wall, used when there is a
// bound by age): for each of them where the log begins when it is gone. Never the last segment, nor one whose events
// the ring still holds: what is taken from the ring must be on disk when it is asked for again.
std::vector<Place> segments_given_up(const Topic& topic, const storage::SegmentSet& segments,
                                     const layout::TopicOptions& options, std::int64_t before);

// What retention leaves to groups.
Need retained_need(const layout::TopicOptions& options);

// Which group keeps the oldest segment, which retention would give up, for people.
std::optional<std::string> retention_waits_for(const Topic& topic, const layout::TopicOptions& options);

}  // namespace penstock::api
