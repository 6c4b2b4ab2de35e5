#include "tests/support/victim.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#if PENSTOCK_CAN_STEP

// The one place whose system calls are not trapped.
extern "C" long penstock_victim_call(long number, long a, long b, long c, long d, long e, long f);
extern "C" const char penstock_victim_call_end;
asm(R"(
  .text
  penstock_victim_call:
    mov %rdi, %rax
    mov %rsi, %rdi
    mov %rdx, %rsi
    mov %rcx, %rdx
    mov %r8, %r10
    mov %r9, %r8
    mov 8(%rsp), %r9
    syscall
  penstock_victim_call_end:
    ret
)");

namespace penstock::test {
namespace {

constexpr std::uintptr_t kPage = 4096;
constexpr greg_t kTrapFlag = 0x100;

struct Region {
  std::uintptr_t begin = 0, end = 0;
};

// All of the child; nothing here allocates once the traps are set.
struct Traps {
  Points points;
  std::uint64_t at = 0;  // 0: nowhere, only count
  int signal = 0;
  std::uint64_t* seen = nullptr;  // shared with the parent
  bool on = false;
  std::array<Region, 64> regions{};
  Region open{};                             // the pages of the store that is let through
  const volatile std::byte* near = nullptr;  // what it may change
  std::array<std::byte, 128> before{};
} g_traps;

long call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  return penstock_victim_call(number, a, b, c, d, e, f);
}

void allow(const Region& region, int rights) {
  if (region.begin != region.end) call(SYS_mprotect, long(region.begin), long(region.end - region.begin), rights);
}
void allow_all(int rights) {
  for (const Region& region : g_traps.regions) allow(region, rights);
}

void add_region(std::uintptr_t begin, std::uintptr_t bytes) {
  for (Region& region : g_traps.regions) {
    if (region.begin != region.end) continue;
    region = {begin, begin + (bytes + kPage - 1) / kPage * kPage};
    allow(region, PROT_READ);
    return;
  }
  std::abort();
}

void off() {
  g_traps.on = false;
  allow_all(PROT_READ | PROT_WRITE);
}

void point() {
  if (++*g_traps.seen != g_traps.at) return;
  if (g_traps.signal != SIGKILL) off();
  call(SYS_kill, call(SYS_getpid), g_traps.signal);
}

void on_store(int, siginfo_t* info, void* context) {
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  for (const Region& region : g_traps.regions) {
    if (address < region.begin || address >= region.end) continue;
    const std::uintptr_t page = address / kPage * kPage;
    g_traps.open = {page, std::min(page + 2 * kPage, region.end)};
    allow(g_traps.open, PROT_READ | PROT_WRITE);
    const std::uintptr_t from = std::min(address / 64 * 64, region.end - g_traps.before.size());
    g_traps.near = reinterpret_cast<const volatile std::byte*>(from);
    for (std::size_t i = 0; i < g_traps.before.size(); ++i) g_traps.before[i] = g_traps.near[i];
    registers[REG_EFL] |= kTrapFlag;
    return;
  }
  std::signal(SIGSEGV, SIG_DFL);  // a fault of its own: comes again, and ends it
}

void on_step(int, siginfo_t*, void* context) {
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  if (g_traps.points == Points::instructions) {
    if (!g_traps.on) return;
    point();
    if (!g_traps.on) registers[REG_EFL] &= ~kTrapFlag;
    return;
  }
  registers[REG_EFL] &= ~kTrapFlag;
  if (!g_traps.on) return;
  allow(g_traps.open, PROT_READ);
  bool changed = false;
  for (std::size_t i = 0; i < g_traps.before.size(); ++i) changed |= g_traps.before[i] != g_traps.near[i];
  if (changed) point();
}

// Can this call change a file, a name, a lock, or what somebody sleeps on?
bool changes_something(long number, long second, long third) {
  switch (number) {
    case SYS_open:
      return (second & O_CREAT) != 0;
    case SYS_openat:
      return (third & O_CREAT) != 0;
    case SYS_fcntl:
      return second == F_OFD_SETLK;
    case SYS_close:  // frees a lock
    case SYS_mkdir:
    case SYS_chmod:
    case SYS_fchmod:
    case SYS_rmdir:
    case SYS_unlink:
    case SYS_unlinkat:
    case SYS_rename:
    case SYS_renameat:
    case SYS_renameat2:
    case SYS_symlink:
    case SYS_linkat:
    case SYS_ftruncate:
    case SYS_fallocate:
    case SYS_write:
    case SYS_pwrite64:
    case SYS_pwritev:
    case SYS_writev:
    case SYS_fsync:
    case SYS_fdatasync:
    case SYS_futex:
      return true;
    default:
      return false;
  }
}

void on_call(int, siginfo_t*, void* context) {
  auto& r = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const long number = r[REG_RAX];
  const long second = r[REG_RSI], third = r[REG_RDX];
  // The kernel itself stores for a FUTEX_WAKE_OP.
  const bool open = g_traps.on && number == SYS_futex;
  if (open) allow_all(PROT_READ | PROT_WRITE);
  const long result = call(number, r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8], r[REG_R9]);
  if (open) allow_all(PROT_READ);
  if (g_traps.on && number == SYS_mmap && result > 0 && (r[REG_R10] & MAP_SHARED) != 0 &&
      (r[REG_RDX] & PROT_WRITE) != 0 && int(r[REG_R8]) >= 0)
    add_region(std::uintptr_t(result), std::uintptr_t(r[REG_RSI]));
  if (number == SYS_munmap)
    for (Region& region : g_traps.regions)
      if (region.begin == std::uintptr_t(r[REG_RDI])) region = {};
  r[REG_RAX] = result;
  if (g_traps.on && result >= 0 && changes_something(number, second, third)) point();
}

