// The hashes of Penstock: XXH3, built for the machine's vector unit where it has one. Every build and every machine
// computes the same values. Any thread; no allocation, no system call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "layout/base.hpp"

namespace penstock::log {

// XXH3-64 and XXH3-128.
std::uint64_t hash64(const void* data, std::size_t size, std::uint64_t seed = 0);
layout::Id128 hash128(const void* data, std::size_t size, std::uint64_t seed = 0);

// What stands between a record's header and its attributes when kFlagChecksum is set. It covers every word of the
// header with the state word in its FINAL form (COMMITTED, ABORTED, PAD or INNER, as it will be on disk), and the body:
// the attributes and the payload. The tag ties it to the topic's life and to the record's offset.
std::uint64_t record_checksum(std::uint64_t word, std::uint64_t link, std::uint64_t tag, std::uint64_t time,
                              std::uint64_t id_low, std::uint64_t id_high, std::uint64_t sizes,
                              std::span<const std::byte> body);

// Which code hashes large inputs here: "avx2" or "portable". For people.
const char* hash_backend();

}  // namespace penstock::log
