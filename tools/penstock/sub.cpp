#include "tools/penstock/sub.hpp"

#include <algorithm>

#include "api/near.hpp"
#include "group/pattern.hpp"
#include "tools/penstock/group_options.hpp"
#include "tools/penstock/json.hpp"
#include "tools/penstock/output.hpp"
#include "tools/penstock/signals.hpp"

namespace penstock::tool {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::nanoseconds kLook = 250ms;  // how long a wait lasts before the world is looked at
// What a member leases before it writes: few, since a lease counts as an attempt when this process is killed.
constexpr std::size_t kLeased = 16;

void write_event(std::string& out, const Globals& globals, const SubOptions& options, const EventView& event,
                 const EventExtras& extras) {
  if (globals.json) {
    append_event(out, event, extras);
  } else if (options.format) {
    options.format->render(out, event, std::max(1u, extras.attempt));
  } else {
    out += text_of(event.payload());
    out += '\n';
  }
}

// What the patterns name and is not there yet, in words.
std::vector<std::string> missing(const std::vector<std::string>& patterns, const std::vector<std::string>& topics) {
  std::vector<std::string> out;
  for (const std::string& pattern : patterns) {
    if (std::any_of(topics.begin(), topics.end(), [&](const std::string& t) { return covers(pattern, t); })) continue;
    out.push_back(is_pattern(pattern) ? "no topic matches " + pattern : "there is no topic " + pattern);
    if (const auto meant = api::nearest(pattern, topics)) out.back() += " (did you mean " + *meant + "?)";
  }
  return out;
}

// With --exit-at-end there is nothing to wait for.
int check_topics(const SubOptions& options, const std::vector<std::string>& patterns,
                 const std::vector<std::string>& topics) {
  const auto absent = missing(patterns, topics);
  if (!options.exit_at_end || absent.empty()) return kDone;
  return complain(kNotFound,
                  absent.front() + "; look at 'penstock topic list', or leave --exit-at-end out to wait for it");
}

// Told once the subscription stands: a name that cannot be is an error instead.
void tell_missing(const Globals& globals, const std::vector<std::string>& patterns,
                  const std::vector<std::string>& topics) {
  for (const std::string& what : missing(patterns, topics)) note(globals, what + " yet; waiting for it");
}

// The ends of what the patterns cover, as they are now.
Result<Ends> ends_of(const Bus& bus, const std::vector<std::string>& patterns, const std::vector<std::string>& topics) {
  Ends ends;
  for (const std::string& topic : topics) {
    if (std::none_of(patterns.begin(), patterns.end(), [&](const std::string& p) { return covers(p, topic); }))
      continue;
    const auto info = bus.describe_topic(topic);
    if (!info && info.error().code() == Errc::not_found) continue;  // deleted a moment ago
    if (!info) return tl::unexpected(info.error());
    ends.emplace_back(topic, info->next_offset);
  }
  return ends;
}

// "-N" of a group is an offset of its one topic; every other place is the library's.
Parsed<StartAt> group_start(const Bus& bus, const SubOptions& options) {
  auto start = parse_start(options.from, current_time());
  if (!start || start->kind() != StartAt::Kind::last) return start;
  if (options.patterns.size() != 1 || is_pattern(options.patterns.front())) {
    return tl::unexpected("--from " + options.from + " with --group needs exactly one topic");
  }
  const auto info = bus.describe_topic(options.patterns.front());
  if (!info) return StartAt::beginning();
  const auto count = static_cast<std::uint64_t>(start->value());
  return StartAt::offset(std::max(info->first_offset, info->next_offset - std::min(info->next_offset, count)));
}

class MissedTeller {
 public:
  explicit MissedTeller(const Globals& globals) : globals_(globals) {}
  template <class Source>  // a Reader or a Consumer
  void tell(const Source& source, bool last) {
    const std::uint64_t missed = source.missed(), damaged = source.damaged();
    const auto now = Clock::now();
    if ((missed == missed_ && damaged == damaged_) || (!last && now - when_ < 1s)) return;
    if (missed != missed_) {
      note(globals_, "missed " + std::to_string(missed - missed_) +
                         " events that were overwritten or removed before they were read; read faster, or keep more");
    }
    if (damaged != damaged_) {
      note(globals_, std::to_string(damaged - damaged_) +
                         " offsets could not be read from disk and were passed over; run 'penstock verify'");
    }
    missed_ = missed;
    damaged_ = damaged;
    when_ = now;
  }

