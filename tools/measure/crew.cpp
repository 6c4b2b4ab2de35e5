#include "tools/measure/crew.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "tools/measure/cores.hpp"

namespace penstock::measure {

void* shared_pages(std::size_t bytes) {
  void* pages = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  return pages;
}

void free_shared_pages(void* pages, std::size_t bytes) { ::munmap(pages, bytes); }

void Board::fail(const std::string& who, const std::string& what) {
  if (!failed_.exchange(true)) std::snprintf(text_, sizeof text_, "%s: %s", who.c_str(), what.c_str());
  stop();
}

bool Board::wait_for(const std::function<bool()>& there) const {
  while (!there()) {
    if (stopped()) return false;
    ::usleep(50);
  }
  return true;
}

bool Board::meet(unsigned members) {
  const std::uint64_t arrived = met_.fetch_add(1) + 1;
  const std::uint64_t wanted = (arrived + members - 1) / members * members;  // of this meeting
  while (met_.load() < wanted) {
    if (stopped()) return false;
    ::usleep(20);
  }
  return true;
}

void Crew::start(std::string name, int core, bool serves, const Work& work) {
  std::fflush(nullptr);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    // An interrupt from the terminal reaches all; the one who watches decides what becomes of it.
    ::signal(SIGINT, SIG_IGN);
    ::signal(SIGTERM, SIG_DFL);
    if (core >= 0) pin_to(core);
    const std::string complaint = work(*board_);
    if (!complaint.empty()) board_->fail(name, complaint);
    ::_exit(complaint.empty() ? 0 : 1);
  }
  Member member{std::move(name), child, -1, serves};
  if (child < 0) {
    board_->fail(member.name, std::string("no process can be started: ") + std::strerror(errno));
    return;
  }
  member.watch = static_cast<int>(::syscall(SYS_pidfd_open, child, 0));
  members_.push_back(std::move(member));
}

void Crew::work(std::string name, int core, Work work) { start(std::move(name), core, false, work); }

bool Crew::ended(const Member& member) {
  pollfd look{member.watch, POLLIN, 0};
  return member.pid < 0 || ::poll(&look, 1, 0) != 0;
}

void Crew::reap(Member& member) {
  int status = 0;
  while (::waitpid(member.pid, &status, 0) < 0 && errno == EINTR) continue;
  ::close(member.watch);
  member.pid = -1;
  if (WIFSIGNALED(status))
    board_->fail(member.name, std::string("died: ") + ::strsignal(WTERMSIG(status)));
  else if (WEXITSTATUS(status) != 0)
    board_->fail(member.name, "ended with " + std::to_string(WEXITSTATUS(status)));
}

// Until the workers, or all, have ended. Sleeps: those who measure want the cores.
void Crew::await(bool servers, const std::function<bool()>& asked) {
  for (;;) {
    std::vector<pollfd> looks;
    bool left = false;
    for (const Member& member : members_) {
      if (member.pid < 0) continue;
      looks.push_back({member.watch, POLLIN, 0});
      left = left || servers || !member.serves;
    }
    if (!left) return;
    ::poll(looks.data(), looks.size(), 200);
    if (asked && asked()) board_->stop();
    for (Member& member : members_)
      if (member.pid > 0 && ended(member)) reap(member);
  }
}

std::string Crew::finish(const std::function<bool()>& asked) {
  await(false, asked);
  board_->over_.store(true);
  await(true, {});
  return board_->failed_.load() ? board_->text_ : std::string();
}

Crew::~Crew() {
  for (Member& member : members_) {
    if (member.pid < 0) continue;
    ::kill(member.pid, SIGKILL);
    reap(member);
  }
}

}  // namespace penstock::measure
