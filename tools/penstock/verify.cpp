// penstock verify: checks every byte that is kept of topics or segment files.
#include <algorithm>
#include <filesystem>

#include "tools/penstock/json.hpp"
#include "tools/penstock/output.hpp"
#include "tools/penstock/session.hpp"
#include "tools/penstock/signals.hpp"

namespace penstock::tool {
namespace {

namespace fs = std::filesystem;

// Every topic that has a folder on disk, without opening the bus: a bus that is not running stays so.
std::vector<std::string> topics_on_disk(const std::string& directory) {
  std::vector<std::string> topics;
  std::error_code error;
  for (fs::directory_iterator each(fs::path(directory) / "topics", error), end; !error && each != end;
       each.increment(error)) {
    const std::string name = each->path().filename().string();
    if (each->is_directory(error) && valid_name(name)) topics.push_back(name);
  }
  std::sort(topics.begin(), topics.end());
  return topics;
}

void show(const Globals& globals, Out& out, const FileReport& report) {
  if (globals.json) {
    out << line(file_json(report));
    return;
  }
  out << (report.ok ? "ok   " : "BAD  ") << report.file << "  " << std::to_string(report.events) << " events";
  if (report.events > 0) {
    out << ", " << std::to_string(report.first_offset) << " to " << std::to_string(report.last_offset);
  }
  out << "\n";
  for (const std::string& problem : report.problems) out << "     " << escaped(problem) << "\n";
}

// A file that cannot even be opened as a segment is a file with a problem, not an error of the command.
int verify_one(const Globals& globals, Out& out, const std::string& source, std::uint64_t& files, Progress& progress) {
  const bool file = source.find('/') != std::string::npos;
  const auto log = file ? Log::open_file(source) : Log::open(globals.directory(), source);
  if (!log) {
    const Errc code = log.error().code();
    if (!file || exit_code(code) != kDamaged) return complain(log.error(), source);
    show(globals, out, {.file = source, .ok = false, .problems = {log.error().message()}});
    return kDamaged;
  }
  int result = kDone;
  const auto reports = log->verify([&](const FileReport& report) {
    progress.show(++files);
    show(globals, out, report);
    if (!report.ok)
      result = complain(kDamaged, report.file + ": " + (report.problems.empty() ? "damaged" : report.problems.front()));
    return out.drain() && !stopping();
  });
  if (!reports) return complain(reports.error(), source);
  return result;
}

// What topics and groups are, and where groups stand: told only where it is damaged.
int verify_books(const Globals& globals, Out& out, const std::string& directory) {
  const auto reports = Log::verify_books(directory);
  if (!reports) return complain(reports.error(), directory);
  int result = kDone;
  for (const FileReport& report : *reports) {
    show(globals, out, report);
    result = complain(kDamaged, report.file + ": " + report.problems.front());
  }
  return result;
}

int verify(const Globals& globals, std::vector<std::string> sources) {
  const std::string directory = globals.directory();
  const bool everything = sources.empty();
  if (everything) {
    if (no_bus(directory)) {
      return complain(kNotFound, "there is no bus in " + directory + "; name another directory (--bus, PENSTOCK_BUS)");
    }
    sources = topics_on_disk(directory);
  }
  Out out;
  Progress progress(!globals.quiet, "files");
  int code = everything ? verify_books(globals, out, directory) : kDone;
  std::uint64_t files = 0;
  std::string unfinished;
  for (const std::string& source : sources) {
    if (stopping() || !out.drain()) break;
    const int one = verify_one(globals, out, source, files, progress);
    // Damage outweighs what could not be looked at.
    if (code != kDamaged && one != kDone) code = one;
    if (stopping()) unfinished = source;
  }
  progress.clear();
  code = out.finish(stopping() ? kInterrupted : code);
  if (code != kInterrupted) return code;
  return complain(code, "verify: interrupted" + (unfinished.empty() ? std::string() : " in " + unfinished) + " after " +
                            std::to_string(files) + " files, which are told above; the rest was not checked");
}

}  // namespace

void add_verify(CLI::App& app, Plan& plan) {
  CLI::App* sub = app.add_subcommand("verify", "Check every byte that is kept on disk");
  auto sources = std::make_shared<std::vector<std::string>>();
  sub->add_option("SOURCE", *sources, "Topics; with a / in it, a segment file [all topics]");
  sub->footer("Example:\n  penstock verify payment.confirmed --json");
  sub->callback(
      [sources, &plan] { plan.run = [sources](const Globals& globals) { return verify(globals, *sources); }; });
}

}  // namespace penstock::tool