 private:
  const Globals& globals_;
  std::uint64_t missed_ = 0, damaged_ = 0;
  Clock::time_point when_{};
};

bool reached(const Reader& reader, const Ends& ends) {
  const auto places = reader.places();
  return std::all_of(ends.begin(), ends.end(), [&](const auto& end) {
    const auto place = std::find_if(places.begin(), places.end(), [&](const auto& p) { return p.first == end.first; });
    return place != places.end() ? place->second >= end.second : end.second == 0;
  });
}

// What comes next of the one topic that was asked for; of several there is no one place.
std::optional<Offset> next_of(const SubOptions& options, const Reader& reader) {
  if (options.patterns.size() != 1 || is_pattern(options.patterns.front())) return {};
  const auto places = reader.places();
  return places.empty() ? std::optional<Offset>() : places.front().second;
}

int look(const Globals& globals, const SubOptions& options, Reader& reader, const Ends& ends) {
  Out out;
  MissedTeller missed(globals);
  std::uint64_t count = 0;
  int code = kDone;
  std::optional<Offset> next;  // behind what was written
  // Until the first write the reader's end is not seen; a closed pipe is, so `sub | head -1` ends by itself.
  while (code == kDone && (!options.most || count < *options.most)) {
    const std::size_t most =
        options.most ? static_cast<std::size_t>(std::min<std::uint64_t>(256, *options.most - count)) : 256;
    const auto handled =
        reader.poll([&](const EventView& event) { write_event(out.buffer(), globals, options, event, {}); }, most);
    if (handled) count += *handled;
    if (!out.flush()) break;
    next = next_of(options, reader);
    missed.tell(reader, false);
    if (stopping())
      code = kInterrupted;
    else if (!handled && handled.error().code() != Errc::interrupted)
      code = complain(handled.error());
    if (code != kDone || (handled && *handled > 0)) continue;
    if (options.exit_at_end && reached(reader, ends)) break;
    if (out.reader_gone()) break;
    const auto woken = reader.wait(kLook);
    if (!woken && woken.error().code() != Errc::interrupted) code = complain(woken.error());
  }
  missed.tell(reader, true);
  code = out.finish(code);
  if (code == kInterrupted && next) note(globals, "interrupted; go on with --from " + std::to_string(*next));
  return code;
}

// Writes leased events out and acks them once they are flushed; those that could not be written go back uncounted.
int write_and_ack(const Globals& globals, std::vector<Delivery>& leased, Out& out, std::uint64_t& count) {
  const bool written = out.flush();
  for (Delivery& delivery : leased) {
    const std::string name = std::string(delivery.topic()) + " at " + std::to_string(delivery.offset());
    const auto settled = written ? delivery.ack() : delivery.release();
    if (written) ++count;
    if (settled || !written) continue;
    if (settled.error().code() != Errc::stale_lease) return complain(settled.error(), name);
    note(globals, name + ": the lease ran out before the event was written; it will be seen again");
  }
  leased.clear();
  return kDone;
}

// Takes what is there, up to kLeased; waits for the first only.
Result<void> lease_some(const Globals& globals, const SubOptions& options, Consumer& consumer, std::uint64_t room,
                        std::vector<Delivery>& leased, Out& out) {
  while (leased.size() < std::min<std::uint64_t>(kLeased, room) && out.buffer().size() < (64u << 10)) {
    auto next = consumer.next(std::chrono::nanoseconds(0));
    if (!next) return tl::unexpected(next.error());
    if (!*next) break;
    Delivery& delivery = leased.emplace_back(std::move(**next));
    const auto& redriven = delivery.redriven();
    write_event(out.buffer(), globals, options, delivery.event().view(),
                {.group = delivery.group(), .attempt = delivery.attempt(), .letter = redriven ? &*redriven : nullptr});
  }
  return {};
}

int consume(const Globals& globals, const SubOptions& options, Bus& bus, Consumer& consumer, const Ends& ends) {
  Out out;
  std::vector<Delivery> leased;
  Settled settled(globals, bus, consumer, ends);
  MissedTeller missed(globals);
  std::uint64_t count = 0;
  int code = kDone;
  while (code == kDone && !stopping() && (!options.most || count < *options.most)) {
    const std::uint64_t room = options.most ? *options.most - count : kLeased;
    const auto taken = lease_some(globals, options, consumer, room, leased, out);
    const bool any = !leased.empty();
    code = write_and_ack(globals, leased, out, count);
    missed.tell(consumer, false);
    if (!out.good()) break;
    if (code != kDone || any) continue;
    if (!taken && taken.error().code() != Errc::interrupted) return out.finish(complain(taken.error(), options.group));
    if (options.exit_at_end) {
      const auto done = settled.reached();
      if (!done) return out.finish(complain(done.error(), options.group));
      if (*done) break;
    }
    if (out.reader_gone()) break;
    const auto woken = consumer.wait(options.exit_at_end ? 20ms : kLook);
    if (!woken && woken.error().code() != Errc::interrupted) code = complain(woken.error(), options.group);
  }
  missed.tell(consumer, true);
  code = out.finish(code == kDone && stopping() ? kInterrupted : code);
  if (code == kInterrupted)
    note(globals, "interrupted after " + std::to_string(count) + " events, which are acked; group " + options.group +
                      " goes on with the next one");
  return code;
}

int sub(const Globals& globals, const SubOptions& options) {
  for (const std::string& pattern : options.patterns) {
    if (pattern.find('/') != std::string::npos) {
      return complain(kUsage, pattern + " is a file; look into it with 'penstock dump " + pattern + "'");
    }
    if (!group::valid_pattern(pattern))
      return complain(kUsage, "topic or pattern " + pattern + ": " + Error(Errc::invalid_name).message());
  }
  return with_bus(globals, [&](Bus& bus) {
    return options.group.empty() ? sub_looking(globals, options, bus) : sub_as_member(globals, options, bus);
  });
}

void check(const SubOptions& options) {
  const auto wrong = [](const char* what) { throw CLI::ValidationError(what); };
  const bool grouped = !options.group.empty();
  if (!grouped && options.patterns.empty()) wrong("sub: name a topic or a pattern");
  if (!grouped && (options.exec || any_given(options.consumer))) {
    wrong("sub: --exec and the options of a group need --group");
  }
  if (!options.exec && options.jobs != 1) wrong("sub: --jobs needs --exec");
  if (options.exec && options.format) wrong("sub: --format prints nothing with --exec; leave it out");
}

}  // namespace

