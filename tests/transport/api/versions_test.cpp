// Files of another layout version, or with features this program does not know, are refused, and both versions named.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <penstock/daemon.hpp>

#include "layout/segment.hpp"
#include "log/checksum.hpp"
#include "tests/support/temporary_bus.hpp"

namespace penstock {
namespace {

namespace fs = std::filesystem;
using layout::Preamble;

class VersionsTest : public ::testing::Test {
 protected:
  VersionsTest() {
    TopicOptions options;
    options.ring_bytes = 64 << 10;
    auto bus = bus_.open();
    auto daemon = Daemon::start(bus).value();
    EXPECT_TRUE(bus.create_topic("orders", options));
    {
      auto producer = bus.producer("orders").value();
      static_cast<void>(producer.publish({}).value());
      auto consumer = bus.consumer("group", {"orders"}).value();
      EXPECT_TRUE(consumer.next(std::chrono::seconds(10)).value()->ack());
      EXPECT_TRUE(producer.await_durable(0, std::chrono::seconds(10)));
    }
    EXPECT_TRUE(daemon.stop());
    live_ = fs::read_symlink(path_ + "/live");
  }
  // Changes a file's preamble, and what `seal` makes of its bytes.
  template <class Seal>
  static void change(const std::string& file, const std::function<void(Preamble&)>& edit, Seal seal) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    std::string bytes(std::min<std::uint64_t>(fs::file_size(file), 1 << 20), '\0');  // blobs here are smaller
    stream.read(bytes.data(), std::streamsize(bytes.size()));
    Preamble preamble;
    std::memcpy(&preamble, bytes.data(), sizeof preamble);
    edit(preamble);
    std::memcpy(bytes.data(), &preamble, sizeof preamble);
    seal(bytes);
    stream.seekp(0);
    stream.write(bytes.data(), std::streamsize(bytes.size()));
    ASSERT_TRUE(stream.good()) << file;
  }
  static void shared_file(const std::string& file, const std::function<void(Preamble&)>& edit) {
    change(file, edit, [](std::string&) {});
  }
  static void blob(const std::string& path, const std::function<void(Preamble&)>& edit) {
    for (const char* copy : {".a", ".b"})
      if (fs::exists(path + copy))
        change(path + copy, edit, [](std::string& bytes) {
          std::memset(bytes.data() + offsetof(Preamble, checksum), 0, 8);
          std::uint64_t body = 0;
          std::memcpy(&body, bytes.data() + 72, sizeof body);
          const std::uint64_t sum = log::hash64(bytes.data() + 80, body, log::hash64(bytes.data(), 80));
          std::memcpy(bytes.data() + offsetof(Preamble, checksum), &sum, sizeof sum);
        });
  }
  static void segment(const std::string& file, const std::function<void(Preamble&)>& edit) {
    change(file, edit, [](std::string& bytes) {
      layout::SegmentHeader header;
      std::memcpy(static_cast<void*>(&header), bytes.data(), sizeof header);
      header.preamble.checksum = 0;
      header.preamble.checksum = log::hash64(&header, sizeof header);
      for (const std::size_t at : layout::kHeaderAt) std::memcpy(bytes.data() + at, &header, sizeof header);
    });
  }

  template <class T>
  static void expect_refused(const Result<T>& result, const char* names) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), Errc::incompatible) << result.error().message();
    const std::string message = result.error().message();
    EXPECT_NE(message.find(names), std::string::npos) << message;
    EXPECT_NE(message.find("this program reads"), std::string::npos) << message;
  }
  Result<void> publish() {
    auto bus = Bus::open(path_);
    if (!bus) return tl::unexpected(bus.error());
    auto producer = bus->producer("orders");
    if (!producer) return tl::unexpected(producer.error());
    return {};
  }
  Result<void> read() {
    auto bus = Bus::open(path_);
    if (!bus) return tl::unexpected(bus.error());
    auto reader = bus->reader("orders", StartAt::beginning());
    if (!reader) return tl::unexpected(reader.error());
    auto event = reader->next(std::chrono::seconds(0));
    if (!event) return tl::unexpected(event.error());
    return {};
  }
  Result<void> join() {
    auto bus = Bus::open(path_);
    if (!bus) return tl::unexpected(bus.error());
    auto consumer = bus->consumer("group", {"orders"});
    if (!consumer) return tl::unexpected(consumer.error());
    return {};
  }

  test::TemporaryBus bus_;
  const std::string path_ = bus_.path();
  std::string live_;
};

void newer(Preamble& preamble) { preamble.version = 9; }
void of_this_version(Preamble& preamble) { preamble.version = layout::kLayoutVersion; }
void unknown_incompat(Preamble& preamble) { preamble.incompat = 2; }
void unknown_ro_compat(Preamble& preamble) { preamble.ro_compat = 1; }
void unknown_compat(Preamble& preamble) { preamble.compat = 1; }

