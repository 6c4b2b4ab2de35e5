// A connection to a server whose protocol is lines and counted bytes. One thread's. Throws std::runtime_error when the
// connection is refused, breaks or ends.
#pragma once

#include <string>
#include <string_view>

namespace penstock::compare {

class Connection {
 public:
  static Connection to_socket(const std::string& path);
  static Connection to_port(const std::string& port);  // of the loopback interface
  Connection(Connection&& other) noexcept;
  Connection& operator=(Connection&&) = delete;
  ~Connection();

  // What goes out with the next flush.
  std::string& out() { return out_; }
  void flush();

  // What they return is valid until the next call of any of them. They wait as long as it takes.
  std::string_view line();  // without its end, CR LF
  std::string_view bytes(std::size_t count);
  // Whether something is there to be read now, or comes within this time.
  bool readable(int timeout_ms);

 private:
  explicit Connection(int fd) : fd_(fd) {}
  void more();
  int fd_;
  std::string out_, in_;
  std::size_t at_ = 0;  // of in_, what was read
};

}  // namespace penstock::compare
