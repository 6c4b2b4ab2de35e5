// A stream cut into events at a delimiter: one large read at a time, and views into the buffer, so that a million lines
// cost a few reads and no copies. One thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

namespace penstock::tool {

class Lines {
 public:
  enum class Fill { more, end, interrupted, failed };  // failed: errno tells
  // `longest`: a line longer than this is handed out unfinished, for its caller to refuse.
  Lines(int fd, char delimiter, std::size_t longest) : fd_(fd), delimiter_(delimiter), longest_(longest) {}

  // Reads once, blocking until there is something. Views handed out before are gone.
  Fill fill();
  // The next whole line without its delimiter; after the end of the stream also a last line without one. Nothing:
  // fill().
  std::optional<std::string_view> next();
  // Everything to the end of the stream as one piece; more than `longest` bytes: the first longest + 1 of it.
  Fill read_all(std::string_view& all);

 private:
  std::size_t held() const { return end_ - begin_; }
  void make_room();
  int fd_;
  char delimiter_;
  std::size_t longest_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;  // bytes that are not handed out yet
  std::size_t searched_ = 0;         // of those, without a delimiter
  bool at_end_ = false;
};

}  // namespace penstock::tool
