// The penstock command: one subcommand a file, each adds itself to the parser and leaves behind what to run.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>

#include "tools/penstock/session.hpp"
#include "tools/penstock/signals.hpp"

namespace {

using namespace penstock::tool;

void add_globals(CLI::App& app, Globals& globals) {
  app.add_option("--bus", globals.bus, "The bus's directory [PENSTOCK_BUS, else the state directory's penstock]");
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

int usage(const CLI::App& app, const std::string& what) {
  const CLI::App* deepest = named(&app);
  std::string command = deepest->get_name();
  for (const CLI::App* at = deepest->get_parent(); at != nullptr; at = at->get_parent())
    command = at->get_name() + " " + command;
  // A word that is no command is told by its name, not as one that is missing.
  const std::vector<std::string> left = app.remaining(true);
  const bool unknown = !deepest->get_subcommands({}).empty() && !left.empty() && left.front().front() != '-';
  const std::string why = unknown ? "there is no command '" + left.front() + "'" : what;
  return complain(kUsage, why + "; see '" + command + " --help'");
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
  try {
    app.parse(words(argc, argv));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    return usage(app, error.what());
  }
  ask_on_signals();
  return plan.run(plan.globals);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::bad_alloc&) {
    return complain(kFailed, "out of memory; free some, or send smaller events");
  } catch (const std::exception& error) {
    return complain(kFailed, error.what());
  }
}
