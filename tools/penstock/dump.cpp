// penstock dump: what is in topics and in segment files, without touching the bus.
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "tools/penstock/cloudevents.hpp"
#include "tools/penstock/format.hpp"
#include "tools/penstock/json.hpp"
#include "tools/penstock/output.hpp"
#include "tools/penstock/session.hpp"
#include "tools/penstock/signals.hpp"

namespace penstock::tool {
namespace {

struct DumpOptions {
  std::vector<std::string> sources;
  std::string from, to;
  std::optional<std::uint64_t> most;
  bool reverse = false, follow = false, hex = false, headers_only = false, cloudevents = false;
  std::optional<std::string> key, id;
  std::optional<Format> format;
};

// Sixteen bytes a line: where, in hex, as text.
void append_hex_lines(std::string& out, std::string_view bytes) {
  for (std::size_t at = 0; at < bytes.size(); at += 16) {
    const std::string_view row = bytes.substr(at, 16);
    char place[24];
    std::snprintf(place, sizeof place, "  %08zx ", at);
    out += place;
    for (std::size_t i = 0; i < 16; ++i) {
      out += i == 8 ? "  " : " ";
      out += i < row.size() ? hex(row.substr(i, 1)) : "  ";
    }
    out += "  ";
    for (const char c : row) out += c >= 0x20 && c < 0x7f ? c : '.';
    out += '\n';
  }
}

class Dumper {
 public:
  Dumper(const Globals& globals, const DumpOptions& options) : globals_(globals), options_(options) {
    if (options_.id) {
      given_id_ = EventId::of(*options_.id);
      hex_id_ = parse_id(*options_.id);
    }
  }
  int run();

 private:
  // Scans one source from the place on; the next offset, for following.
  Result<Offset> scan(const Log& log, StartAt from, const std::string& name);
  int follow(const std::string& topic);
  std::optional<Log> open(const std::string& source);
  bool wanted(const EventView& event) const;
  bool enough() const { return options_.most && count_ >= *options_.most; }
  bool show(const EventView& event);
  // Offsets without events: "aborted", they never became any; "compacted", they were removed.
  bool show_offsets(const char* what, const std::string& name, Offset first, std::uint64_t count);
  void show_text(const EventView& event);
  void tell(const Damage& damage);
  void tell_not_shown(const Log& log, const std::string& source);
  ScanOptions scan_options(StartAt from) const;

  const Globals& globals_;
  const DumpOptions& options_;
  std::optional<EventId> given_id_, hex_id_;
  // Where a source could be gone on with; no offset: at its beginning.
  struct Place {
    std::string source;
    std::optional<Offset> offset;
  };
  // Says where it stopped if it was interrupted.
  int finish(int code);

