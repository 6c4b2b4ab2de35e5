// A terminal that shows one picture after another: without flicker, in its size, and as it was before when it goes.
#pragma once

#include <termios.h>

#include <chrono>
#include <string>
#include <string_view>

namespace penstock::tool {

class Screen {
 public:
  // Stdin and stdout are a terminal that can be written all over?
  static bool possible();
  Screen();  // takes the terminal; one at a time
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;
  ~Screen();

  enum class Woken : std::uint8_t { by_time, by_size, to_quit };
  // Until the deadline, a new size, `q`, or a signal that asks to stop (which is told by stopping()).
  Woken wait(std::chrono::steady_clock::time_point until);

 private:
  termios before_{};
};

// What shows this text, whose lines end with a newline, on a screen of that many columns and rows: written over what is
// there, cut where the screen ends.
std::string picture(std::string_view text, std::size_t columns, std::size_t rows);
// The same in the size that the terminal has now.
std::string picture(std::string_view text);

}  // namespace penstock::tool