void trap_calls() {
  const auto end = reinterpret_cast<std::uintptr_t>(&penstock_victim_call_end);
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 5, 0),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, instruction_pointer)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, std::uint32_t(end), 0, 2),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, instruction_pointer) + 4),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, std::uint32_t(end >> 32), 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog program{sizeof filter / sizeof filter[0], filter};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    std::abort();
}

// Shared files that were mapped before the traps are set.
void find_regions() {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find("rw-s") == std::string::npos || line.find("/penstock-") == std::string::npos) continue;
    std::uintptr_t begin = 0, end = 0;
    char dash = 0;
    std::istringstream(line) >> std::hex >> begin >> dash >> end;
    add_region(begin, end - begin);
  }
}

void handle(int signal, void (*handler)(int, siginfo_t*, void*)) {
  struct sigaction action {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  ::sigaction(signal, &action, nullptr);
}

void run(const std::function<void()>& act) {
  handle(SIGTRAP, on_step);
  if (g_traps.points == Points::changes) {
    handle(SIGSEGV, on_store);
    handle(SIGSYS, on_call);
    find_regions();
    trap_calls();
    g_traps.on = true;
    act();
  } else {
    g_traps.on = true;
    // The trap flag, below the red zone.
    asm volatile("lea -128(%%rsp), %%rsp\n pushfq\n orq $0x100, (%%rsp)\n popfq\n lea 128(%%rsp), %%rsp" ::
                     : "cc", "memory");
    act();
    asm volatile("lea -128(%%rsp), %%rsp\n pushfq\n andq $~0x100, (%%rsp)\n popfq\n lea 128(%%rsp), %%rsp" ::
                     : "cc", "memory");
  }
  g_traps.on = false;
}

std::uint64_t* shared_count() {
  static auto* count =
      static_cast<std::uint64_t*>(::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  return count;
}

}  // namespace

Victim::Victim(Points points, std::uint64_t at, int signal, const std::function<void()>& prepare,
               const std::function<void()>& act)
    : signal_(signal) {
  g_traps.points = points;
  g_traps.at = at;
  g_traps.signal = signal;
  g_traps.seen = shared_count();
  *g_traps.seen = 0;
  pid_ = ::fork();
  if (pid_ == 0) {
    prepare();
    run(act);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(pid_, &status, WUNTRACED);
  judge(status);
}

void Victim::judge(int status) {
  if (WIFSTOPPED(status)) {
    reached_ = true;
    return;
  }
  pid_ = 0;
  const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && signal_ == SIGKILL;
  const bool ended = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (killed) reached_ = true;
  EXPECT_TRUE(killed || ended) << "the child ended with status " << status;
}

void Victim::resume(const std::function<void()>& meanwhile) {
  ::kill(pid_, SIGCONT);
  int status = 0;
  while (::waitpid(pid_, &status, WNOHANG) == 0) meanwhile();
  judge(status);
}

std::uint64_t Victim::points() const { return *shared_count(); }

Victim::~Victim() {
  if (pid_ == 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

std::uint64_t count_points(Points points, const std::function<void()>& prepare, const std::function<void()>& act) {
  return Victim(points, 0, SIGKILL, prepare, act).points();
}

}  // namespace penstock::test

#else

namespace penstock::test {

Victim::Victim(Points, std::uint64_t, int signal, const std::function<void()>&, const std::function<void()>&)
    : signal_(signal) {}
Victim::~Victim() = default;
std::uint64_t Victim::points() const { return 0; }
void Victim::resume(const std::function<void()>&) {}
void Victim::judge(int) {}
std::uint64_t count_points(Points, const std::function<void()>&, const std::function<void()>&) { return 0; }

}  // namespace penstock::test

#endif

namespace penstock::test {

namespace {

class Total : public ::testing::Environment {
 public:
  Swept swept;
  void TearDown() override {
    if (swept.points != 0) std::printf("all sweeps: %lu of %lu points\n", swept.visited, swept.points);
  }
};
auto* const g_total = static_cast<Total*>(::testing::AddGlobalTestEnvironment(new Total));

}  // namespace

void sweep(const char* what, std::uint64_t points, std::uint64_t few, const std::function<bool(std::uint64_t)>& visit) {
  const char* how = std::getenv("PENSTOCK_SWEEP");
  const char* seed = std::getenv("PENSTOCK_SEED");
  if (how != nullptr) few = std::strcmp(how, "full") == 0 ? points : std::strtoull(how, nullptr, 10);
  const std::uint64_t stride = std::max<std::uint64_t>(1, points / std::max<std::uint64_t>(few, 1));
  const std::uint64_t start = seed != nullptr ? std::strtoull(seed, nullptr, 10) % stride : 0;
  std::uint64_t visited = 0;
  for (std::uint64_t at = start + 1; at <= points && visit(at); at += stride) ++visited;
  std::printf("%s at %lu of %lu points\n", what, visited, points);
  g_total->swept.visited += visited;
  g_total->swept.points += points;
}

}  // namespace penstock::test
