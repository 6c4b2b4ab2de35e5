#include <new>

#include "bindings/c/internal.hpp"

namespace penstock::c {
namespace {

thread_local std::string last_error;

int errno_of(const Error& error) {
  switch (error.code()) {
    case Errc::ok:
      return 0;
    case Errc::invalid_argument:
    case Errc::invalid_name:
    case Errc::options_differ:
      return EINVAL;
    case Errc::not_found:
      return ENOENT;
    case Errc::already_exists:
      return EEXIST;
    case Errc::too_large:
      return EMSGSIZE;
    case Errc::full:
      return ENOBUFS;
    case Errc::no_daemon:
      return ENETDOWN;
    case Errc::timed_out:
      return ETIMEDOUT;
    case Errc::stale_lease:
    case Errc::deleted:
    case Errc::closed:
      return ESTALE;
    case Errc::disk:
      return EIO;
    case Errc::no_space:
      return ENOSPC;
    case Errc::permission:
      return EACCES;
    case Errc::busy:
      return EBUSY;
    case Errc::corrupt:
    case Errc::incompatible:
      return EPROTO;
    case Errc::forked:
      return ECHILD;
    case Errc::too_many:
      return EMFILE;
    case Errc::duplicate:
      return EALREADY;
    case Errc::interrupted:
      return EINTR;
    case Errc::unsupported:
      return EOPNOTSUPP;
    case Errc::system:
      return error.detail() != 0 ? static_cast<int>(error.detail()) : EIO;
  }
  return EINVAL;
}

}  // namespace

int failed(const Error& error) {
  last_error = error.message();
  return -errno_of(error);
}

int failed(int code, const char* text) {
  last_error = text;
  return -code;
}

int failed_by_exception() noexcept {
  try {
    throw;
  } catch (const Refused& refused) {
    try {
      return failed(refused.code, refused.text);
    } catch (const std::bad_alloc&) {
      last_error.clear();
      return -refused.code;
    }
  } catch (const std::bad_alloc&) {
    last_error = "out of memory";  // short enough to need none
    return -ENOMEM;
  } catch (...) {
    last_error = "an exception";
    return -EIO;
  }
}

std::optional<StartAt> start_of(const penstock_start& given) {
  switch (given.from) {
    case PENSTOCK_START_DEFAULT:
      return {};
    case PENSTOCK_START_BEGINNING:
      return StartAt::beginning();
    case PENSTOCK_START_END:
      return StartAt::end();
    case PENSTOCK_START_OFFSET:
      return StartAt::offset(static_cast<Offset>(given.value));
    case PENSTOCK_START_TIME:
      return StartAt::time(Timestamp(std::chrono::nanoseconds(given.value)));
    case PENSTOCK_START_LAST:
      return StartAt::last(static_cast<std::uint64_t>(given.value));
    default:
      throw Refused{EINVAL, "a start that is none of PENSTOCK_START_..."};
  }
}

std::vector<std::string> names(const char* const* given, std::size_t count) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < count; ++i) out.emplace_back(text(given[i]));
  return out;
}

}  // namespace penstock::c

const char* penstock_last_error(void) { return penstock::c::last_error.c_str(); }
const char* penstock_version(void) { return penstock::kVersion.data(); }
