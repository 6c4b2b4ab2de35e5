#include "api/waiter.hpp"

#include <gtest/gtest.h>

#include <future>

namespace penstock::api {
namespace {

using namespace std::chrono_literals;

// A sleeper alone with its doorbell; what wakers do is done in its callbacks, between its steps.
class WaiterTest : public testing::Test {
 protected:
  // Waits for an hour; who would sleep through it is interrupted and comes back with an error.
  bool comes_back(const std::function<void(shm::Listening&)>& listen,
                  const std::function<Result<Waiter::Look>()>& look) {
    auto done = std::async(std::launch::async, [&] { return waiter_.wait(1h, listen, look, [] { return true; }); });
    if (done.wait_for(10s) != std::future_status::ready) waiter_.interrupt();
    const auto result = done.get();
    return result && *result;
  }

  std::unique_ptr<layout::WakeFile> wake_ = std::make_unique<layout::WakeFile>();
  shm::Mask& mask_ = wake_->masks[1].mask;
  Waiter waiter_{shm::Sleeper(wake_.get(), 0, false), Wait::sleep};
};

TEST_F(WaiterTest, DoesNotSleepOnABitThatWasTakenWhileItListened) {
  int listened = 0;
  const auto listen = [&](shm::Listening& all) {
    mask_.store(1);  // still set from the sleep before
    all.to(mask_);
    shm::ring_all(wake_.get(), mask_);
    ++listened;
  };
  // Were each of them slept on for as long as a sleep lasts at most, this would take a minute.
  EXPECT_TRUE(comes_back(listen, [&]() -> Result<Waiter::Look> { return Waiter::Look{listened >= 1200}; }));
}

TEST_F(WaiterTest, ComesBackWhenItsWakerDiedWithTheMaskInHand) {
  bool listening = false, news = false;
  const auto listen = [&](shm::Listening& all) {
    all.to(mask_);
    listening = true;
  };
  const auto look = [&]() -> Result<Waiter::Look> {
    if (!listening || news) return Waiter::Look{news};
    news = true;
    mask_.exchange(0);  // and nobody rings
    return Waiter::Look{};
  };
  EXPECT_TRUE(comes_back(listen, look));
}

}  // namespace
}  // namespace penstock::api
