#include "tools/penstock/session.hpp"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace penstock::tool {
namespace {

// A variable that is set to something.
std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return {};
  return value;
}

std::string home() {
  if (const auto value = environment("HOME")) return *value;
  const passwd* user = ::getpwuid(::getuid());
  return user != nullptr && user->pw_dir != nullptr ? user->pw_dir : "/";
}

}  // namespace

std::string bus_directory(const std::string& given) {
  if (!given.empty()) return given;
  if (const auto bus = environment("PENSTOCK_BUS")) return *bus;
  if (const auto state = environment("XDG_STATE_HOME")) return *state + "/penstock";
  return home() + "/.local/state/penstock";
}

std::string Globals::directory() const { return bus_directory(bus); }

bool no_bus(const std::string& directory) {
  std::error_code error;
  return !std::filesystem::is_directory(directory, error) || std::filesystem::is_empty(directory, error);
}

bool Globals::colored(int fd) const {
  if (color == "always") return true;
  if (color == "never" || environment("NO_COLOR")) return false;
  return ::isatty(fd) == 1;
}

int complain(int code, std::string_view text) {
  std::string one_line = "penstock: ";
  for (const char c : text) one_line += c == '\n' || c == '\r' ? ' ' : c;
  one_line += '\n';
  std::fflush(stdout);
  std::fwrite(one_line.data(), 1, one_line.size(), stderr);
  return code;
}

int complain(const Error& error, std::string_view subject) {
  const std::string message = error.message();
  const bool named = subject.empty() || message.find(subject) != std::string::npos;
  return complain(exit_code(error.code()), named ? message : std::string(subject) + ": " + message);
}

int exit_code(Errc code) {
  switch (code) {
    case Errc::ok:
      return kDone;
    case Errc::invalid_argument:
    case Errc::invalid_name:
      return kUsage;
    case Errc::not_found:
    case Errc::no_daemon:
      return kNotFound;
    case Errc::corrupt:
    case Errc::incompatible:
      return kDamaged;
    case Errc::interrupted:
      return kInterrupted;
    default:
      return kFailed;
  }
}

void note(const Globals& globals, std::string_view text) {
  if (!globals.quiet) complain(kDone, text);
}

std::optional<Bus> open_bus(const Globals& globals, int& code, bool create) {
  const std::string directory = globals.directory();
  auto bus = Bus::open(directory, {.create = create});
  if (bus) return std::move(*bus);
  code = complain(bus.error(), directory);
  return {};
}

void Consent::add_to(CLI::App& app) {
  app.add_flag("--yes", yes, "Do it, without asking");
  app.add_flag("--dry-run", dry_run, "Only show what would be removed");
}

std::optional<int> Consent::refusal(std::string_view what) const {
  if (dry_run) return kDone;
  if (yes) return {};
  return complain(kUsage, "nothing was removed; add --yes to " + std::string(what));
}

}  // namespace penstock::tool
