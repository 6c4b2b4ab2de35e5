// What a fuzz target is made of. A file X_fuzz.cpp defines `target`; it is built as a program of its own, driven by
// libFuzzer where that was asked for (PENSTOCK_FUZZ), else by a small driver that mutates the target's own seeds, the
// same way each time. See fuzz_main.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

namespace penstock::fuzz {

using Bytes = std::vector<std::byte>;
using Input = std::span<const std::byte>;

struct Target {
  std::vector<Bytes> (*seeds)();  // valid inputs, made by the code itself, and those that once failed
  void (*run)(Input input);       // returns, whatever the bytes are; what must hold is said by must()
  unsigned runs;                  // of the small driver in the ordinary suite: a second or two
};
extern const Target target;

// What has to hold for every input; ends the program where it does not.
inline void must(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

// Takes an input apart. Beyond its end everything is zero.
class Taker {
 public:
  explicit Taker(Input input) : rest_(input) {}
  bool empty() const { return rest_.empty(); }
  template <class T>
  T take() {
    static_assert(std::is_trivially_copyable_v<T>);
    T out{};
    const Input bytes = take(sizeof out);
    if (!bytes.empty()) std::memcpy(&out, bytes.data(), bytes.size());
    return out;
  }
  Input take(std::size_t most) {
    const Input out = rest_.first(most < rest_.size() ? most : rest_.size());
    rest_ = rest_.subspan(out.size());
    return out;
  }
  Input rest() { return take(rest_.size()); }

 private:
  Input rest_;
};

// Puts one together, for seeds.
class Maker {
 public:
  template <class T>
  requires std::is_trivially_copyable_v<T> Maker& put(const T& value) {
    return put(std::as_bytes(std::span(&value, 1)));
  }
  Maker& put(Input bytes) {
    out_.insert(out_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  Maker& put(const Bytes& bytes) { return put(Input(bytes)); }
  Maker& put(std::string_view text) { return put(std::as_bytes(std::span(text))); }
  Bytes done() { return std::move(out_); }

 private:
  Bytes out_;
};

}  // namespace penstock::fuzz
