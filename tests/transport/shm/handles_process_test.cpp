// The registry of living handles: death is proved by the lock, whatever process ids say.
#include "shm/handles.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "shm/live.hpp"

namespace penstock::test {
namespace {

using layout::HandleKind;
using shm::Handle;

struct Registry : testing::Test {
  std::string path = [] {
    std::string name = "/dev/shm/penstock-test-XXXXXX";
    return std::string(::mkdtemp(name.data()));
  }();
  shm::Live live = shm::Live::create(path + "/live", 7, path, {}).value();
  shm::Handles& handles = live.handles();

  ~Registry() override { shm::Live::remove(path); }

  Handle take(HandleKind kind = HandleKind::producer) {
    return handles.acquire(kind, 1, "topic", [](const shm::HandleCopy&) { return true; }).value();
  }
  // Runs `act` in a child until it ends by _exit; its code.
  template <class Act>
  int in_child(Act act) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(act());
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  // A child that takes a handle, tells its slot and incarnation, and lives until it is killed.
  struct Owner {
    pid_t pid = 0;
    std::uint32_t slot = 0, incarnation = 0;
  };
  Owner owner_elsewhere(int namespaces = 0) {
    int told[2];
    if (::pipe2(told, O_CLOEXEC) != 0) std::abort();
    const pid_t child = ::fork();
    if (child == 0) {
      if (namespaces != 0 && ::unshare(namespaces) != 0) ::_exit(77);
      const pid_t inner = ::fork();  // the first process of the new namespace
      if (inner != 0) {
        int status = 0;
        ::waitpid(inner, &status, 0);
        ::_exit(0);
      }
      shm::Live own = shm::Live::open(path + "/live", 7, ::geteuid()).value();
      Handle handle =
          own.handles().acquire(HandleKind::consumer, 0, "group", [](const shm::HandleCopy&) { return true; }).value();
      const Owner self{::getpid(), handle.slot(), handle.incarnation()};
      if (::write(told[1], &self, sizeof self) != ssize_t(sizeof self)) ::_exit(1);
      for (;;) ::pause();
    }
    ::close(told[1]);
    Owner out;
    const ssize_t got = ::read(told[0], &out, sizeof out);
    ::close(told[0]);
    middle = child;
    if (got != ssize_t(sizeof out)) out.pid = 0;
    return out;
  }
  pid_t middle = 0;
};

TEST_F(Registry, AHandleLivesUntilItIsClosed) {
  Handle handle = take();
  const std::uint32_t slot = handle.slot(), incarnation = handle.incarnation();
  EXPECT_TRUE(handles.alive(slot));
  EXPECT_FALSE(handles.dead(slot, incarnation));
  handle = Handle();
  EXPECT_FALSE(handles.alive(slot));
  EXPECT_TRUE(handles.dead(slot, incarnation));
}

TEST_F(Registry, AVerdictBelongsToOneIncarnation) {
  std::uint32_t first = 0;
  {
    Handle handle = take();
    first = handle.incarnation();
  }
  Handle handle = take();
  EXPECT_NE(handle.incarnation(), first);
  EXPECT_TRUE(handles.dead(handle.slot(), first));
  EXPECT_FALSE(handles.dead(handle.slot(), handle.incarnation()));
}

TEST_F(Registry, LivingHandlesHaveSlotsOfTheirOwn) {
  std::vector<Handle> many;
  std::vector<bool> seen(300);
  for (int i = 0; i < 300; ++i) {
    many.push_back(take());
    ASSERT_LT(many.back().slot(), 300u);
    ASSERT_FALSE(seen[many.back().slot()]);
    seen[many.back().slot()] = true;
  }
  EXPECT_GE(handles.slots(), 300u);
}

TEST_F(Registry, ThreadsTakeSlotsAtOnce) {
  std::vector<std::vector<Handle>> taken(4);
  std::vector<std::thread> threads;
  for (auto& mine : taken)
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) mine.push_back(take());
    });
  for (auto& thread : threads) thread.join();
  std::vector<bool> seen(layout::kMaxSlots);
  for (const auto& mine : taken)
    for (const Handle& handle : mine) {
      EXPECT_FALSE(seen[handle.slot()]);
      seen[handle.slot()] = true;
    }
}

