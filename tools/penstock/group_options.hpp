// The options of a group, as `sub --group` and `group set` take them.
#pragma once

#include <CLI/CLI.hpp>
#include <penstock/options.hpp>

namespace penstock::tool {

// What is not given stays empty. `options` must outlive the parse.
void add_group_options(CLI::App& app, ConsumerOptions& options);
// True when any of them was given.
bool any_given(const ConsumerOptions& options);

}  // namespace penstock::tool
