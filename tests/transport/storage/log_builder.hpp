// Makes the bytes of a log by hand, as producers and the persister would, for tests that edit and read them.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "storage/record.hpp"
#include "storage/segment.hpp"
#include "storage/segment_reader.hpp"

namespace penstock::storage {

inline constexpr std::uint64_t kNonce = 0x1234567890abcdefull;
inline constexpr std::uint64_t kTopicId = 8;

// A folder of its own that goes with the test.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

std::vector<std::byte> read_all(const std::string& path);
void write_all(const std::string& path, const std::vector<std::byte>& bytes);

// An event as it was written, to compare with what is read.
struct Written {
  std::uint64_t offset = 0;
  std::uint64_t position = 0;
  std::uint64_t time = 0;
  std::string payload;
  friend bool operator==(const Written&, const Written&) = default;
};

// Ring lines from first_position on.
class LogBuilder {
 public:
  explicit LogBuilder(std::uint64_t first_offset = 0, std::uint64_t first_position = 0, std::uint64_t nonce = kNonce)
      : nonce_(nonce), first_{first_position, first_offset}, offset_(first_offset), position_(first_position) {}

  LogBuilder& event(const std::string& payload, std::uint64_t spare_lines = 0);
  LogBuilder& batch(const std::vector<std::string>& payloads) { return batch_of(payloads, {}); }
  LogBuilder& keyed(const std::string& key, const std::string& payload) { return batch_of({payload}, {key}); }
  LogBuilder& batch_of(const std::vector<std::string>& payloads, const std::vector<std::string>& keys);
  LogBuilder& aborted(std::uint32_t count, std::uint64_t lines);
  LogBuilder& pad(std::uint64_t lines);
  LogBuilder& of_topic(std::uint64_t topic_id) {
    topic_id_ = topic_id;
    return *this;
  }
  LogBuilder& at_time(std::uint64_t time) {
    time_ = time;
    return *this;
  }

  const std::vector<std::byte>& bytes() const { return bytes_; }
  const std::vector<Written>& events() const { return events_; }
  const std::vector<Boundary>& claims() const { return claims_; }  // where each begins
  Mark mark() const { return {position_, offset_, events_.size(), latest_}; }
  Boundary first() const { return first_; }
  std::uint64_t nonce() const { return nonce_; }
  // Whether this byte of bytes() belongs to a record; the others are what a claim's lines hold beside.
  bool meaningful(std::size_t byte) const { return meaningful_[byte]; }

  // The segment's file: unsealed with its mark at the beginning, or at `mark`, or sealed at the end.
  layout::SegmentHeader header() const;
  void write_open(const std::string& directory, const Mark* marked = nullptr) const;
  void write_sealed(const std::string& directory) const;
  std::string path_in(const std::string& directory) const { return directory + "/" + segment_name(first_.offset); }

 private:
  // Without a key: eight bytes that mean nothing, or none.
  std::vector<std::byte> attributes(std::uint64_t offset, const std::string* key) const;
  void put(layout::State state, std::uint64_t lines, std::uint64_t link, std::uint64_t offset, std::uint32_t count,
           const std::string& payload, const std::string* key = nullptr);
  void begin_claim() { claims_.push_back({position_, offset_}); }

  std::uint64_t nonce_;
  std::uint64_t topic_id_ = kTopicId;
  Boundary first_;
  std::uint64_t offset_;
  std::uint64_t position_;
  std::uint64_t time_ = 1000;
  std::uint64_t latest_ = 0;
  std::vector<std::byte> bytes_;
  std::vector<bool> meaningful_;
  std::vector<Written> events_;
  std::vector<Boundary> claims_;
};

std::string text_of(std::span<const std::byte> bytes);

// Everything a reader hands over.
struct Story {
  std::vector<Written> events;
  std::uint64_t aborted = 0, compacted = 0;
  std::vector<Item> damages;
  Boundary end;
};
template <class Reader>
Story read_story(Reader& reader) {
  Story story;
  for (int steps = 0; steps < 1'000'000; ++steps) {
    const Result<Item> item = reader.next();
    EXPECT_TRUE(item.has_value());
    if (!item) return story;
    if (item->kind == ItemKind::end) {
      story.end = {item->position, item->offset};
      return story;
    }
    if (item->kind == ItemKind::event) {
      story.events.push_back({item->offset, item->position, item->record.head.time, text_of(item->record.payload)});
    }
    if (item->kind == ItemKind::aborted) story.aborted += item->count;
    if (item->kind == ItemKind::compacted) story.compacted += item->count;
    if (item->kind == ItemKind::damage || item->kind == ItemKind::expired) story.damages.push_back(*item);
  }
  ADD_FAILURE() << "a reader that never ends";
  return story;
}

}  // namespace penstock::storage
