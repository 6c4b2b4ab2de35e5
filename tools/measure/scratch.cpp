#include "tools/measure/scratch.hpp"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <penstock/bus.hpp>

namespace penstock::measure {

Scratch::Scratch(const std::string& parent) : path_(parent + "/penstock-bench-XXXXXX") {
  if (::mkdtemp(path_.data()) == nullptr)
    throw std::filesystem::filesystem_error("a directory for measuring", path_,
                                            std::error_code(errno, std::generic_category()));
}

Scratch::~Scratch() {
  static_cast<void>(Bus::remove(bus()));
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace penstock::measure
