#include "damaged_bus.hpp"

namespace penstock::test {
namespace {

// Every byte in its turn is tried by damage_long_test.cpp.
TEST(Damage, AFlippedByteIsToldAndNoPayloadIsWrong) { EXPECT_GT(DamagedBus().flip_each(211), 100u); }

// Also after the daemon made of it what it could.
TEST(Damage, AnOnlySegmentWithoutItsHeaderIsToldToWhoLooksAndToWhoReads) {
  for (const std::uintmax_t kept : {0, 10}) {
    const Scratch folder;
    make_small_bus(folder.path(), false);
    const std::string directory = folder / "bus";
    std::filesystem::resize_file(directory + "/topics/orders/00000000000000000000.seg", kept);
    Bus bus = good(Bus::open(directory));
    Daemon daemon = good(Daemon::start(bus, {.force_pwrite = true}));
    good(daemon.stop());

    const Log log = good(Log::open(directory, "orders"));
    std::vector<Damage> told;
    const LogVisitor visitor{[](const EventView&) { return true; },
                             {},
                             [&](const Damage& damage) {
                               told.push_back(damage);
                               return true;
                             }};
    good(log.scan({}, visitor));
    ASSERT_EQ(told.size(), 1u) << kept;
    EXPECT_EQ(told[0].first_offset, 0u);
    EXPECT_EQ(told[0].end_offset, kOrders);
    const auto reports = good(log.verify());
    EXPECT_TRUE(std::any_of(reports.begin(), reports.end(), [](const FileReport& report) { return !report.ok; }));

    Reader reader = good(bus.reader("orders", StartAt::beginning()));
    good(reader.poll([](const EventView&) { ADD_FAILURE() << "an event of a file that cannot be read"; }));
    EXPECT_EQ(reader.damaged(), kOrders);
  }
}

}  // namespace
}  // namespace penstock::test
