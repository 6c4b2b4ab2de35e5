// What every command shares: the global options, the exit codes, how errors are told, how the bus is found.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <penstock/penstock.hpp>
#include <string>
#include <string_view>

#include "tools/penstock/parse.hpp"

namespace penstock::tool {

enum Exit : int { kDone = 0, kFailed = 1, kUsage = 2, kNotFound = 3, kDamaged = 4, kInterrupted = 130 };

struct Globals {
  std::string bus;  // as given; empty: the environment decides
  bool json = false;
  bool quiet = false;
  std::string color = "auto";

  std::string directory() const;
  bool colored(int fd) const;
};

// What the command line asked for: set by the subcommand that was named, run after everything was parsed.
struct Plan {
  Globals globals;
  std::function<int(const Globals&)> run;
};

void add_topic(CLI::App& app, Plan& plan);
void add_pub(CLI::App& app, Plan& plan);
void add_sub(CLI::App& app, Plan& plan);
void add_dump(CLI::App& app, Plan& plan);
void add_group(CLI::App& app, Plan& plan);
void add_dlq(CLI::App& app, Plan& plan);
void add_verify(CLI::App& app, Plan& plan);
void add_stats(CLI::App& app, Plan& plan);
void add_bus(CLI::App& app, Plan& plan);
void add_doctor(CLI::App& app, Plan& plan);
void add_bench(CLI::App& app, Plan& plan);

// --bus, else PENSTOCK_BUS, else $XDG_STATE_HOME/penstock, else ~/.local/state/penstock.
std::string bus_directory(const std::string& given);

// True when the directory is missing or empty.
bool no_bus(const std::string& directory);

// "penstock: text" on stderr, as one line; the code, for returning it.
int complain(int code, std::string_view text);
// The same for an error of the library, which names `subject` if it does not by itself.
int complain(const Error& error, std::string_view subject = {});
int exit_code(Errc code);
// A message that is no error: left out with --quiet.
void note(const Globals& globals, std::string_view text);

// Opens the bus; when that fails, complains and gives nothing, and the code is in `code`.
std::optional<Bus> open_bus(const Globals& globals, int& code, bool create = false);
// Runs `use` on the bus, or complains.
template <class Use>
int with_bus(const Globals& globals, Use use) {
  int code = kDone;
  auto bus = open_bus(globals, code);
  return bus ? use(*bus) : code;
}

// --yes and --dry-run of a command that destroys.
struct Consent {
  bool yes = false;
  bool dry_run = false;
  void add_to(CLI::App& app);
  // After the command showed what it would remove: nothing when it may go on, else the exit code.
  std::optional<int> refusal(std::string_view what) const;
};

// An option whose text a function of parse.hpp turns into a value; its complaint is a usage error.
template <class T, class Parse>
CLI::Option* add_parsed(CLI::App& app, const std::string& name, T& value, Parse parse, const std::string& help) {
  return app.add_option_function<std::string>(
      name,
      [name, &value, parse](const std::string& text) {
        auto parsed = parse(text);
        if (!parsed) throw CLI::ValidationError(name.substr(name.rfind(',') + 1), parsed.error());
        value = std::move(*parsed);
      },
      help);
}
// One of a few words.
template <class T>
CLI::Option* add_choice(CLI::App& app, const std::string& name, std::optional<T>& value,
                        const std::vector<std::pair<std::string, T>>& choices, const std::string& help) {
  std::string words;
  for (const auto& choice : choices) words += (words.empty() ? "" : ", ") + choice.first;
  return add_parsed(
      app, name, value,
      [choices, words](const std::string& text) -> Parsed<T> {
        for (const auto& [word, chosen] : choices) {
          if (word == text) return chosen;
        }
        return tl::unexpected("'" + text + "' is not one of " + words);
      },
      help);
}

}  // namespace penstock::tool