Result<bool> Settled::reached() {
  auto done = consumer_.settled_through(ends_);
  if (!done || *done || told_) return done;
  // A dead letter that waits to be moved is the one thing that a member cannot bring about.
  const auto now = Clock::now();
  if (quiet_since_ == Clock::time_point{}) quiet_since_ = now;
  if (now - quiet_since_ < 2s) return done;
  quiet_since_ = now;
  const auto info = bus_.describe();
  if (!info || info->daemon_pid) return done;
  const auto topics = bus_.group_topics(consumer_.group());
  if (!topics) return done;
  if (std::any_of(topics->begin(), topics->end(), [](const GroupTopicInfo& t) { return t.retrying > 0; })) {
    note(globals_, "no daemon runs; if events wait to be moved to the dead-letter queue, start penstockd");
    told_ = true;
  }
  return done;
}

int sub_looking(const Globals& globals, const SubOptions& options, Bus& bus) {
  const auto start = options.from.empty() ? Parsed<StartAt>(StartAt::end()) : parse_start(options.from, current_time());
  if (!start) return complain(kUsage, "--from: " + start.error());
  const auto topics = bus.topics();
  if (!topics) return complain(topics.error());
  if (const int code = check_topics(options, options.patterns, *topics); code != kDone) return code;
  const auto ends = options.exit_at_end ? ends_of(bus, options.patterns, *topics) : Result<Ends>(Ends{});
  if (!ends) return complain(ends.error());
  auto reader = bus.reader(options.patterns, *start, {.lossy = true});
  if (!reader) return complain(reader.error(), options.patterns.front());
  tell_missing(globals, options.patterns, *topics);
  const Interrupts interrupts(*reader);
  return look(globals, options, *reader, *ends);
}

