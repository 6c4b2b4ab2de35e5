#include "tools/penstock/group_options.hpp"

#include <limits>

#include "tools/penstock/session.hpp"

namespace penstock::tool {
namespace {

Parsed<std::uint32_t> parse_count(const std::string& text) {
  const auto value = parse_number(text);
  if (!value) return tl::unexpected(value.error());
  if (*value > std::numeric_limits<std::uint32_t>::max()) return tl::unexpected("'" + text + "' is too large");
  return static_cast<std::uint32_t>(*value);
}

Parsed<std::uint32_t> parse_positive(const std::string& text) {
  const auto value = parse_count(text);
  if (value && *value == 0) return tl::unexpected(std::string("'0' is too small; give 1 or more"));
  return value;
}

}  // namespace

void add_group_options(CLI::App& app, ConsumerOptions& options) {
  add_parsed(app, "--max-attempts", options.max_attempts, parse_positive, "Failures before the DLQ [5]")
      ->type_name("N");
  add_parsed(app, "--backoff", options.backoff, parse_durations, "Delays before retries [100ms,1s,5s,30s]")
      ->type_name("DUR,...");
  add_parsed(app, "--lease", options.lease, parse_duration, "How long a member may work on an event [30s]")
      ->type_name("DUR");
  add_choice<Ordering>(app, "--ordering", options.ordering,
                       {{"parallel", Ordering::parallel}, {"key", Ordering::key}, {"strict", Ordering::strict}},
                       "parallel, key or strict [parallel]");
  add_parsed(app, "--max-in-flight", options.max_in_flight, parse_positive, "Leases of the group in one topic [256]")
      ->type_name("N");
  add_parsed(app, "--dedupe", options.dedupe, parse_count, "Ids remembered; 0 is off [4096]")->type_name("N");
  add_parsed(app, "--dedupe-age", options.dedupe_age, parse_duration, "How long ids are remembered [no bound]")
      ->type_name("DUR");
  add_choice<Expired>(app, "--expired", options.expired, {{"dlq", Expired::dlq}, {"skip", Expired::skip}},
                      "What becomes of events past their --ttl: dlq or skip [dlq]");
}

bool any_given(const ConsumerOptions& options) {
  return options.max_attempts || !options.backoff.empty() || options.lease || options.ordering ||
         options.max_in_flight || options.dedupe || options.dedupe_age || options.expired;
}

}  // namespace penstock::tool
