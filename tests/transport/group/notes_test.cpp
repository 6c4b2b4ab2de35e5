#include "group/notes.hpp"

#include "shared_group.hpp"

namespace penstock::group::testing {
namespace {

class NotesTest : public GroupTest {
 protected:
  std::optional<NoteCopy> the_note() {
    std::optional<NoteCopy> found;
    a_.for_each_pending([&](const CellView& cell) {
      found = a_.note(cell);
      return false;
    });
    return found;
  }
};

TEST_F(NotesTest, ANakKeepsWhatWasSaid) {
  ASSERT_TRUE(a_.nak(lease_next(a_, now_), now_, {"carrier", "no answer"}));
  const auto note = the_note();
  ASSERT_TRUE(note);
  EXPECT_EQ(note->error_class, "carrier");
  EXPECT_EQ(note->reason, "no answer");
  EXPECT_EQ(note->pid, 1001u);
  EXPECT_EQ(note->delivered, 1u);
}

TEST_F(NotesTest, NothingSaidIsNothingAllocated) {
  ASSERT_TRUE(a_.nak(lease_next(a_, now_), now_));
  EXPECT_FALSE(the_note());
  EXPECT_EQ(mapping_.control().notes_allocated.load(), 0u);
}

TEST_F(NotesTest, TheLastNoteIsToldUntilALaterOneReplacesIt) {
  ASSERT_TRUE(a_.nak(lease_next(a_, now_), now_, {"first", ""}, 0));
  const Lease second = *lease_due(b_, now_);
  EXPECT_EQ(the_note()->error_class, "first");
  ASSERT_TRUE(b_.nak(second, now_, {"second", ""}, 0));
  EXPECT_EQ(the_note()->error_class, "second");
}

TEST_F(NotesTest, ALateWriterDoesNotTouchItsSuccessorsNote) {
  const Lease late = lease_next(a_, now_);
  ASSERT_TRUE(a_.release(late, now_));
  ASSERT_TRUE(b_.nak(*lease_due(b_, now_), now_, {"right", ""}));
  const Region region = Region::open(mapping_.bytes(), {}).value();
  ReadyNote(region, late, 1, {"late", ""}).write();
  EXPECT_EQ(the_note()->error_class, "right");
}

TEST_F(NotesTest, RoomThatTakesLongerThanTheLeaseSpoilsNoLaterEventsNote) {
  const Lease lease = lease_next(a_, now_);
  space_.during = [&] { EXPECT_EQ(go_on_without(b_, now_ + 7200 * kSecond), lease.cell); };
  EXPECT_EQ(code_of(a_.nak(lease, now_, {"late", "words"})), Errc::stale_lease);
  const auto note = the_note();
  ASSERT_TRUE(note);
  EXPECT_EQ(note->error_class, "never");
  EXPECT_EQ(note->reason, "right");
}

TEST_F(NotesTest, WithoutRoomTheFailureCountsAndTheNoteIsLeftOut) {
  const Lease lease = lease_next(a_, now_);
  space_.full = true;
  EXPECT_EQ(a_.nak(lease, now_, {"carrier", "no answer"}).value(), Fate::waiting);
  EXPECT_FALSE(the_note());
  EXPECT_EQ(mapping_.fields(lease.cell).failed, 1u);
}

TEST_F(NotesTest, AnotherEventsNoteInTheSameCellIsNotTold) {
  ASSERT_TRUE(a_.nak(lease_next(a_, now_), now_, {"carrier", "no answer"}, 0));
  ASSERT_TRUE(a_.ack(*lease_due(a_, now_), now_));
  ASSERT_TRUE(a_.nak(lease_next(a_, now_), now_));
  EXPECT_FALSE(the_note());
}

TEST_F(NotesTest, ATornNoteIsAbsent) {
  const Lease lease = lease_next(a_, now_);
  ASSERT_TRUE(a_.nak(lease, now_, {"carrier", "no answer"}));
  auto* bytes = reinterpret_cast<unsigned char*>(mapping_.bytes().data() + layout::kNotesAt);
  const std::size_t at = lease.cell * 2 * sizeof(layout::Note) + sizeof(layout::Note);
  for (std::size_t i = 0; i < sizeof(layout::Note); ++i) {
    bytes[at + i] ^= 0x40;
    EXPECT_FALSE(the_note()) << "byte " << i;
    bytes[at + i] ^= 0x40;
  }
  EXPECT_TRUE(the_note());
}

TEST_F(NotesTest, LongTextIsCutBetweenCharacters) {
  std::string reason;
  for (int i = 0; i < 400; ++i) reason += "\xc3\xa9";  // two bytes each
  ASSERT_TRUE(a_.nak(lease_next(a_, now_), now_, {"abc", reason}));
  const auto note = the_note();
  ASSERT_TRUE(note);
  EXPECT_EQ(note->error_class, "abc");
  EXPECT_EQ(note->reason.size(), 484u);
  EXPECT_EQ(note->reason, reason.substr(0, 484));
}

TEST_F(NotesTest, ALongClassLeavesRoomForTheReason) {
  ASSERT_TRUE(a_.nak(lease_next(a_, now_), now_, {std::string(500, 'c'), std::string(500, 'r')}));
  EXPECT_EQ(the_note()->error_class, std::string(200, 'c'));
  EXPECT_EQ(the_note()->reason, std::string(288, 'r'));
}

TEST(CutTest, KeepsWholeCharacters) {
  EXPECT_EQ(cut("abc", 3), "abc");
  EXPECT_EQ(cut("abcd", 3), "abc");
  EXPECT_EQ(cut("a\xe2\x82\xac", 3), "a");
  EXPECT_EQ(cut("a\xe2\x82\xac", 4), "a\xe2\x82\xac");
  EXPECT_EQ(cut("\x80\x80\x80", 2), "");
  EXPECT_EQ(cut("", 0), "");
}

}  // namespace
}  // namespace penstock::group::testing
