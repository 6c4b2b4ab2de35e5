// Checking every byte that is kept of a segment. Reads only; any thread, also while the daemon writes.
#pragma once

#include <functional>
#include <optional>
#include <penstock/error.hpp>
#include <penstock/log.hpp>
#include <string>
#include <vector>

#include "storage/segment_reader.hpp"

namespace penstock::storage {

// One segment with its index. `limit`: how far it must be whole when it is not sealed (the durable end of a running
// topic, or where the next segment begins). A damaged file is a report that is not ok; errors are the disk's.
// Bytes that mean nothing are told apart: those that are always zero must be; what a claim's lines hold after its
// record (the ring is not cleared between laps) may be anything.
Result<FileReport> verify_segment(const std::string& path, const std::optional<Boundary>& limit = {});

// All segments of a topic's directory, oldest first, each also against its neighbours. `topic_id`: whose they must be;
// 0: not known. `each`: told of every file as soon as it was checked; false ends it there.
Result<std::vector<FileReport>> verify_directory(const std::string& directory,
                                                 const std::optional<Boundary>& limit = {}, std::uint64_t topic_id = 0,
                                                 const std::function<bool(const FileReport&)>& each = {});

}  // namespace penstock::storage