int sub_as_member(const Globals& globals, const SubOptions& options, Bus& bus) {
  ConsumerOptions consumer_options = options.consumer;
  if (!options.from.empty()) {
    const auto start = group_start(bus, options);
    if (!start) return complain(kUsage, start.error());
    consumer_options.start = *start;
  }
  const auto topics = bus.topics();
  if (!topics) return complain(topics.error());
  // Checked before the group is made: a mistyped name must leave nothing behind with --exit-at-end.
  std::vector<std::string> patterns = options.patterns;
  if (patterns.empty()) {
    const auto info = bus.describe_group(options.group);
    if (!info) return complain(info.error(), options.group);
    patterns = info->patterns;
  }
  if (const int code = check_topics(options, patterns, *topics); code != kDone) return code;
  const auto ends = options.exit_at_end ? ends_of(bus, patterns, *topics) : Result<Ends>(Ends{});
  if (!ends) return complain(ends.error());
  auto consumer = bus.consumer(options.group, options.patterns, consumer_options);
  if (!consumer) return complain(consumer.error(), options.group);
  tell_missing(globals, patterns, *topics);
  const Interrupts interrupts(*consumer);
  if (options.exec) return sub_with_handlers(globals, options, bus, *consumer, *ends);
  return consume(globals, options, bus, *consumer, *ends);
}

void add_sub(CLI::App& app, Plan& plan) {
  CLI::App* sub_app = app.add_subcommand("sub", "Print events as they come, or handle them as a member of a group");
  auto options = std::make_shared<SubOptions>();
  sub_app->add_option("TOPIC", options->patterns, "Topics, and patterns: * is one word, ** the rest");
  sub_app->add_option("--group", options->group, "Be a member of this group: each event is acked after it was written")
      ->check([](const std::string& name) {
        // Of a variable that was not set: who meant to be a member must not only look.
        return name.empty() ? "the group's name is empty; name one, or leave the option out" : std::string();
      });
  sub_app->add_option("--from", options->from, "beginning, end, an offset, -N or a time [end; a new group: beginning]")
      ->check([](const std::string& text) {
        const auto start = parse_start(text, current_time());
        return start ? std::string() : start.error();
      });
  add_parsed(*sub_app, "-n", options->most, parse_number, "Stop after N events")->type_name("N");
  sub_app->add_flag("--exit-at-end", options->exit_at_end,
                    "Stop at the ends as they are now; with a group once all is settled");
  add_parsed(*sub_app, "--format", options->format, Format::compile,
             "%t topic, %o offset, %k key, %v payload, %i id, %T time, %a attempt, %%, \\n \\t")
      ->type_name("FMT");
  sub_app->add_option("--exec", options->exec, "Run CMD by the shell for each event, payload on its stdin")
      ->type_name("CMD");
  add_group_options(*sub_app, options->consumer);
  add_parsed(
      *sub_app, "--jobs", options->jobs,
      [](const std::string& text) -> Parsed<std::uint32_t> {
        const auto jobs = parse_number(text);
        if (!jobs || *jobs < 1 || *jobs > 4096) return tl::unexpected("'" + text + "' is not between 1 and 4096");
        return static_cast<std::uint32_t>(*jobs);
      },
      "Handlers at once [1]")
      ->type_name("N");
  sub_app->footer(
      "Example:\n  penstock sub 'payment.*' --from -10 --json\n"
      "  penstock sub payment.confirmed --group fulfillment --exec ./ship --jobs 4\n"
      "With --exec: 0 acks, 100 rejects, any other end naks; PENSTOCK_TOPIC, _OFFSET, _KEY, _ID and _ATTEMPT\n"
      "are in the handler's environment, TRACEPARENT and TRACESTATE if the event has these headers; the last line of\n"
      "its stderr is the reason.");
  sub_app->callback([options, &plan] {
    check(*options);
    plan.run = [options](const Globals& globals) { return sub(globals, *options); };
  });
}

}  // namespace penstock::tool
