// The same hashes compiled for AVX2; only checksum.cpp calls them, after it asked the processor.
#pragma once

#include <cstddef>
#include <cstdint>

#include "layout/base.hpp"

namespace penstock::log::avx2 {

bool supported();
std::uint64_t hash64(const void* data, std::size_t size, std::uint64_t seed);
layout::Id128 hash128(const void* data, std::size_t size, std::uint64_t seed);

}  // namespace penstock::log::avx2
