#include "tools/penstock/screen.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "tools/penstock/signals.hpp"

namespace penstock::tool {
namespace {

constexpr std::string_view kTake = "\x1b[?1049h\x1b[?25l";  // the alternate screen, no cursor
constexpr std::string_view kGive = "\x1b[?25h\x1b[?1049l";

std::atomic<bool> resized{false};

// What cannot be written to a terminal that is gone is not missed.
void put(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
    if (n < 0 && errno != EINTR) return;
    if (n > 0) text.remove_prefix(static_cast<std::size_t>(n));
  }
}

// The bytes of the line that fill this many columns; sequences that set colours take none.
std::size_t fitting(std::string_view line, std::size_t columns) {
  std::size_t at = 0;
  while (at < line.size()) {
    if (line[at] == '\x1b') {
      at = std::min(line.find('m', at), line.size() - 1) + 1;
      continue;
    }
    if (columns-- == 0) return at;
    do ++at;
    while (at < line.size() && (static_cast<unsigned char>(line[at]) & 0xc0) == 0x80);  // the rest of a character
  }
  return at;
}

}  // namespace

bool Screen::possible() {
  const char* term = std::getenv("TERM");
  return ::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1 && term != nullptr && *term != '\0' &&
         std::strcmp(term, "dumb") != 0;
}

Screen::Screen() {
  struct sigaction action {};
  action.sa_handler = [](int) { resized.store(true); };  // no SA_RESTART: poll() must come back
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGWINCH, &action, nullptr);
  ::tcgetattr(STDIN_FILENO, &before_);
  termios raw = before_;
  raw.c_lflag &= ~tcflag_t(ICANON | ECHO);  // Ctrl-C stays a signal
  raw.c_cc[VMIN] = 0;
  raw.c_cc[VTIME] = 0;
  raw.c_cc[VSUSP] = _POSIX_VDISABLE;  // a shell would be left with this terminal
  ::tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  put(kTake);
}

Screen::~Screen() {
  put(kGive);
  ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
  ::signal(SIGWINCH, SIG_DFL);
}

Screen::Woken Screen::wait(std::chrono::steady_clock::time_point until) {
  using namespace std::chrono;
  while (!stopping()) {
    if (resized.exchange(false)) return Woken::by_size;
    const auto left = duration_cast<milliseconds>(until - steady_clock::now()).count();
    if (left <= 0) return Woken::by_time;
    pollfd look{STDIN_FILENO, POLLIN, 0};
    // Not longer, since a signal may come just before.
    if (::poll(&look, 1, static_cast<int>(std::min<std::int64_t>(left, 100))) <= 0) continue;
    char keys[64];
    const ssize_t n = ::read(STDIN_FILENO, keys, sizeof keys);
    if (n == 0 || (n < 0 && errno != EINTR)) return Woken::to_quit;  // the terminal is gone
    if (n > 0 && std::memchr(keys, 'q', static_cast<std::size_t>(n)) != nullptr) return Woken::to_quit;
  }
  return Woken::to_quit;
}

std::string picture(std::string_view text, std::size_t columns, std::size_t rows) {
  std::string out = "\x1b[H";
  for (std::size_t row = 0; row < rows && !text.empty(); ++row) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (row > 0) out += "\n";  // not after the last one, which would scroll
    out += line.substr(0, fitting(line, columns));
    out += "\x1b[0m\x1b[K";
  }
  return out + "\x1b[J";
}

std::string picture(std::string_view text) {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) size = {24, 80, 0, 0};
  return picture(text, size.ws_col, size.ws_row);
}

}  // namespace penstock::tool
