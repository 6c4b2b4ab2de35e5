// The penstock command: one subcommand a file, each adds itself to the parser and leaves behind what to run.
#include <cstdio>
#include <exception>
#include <map>
#include <new>
#include <sstream>

#include "api/near.hpp"
#include "shm/fd.hpp"
#include "tools/penstock/output.hpp"
#include "tools/penstock/session.hpp"
#include "tools/penstock/signals.hpp"

namespace {

using namespace penstock::tool;

void add_globals(CLI::App& app, Globals& globals) {
  app.add_option("--bus", globals.bus, "The bus's directory [PENSTOCK_BUS, else the state directory's penstock]")
      ->check([](const std::string& directory) {
        // Of a variable that was not set: another bus than the one that was meant must not answer.
        return directory.empty() ? "the directory is empty; name one, or leave the option out" : std::string();
      });
  app.add_flag("--json", globals.json, "One JSON object a line");
  app.add_flag("-q,--quiet", globals.quiet, "No messages but errors");
  app.add_option("--color", globals.color, "auto, always or never")->check(CLI::IsMember({"auto", "always", "never"}));
  app.set_version_flag("--version", "penstock " + std::string(penstock::kVersion), "Print the version");
}

// CLI11 takes "--key=" for "--key" with its value in the next word; an empty value is a value.
std::vector<std::string> words(int argc, char** argv) {
  std::vector<std::string> result;
  bool options = true;
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    options = options && word != "--";
    const bool empty_value = options && word.size() > 3 && word.starts_with("--") && word.find('=') == word.size() - 1;
    if (empty_value) word.pop_back();
    result.push_back(std::move(word));
    if (empty_value) result.emplace_back();
  }
  std::reverse(result.begin(), result.end());  // CLI11 takes them from the back
  return result;
}

const CLI::App* named(const CLI::App* app) {
  while (!app->get_subcommands().empty()) app = app->get_subcommands().front();
  return app;
}

std::vector<std::string> commands_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  return names;
}

// Of the command and, since these are good there too, of those it stands under; without their dashes.
std::vector<std::string> options_of(const CLI::App* app) {
  std::vector<std::string> names;
  for (; app != nullptr; app = app->get_parent())
    for (const CLI::Option* option : app->get_options())
      for (const std::string& name : option->get_lnames()) names.push_back(name);
  return names;
}

// Which commands have an option, by how it is written.
using Owners = std::map<std::string, std::string>;

void add_owners(const CLI::App& app, const std::string& prefix, Owners& owners) {
  for (const CLI::App* command : app.get_subcommands({})) {
    const std::string name = prefix + command->get_name();
    const auto add = [&](const std::string& option) {
      std::string& all = owners[option];
      all += (all.empty() ? "" : ", ") + name;
    };
    for (const CLI::Option* option : command->get_options()) {
      for (const std::string& word : option->get_lnames()) add("--" + word);
      for (const std::string& word : option->get_snames()) add("-" + word);
    }
    add_owners(*command, name + " ", owners);
  }
}

// One that is good elsewhere is told so; else which was meant, of this command's or of others'.
std::string no_option(const CLI::App& top, const penstock::api::NoOption& option) {
  const std::string none = "there is no option " + option.name;
  Owners owners;
  add_owners(top, "", owners);
  if (const auto other = owners.find(option.name); other != owners.end())
    return none + " here; it belongs to: " + other->second;
  if (option.meant) return none + "; did you mean --" + *option.meant + "?";
  std::vector<std::string> known;
  for (const auto& [name, commands] : owners) known.push_back(name);
  const auto meant = penstock::api::nearest(option.name, known);
  return none + (meant ? "; did you mean " + *meant + ", which belongs to: " + owners[*meant] + "?" : "");
}

// What is wrong with the words that nothing took, by the first that says most: an option, a command, one word too many.
std::optional<std::string> unknown(const CLI::App& top, const CLI::App& command, const std::vector<std::string>& left) {
  if (const auto option = penstock::api::first_option(left, options_of(&command))) return no_option(top, *option);
  if (left.empty()) return {};
  const auto commands = commands_of(command);
  if (commands.empty()) return "'" + left.front() + "' is one word too many; put what has blanks in quotes";
  for (const char* elsewhere : {"help", "version"})  // a command of other programs
    if (left.front() == elsewhere)
      return "there is no command '" + left.front() + "'; did you mean --" + elsewhere + "?";
  return "there is no command '" + left.front() + "'" + penstock::api::did_you_mean(left.front(), commands);
}

int usage(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* deepest = named(&app);
  std::string command = deepest->get_name();
  for (const CLI::App* at = deepest->get_parent(); at != nullptr; at = at->get_parent())
    command = at->get_name() + " " + command;
  std::string why = error.what();
  const auto commands = commands_of(*deepest);
  if (const auto what = unknown(app, *deepest, app.remaining(true))) {
    why = *what;
  } else if (!commands.empty()) {
    why = "a command is missing: " + commands.front();
    for (std::size_t i = 1; i < commands.size(); ++i) why += (i + 1 < commands.size() ? ", " : " or ") + commands[i];
  }
  return complain(kUsage, why + (why.ends_with('?') ? " See '" : "; see '") + command + " --help'");
}

// --help and --version.
int print_help(const CLI::App& app, const CLI::ParseError& error) {
  std::ostringstream text;
  app.exit(error, text, text);
  Out out;
  out << text.str();
  return out.finish(kDone);
}

int run(int argc, char** argv) {
  CLI::App app("Events between the processes of one host, through shared memory", "penstock");
  Plan plan;
  app.fallthrough();  // global options are good after the subcommand too
  app.require_subcommand(1, 1);
  app.option_defaults()->always_capture_default(false);
  add_globals(app, plan.globals);
  for (const auto add : {add_topic, add_pub, add_sub, add_dump, add_group, add_dlq, add_verify, add_stats, add_bus,
                         add_doctor, add_bench}) {
    add(app, plan);
  }
  app.footer(
      "Example:\n  penstock pub payment.confirmed '{\"order\":17}' --key order-17\n"
      "  penstock sub 'payment.*' --group fulfillment --exec ./ship\n"
      "Global options may stand before or after the command. Exit codes: 0 done, 1 failed, 2 usage,\n"
      "3 not found or not running, 4 a check failed, 130 interrupted.");
  ask_on_signals();
  try {
    app.parse(words(argc, argv));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return print_help(app, error);
    return usage(app, error);
  }
  return plan.run(plan.globals);
}

}  // namespace

int main(int argc, char** argv) {
  penstock::shm::reserve_standard_descriptors();
  try {
    return run(argc, argv);
  } catch (const std::bad_alloc&) {
    return complain(kFailed, "out of memory; free some, or send smaller events");
  } catch (const std::exception& error) {
    return complain(kFailed, error.what());
  }
}
