// Making errors that name the thing: the name waits in this thread until message() is asked for.
#pragma once

#include <penstock/error.hpp>
#include <string>

namespace penstock::api {

// An Error whose message() begins with `thing`. Call on cold paths only.
Error fail(Errc code, std::string thing, std::uint32_t detail = 0);
// The same error, now with a name, if it has none.
Error name(Error error, const std::string& thing);

inline tl::unexpected<Error> refuse(Errc code, std::string thing, std::uint32_t detail = 0) {
  return tl::unexpected(fail(code, std::move(thing), detail));
}

}  // namespace penstock::api
