// penstock bus: describe, unload, delete.
#include <filesystem>

#include "tools/penstock/json.hpp"
#include "tools/penstock/output.hpp"
#include "tools/penstock/session.hpp"

namespace penstock::tool {
namespace {

int describe(const Globals& globals, Bus& bus) {
  const auto info = bus.describe();
  if (!info) return complain(info.error());
  Out out;
  if (globals.json) return (out << line(bus_json(*info))).finish(kDone);
  out << "path: " << info->path << "\nlive: " << info->live_path << "\nshared memory: " << size_text(info->shm_bytes)
      << "\ndisk: " << size_text(info->disk_bytes) << "\ntopics: " << std::to_string(info->topics)
      << "\ngroups: " << std::to_string(info->groups) << "\nhandles: " << std::to_string(info->handles)
      << "\ndaemon: " << (info->daemon_pid ? "pid " + std::to_string(*info->daemon_pid) + ", " + info->backend : "none")
      << "\n";
  return out.finish(kDone);
}

int unload(const Globals& globals) {
  const auto done = Bus::unload(globals.directory());
  return done ? kDone : complain(done.error(), globals.directory());
}

// What stands on disk, counted without opening the bus, which would make its shared-memory side anew.
std::uint64_t bytes_below(const std::string& directory) {
  namespace fs = std::filesystem;
  std::uint64_t bytes = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator each(directory, error), end; !error && each != end; each.increment(error)) {
    std::error_code ignored;
    if (each->is_regular_file(ignored) && !each->is_symlink(ignored)) bytes += each->file_size(ignored);
  }
  return bytes;
}

int remove(const Globals& globals, const Consent& consent) {
  const std::string directory = globals.directory();
  if (no_bus(directory)) {
    return complain(kNotFound, "there is no bus in " + directory + "; name another directory (--bus, PENSTOCK_BUS)");
  }
  Out out;
  const std::uint64_t bytes = bytes_below(directory);
  const bool show = !consent.yes || consent.dry_run;
  if (show && globals.json) out << line({{"path", directory}, {"disk_bytes", bytes}, {"removed", false}});
  if (show && !globals.json) {
    out << "would remove the bus " << directory << " with all its topics and groups, " << size_text(bytes)
        << " on disk\n";
  }
  out.flush();
  if (const auto refused = consent.refusal("remove the bus")) return out.finish(*refused);
  const auto done = Bus::remove(directory);
  if (!done) return complain(done.error(), directory);
  if (globals.json) out << line({{"path", directory}, {"disk_bytes", bytes}, {"removed", true}});
  return out.finish(kDone);
}

}  // namespace

void add_bus(CLI::App& app, Plan& plan) {
  CLI::App* bus = app.add_subcommand("bus", "The bus as a whole");
  bus->require_subcommand(1, 1);
  CLI::App* describe_app = bus->add_subcommand("describe", "Where it is, what it holds, which daemon it has");
  describe_app->footer("Example:\n  penstock bus describe --json");
  describe_app->callback([&plan] {
    plan.run = [](const Globals& globals) {
      return with_bus(globals, [&](Bus& opened) { return describe(globals, opened); });
    };
  });
  CLI::App* unload_app = bus->add_subcommand("unload", "Remove the shared-memory side of a bus that nobody uses");
  unload_app->footer("Example:\n  penstock bus unload\nEvents of memory topics are lost; those on disk stay.");
  unload_app->callback([&plan] { plan.run = unload; });
  auto consent = std::make_shared<Consent>();
  CLI::App* delete_app = bus->add_subcommand("delete", "Remove the bus with all it holds");
  consent->add_to(*delete_app);
  delete_app->footer("Example:\n  penstock bus delete --bus ./scratch --yes");
  delete_app->callback(
      [consent, &plan] { plan.run = [consent](const Globals& globals) { return remove(globals, *consent); }; });
}

}  // namespace penstock::tool