// The child's copy of the lock descriptor is closed there, and without unlocking.
TEST_F(Registry, AForkedChildHoldsNothingAndDropsNothing) {
  std::optional<Handle> handle = take();
  const std::uint32_t slot = handle->slot(), incarnation = handle->incarnation();
  int go[2], there[2];
  ASSERT_EQ(::pipe2(go, O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(there, O_CLOEXEC), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const bool foreign = handle->in_child();
    handle.reset();  // closing it here must not free the parent's
    char byte = 0;
    ::_exit(foreign && ::write(there[1], "x", 1) == 1 && ::read(go[0], &byte, 1) == 1 ? 0 : 1);
  }
  char byte = 0;
  ASSERT_EQ(::read(there[0], &byte, 1), 1);
  EXPECT_FALSE(handles.dead(slot, incarnation));
  handle.reset();
  // The child still runs: were its copy open, the lock would still be held.
  EXPECT_TRUE(handles.dead(slot, incarnation));
  EXPECT_EQ(::write(go[1], "x", 1), 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  for (const int fd : {go[0], go[1], there[0], there[1]}) ::close(fd);
}

TEST_F(Registry, AnotherProgramStartedByTheOwnerHoldsNothing) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    shm::Live own = shm::Live::open(path + "/live", 7, ::geteuid()).value();
    Handle handle =
        own.handles().acquire(HandleKind::producer, 1, "topic", [](const shm::HandleCopy&) { return true; }).value();
    ::execl("/bin/sleep", "sleep", "1000", static_cast<char*>(nullptr));
    ::_exit(1);
  }
  // Until the exec is done the slot is alive; then nobody holds it, although the process lives.
  while (handles.slots() == 0 || handles.alive(0)) ::sched_yield();
  EXPECT_TRUE(handles.dead(0, handles.copy(0)->incarnation));
  EXPECT_EQ(::kill(child, 0), 0);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

TEST_F(Registry, AStoppedOwnerLives) {
  const Owner owner = owner_elsewhere();
  ASSERT_NE(owner.pid, 0);
  ::kill(owner.pid, SIGSTOP);
  EXPECT_FALSE(handles.dead(owner.slot, owner.incarnation));
  ::kill(owner.pid, SIGKILL);
  ::waitpid(middle, nullptr, 0);
  EXPECT_TRUE(handles.dead(owner.slot, owner.incarnation));
}

// Its process id means something else here, or nothing: the lock alone judges.
TEST_F(Registry, AnOwnerInAnotherPidNamespaceIsJudgedByItsLock) {
  const Owner owner = owner_elsewhere(::geteuid() == 0 ? CLONE_NEWPID : CLONE_NEWUSER | CLONE_NEWPID);
  if (owner.pid == 0) GTEST_SKIP() << "this machine lets nobody make a pid namespace";
  EXPECT_EQ(owner.pid, 1);
  EXPECT_FALSE(handles.dead(owner.slot, owner.incarnation));
  ::kill(middle, SIGKILL);  // the first process of a namespace is not killed by its parent's death
  EXPECT_FALSE(handles.dead(owner.slot, owner.incarnation));
  // Whoever is process 1 there is found among this process's descendants.
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::error_code ignored;
    const auto theirs = std::filesystem::read_symlink(entry.path() / "ns/pid", ignored);
    if (ignored || theirs == std::filesystem::read_symlink("/proc/self/ns/pid")) continue;
    const auto exe = std::filesystem::read_symlink(entry.path() / "exe", ignored);
    if (exe == std::filesystem::read_symlink("/proc/self/exe")) ::kill(std::stoi(name), SIGKILL);
  }
  ::waitpid(middle, nullptr, 0);
  while (!handles.dead(owner.slot, owner.incarnation)) ::sched_yield();
}

TEST_F(Registry, AFullRegistrySaysSo) {
  // All slots but the last are files that cannot be a handle's: nobody's, and never given.
  for (std::uint32_t slot = 0; slot < layout::kNoSlot; ++slot) {
    const int fd = ::open((path + "/live/handles/" + std::to_string(slot)).c_str(), O_CREAT | O_WRONLY, 0600);
    ASSERT_GE(fd, 0);
    ::close(fd);
  }
  auto refused = handles.acquire(HandleKind::producer, 1, "topic", [](const shm::HandleCopy&) { return true; });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Errc::too_many);
}

TEST(Files, ModesDoNotDependOnTheUmask) {
  const std::string path = "/dev/shm/penstock-test-mode-" + std::to_string(::getpid());
  for (const mode_t mask : {0000, 0027, 0777}) {
    const mode_t before = ::umask(mask);
    auto fd = shm::create_file(path, 0600, 4096);
    ::umask(before);
    ASSERT_TRUE(fd);
    struct stat info {};
    ASSERT_EQ(::fstat(fd->get(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u);
    EXPECT_GE(info.st_blocks * 512, 4096);
    ::unlink(path.c_str());
  }
}

TEST(Files, NoLinkIsFollowed) {
  const std::string path = "/dev/shm/penstock-test-link-" + std::to_string(::getpid());
  ASSERT_EQ(::symlink("/dev/null", path.c_str()), 0);
  EXPECT_FALSE(shm::open_file(path, false));
  EXPECT_FALSE(shm::create_file(path, 0600, 0));
  ::unlink(path.c_str());
}

}  // namespace
}  // namespace penstock::test
