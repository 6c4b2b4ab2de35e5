#include "bench/support/catalogue.hpp"

#include <signal.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace penstock::bench {
namespace {

std::atomic<bool> asked{false};

void ask_on_signals() {
  struct sigaction action {};
  action.sa_handler = [](int) { asked.store(true); };
  for (const int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);
}

void print(const Json& line) {
  std::puts(line.dump().c_str());
  std::fflush(stdout);
}

}  // namespace

bool interrupted() { return asked.load(); }

int run_catalogue(const char* question, const std::vector<Case>& cases, int argc, char** argv) {
  CLI::App app(std::string("Measures ") + question);
  Settings settings;
  std::string pattern;
  bool list = false;
  settings.directory = std::filesystem::temp_directory_path();
  const char* smoke = std::getenv("PENSTOCK_BENCH_SMOKE");
  settings.smoke = smoke != nullptr && *smoke != '\0' && *smoke != '0';
  app.add_flag("--smoke", settings.smoke, "Tiny runs, as inside the tests");
  app.add_option("--dir", settings.directory, "Where the bus and files go")->check(CLI::ExistingDirectory);
  app.add_option("--case", pattern, "Only cases whose name contains this");
  app.add_flag("--list", list, "Print the names of the cases");
  CLI11_PARSE(app, argc, argv);
  ask_on_signals();

  int failures = 0, chosen = 0;
  for (const Case& one : cases) {
    if (one.name.find(pattern) == std::string::npos) continue;
    ++chosen;
    if (list) {
      std::puts(one.name.c_str());
      continue;
    }
    Json line{{"bench", question}, {"case", one.name}};
    const Outcome outcome = one.run(settings);
    if (interrupted()) return 130;
    if (outcome) {
      line.update(*outcome);
    } else {
      line["error"] = outcome.error();
      std::fprintf(stderr, "%s %s: %s\n", question, one.name.c_str(), outcome.error().c_str());
      ++failures;
    }
    print(line);
  }
  if (chosen == 0) std::fprintf(stderr, "%s: no case is named so; see --list\n", question);
  return failures == 0 && chosen != 0 ? 0 : 1;
}

}  // namespace penstock::bench
