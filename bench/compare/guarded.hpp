// Links and brokers throw; what a crew's processes do must not.
#pragma once

#include <exception>
#include <functional>
#include <string>

#include "tools/measure/crew.hpp"

namespace penstock::compare {

inline measure::Crew::Work guarded(measure::Crew::Work work) {
  return [work = std::move(work)](measure::Board& board) -> std::string {
    try {
      return work(board);
    } catch (const std::exception& error) {
      return error.what();
    }
  };
}

}  // namespace penstock::compare
