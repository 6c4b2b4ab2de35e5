#include "tools/penstock/lines.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tools/penstock/signals.hpp"

namespace penstock::tool {
namespace {
constexpr std::size_t kFirstBuffer = 256 << 10;
}

void Lines::make_room() {
  if (buffer_.empty()) buffer_.resize(kFirstBuffer);
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, held());
    end_ -= begin_;
    begin_ = 0;
  }
  // A line that fills the buffer makes it twice as large, up to what a line may be and one byte more, by which it is
  // seen to be too long.
  if (end_ == buffer_.size()) buffer_.resize(std::min(2 * buffer_.size(), std::max(kFirstBuffer, longest_ + 2)));
}

Lines::Fill Lines::fill() {
  if (at_end_) return Fill::end;
  make_room();
  for (;;) {
    const ssize_t n = ::read(fd_, buffer_.data() + end_, buffer_.size() - end_);
    if (n > 0) {
      end_ += static_cast<std::size_t>(n);
      return Fill::more;
    }
    if (n == 0) {
      at_end_ = true;
      return Fill::end;
    }
    if (errno != EINTR) return Fill::failed;
    if (stopping()) return Fill::interrupted;
  }
}

std::optional<std::string_view> Lines::next() {
  const char* const from = buffer_.data() + begin_;
  if (held() == 0) return {};
  const void* found = std::memchr(from + searched_, delimiter_, held() - searched_);
  if (found != nullptr) {
    const auto size = static_cast<std::size_t>(static_cast<const char*>(found) - from);
    begin_ += size + 1;
    searched_ = 0;
    return std::string_view(from, size);
  }
  searched_ = held();
  if (!at_end_ && held() <= longest_) return {};
  begin_ = end_;
  const std::string_view rest(from, searched_);
  searched_ = 0;
  return rest;
}

Lines::Fill Lines::read_all(std::string_view& all) {
  Fill fill_result = Fill::more;
  while (fill_result == Fill::more && held() <= longest_) fill_result = fill();
  if (fill_result == Fill::interrupted || fill_result == Fill::failed) return fill_result;
  all = std::string_view(buffer_.data() + begin_, held());
  begin_ = end_;
  return Fill::end;
}

}  // namespace penstock::tool