TEST_F(VersionsTest, ANewerLiveSideIsRefused) {
  shared_file(live_ + "/bus", newer);
  expect_refused(publish(), "version 9");
}
TEST_F(VersionsTest, ANewerTopicIsRefused) {
  shared_file(live_ + "/topics/orders", newer);
  expect_refused(publish(), "version 9");
  expect_refused(read(), "version 9");
}
TEST_F(VersionsTest, NewerGroupFilesAreRefused) {
  shared_file(live_ + "/groups/group/orders", newer);
  expect_refused(join(), "version 9");
  shared_file(live_ + "/groups/group/@group", newer);
  expect_refused(join(), "version 9");
}
TEST_F(VersionsTest, NewerTopicBooksAreRefused) {
  ASSERT_TRUE(Bus::unload(path_));
  blob(path_ + "/topics/orders/topic.meta", newer);
  expect_refused(read(), "version 9");
}
TEST_F(VersionsTest, NewerGroupBooksAreRefused) {
  ASSERT_TRUE(Bus::unload(path_));
  blob(path_ + "/groups/group/group.meta", newer);
  expect_refused(join(), "version 9");
}
TEST_F(VersionsTest, ANewerCheckpointIsRefused) {
  ASSERT_TRUE(Bus::unload(path_));
  blob(path_ + "/groups/group/orders.state", newer);
  auto joined = join();
  ASSERT_FALSE(joined);
  EXPECT_EQ(joined.error().code(), Errc::incompatible);
}
TEST_F(VersionsTest, ANewerSegmentIsRefused) {
  ASSERT_TRUE(Bus::unload(path_));
  segment(path_ + "/topics/orders/00000000000000000000.seg", newer);
  expect_refused(read(), "version 9");
}

// It may be in use by programs of that version, and have what is not on disk.
TEST_F(VersionsTest, ANewerLiveSideIsNeitherUnloadedNorRemoved) {
  shared_file(live_ + "/bus", newer);
  expect_refused(Bus::unload(path_), "version 9");
  expect_refused(Bus::remove(path_), "version 9");
  EXPECT_TRUE(fs::exists(live_ + "/topics/orders"));
  EXPECT_TRUE(fs::exists(path_ + "/topics/orders"));
}
TEST_F(VersionsTest, ABusIsNotUnloadedOverWhatCannotBeSaved) {
  for (const char* file : {"/topics/orders", "/groups/group/@group", "/groups/group/orders"}) {
    shared_file(live_ + file, newer);
    expect_refused(Bus::unload(path_), "version 9");
    shared_file(live_ + file, of_this_version);
  }
  EXPECT_TRUE(Bus::unload(path_));
}

TEST_F(VersionsTest, UnknownIncompatBitsForbidEverything) {
  shared_file(live_ + "/groups/group/@group", unknown_incompat);
  expect_refused(join(), "features");
  shared_file(live_ + "/topics/orders", unknown_incompat);
  expect_refused(read(), "features");
  shared_file(live_ + "/bus", unknown_incompat);
  expect_refused(read(), "features");
}
TEST_F(VersionsTest, UnknownIncompatBitsOnDiskForbidEverything) {
  ASSERT_TRUE(Bus::unload(path_));
  segment(path_ + "/topics/orders/00000000000000000000.seg", unknown_incompat);
  expect_refused(read(), "features");
  blob(path_ + "/topics/orders/topic.meta", unknown_incompat);
  expect_refused(read(), "features");
}
TEST_F(VersionsTest, UnknownRoCompatBitsForbidOnlyWriting) {
  shared_file(live_ + "/topics/orders", unknown_ro_compat);
  expect_refused(publish(), "features");
  EXPECT_TRUE(read());
  shared_file(live_ + "/groups/group/@group", unknown_ro_compat);
  expect_refused(join(), "features");
}
TEST_F(VersionsTest, UnknownRoCompatBitsOnDiskForbidWriting) {
  ASSERT_TRUE(Bus::unload(path_));
  blob(path_ + "/topics/orders/topic.meta", unknown_ro_compat);
  expect_refused(read(), "features");  // which would write the bound of its offsets
}
TEST_F(VersionsTest, UnknownCompatBitsAreNobodysBusiness) {
  for (const char* file : {"/bus", "/topics/orders", "/groups/group/@group", "/groups/group/orders"})
    shared_file(live_ + file, unknown_compat);
  EXPECT_TRUE(publish());
  EXPECT_TRUE(join());
  ASSERT_TRUE(Bus::unload(path_));
  segment(path_ + "/topics/orders/00000000000000000000.seg", unknown_compat);
  blob(path_ + "/topics/orders/topic.meta", unknown_compat);
  blob(path_ + "/groups/group/group.meta", unknown_compat);
  EXPECT_TRUE(read());
  EXPECT_TRUE(join());
}
TEST_F(VersionsTest, AForeignFileIsRefused) {
  shared_file(live_ + "/topics/orders", [](Preamble& preamble) { preamble.magic = layout::kMagicGroup; });
  expect_refused(read(), "another");
}

}  // namespace
}  // namespace penstock
