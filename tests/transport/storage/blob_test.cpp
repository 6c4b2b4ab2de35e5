#include "storage/blob.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <filesystem>

#include "layout/base.hpp"
#include "log_builder.hpp"

namespace penstock::storage {
namespace {

std::vector<std::byte> bytes_of(const std::string& text) {
  std::vector<std::byte> bytes(text.size());
  if (!text.empty()) std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

class BlobTest : public ::testing::Test {
 protected:
  Blob blob() const { return Blob(dir_ / "meta", options_); }
  void put(const std::string& text) {
    Blob b = blob();
    ASSERT_TRUE(b.write(bytes_of(text), true));
  }
  std::string get() const {
    Blob b = blob();
    const auto bytes = b.read();
    return bytes ? text_of(*bytes) : "error " + std::to_string(int(bytes.error().code()));
  }
  static std::string error(Errc code) { return "error " + std::to_string(int(code)); }

  TempDir dir_;
  BlobOptions options_{.magic = layout::kMagicTopicMeta, .bus_id = 5};
};

TEST_F(BlobTest, WithoutFilesThereIsNothing) { EXPECT_EQ(get(), error(Errc::not_found)); }

TEST_F(BlobTest, TheNewestCopyIsRead) {
  for (const std::string text : {"one", "two, which is longer", "", "four"}) {
    put(text);
    EXPECT_EQ(get(), text);
  }
}

TEST_F(BlobTest, OneObjectAlternatesBetweenTheFiles) {
  Blob b = blob();
  ASSERT_TRUE(b.write(bytes_of("1"), false));
  ASSERT_TRUE(b.write(bytes_of("2"), false));
  ASSERT_TRUE(b.write(bytes_of("3"), true));
  EXPECT_EQ(b.sequence(), 3u);
  EXPECT_EQ(get(), "3");
  EXPECT_TRUE(std::filesystem::exists(dir_ / "meta.a"));
  EXPECT_TRUE(std::filesystem::exists(dir_ / "meta.b"));
  std::filesystem::remove(dir_ / "meta.a");
  EXPECT_EQ(get(), "2");
}

TEST_F(BlobTest, AnyFlippedBitOfTheNewestFallsBackOnTheOneBefore) {
  put("before");
  put("newest");
  const std::vector<std::byte> whole = read_all(dir_ / "meta.b");
  for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::vector<std::byte> bytes = whole;
    bytes[bit / 8] ^= std::byte(1 << bit % 8);
    write_all(dir_ / "meta.b", bytes);
    ASSERT_EQ(get(), "before") << "bit " << bit;
  }
}

TEST_F(BlobTest, AWriteCutShortAnywhereLeavesTheOneBefore) {
  put("before");
  put("newest");
  const std::vector<std::byte> whole = read_all(dir_ / "meta.b");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    write_all(dir_ / "meta.b", {whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)});
    ASSERT_EQ(get(), "before") << size;
  }
}

TEST_F(BlobTest, AWriteNeverTouchesTheLastGoodCopy) {
  put("before");
  put("good");  // in b
  const std::vector<std::byte> good = read_all(dir_ / "meta.b");
  put("next");
  EXPECT_EQ(read_all(dir_ / "meta.b"), good);
  write_all(dir_ / "meta.a", bytes_of("torn"));  // the write of "next" was cut short
  put("after");
  EXPECT_EQ(read_all(dir_ / "meta.b"), good);
  EXPECT_EQ(get(), "after");
}

TEST_F(BlobTest, WithoutAWholeCopyItIsCorruptAndCanBeWrittenAnew) {
  put("a");
  put("b");
  write_all(dir_ / "meta.a", bytes_of("x"));
  EXPECT_EQ(get(), "b");
  write_all(dir_ / "meta.b", bytes_of("y"));
  EXPECT_EQ(get(), error(Errc::corrupt));
  put("anew");
  EXPECT_EQ(get(), "anew");
}

TEST_F(BlobTest, AForeignOneIsRefusedAndNotWrittenOver) {
  put("mine");
  Blob other_kind(dir_ / "meta", {.magic = layout::kMagicCheckpoint});
  EXPECT_EQ(other_kind.read().error().code(), Errc::incompatible);
  EXPECT_EQ(other_kind.write(bytes_of("x"), true).error().code(), Errc::incompatible);
  Blob other_bus(dir_ / "meta", {.magic = layout::kMagicTopicMeta, .bus_id = 6});
  EXPECT_EQ(other_bus.read().error().code(), Errc::incompatible);
  EXPECT_EQ(get(), "mine");
}

TEST_F(BlobTest, AFailedWriteLeavesTheLastCopy) {
  put("good");  // in a
  std::filesystem::create_directory(dir_ / "meta.b");
  Blob b = blob();
  EXPECT_FALSE(b.read());  // a directory where a copy should be
  EXPECT_FALSE(b.write(bytes_of("x"), true));
  std::filesystem::remove(dir_ / "meta.b");
  EXPECT_EQ(get(), "good");
}

TEST_F(BlobTest, MegabytesAndTheModeAreKept) {
  options_.mode = 0640;
  const std::string big(3 << 20, 'z');
  put(big);
  EXPECT_EQ(get(), big);
  struct stat status {};
  ASSERT_EQ(::stat((dir_ / "meta.a").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0640u);
}

TEST_F(BlobTest, RemovedCopiesAreGone) {
  put("1");
  put("2");
  Blob b = blob();
  ASSERT_TRUE(b.remove());
  EXPECT_EQ(get(), error(Errc::not_found));
}

}  // namespace
}  // namespace penstock::storage
