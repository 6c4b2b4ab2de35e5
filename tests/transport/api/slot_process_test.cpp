// What a killed producer leaves behind, and who may have its slot.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "api/topic.hpp"

namespace penstock::api {
namespace {

class SlotTest : public testing::Test {
 protected:
  SlotTest() {
    char name[] = "/tmp/penstock-slots-XXXXXX";
    directory_ = ::mkdtemp(name);
    state_ = open_bus(directory_, true).value();
    EXPECT_TRUE(create_topic(state_, "events", {}));
    topic_ = Topic::open(state_, "events", true).value();
  }
  ~SlotTest() override {
    EXPECT_TRUE(remove_bus(directory_));
    std::filesystem::remove_all(directory_);
  }

  // A process that claims a line and dies before it writes the header. Returns its slot.
  std::uint32_t leave_a_hole() {
    const auto child = ::fork();
    if (child == 0) {
      const auto state = open_bus(directory_, false).value();
      const auto topic = Topic::open(state, "events", true).value();
      const auto handle =
          acquire_handle(state, layout::HandleKind::producer, topic->header().topic_id, "events").value();
      const layout::TailFields tail = topic->ring().tail();
      layout::Intent& intent = handle.page()->intents[0];
      intent.tail_low = pack(tail).low;
      intent.tail_high = pack(tail).high;
      intent.shape = layout::pack_shape(1, 1, handle.incarnation());
      layout::cas16(&topic->writable()->tail, pack(tail),
                    pack(layout::TailFields{tail.end + 1, tail.offset + 1, handle.slot()}));
      ::raise(SIGKILL);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status));
    return topic_->ring().tail().slot;
  }
  std::uint32_t next_slot() { return acquire_handle(state_, layout::HandleKind::reader, 0, "somebody").value().slot(); }

  std::string directory_;
  StatePtr state_;
  std::shared_ptr<Topic> topic_;
};

TEST_F(SlotTest, IsNobodysWhileItsHoleIsInTheRing) {
  const std::uint32_t slot = leave_a_hole();
  topic_->writable()->reclaim = topic_->ring().tail().end;  // as when the disk has it
  EXPECT_NE(next_slot(), slot);
  const log::Look hole = log::look(topic_->ring(), topic_->ring().base_position, topic_->ring().base_offset, *topic_);
  EXPECT_EQ(hole.kind, log::Look::Kind::dead);
}

TEST_F(SlotTest, IsFreeOnceItsHoleIsOverwritten) {
  const std::uint32_t slot = leave_a_hole();
  const layout::TailFields tail = topic_->ring().tail();
  topic_->writable()->tail = pack(layout::TailFields{tail.end + topic_->ring().size(), tail.offset + 1, slot});
  EXPECT_EQ(next_slot(), slot);
}

}  // namespace
}  // namespace penstock::api
