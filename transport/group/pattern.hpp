// Names of topics and groups, and the patterns that subscribe to them. Pure functions; any thread.
//
// A name is words of [A-Za-z0-9_-] joined by dots, at most 200 bytes. A pattern is a name some of whose words may be
// `*`, which stands for one word, and whose last may be `**`, which stands for one or more: `**` alone matches every
// name. A name that ends in ".dlq" is matched by itself alone.
#pragma once

#include <string_view>

namespace penstock::group {

bool valid_name(std::string_view name);
bool valid_pattern(std::string_view pattern);
bool is_pattern(std::string_view text);  // has a `*` word: names more than one topic

// False for whatever is no valid pattern or name.
bool matches(std::string_view pattern, std::string_view name);

}  // namespace penstock::group
