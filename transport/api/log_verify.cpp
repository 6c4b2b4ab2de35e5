// Checking what a bus keeps on disk.
#include "storage/verify.hpp"

#include <filesystem>

#include "api/group.hpp"
#include "api/log_impl.hpp"
#include "io/file.hpp"

namespace penstock {

Result<std::vector<FileReport>> Log::verify(const std::function<bool(const FileReport&)>& each) const {
  if (!impl_->file.empty()) {
    auto report = storage::verify_segment(impl_->file);
    if (!report) return tl::unexpected(api::name(report.error(), impl_->file));
    if (each) static_cast<void>(each(*report));
    return std::vector<FileReport>{*report};
  }
  std::optional<storage::Boundary> limit;
  if (impl_->live) limit = storage::Boundary{impl_->live->durable_end().position, impl_->live->durable_end().offset};
  bool ended = false;
  auto reports = storage::verify_directory(impl_->directory, limit, impl_->topic_id, [&](const FileReport& report) {
    ended = each && !each(report);
    return !ended;
  });
  if (!reports) return tl::unexpected(api::name(reports.error(), impl_->directory));
  if (ended) return reports;
  const api::Place end = impl_->live ? impl_->known_end : api::end_on_disk(impl_->directory, impl_->topic_id);
  if (impl_->ends_early(end)) {
    FileReport missing;
    missing.file = impl_->directory;
    missing.ok = false;
    missing.problems.push_back("the end of the log is missing: offsets " + std::to_string(end.offset) + " to " +
                               std::to_string(impl_->known_end.offset - 1));
    reports->push_back(std::move(missing));
    if (each) static_cast<void>(each(reports->back()));
  }
  return reports;
}

Result<std::vector<FileReport>> Log::verify_books(const std::string& bus_directory) {
  auto state = api::look_at_bus(bus_directory);
  if (!state) return tl::unexpected(state.error());
  std::vector<FileReport> out;
  const auto check = [&out](const storage::Blob& blob, const char* what) {
    for (const std::string& file : blob.damaged()) {
      FileReport report;
      report.file = file;
      report.ok = false;
      report.problems.push_back(std::string(what) + ": this copy is damaged; it is written anew at the next change");
      out.push_back(std::move(report));
    }
  };
  for (const char* part : {"/topics", "/groups"}) {
    auto names = io::list_directory((*state)->directory + part);
    if (!names) return tl::unexpected(api::name(names.error(), (*state)->directory + part));
  }
  for (const std::string& topic : api::topic_names(**state)) check(api::topic_meta_blob(**state, topic), "topic.meta");
  for (const std::string& group : api::group_names(**state)) {
    check(api::GroupPlace::named(**state, group).meta(**state), "the group's options");
    const std::string suffix = ".state.a";
    for (const std::string& file : api::list_names((*state)->group_directory(group))) {
      const std::string name = file.substr(0, file.size() - std::min(file.size(), suffix.size()));
      if (name.empty() || (file != name + ".state.a" && file != name + ".state.b")) continue;
      // Both copies at once, under the name of whichever is there.
      if (file.back() == 'a' || !std::filesystem::exists((*state)->group_directory(group) + "/" + name + ".state.a"))
        check(api::GroupPlace::named(**state, group).checkpoint(**state, name), "a checkpoint");
    }
  }
  return out;
}

}  // namespace penstock
