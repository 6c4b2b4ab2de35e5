// That every flipped byte is told is proved beside the reader, in segment_reader_test.cpp.
#include "storage/verify.hpp"

#include <gtest/gtest.h>

#include <filesystem>

#include "log_builder.hpp"
#include "storage/index.hpp"

namespace penstock::storage {
namespace {

std::string said(const FileReport& report) {
  std::string all;
  for (const std::string& problem : report.problems) all += problem + "\n";
  return all;
}

class VerifyTest : public ::testing::Test {
 protected:
  VerifyTest() { log_.event("a").batch({"b", "c"}).aborted(1, 2).event("d"); }
  std::string path() const { return log_.path_in(dir_.path()); }
  FileReport verify() {
    Result<FileReport> report = verify_segment(path());
    EXPECT_TRUE(report.has_value());
    return std::move(*report);
  }
  void set_byte(std::uint64_t at, int value) {
    std::vector<std::byte> bytes = read_all(path());
    if (bytes.size() <= at) bytes.resize(at + 1);
    bytes[at] = std::byte(value);
    write_all(path(), bytes);
  }
  TempDir dir_;
  LogBuilder log_{3, 70};
};

TEST_F(VerifyTest, AWholeSegmentIsDescribed) {
  log_.write_sealed(dir_.path());
  const FileReport report = verify();
  EXPECT_TRUE(report.ok) << said(report);
  EXPECT_EQ(report.file, path());
  EXPECT_EQ(report.events, 4u);
  EXPECT_EQ(report.first_offset, 3u);
  EXPECT_EQ(report.last_offset, 7u);
}

TEST_F(VerifyTest, BytesThatMeanNothingMustBeZero) {
  log_.write_sealed(dir_.path());
  const std::uint64_t end = layout::segment_file_offset(70, log_.mark().position);
  for (const std::uint64_t at :
       {std::uint64_t{400}, std::uint64_t{3000}, layout::kSegmentDataAt + 5, end, end + 70, std::uint64_t{20'000}}) {
    const std::vector<std::byte> whole = read_all(path());
    set_byte(at, 7);
    EXPECT_FALSE(verify().ok) << at;
    write_all(path(), whole);
  }
  std::vector<std::byte> longer = read_all(path());
  longer.resize(longer.size() + 9000);
  write_all(path(), longer);
  EXPECT_TRUE(verify().ok);  // zeros after the end are no matter
}

TEST_F(VerifyTest, AWrongNameIsTold) {
  log_.write_sealed(dir_.path());
  const std::string other = dir_ / segment_name(4);
  std::filesystem::rename(path(), other);
  EXPECT_FALSE(verify_segment(other)->ok);
  const std::string unnamed = dir_ / "copy-of-a-segment";
  std::filesystem::rename(other, unnamed);
  EXPECT_TRUE(verify_segment(unnamed)->ok);
}

TEST_F(VerifyTest, ADamagedIndexIsToldAndAMissingOneIsNot) {
  log_.write_sealed(dir_.path());
  ASSERT_TRUE(rebuild_index(dir_.path(), 3, 0600));
  EXPECT_TRUE(verify().ok);
  const std::string index = dir_ / index_name(3);
  std::vector<std::byte> bytes = read_all(index);
  bytes[100] ^= std::byte{1};
  write_all(index, bytes);
  EXPECT_FALSE(verify().ok);
  ASSERT_TRUE(write_index(dir_.path(), log_.header(), {{3, 71, 0}}, 0600, false));
  EXPECT_FALSE(verify().ok);
  std::filesystem::remove(index);
  EXPECT_TRUE(verify().ok);
}

TEST_F(VerifyTest, AnOpenSegmentMustBeWholeUpToItsLimit) {
  log_.write_open(dir_.path());
  EXPECT_TRUE(verify().ok);
  set_byte(layout::segment_file_offset(70, 72) + 64, 0);  // in the batch
  EXPECT_TRUE(verify().ok);                               // a torn tail, for all it knows
  const Boundary durable{log_.mark().position, log_.mark().offset};
  EXPECT_FALSE(verify_segment(path(), durable)->ok);
}

TEST_F(VerifyTest, WhatIsNoSegmentIsReportedNotAnError) {
  write_all(path(), std::vector<std::byte>(5000, std::byte{0x41}));
  EXPECT_FALSE(verify().ok);
  write_all(path(), {});
  EXPECT_FALSE(verify().ok);
  std::filesystem::remove(path());
  EXPECT_EQ(verify_segment(path()).error().code(), Errc::not_found);
}

TEST_F(VerifyTest, ADirectoryIsCheckedAlsoBetweenItsSegments) {
  log_.write_sealed(dir_.path());
  LogBuilder second(log_.mark().offset, log_.mark().position);
  second.event("x").write_sealed(dir_.path());
  LogBuilder third(second.mark().offset, second.mark().position);
  third.event("y").write_open(dir_.path());
  auto reports = verify_directory(dir_.path());
  ASSERT_EQ(reports->size(), 3u);
  for (const FileReport& report : *reports) EXPECT_TRUE(report.ok) << said(report);
  std::vector<std::string> told;
  reports = verify_directory(dir_.path(), std::nullopt, 0, [&](const FileReport& report) {
    told.push_back(report.file);
    return told.size() < 2;  // enough
  });
  ASSERT_EQ(reports->size(), 2u);
  EXPECT_EQ(told, (std::vector{(*reports)[0].file, (*reports)[1].file}));
  std::filesystem::remove(second.path_in(dir_.path()));
  reports = verify_directory(dir_.path());
  ASSERT_EQ(reports->size(), 2u);
  EXPECT_TRUE((*reports)[0].ok);
  EXPECT_FALSE((*reports)[1].ok);
}

TEST_F(VerifyTest, ASegmentOfAnotherTopicIsDamageOfItsOwn) {
  log_.write_sealed(dir_.path());
  LogBuilder second(log_.mark().offset, log_.mark().position);
  second.event("x").write_sealed(dir_.path());
  LogBuilder foreign(log_.first().offset + 1, 30);
  foreign.of_topic(kTopicId + 1).event("y").write_sealed(dir_.path());
  const auto reports = verify_directory(dir_.path(), std::nullopt, kTopicId);
  ASSERT_EQ(reports->size(), 3u);
  EXPECT_TRUE((*reports)[0].ok) << said((*reports)[0]);
  EXPECT_FALSE((*reports)[1].ok);
  EXPECT_NE(said((*reports)[1]).find("another topic, orders"), std::string::npos) << said((*reports)[1]);
  EXPECT_EQ((*reports)[1].events, 0u);
  EXPECT_TRUE((*reports)[2].ok) << said((*reports)[2]);
}

TEST_F(VerifyTest, AnAbandonedSegmentIsCheckedUpToItsSuccessor) {
  log_.write_open(dir_.path());
  const Boundary durable = log_.claims()[1];
  LogBuilder second(durable.offset, durable.position);
  second.event("x").write_sealed(dir_.path());
  set_byte(layout::segment_file_offset(70, log_.claims()[2].position), 0xff);  // past what counts
  auto reports = verify_directory(dir_.path());
  for (const FileReport& report : *reports) EXPECT_TRUE(report.ok) << said(report);
  EXPECT_EQ((*reports)[0].events, 1u);
  set_byte(layout::segment_file_offset(70, 70) + 64, 0xff);
  EXPECT_FALSE((*verify_directory(dir_.path()))[0].ok);
}

}  // namespace
}  // namespace penstock::storage
