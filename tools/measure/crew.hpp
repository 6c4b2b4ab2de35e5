// Processes that measure together: forked from this one, sharing memory, ended together. The process that makes them
// takes no part in the work, so that it can watch; it must have no handle of a bus and no thread of its own.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <new>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace penstock::measure {

// Zeroed pages that children share; the object in them is made here and never destroyed (it must not need to be).
void* shared_pages(std::size_t bytes);
void free_shared_pages(void* pages, std::size_t bytes);

template <class T>
class Shared {
 public:
  static_assert(std::is_trivially_destructible_v<T>);
  Shared() : at_(new (shared_pages(sizeof(T))) T()) {}
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() { free_shared_pages(at_, sizeof(T)); }
  T* operator->() const { return at_; }
  T& operator*() const { return *at_; }

 private:
  T* at_;
};

// What the members of a crew tell one another. A failure of one stops all; loops look at stopped() now and then.
class Board {
 public:
  bool stopped() const { return stop_.load(std::memory_order_relaxed); }
  void stop() { stop_.store(true); }
  // The first failure is kept; everybody stops.
  void fail(const std::string& who, const std::string& what);
  // Says that this member is ready and waits for all of them. False: somebody failed.
  bool meet(unsigned members);
  // Waits for something that is not hot. False: somebody failed.
  bool wait_for(const std::function<bool()>& there) const;

 private:
  friend class Crew;
  alignas(64) std::atomic<bool> stop_{false};  // written once: its line is everybody's to read
  std::atomic<bool> over_{false};              // the workers are done; who serves them may go
  alignas(64) std::atomic<std::uint64_t> met_{0};
  std::atomic<bool> failed_{false};
  char text_[400] = {};
};

class Crew {
 public:
  // What went wrong; empty: all is well.
  using Work = std::function<std::string(Board&)>;

  Crew() = default;
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;
  ~Crew();  // kills who is left

  // Starts a process that does this, on this core alone unless it is below 0, and ends.
  void work(std::string name, int core, Work work);
  // Starts a process that is there for the others: `start` makes what it offers, which is destroyed once the workers
  // are done. Returns when it is made, or has failed.
  template <class Make>
  void serve(std::string name, Make start);
  // Waits for all. What the first to fail said, or empty. `asked` is looked at now and then: true stops everybody.
  std::string finish(const std::function<bool()>& asked = {});
  pid_t last_pid() const { return members_.back().pid; }

 private:
  struct Member {
    std::string name;
    pid_t pid = -1;
    int watch = -1;  // a descriptor that is readable once it ended
    bool serves = false;
  };
  void start(std::string name, int core, bool serves, const Work& work);
  static bool ended(const Member& member);
  void reap(Member& member);
  void await(bool servers, const std::function<bool()>& asked);

  Shared<Board> board_;
  std::vector<Member> members_;
};

template <class Make>
void Crew::serve(std::string name, Make make) {
  const Shared<std::atomic<bool>> ready;
  start(std::move(name), -1, true, [&make, &ready](Board& board) -> std::string {
    auto offered = make();  // a Result
    if (!offered) return offered.error().message();
    ready->store(true);
    board.wait_for([&board] { return board.over_.load(); });
    return {};
  });
  board_->wait_for([this, &ready] { return ready->load() || ended(members_.back()); });
}

}  // namespace penstock::measure
