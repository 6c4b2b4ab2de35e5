#include "storage/record.hpp"

#include <gtest/gtest.h>

#include <cstring>

#include "log_builder.hpp"

namespace penstock::storage {
namespace {

Parsed parse(const std::vector<std::byte>& bytes, std::uint64_t offset, Record& record, Wanted& wanted) {
  return parse_claim(bytes, kNonce, offset, 1000, record, wanted);
}

TEST(Record, ATagNamesItsOffset) {
  for (std::uint64_t offset : {0ull, 1ull, 77ull, 1ull << 43, (1ull << 56) - 1, ~0ull}) {
    EXPECT_EQ(layout::offset_of_tag(kNonce, layout::tag_for(kNonce, offset)), offset);
    EXPECT_EQ(layout::tag_for(kNonce, layout::offset_of_tag(kNonce, offset)), offset);
  }
}

TEST(Record, ACommittedEventIsReadBack) {
  LogBuilder log(5);
  log.event("hello");
  Record record;
  Wanted wanted;
  ASSERT_EQ(parse(log.bytes(), 5, record, wanted), Parsed::ok);
  EXPECT_EQ(text_of(record.payload), "hello");
  EXPECT_EQ(record.attributes.size(), 8u);
  EXPECT_EQ(record.count, 1u);
  EXPECT_EQ(record.lines, 2u);
}

TEST(Record, AnotherOffsetsRecordCountsAsUnwritten) {
  LogBuilder log(5);
  log.event("hello");
  Record record;
  Wanted wanted;
  EXPECT_EQ(parse(log.bytes(), 6, record, wanted), Parsed::unwritten);
  EXPECT_EQ(parse_claim(log.bytes(), kNonce + 1, 5, 1000, record, wanted), Parsed::unwritten);
}

TEST(Record, CutBytesSayHowManyAreWanted) {
  LogBuilder log;
  log.event(std::string(1000, 'x'));
  Record record;
  Wanted wanted;
  std::vector<std::byte> bytes = log.bytes();
  bytes.resize(63);
  EXPECT_EQ(parse(bytes, 0, record, wanted), Parsed::cut);
  EXPECT_EQ(wanted.bytes, 64u);
  bytes = log.bytes();
  bytes.resize(64);
  EXPECT_EQ(parse(bytes, 0, record, wanted), Parsed::cut);
  EXPECT_EQ(wanted.bytes, 1064u);
}

TEST(Record, AClaimLongerThanTheRoomIsDamaged) {
  LogBuilder log;
  log.event(std::string(1000, 'x'));
  Record record;
  Wanted wanted;
  EXPECT_EQ(parse_claim(log.bytes(), kNonce, 0, 16, record, wanted), Parsed::damaged);
  EXPECT_EQ(parse_claim(log.bytes(), kNonce, 0, 17, record, wanted), Parsed::ok);
}

TEST(Record, NoFlippedBitGoesUnseen) {
  LogBuilder log;
  log.event("hello, world");
  Record record;
  Wanted wanted;
  for (std::size_t bit = 0; bit < (64 + 12) * 8; ++bit) {
    std::vector<std::byte> bytes = log.bytes();
    bytes[bit / 8] ^= std::byte(1 << bit % 8);
    ASSERT_NE(parse(bytes, 0, record, wanted), Parsed::ok) << "bit " << bit;
  }
}

TEST(Record, OnlySettledStatesOpenAClaim) {
  for (const auto state :
       {layout::State::unwritten, layout::State::claimed, layout::State::inner, layout::State(4), layout::State(6)}) {
    LogBuilder log;
    log.event("x");
    std::vector<std::byte> bytes = log.bytes();
    Head head = load_head(bytes.data());
    head.word = layout::with_state(head.word, state);
    head.checksum = checksum_of(head, std::span(bytes).subspan(64, 1));
    std::memcpy(bytes.data(), &head, sizeof head);
    Record record;
    Wanted wanted;
    EXPECT_EQ(parse(bytes, 0, record, wanted), Parsed::damaged) << int(state);
  }
}

TEST(Record, AnAbortedClaimKeepsItsLinesAndCountAndLosesItsBody) {
  LogBuilder log;
  log.event("secret", 3);
  const Head aborted = aborted_head(load_head(log.bytes().data()));
  std::vector<std::byte> bytes(5 * 64);
  std::memcpy(bytes.data(), &aborted, sizeof aborted);
  Record record;
  Wanted wanted;
  ASSERT_EQ(parse(bytes, 0, record, wanted), Parsed::ok);
  EXPECT_EQ(record.state(), layout::State::aborted);
  EXPECT_EQ(record.lines, 5u);
  EXPECT_EQ(record.count, 1u);
  EXPECT_TRUE(record.payload.empty());
}

TEST(Record, AClaimOfMoreEventsThanLinesIsDamaged) {
  for (const std::uint32_t count : {0u, 4u, 5u}) {
    LogBuilder log;
    log.aborted(count, 4);
    Record record;
    Wanted wanted;
    EXPECT_EQ(parse(log.bytes(), 0, record, wanted), count == 4 ? Parsed::ok : Parsed::damaged) << count;
  }
}

TEST(Record, ABatchIsWalkedThroughItsInnerRecords) {
  LogBuilder log(10, 100);
  log.batch({"one", std::string(100, '2'), "three"});
  std::span<const std::byte> bytes = log.bytes();
  Place place{.position = 100, .offset = 10};
  std::vector<std::string> payloads;
  while (place.offset < 13) {
    Record record;
    Wanted wanted;
    const auto at = bytes.subspan((place.position - 100) * 64);
    const Parsed parsed = place.within() ? parse_inner(at, kNonce, place.offset, place.position - place.head,
                                                       place.claim_end - place.position, record, wanted)
                                         : parse_claim(at, kNonce, place.offset, 1000, record, wanted);
    ASSERT_EQ(parsed, Parsed::ok) << place.offset;
    payloads.push_back(text_of(record.payload));
    place = after(place, record);
  }
  EXPECT_EQ(payloads, (std::vector<std::string>{"one", std::string(100, '2'), "three"}));
  EXPECT_EQ(place, (Place{.position = log.mark().position, .offset = 13}));
}

TEST(Record, AnInnerRecordElsewhereThanItsHeadSaysIsDamaged) {
  LogBuilder log;
  log.batch({"one", "two"});
  Record record;
  Wanted wanted;
  const auto inner = std::span(log.bytes()).subspan(2 * 64);
  EXPECT_EQ(parse_inner(inner, kNonce, 1, 2, 2, record, wanted), Parsed::ok);
  EXPECT_EQ(parse_inner(inner, kNonce, 1, 3, 2, record, wanted), Parsed::damaged);
  EXPECT_EQ(parse_inner(inner, kNonce, 1, 2, 1, record, wanted), Parsed::damaged);
}

}  // namespace
}  // namespace penstock::storage
