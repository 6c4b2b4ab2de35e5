#include "storage/segment_set.hpp"

#include <gtest/gtest.h>

#include "log_builder.hpp"

namespace penstock::storage {
namespace {

TEST(SegmentSet, ListsSortsAndFinds) {
  const TempDir dir;
  for (const std::uint64_t first : {20, 5, 100}) {
    LogBuilder log(first, first * 10);
    log.event("x").write_sealed(dir.path());
  }
  write_all(dir / "topic.meta.a", {});
  write_all(dir / "00000000000000000007.seg.tmp", {});
  SegmentSet set(dir.path());
  ASSERT_TRUE(set.refresh());
  EXPECT_EQ(set.first_offsets(), (std::vector<std::uint64_t>{5, 20, 100}));
  EXPECT_EQ(set.find(4), std::nullopt);
  EXPECT_EQ(set.find(5), 0u);
  EXPECT_EQ(set.find(99), 1u);
  EXPECT_EQ(set.find(1000), 2u);
  EXPECT_EQ(set.after(5), 1u);
  EXPECT_EQ(set.after(100), std::nullopt);
  EXPECT_GE(set.total_bytes().value(), 3 * 2 * layout::kPage);
  ASSERT_TRUE(set.remove(0));
  ASSERT_TRUE(set.remove(0));  // gone already
  EXPECT_EQ(set.bytes(0), 0u);
  ASSERT_TRUE(set.refresh());
  EXPECT_EQ(set.size(), 2u);
}

}  // namespace
}  // namespace penstock::storage
