#include "api/error.hpp"

#include <sys/resource.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "api/error_place.hpp"
#include "layout/base.hpp"
#include "shm/fd.hpp"

namespace penstock {
namespace {

struct Context {
  Error error;
  std::string thing;
  std::string place;  // a path, or empty
};
thread_local Context context;  // of this thread's last named error

const char* sentence(Errc code) {
  switch (code) {
    case Errc::ok:
      return "no error";
    case Errc::invalid_argument:
      return "the arguments do not fit; see the call's description";
    case Errc::invalid_name:
      return "not a valid name: use words of letters, digits, _ and - joined by dots (patterns: * for one whole word, "
             "** at the end for the rest), at most 200 bytes";
    case Errc::not_found:
      return "does not exist; check the name, or create it";
    case Errc::already_exists:
      return "exists already; use it, or delete it first";
    case Errc::options_differ:
      return "exists with other options; leave them out, or change them with `penstock group set`";
    case Errc::too_large:
      return "larger than the limit; send less, or create the topic with a larger ring";
    case Errc::full:
      return "the ring is full and stayed so; a consumer or the disk is behind: retry or shed load";
    case Errc::no_daemon:
      return "the ring is full of events that are not on disk and no daemon runs; start penstockd";
    case Errc::timed_out:
      return "the deadline passed; try again";
    case Errc::stale_lease:
      return "the lease ran out or was settled already; the event may be with another member";
    case Errc::disk:
      return "the disk failed; nothing is lost in memory: repair or replace it";
    case Errc::no_space:
      return "no space left; free some on the disk or in /dev/shm";
    case Errc::permission:
      return "permission denied; run as the user who owns the bus";
    case Errc::busy:
      return "in use by somebody else";
    case Errc::corrupt:
      return "holds bytes that cannot be; run `penstock verify`";
    case Errc::incompatible:
      return "written by another version or by another program; use programs of one version";
    case Errc::forked:
      return "this handle belongs to the parent process; open a new one after fork";
    case Errc::deleted:
      return "was deleted; open it anew";
    case Errc::closed:
      return "closed or settled already; open a new one";
    case Errc::too_many:
      return "the limit is reached; close or settle some first";
    case Errc::duplicate:
      return "an event with this id was published before";
    case Errc::interrupted:
      return "interrupted";
    case Errc::system:
      return "the operating system refused";
    case Errc::unsupported:
      return "not supported by this version; leave it out";
  }
  return "unknown error";
}

std::string about_limit(const Error& error) {
  const auto number_in = [](const char* path) {
    std::string text;
    std::getline(std::ifstream(path), text);
    return text;
  };
  switch (shm::Limit(error.what())) {
    case shm::Limit::files: {
      rlimit limit{};
      ::getrlimit(RLIMIT_NOFILE, &limit);
      return "this process has all the " + std::to_string(limit.rlim_cur) +
             " files open that it may (RLIMIT_NOFILE); raise that (ulimit -n, LimitNOFILE=)";
    }
    case shm::Limit::system_files:
      return "all processes together have as many files open as they may; raise it with `sysctl -w fs.file-max=`";
    case shm::Limit::mappings:
      return "this process has all the " + number_in("/proc/sys/vm/max_map_count") +
             " mappings that it may (vm.max_map_count): each topic takes one, and each topic of a group another; raise "
             "it with `sysctl -w vm.max_map_count=`, or use fewer topics in a process";
    case shm::Limit::handles:
      return "the bus has all the " + std::to_string(error.detail()) +
             " handles that it can; close some (a reader takes one for each memory topic, unless it is lossy)";
    case shm::Limit::others:
      break;
  }
  return sentence(error.code());
}

// Both versions, where the one that was met is known.
std::string about_versions(std::uint32_t met) {
  const std::string ours = std::to_string(layout::kLayoutVersion);
  if (met == layout::kLayoutVersion)
    return "of layout version " + ours +
           ", which this program reads, but of another bus or kind, or with features it " +
           "does not know; use programs of one version";
  const char* remedy = met > layout::kLayoutVersion ? ": a newer program wrote it; upgrade this one"
                                                    : ": an older program wrote it; use programs of that version";
  return "layout version " + std::to_string(met) + ", this program reads " + ours + remedy;
}

// What the place says of the cause; empty where it says nothing.
std::string about_place(const Error& error, const Context& where) {
  if (where.place.empty()) return {};
  if (error.code() == Errc::no_space && error.detail() != ENOMEM) return api::no_space_at(where.place);
  if (error.code() == Errc::permission) return api::no_permission_at(where.place, int(error.detail()));
  if (error.code() == Errc::not_found && where.place != where.thing) return api::not_found_at(where.place);
  return {};
}

// The errno, for those who know it.
std::string about_errno(const Error& error) {
  const bool has_errno = error.code() == Errc::system || error.code() == Errc::disk || error.code() == Errc::no_space ||
                         error.code() == Errc::permission;
  if (!has_errno || error.detail() == 0 || error.detail() >= 4096) return {};
  char text[128];
  return std::string(" (") + ::strerror_r(static_cast<int>(error.detail()), text, sizeof text) + ")";
}

}  // namespace

std::string Error::message() const {
  std::string out, told;
  if (context.error == *this && !context.thing.empty()) {
    // A context that is a whole sentence needs no other.
    if (context.thing.back() == '.') return context.thing.substr(0, context.thing.size() - 1);
    out = context.thing + ": ";
    told = about_place(*this, context);
  }
  if (!told.empty())
    out += told;
  else if (code_ == Errc::incompatible && detail_ != 0)
    out += about_versions(detail_);
  else
    out += code_ == Errc::too_many ? about_limit(*this) : sentence(code_);
  return out + about_errno(*this);
}

namespace api {

Error fail(Errc code, std::string thing, std::uint32_t detail, std::string place) {
  const Error error(code, detail);
  if (place.empty() && thing.starts_with('/')) place = thing;
  context = {error, std::move(thing), std::move(place)};
  return error;
}

Error name(Error error, const std::string& thing, const std::string& place) {
  if (context.error == error && context.thing.find(thing) != std::string::npos) return error;
  context = {error, thing, place.empty() && thing.starts_with('/') ? thing : place};
  return error;
}

}  // namespace api
}  // namespace penstock
