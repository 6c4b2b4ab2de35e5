// Making errors that name the thing: the name waits in this thread until message() is asked for.
#pragma once

#include <penstock/error.hpp>
#include <string>

namespace penstock::api {

// An Error whose message() begins with `thing`. Call on cold paths only. `place`: the file or directory that it is
// about, if `thing` is not its path; message() looks there for the cause: whose it is, how full its file system is,
// what there is of a name near to it.
Error fail(Errc code, std::string thing, std::uint32_t detail = 0, std::string place = {});
// The same error, now with a name, if it has none.
Error name(Error error, const std::string& thing, const std::string& place = {});

inline tl::unexpected<Error> refuse(Errc code, std::string thing, std::uint32_t detail = 0, std::string place = {}) {
  return tl::unexpected(fail(code, std::move(thing), detail, std::move(place)));
}

}  // namespace penstock::api
