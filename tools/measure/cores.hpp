// Which cores there are to measure on, and how long a tick of their counter is.
#pragma once

#include <vector>

namespace penstock::measure {

// The cores this process may use.
std::vector<int> cores();
// The calling thread runs on this core alone from now on. False: the system refused.
bool pin_to(int core);

}  // namespace penstock::measure
