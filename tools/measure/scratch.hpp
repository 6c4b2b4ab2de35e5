// A directory of its own with a place for a bus in it; both are removed with this object, the bus with its shared
// memory.
#pragma once

#include <string>

namespace penstock::measure {

class Scratch {
 public:
  explicit Scratch(const std::string& parent);  // throws std::filesystem::filesystem_error
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch();
  const std::string& path() const { return path_; }
  std::string bus() const { return path_ + "/bus"; }

 private:
  std::string path_;
};

}  // namespace penstock::measure
