// A bus in a directory of its own that goes with its live side when the test is over.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <penstock/penstock.hpp>

namespace penstock::test {

class TemporaryBus {
 public:
  TemporaryBus() {
    std::string name = (std::filesystem::temp_directory_path() / "penstock-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~TemporaryBus() {
    std::error_code ignored;
    const auto live = std::filesystem::read_symlink(path_ + "/live", ignored);
    if (!ignored) std::filesystem::remove_all(live, ignored);
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryBus(const TemporaryBus&) = delete;
  TemporaryBus& operator=(const TemporaryBus&) = delete;

  const std::string& path() const { return path_; }
  Bus open() const { return Bus::open(path_).value(); }
  // As a reboot takes it.
  void lose_live_side() const { std::filesystem::remove_all(std::filesystem::read_symlink(path_ + "/live")); }

 private:
  std::string path_;
};

}  // namespace penstock::test
