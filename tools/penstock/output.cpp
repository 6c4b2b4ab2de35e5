#include "tools/penstock/output.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "tools/penstock/session.hpp"
#include "tools/penstock/signals.hpp"

namespace penstock::tool {
namespace {

// Characters on the screen: bytes that open a UTF-8 sequence.
std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789.,") == std::string_view::npos;
}

}  // namespace

bool Out::flush() {
  std::size_t done = 0;
  while (good() && done < buffer_.size()) {
    const ssize_t n = ::write(STDOUT_FILENO, buffer_.data() + done, buffer_.size() - done);
    if (n >= 0) {
      done += static_cast<std::size_t>(n);
    } else if (errno == EAGAIN) {
      pollfd wait{STDOUT_FILENO, POLLOUT, 0};
      ::poll(&wait, 1, 200);
      if (stopping()) state_ = State::interrupted;
    } else if (errno == EINTR) {
      // Who reads slowly still gets what is begun; nobody is waited for who does not read at all.
      pollfd wait{STDOUT_FILENO, POLLOUT, 0};
      if (stopping() && ::poll(&wait, 1, 500) != 1) state_ = State::interrupted;
    } else {
      error_ = errno;
      state_ = error_ == EPIPE ? State::closed : State::failed;
    }
  }
  buffer_.clear();
  return good();
}

bool Out::reader_gone() {
  pollfd look{STDOUT_FILENO, 0, 0};
  if (good() && ::poll(&look, 1, 0) == 1 && (look.revents & POLLERR) != 0) state_ = State::closed;
  return state_ == State::closed;
}

int Out::finish(int code) {
  flush();
  switch (state_) {
    case State::good:
      return code;
    case State::closed:  // quietly; what failed otherwise was told and has failed all the same
      return code;
    case State::interrupted:
      return kInterrupted;
    case State::failed:
      break;
  }
  return complain(kFailed, std::string("stdout: ") + std::strerror(error_) + "; make room there or write elsewhere");
}

void Table::print(Out& out, bool bold_header) const {
  if (rows_.size() < 2) return;
  const std::size_t columns = rows_.front().size();
  std::vector<std::size_t> widest(columns, 0);
  std::vector<bool> numbers(columns, true);
  for (const auto& row : rows_) {
    for (std::size_t c = 0; c < columns; ++c) widest[c] = std::max(widest[c], width(row[c]));
    for (std::size_t c = 0; c < columns && &row != &rows_.front(); ++c) numbers[c] = numbers[c] && is_number(row[c]);
  }
  for (const auto& row : rows_) {
    const bool bold = bold_header && &row == &rows_.front();
    if (bold) out << "\x1b[1m";
    for (std::size_t c = 0; c < columns; ++c) {
      const std::string blanks(widest[c] - width(row[c]), ' ');
      const bool last = c + 1 == columns;
      if (numbers[c])
        out << blanks << row[c];
      else
        out << row[c] << (last ? std::string() : blanks);
      if (!last) out << "  ";
    }
    out << (bold ? "\x1b[0m\n" : "\n");
  }
}

Progress::Progress(bool wanted, std::string what)
    : wanted_(wanted && ::isatty(STDERR_FILENO) == 1),
      what_(std::move(what)),
      start_(std::chrono::steady_clock::now()),
      last_(start_) {}

double Progress::seconds() const {
  return std::max(1e-6, std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count());
}

void Progress::show(std::uint64_t done, std::uint64_t place) {
  if (!wanted_) return;
  const auto now = std::chrono::steady_clock::now();
  if (now - last_ < std::chrono::milliseconds(500)) return;
  last_ = now;
  shown_ = true;
  const double elapsed = seconds();
  std::fprintf(stderr, "\r\x1b[K%llu %s, %.0f/s", static_cast<unsigned long long>(done), what_.c_str(),
               static_cast<double>(done) / elapsed);
  if (total_ > place && place > 0) {
    const double share = static_cast<double>(place) / static_cast<double>(total_);
    std::fprintf(stderr, ", %.0f%%, %.0f s left", 100 * share, elapsed / share - elapsed);
  }
  std::fflush(stderr);
}

void Progress::clear() {
  if (shown_) std::fputs("\r\x1b[K", stderr);
  shown_ = false;
}

std::string Progress::summary(std::uint64_t done) const {
  char text[128];
  const double elapsed = seconds();
  std::snprintf(text, sizeof text, "%llu %s in %.1f s (%.0f/s)", static_cast<unsigned long long>(done), what_.c_str(),
                elapsed, static_cast<double>(done) / elapsed);
  return text;
}

}  // namespace penstock::tool
