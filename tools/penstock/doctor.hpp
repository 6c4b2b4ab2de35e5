// What penstock doctor found, by one check.
#pragma once

#include <penstock/bus.hpp>
#include <string>
#include <vector>

namespace penstock::tool {

struct Finding {
  std::string check;
  bool ok = true;
  std::string value;
  std::string advice;  // empty when nothing is to be done
};

// Groups that do not get on, or gave up on events: one finding for each reason.
void add_groups(const Bus& bus, std::vector<Finding>& findings);

}  // namespace penstock::tool
