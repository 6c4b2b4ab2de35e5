// What every shared or stored structure of Penstock has in common: the line, the version, the opening bytes.
// Layout headers hold bytes and accessors only; what acts on them lives in shm/, log/, group/ and storage/.
// The story of these bytes is told in transport/LAYOUT.md; an assertion here and a table there name the same numbers.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace penstock::layout {

static_assert(std::endian::native == std::endian::little, "shared and stored bytes are little-endian");

inline constexpr std::size_t kLine = 64;         // a cache line; positions in a log count these
inline constexpr std::size_t kPage = 4096;       // what mmap and O_DIRECT align to
inline constexpr std::size_t kFalseShare = 128;  // neighbours are prefetched in pairs of lines

inline constexpr std::uint32_t kLayoutVersion = 1;

// Every file, in memory or on disk, begins with these 64 bytes.
// A reader refuses an unknown magic, another version, or an incompat bit it does not know; who would write refuses an
// unknown ro_compat bit too; unknown compat bits are ignored.
struct Preamble {
  std::uint64_t magic;      // which structure this is
  std::uint32_t version;    // kLayoutVersion of the writer
  std::uint32_t size;       // of the header this preamble opens, in bytes
  std::uint64_t compat;     // bits that any reader may ignore
  std::uint64_t ro_compat;  // bits that forbid writing to who does not know them
  std::uint64_t incompat;   // bits that forbid everything to who does not know them
  std::uint64_t bus_id;     // the bus this file belongs to (random, from BUS/bus.id)
  std::uint64_t boot_id;    // shared memory: hash of the kernel's boot id; disk: 0
  std::uint64_t checksum;   // stored headers: XXH3-64 of the header with this field 0; shared ones: 0
};
static_assert(sizeof(Preamble) == 64 && std::is_trivially_copyable_v<Preamble>);

constexpr std::uint64_t magic(const char (&text)[9]) {
  std::uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(text[i]);
  return value;
}

inline constexpr std::uint64_t kMagicLive = magic("PENLIVE1");
inline constexpr std::uint64_t kMagicTopic = magic("PENTOPC1");
inline constexpr std::uint64_t kMagicHandle = magic("PENHAND1");
inline constexpr std::uint64_t kMagicGroup = magic("PENGRUP1");
inline constexpr std::uint64_t kMagicGroupTopic = magic("PENGRTP1");
inline constexpr std::uint64_t kMagicSegment = magic("PENSEGM1");
inline constexpr std::uint64_t kMagicIndex = magic("PENINDX1");
inline constexpr std::uint64_t kMagicTopicMeta = magic("PENTMET1");
inline constexpr std::uint64_t kMagicGroupMeta = magic("PENGMET1");
inline constexpr std::uint64_t kMagicCheckpoint = magic("PENCHKP1");

// A shared word: always accessed as an atomic, whatever maps it.
using Word = std::atomic<std::uint64_t>;
static_assert(sizeof(Word) == 8 && Word::is_always_lock_free, "shared words must be plain lock-free words");

// Names of topics and groups are kept in fixed fields, NUL-terminated.
inline constexpr std::size_t kNameMax = 200;  // bytes of a topic's or group's name, without the NUL
struct Name {
  char text[kNameMax + 8];
};
static_assert(sizeof(Name) == 208);

// A 128-bit value: an event's id.
struct Id128 {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  friend bool operator==(const Id128&, const Id128&) = default;
};

// Two words replaced and compared together. Loads come in two halves where a mapping is read-only.
struct alignas(16) Pair {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  friend bool operator==(const Pair&, const Pair&) = default;
};
static_assert(sizeof(Pair) == 16);

}  // namespace penstock::layout