  std::uint64_t count_ = 0;
  int code_ = kDone;
  Place place_, written_;  // behind what was looked at, and behind what has left this process
  Out out_;
};

bool Dumper::wanted(const EventView& event) const {
  if (options_.key && event.key() != *options_.key) return false;
  if (!options_.id) return true;
  const EventId id = event.id();
  return id == *given_id_ || (hex_id_ && id == *hex_id_);
}

void Dumper::show_text(const EventView& event) {
  std::string& out = out_.buffer();
  out += std::to_string(event.offset());
  if (options_.sources.size() > 1) out.append("  ").append(event.topic());
  out += "  " + time_text(event.time()) + "  ";
  out += event.key() ? escaped(*event.key()) : "-";
  out += "  " + std::to_string(event.payload().size()) + "B";
  for (const auto& [name, value] : event.headers()) out += "  " + escaped(name) + "=" + escaped(value);
  if (const auto letter = DeadLetter::of(event)) {
    out += "  [" + letter->disposition + " " + letter->topic + "@" + std::to_string(letter->offset) + " " +
           escaped(letter->error_class) + ": " + escaped(letter->reason) + "]";
  }
  if (options_.hex && !options_.headers_only) {
    out += '\n';
    append_hex_lines(out, text_of(event.payload()));
    return;
  }
  if (!options_.headers_only) out += "  " + escaped(text_of(event.payload()));
  out += '\n';
}

bool Dumper::show(const EventView& event) {
  if (stopping()) return false;
  place_.offset = options_.reverse ? event.offset() : event.offset() + 1;
  if (!wanted(event)) return true;
  if (options_.cloudevents) {
    append_cloudevent(out_.buffer(), event);
  } else if (globals_.json) {
    append_event(out_.buffer(), event,
                 {.payload = options_.headers_only ? PayloadAs::nothing
                             : options_.hex        ? PayloadAs::hex
                                                   : PayloadAs::text});
  } else if (options_.format) {
    options_.format->render(out_.buffer(), event, 1);
  } else {
    show_text(event);
  }
  ++count_;
  if (!out_.drain()) return false;
  if (out_.buffer().empty()) written_ = place_;
  return !enough();
}

// Where nothing was asked for that they cannot have.
bool Dumper::show_offsets(const char* what, const std::string& name, Offset first, std::uint64_t count) {
  if (options_.key || options_.id || options_.format || options_.cloudevents) return true;
  if (globals_.json) {
    out_ << line({{"topic", name}, {"offset", first}, {what, count}});
  } else {
    out_ << std::to_string(first) << "  " << what << (count > 1 ? ", " + std::to_string(count) + " offsets" : "")
         << "\n";
  }
  return out_.drain();
}

void Dumper::tell(const Damage& damage) {
  out_.flush();  // what came before is shown before
  std::string what = damage.file + ": bytes " + std::to_string(damage.begin) + " to " + std::to_string(damage.end) +
                     " cannot be read (" + damage.problem + ")";
  if (damage.end_offset > damage.first_offset) {
    what += "; events " + std::to_string(damage.first_offset) + " to " + std::to_string(damage.end_offset - 1) +
            " may be missing";
  }
  code_ = complain(kDamaged, what + "; run 'penstock verify'");
}

// Who has what he asked for misses nothing.
void Dumper::tell_not_shown(const Log& log, const std::string& source) {
  if (enough() || stopping() || !out_.good() || !options_.to.empty()) return;
  const auto what = log.not_shown();
  if (!what) return;
  out_.flush();
  note(globals_, source + ": " + *what);
}

ScanOptions Dumper::scan_options(StartAt from) const {
  ScanOptions scan{.from = from, .reverse = options_.reverse};
  if (options_.to.empty()) return scan;
  const StartAt to = *parse_start(options_.to, current_time());
  if (to.kind() == StartAt::Kind::time) scan.to_time = Timestamp(std::chrono::nanoseconds(to.value()));
  if (to.kind() == StartAt::Kind::offset) scan.to_offset = static_cast<Offset>(to.value());
  if (to.kind() == StartAt::Kind::beginning) scan.to_offset = 0;
  return scan;
}

Result<Offset> Dumper::scan(const Log& log, StartAt from, const std::string& name) {
  Offset next = from.kind() == StartAt::Kind::offset ? static_cast<Offset>(from.value()) : 0;
  const auto done = log.scan(scan_options(from), {[&](const EventView& event) {
                                                    next = std::max(next, event.offset() + 1);
                                                    return show(event);
                                                  },
                                                  [&](Offset first, std::uint64_t count) {
                                                    next = std::max(next, first + count);
                                                    return show_offsets("aborted", name, first, count);
                                                  },
                                                  [&](const Damage& damage) {
                                                    next = std::max(next, damage.end_offset);
                                                    tell(damage);
                                                    return out_.good();
                                                  },
                                                  [&](Offset first, std::uint64_t count) {
                                                    next = std::max(next, first + count);
                                                    return show_offsets("compacted", name, first, count);
                                                  }});
  if (!done) return tl::unexpected(done.error());
  return next;
}

std::optional<Log> Dumper::open(const std::string& source) {
  const bool file = source.find('/') != std::string::npos;
  auto log = file ? Log::open_file(source) : Log::open(globals_.directory(), source);
  if (log) return std::move(*log);
  code_ = std::max(code_, complain(log.error(), source));
  return {};
}

// Looks again and again, opening the log anew: segments and the ring may have been made since.
int Dumper::follow(const std::string& topic) {
  StartAt from = options_.from.empty() ? StartAt::beginning() : *parse_start(options_.from, current_time());
  bool told = false, looked = false;
  place_.source = written_.source = topic;
  while (!stopping() && out_.good() && !enough()) {
    auto log = Log::open(globals_.directory(), topic);
    if (log) {
      if (from.kind() == StartAt::Kind::end) from = StartAt::offset(log->end());
      const auto next = scan(*log, from, topic);
      if (!next) return complain(next.error(), topic);
      if (*next > 0) from = StartAt::offset(*next);
      if (!std::exchange(looked, true)) tell_not_shown(*log, topic);
    } else if (log.error().code() != Errc::not_found || no_bus(globals_.directory())) {
      return complain(log.error(), topic);
    } else if (!told) {
      from = StartAt::beginning();  // all of it is new
      note(globals_, "there is no topic " + topic + " yet; waiting for it");
      told = true;
    }
    if (!out_.flush() || out_.reader_gone()) break;
    ::usleep(50'000);
  }
  return stopping() && !enough() ? kInterrupted : code_;
}

int Dumper::finish(int code) {
  const bool whole = out_.flush();
  if (whole) written_ = place_;
  code = out_.finish(code);
  if (code != kInterrupted) return code;
  if (!whole)
    return complain(code, "dump: interrupted in " + place_.source +
                              " while nobody read its output, whose last line may be cut; go on where that ends");
  const char* go_on = options_.reverse ? "; go on with --reverse --to " : "; go on with --from ";
  return complain(code, "dump: interrupted in " + written_.source +
                            (written_.offset ? go_on + std::to_string(*written_.offset) : " before its first event"));
}

int Dumper::run() {
  if (options_.follow) return finish(follow(options_.sources.front()));
  const StartAt from = options_.from.empty() ? StartAt::beginning() : *parse_start(options_.from, current_time());
  written_.source = options_.sources.front();
  for (const std::string& source : options_.sources) {
    if (!out_.good() || stopping() || enough()) break;
    const auto log = open(source);
    if (!log) continue;
    place_ = {source, {}};
    if (const auto next = scan(*log, from, source); !next) code_ = std::max(code_, complain(next.error(), source));
    tell_not_shown(*log, source);
  }
  return finish(stopping() ? kInterrupted : code_);
}

void check(const DumpOptions& options) {
  const auto wrong = [](const char* what) { throw CLI::ValidationError(what); };
  if (!options.follow) return;
  if (options.reverse) wrong("dump: --follow and --reverse exclude each other");
  if (options.sources.size() != 1) wrong("dump: --follow follows one topic");
  if (options.sources.front().find('/') != std::string::npos) wrong("dump: --follow follows a topic, not a file");
}

}  // namespace

void add_dump(CLI::App& app, Plan& plan) {
  CLI::App* dump = app.add_subcommand("dump", "What is in topics or segment files; never disturbs the bus");
  auto options = std::make_shared<DumpOptions>();
  const auto place = [](const std::string& text) {
    const auto start = parse_start(text, current_time());
    return start ? std::string() : start.error();
  };
  const auto until = [](const std::string& text) {
    const auto to = parse_start(text, current_time());
    if (to && to->kind() == StartAt::Kind::last)
      return std::string("'" + text + "' is no end; give an offset or a time");
    return to ? std::string() : to.error();
  };
  dump->add_option("SOURCE", options->sources, "Topics; with a / in it, a segment file")->required();
  dump->add_option("--from", options->from, "An offset, -N or a time [beginning]")->check(place);
  dump->add_option("--to", options->to, "Up to, not including: an offset or a time [end]")->check(until);
  add_parsed(*dump, "-n", options->most, parse_number, "At most N events")->type_name("N");
  dump->add_flag("--reverse", options->reverse, "Newest first");
  dump->add_flag("--follow", options->follow, "Go on with what is published");
  dump->add_option("--key", options->key, "Only events of this key");
  dump->add_option("--id", options->id, "Only the event of this id, as given or as 32 hex digits");
  CLI::Option* format = add_parsed(*dump, "--format", options->format, Format::compile, "As in sub")->type_name("FMT");
  CLI::Option* as_hex = dump->add_flag("--hex", options->hex, "Payloads in hex");
  CLI::Option* headers = dump->add_flag("--headers-only", options->headers_only, "No payloads")->excludes(as_hex);
  dump->add_flag("--cloudevents", options->cloudevents, "Each event as a CloudEvent in JSON, a line each")
      ->excludes(format)
      ->excludes(as_hex)
      ->excludes(headers);
  dump->footer(
      "Example:\n  penstock dump payment.confirmed --from -10m --json\n"
      "  penstock dump ./topics/payment.confirmed/00000000000000000000.seg");
  dump->callback([options, &plan] {
    check(*options);
    plan.run = [options](const Globals& globals) { return Dumper(globals, *options).run(); };
  });
}

}  // namespace penstock::tool
