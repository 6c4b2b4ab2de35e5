// What a command says: data on stdout through one buffer, tables for people, progress on a terminal's stderr.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::tool {

// Stdout behind a buffer. After a failed write nothing more is written, and finish() knows the exit code.
class Out {
 public:
  std::string& buffer() { return buffer_; }
  Out& operator<<(std::string_view text) {
    buffer_ += text;
    return *this;
  }
  // Writes everything out. false: stdout is closed, refused, or a signal came while it was stuck.
  bool flush();
  // flush() once the buffer is large: for loops over millions.
  bool drain() { return buffer_.size() < kLarge ? good() : flush(); }
  bool good() const { return state_ == State::good; }
  // True when whoever read stdout has gone; a look, without writing.
  bool reader_gone();
  // Writes the rest out; the command's exit code, also when a pipe was closed, or what became of stdout.
  int finish(int code);

 private:
  enum class State : std::uint8_t { good, closed, failed, interrupted };
  static constexpr std::size_t kLarge = 64 << 10;
  std::string buffer_;
  State state_ = State::good;
  int error_ = 0;
};

// Columns as wide as their widest cell; numbers stand right.
class Table {
 public:
  explicit Table(std::vector<std::string> header) { rows_.push_back(std::move(header)); }
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  // Nothing when there is no row.
  void print(Out& out, bool bold_header) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// "what done, rate, left" on stderr, twice a second, when that is a terminal.
class Progress {
 public:
  Progress(bool wanted, std::string what);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { clear(); }
  void total(std::uint64_t all) { total_ = all; }
  // `place` counts towards total(); both may be the same number.
  void show(std::uint64_t done, std::uint64_t place = 0);
  void clear();
  bool wanted() const { return wanted_; }
  // The last word: "1000000 events in 0.8 s (1250000/s)".
  std::string summary(std::uint64_t done) const;

 private:
  double seconds() const;
  bool wanted_;
  bool shown_ = false;
  std::string what_;
  std::uint64_t total_ = 0;
  std::chrono::steady_clock::time_point start_, last_;
};

}  // namespace penstock::tool
