// The version of the headers a program was compiled against. Any thread may read it; the build takes its own
// version from the three numbers here, so that the package and the headers cannot disagree.
#pragma once

#include <string_view>

namespace penstock {

inline constexpr int kVersionMajor = 0;
inline constexpr int kVersionMinor = 1;
inline constexpr int kVersionPatch = 0;
inline constexpr std::string_view kVersion = "0.1.0";

}  // namespace penstock
