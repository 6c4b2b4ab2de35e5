#include "shm/guard.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <mutex>

#include "layout/base.hpp"

namespace penstock::shm {

// Read by the signal handler without a lock; `begin` is written last and cleared first.
struct Guard::Entry {
  std::atomic<std::uintptr_t> begin{0};
  std::atomic<std::uintptr_t> end{0};
  std::atomic<int> fd{-1};
  std::atomic<std::uint32_t> mended{0};
};

namespace {

// Somebody who cuts a file again as soon as it is mended does not hold us up for ever.
constexpr std::uint32_t kMendMost = 1000;

struct Chunk {
  std::array<Guard::Entry, 128> entries;
  std::atomic<Chunk*> next{nullptr};  // chunks are never freed
};
Chunk g_chunks;
std::mutex g_mutex;  // of who adds and removes; never taken by the handler
struct sigaction g_before {};

Guard::Entry* find(std::uintptr_t at) {
  for (Chunk* chunk = &g_chunks; chunk != nullptr; chunk = chunk->next.load(std::memory_order_acquire))
    for (Guard::Entry& entry : chunk->entries) {
      const std::uintptr_t begin = entry.begin.load(std::memory_order_acquire);
      if (begin != 0 && begin <= at && at < entry.end.load(std::memory_order_relaxed)) return &entry;
    }
  return nullptr;
}

bool make_whole(Guard::Entry& entry) {
  const int fd = entry.fd.load(std::memory_order_relaxed);
  const auto bytes = off_t(entry.end.load(std::memory_order_relaxed) - entry.begin.load(std::memory_order_relaxed));
  struct stat info {};
  if (fd < 0 || entry.mended.fetch_add(1) >= kMendMost) return false;
  // Long enough, and yet a bus error: there is no memory for the page.
  return ::fstat(fd, &info) == 0 && info.st_size < bytes && ::ftruncate(fd, bytes) == 0;
}

// Only what a signal handler may call.
bool mend(std::uintptr_t at) {
  Guard::Entry* entry = find(at);
  if (entry == nullptr) return false;
  if (make_whole(*entry)) return true;
  void* page = reinterpret_cast<void*>(at / layout::kPage * layout::kPage);
  if (::mmap(page, layout::kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
    return false;
  ::madvise(page, layout::kPage, MADV_DONTFORK);
  return true;
}

void pass_on(int signal, siginfo_t* info, void* context) {
  if ((g_before.sa_flags & SA_SIGINFO) != 0) return g_before.sa_sigaction(signal, info, context);
  if (g_before.sa_handler != SIG_DFL && g_before.sa_handler != SIG_IGN) return g_before.sa_handler(signal);
  // The access is tried again when we return, and ends the process as it would have without us.
  ::signal(signal, SIG_DFL);
  if (info->si_code <= 0) ::raise(signal);  // sent by somebody
}

void on_bus_error(int signal, siginfo_t* info, void* context) {
  const int error = errno;
  if (info->si_code != BUS_ADRERR || !mend(reinterpret_cast<std::uintptr_t>(info->si_addr)))
    pass_on(signal, info, context);
  errno = error;
}

void install() {
  static bool done = false;
  if (std::exchange(done, true)) return;
  struct sigaction ours {};
  ours.sa_sigaction = on_bus_error;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  sigemptyset(&ours.sa_mask);
  ::sigaction(SIGBUS, nullptr, &g_before);
  ::sigaction(SIGBUS, &ours, nullptr);
}

Guard::Entry& vacant() {
  for (Chunk* chunk = &g_chunks;; chunk = chunk->next.load(std::memory_order_relaxed)) {
    for (Guard::Entry& entry : chunk->entries)
      if (entry.begin.load(std::memory_order_relaxed) == 0) return entry;
    if (chunk->next.load(std::memory_order_relaxed) == nullptr) chunk->next.store(new Chunk, std::memory_order_release);
  }
}

}  // namespace

Guard::Guard(void* at, std::size_t bytes, int fd) {
  const std::lock_guard lock(g_mutex);
  install();
  entry_ = &vacant();
  const auto begin = reinterpret_cast<std::uintptr_t>(at);
  entry_->fd.store(fd < 0 ? -1 : ::fcntl(fd, F_DUPFD_CLOEXEC, 0), std::memory_order_relaxed);
  entry_->mended.store(0, std::memory_order_relaxed);
  entry_->end.store(begin + bytes, std::memory_order_relaxed);
  entry_->begin.store(begin, std::memory_order_release);
}

Guard::~Guard() {
  if (entry_ == nullptr) return;
  const std::lock_guard lock(g_mutex);
  const int fd = entry_->fd.load(std::memory_order_relaxed);
  entry_->begin.store(0, std::memory_order_release);
  if (fd >= 0) ::close(fd);
}

}  // namespace penstock::shm
