// The disk without a transport: what the same directory gives to plain calls, to set beside what is measured.
#pragma once

#include <cstdint>
#include <string>
#include <tl/expected.hpp>

#include "tools/measure/histogram.hpp"

namespace penstock::bench {

// Sequential writing of a new file in pieces of 1 MiB past the page cache, flushed at the end; MB/s. The file is
// removed.
tl::expected<double, std::string> plain_write(const std::string& directory, std::uint64_t bytes);
// Sequential reading of every file there whose name ends so, after forget_cached(); MB/s.
tl::expected<double, std::string> plain_read(const std::string& directory, const std::string& suffix);
// Drops what the page cache has of these files, so that the next reading is from the disk.
void forget_cached(const std::string& directory, const std::string& suffix);
// How long it takes to write 4 KiB over allocated and written ones and to flush that.
tl::expected<measure::Histogram, std::string> plain_fdatasync(const std::string& directory, std::uint64_t times);

}  // namespace penstock::bench
