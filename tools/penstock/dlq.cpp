// penstock dlq: the dead letters of groups; look at them, give them back, throw them away, take them elsewhere.
#include <unistd.h>

#include <algorithm>

#include "tools/penstock/format.hpp"
#include "tools/penstock/json.hpp"
#include "tools/penstock/output.hpp"
#include "tools/penstock/session.hpp"
#include "tools/penstock/signals.hpp"

namespace penstock::tool {
namespace {

struct DlqFlags {
  std::string group;
  std::optional<std::uint64_t> most;
  RedriveFilter filter;
  std::optional<double> rate;  // letters a second
  Consent consent;
};

// What is needed of a letter after the visit.
struct Letter {
  Offset offset;
  DeadLetter history;
  std::optional<std::string> key;
};

bool passes(const RedriveFilter& filter, const EventView& event, const DeadLetter& letter) {
  if (filter.offset && event.offset() != *filter.offset) return false;
  if (filter.key && event.key() != *filter.key) return false;
  if (filter.error_class && letter.error_class != *filter.error_class) return false;
  return !filter.since || letter.last_failure >= *filter.since;
}

Result<std::vector<Letter>> collect(Bus& bus, const DlqFlags& flags) {
  std::vector<Letter> letters;
  const auto visited = bus.dead_letters(flags.group, [&](const EventView& event, const DeadLetter& letter) {
    if (passes(flags.filter, event, letter)) {
      letters.push_back(
          {event.offset(), letter, event.key() ? std::optional<std::string>(*event.key()) : std::nullopt});
    }
    return !(flags.filter.offset && event.offset() >= *flags.filter.offset) && !stopping();
  });
  if (!visited) return tl::unexpected(visited.error());
  return letters;
}

int list(const Globals& globals, Bus& bus) {
  const auto groups = bus.groups();
  if (!groups) return complain(groups.error());
  Out out;
  int code = kDone;
  Table table({"GROUP", "LETTERS", "OLDEST", "NEWEST", "REDRIVEN"});
  for (const std::string& group : *groups) {
    std::uint64_t count = 0;
    Timestamp oldest{}, newest{};
    const auto visited = bus.dead_letters(group, [&](const EventView&, const DeadLetter& letter) {
      if (count++ == 0) oldest = letter.last_failure;
      newest = letter.last_failure;
      return !stopping();
    });
    if (!visited && visited.error().code() == Errc::not_found) continue;    // deleted meanwhile
    if (!visited) code = std::max(code, complain(visited.error(), group));  // the others are listed all the same
    if (!visited) continue;
    const auto info = bus.describe_group(group);
    const std::uint64_t redriven = info ? info->redriven : 0;
    const auto when = [&](Timestamp time) { return count > 0 ? Json(time_text(time)) : Json(nullptr); };
    if (globals.json) {
      out << line({{"group", group},
                   {"topic", group + ".dlq"},
                   {"letters", count},
                   {"oldest", when(oldest)},
                   {"newest", when(newest)},
                   {"redriven", redriven}});
    }
    if (count > 0 || redriven > 0) {
      table.add({group, std::to_string(count), count > 0 ? time_text(oldest) : "-", count > 0 ? time_text(newest) : "-",
                 std::to_string(redriven)});
    }
  }
  if (!globals.json) table.print(out, globals.colored(1));
  return out.finish(stopping() ? kInterrupted : code);
}

void show_text(std::string& out, const EventView& event, const DeadLetter& letter) {
  out += std::to_string(event.offset()) + "  " + letter.topic + "@" + std::to_string(letter.offset) + "  " +
         letter.disposition + " after " + std::to_string(letter.attempts) + " attempts, last " +
         time_text(letter.last_failure) + " by " + (letter.member.empty() ? "-" : letter.member) + "\n";
  out += "  " + (letter.error_class.empty() ? std::string("-") : escaped(letter.error_class)) + ": " +
         escaped(letter.reason);
  if (letter.redrives > 0) out += " (redriven " + std::to_string(letter.redrives) + " times before)";
  out += "\n  id " + id_for_people(event) + ", key " + (event.key() ? escaped(*event.key()) : "-") + ", " +
         std::to_string(event.payload().size()) + " bytes: " + escaped(text_of(event.payload()).substr(0, 200)) + "\n";
}

// Letters in full: for people, or as events in JSON, which is also how they are exported.
int show(const Globals& globals, Bus& bus, const DlqFlags& flags, bool json) {
  Out out;
  std::uint64_t count = 0;
  const auto visited = bus.dead_letters(flags.group, [&](const EventView& event, const DeadLetter& letter) {
    if (flags.most && count >= *flags.most) return false;
    if (json)
      append_event(out.buffer(), event, {.letter = &letter});
    else
      show_text(out.buffer(), event, letter);
    ++count;
    return out.drain() && !stopping();
  });
  if (!visited) return out.finish(complain(visited.error(), flags.group));
  if (count == 0) note(globals, "group " + flags.group + " has no dead letters");
  return out.finish(stopping() ? kInterrupted : kDone);
}

Json letter_json(const std::string& group, const Letter& letter) {
  return {{"group", group},
          {"offset", letter.offset},
          {"topic", letter.history.topic},
          {"origin_offset", letter.history.offset},
          {"key", letter.key ? Json(*letter.key) : Json(nullptr)},
          {"error_class", letter.history.error_class}};
}

// What redrive and purge have in common: pick letters, show them or take each.
struct Work {
  const char* verb;  // redrive, purge
  const char* done;  // redriven, purged
  Result<void> (Bus::*take)(std::string_view, Offset);
};

int report(const Globals& globals, Out& out, const DlqFlags& flags, const Work& work, std::uint64_t count, bool dry_run,
           int code) {
  if (globals.json) {
    out << line({{"group", flags.group}, {work.done, count}, {"dry_run", dry_run}});
  } else {
    out << (dry_run ? "would be " : "") << work.done << ": " << std::to_string(count) << "\n";
  }
  return out.finish(code);
}

void show_one(const Globals& globals, Out& out, const DlqFlags& flags, const Letter& letter, const Work& work,
              bool done) {
  if (globals.json) {
    Json object = letter_json(flags.group, letter);
    object[work.done] = done;
    out << line(object);
  } else if (!done) {
    out << std::to_string(letter.offset) << "  " << letter.history.topic << "@" << std::to_string(letter.history.offset)
        << "  " << escaped(letter.history.error_class) << ": " << escaped(letter.history.reason) << "\n";
  }
}

int take_each(const Globals& globals, Bus& bus, const DlqFlags& flags, const Work& work,
              const std::vector<Letter>& letters) {
  Out out;
  Progress progress(!globals.quiet, "letters");
  progress.total(letters.size());
  std::uint64_t count = 0;
  const auto start = std::chrono::steady_clock::now();
  for (const Letter& letter : letters) {
    if (stopping()) break;
    const auto taken = (bus.*work.take)(flags.group, letter.offset);
    if (!taken && taken.error().code() == Errc::not_found) continue;  // somebody else was faster
    if (!taken) {
      progress.clear();
      const std::string which = flags.group + " letter " + std::to_string(letter.offset);
      return report(globals, out, flags, work, count, false, complain(taken.error(), which));
    }
    show_one(globals, out, flags, letter, work, true);
    ++count;
    progress.show(count, count);
    if (!out.drain()) break;
    if (!flags.rate) continue;
    out.flush();
    const auto due = start + std::chrono::duration<double>(static_cast<double>(count) / *flags.rate);
    while (std::chrono::steady_clock::now() < due && !stopping()) ::usleep(1000);
  }
  progress.clear();
  const int code = report(globals, out, flags, work, count, false, stopping() ? kInterrupted : kDone);
  if (code != kInterrupted) return code;
  return complain(code, std::string(work.verb) + ": interrupted after " + std::to_string(count) + " of " +
                            std::to_string(letters.size()) + " letters; the same command goes on with the others");
}

int work_on(const Globals& globals, Bus& bus, const DlqFlags& flags, const Work& work, bool wants_yes) {
  const auto letters = collect(bus, flags);
  if (!letters) return complain(letters.error(), flags.group);
  if (flags.filter.offset && letters->empty()) {
    return complain(kNotFound, "group " + flags.group + " has no dead letter " + std::to_string(*flags.filter.offset) +
                                   "; look at 'penstock dlq show " + flags.group + "'");
  }
  if (!flags.consent.dry_run && (flags.consent.yes || !wants_yes))
    return take_each(globals, bus, flags, work, *letters);
  Out out;
  for (const Letter& letter : *letters) show_one(globals, out, flags, letter, work, false);
  const int code = report(globals, out, flags, work, letters->size(), true, kDone);
  return flags.consent.refusal(std::string(work.verb) + " them").value_or(code);
}

void add_filter(CLI::App& app, DlqFlags& flags) {
  add_parsed(app, "--offset", flags.filter.offset, parse_number, "The letter at this offset of the DLQ")
      ->type_name("N");
  app.add_option("--key", flags.filter.key, "Letters of this key");
  app.add_option("--error-class", flags.filter.error_class, "Letters that failed so, such as exit-1");
  add_parsed(
      app, "--since", flags.filter.since, [](const std::string& text) { return parse_time(text, current_time()); },
      "Letters whose last failure is not older")
      ->type_name("TIME");
}

CLI::App* add(CLI::App& dlq, const std::shared_ptr<DlqFlags>& flags, Plan& plan, const char* name, const char* help,
              const char* example, int (*use)(const Globals&, Bus&, const DlqFlags&)) {
  CLI::App* sub = dlq.add_subcommand(name, help);
  sub->add_option("GROUP", flags->group, "The group whose deliveries failed")->required();
  sub->footer(std::string("Example:\n  penstock dlq ") + example);
  sub->callback([flags, use, &plan] {
    plan.run = [flags, use](const Globals& globals) {
      return with_bus(globals, [&](Bus& bus) { return use(globals, bus, *flags); });
    };
  });
  return sub;
}

void add_redrive(CLI::App& dlq, const std::shared_ptr<DlqFlags>& flags, Plan& plan) {
  CLI::App* redrive =
      add(dlq, flags, plan, "redrive", "Give letters back to the group that failed, all or those chosen",
          "redrive fulfillment --error-class carrier --since -1h --dry-run",
          [](const Globals& g, Bus& bus, const DlqFlags& f) {
            return work_on(g, bus, f, {"redrive", "redriven", &Bus::redrive}, false);
          });
  add_filter(*redrive, *flags);
  redrive->add_option("--rate", flags->rate, "At most N letters a second")->check(CLI::PositiveNumber)->type_name("N");
  redrive->add_flag("--dry-run", flags->consent.dry_run, "Only show which");
}

}  // namespace

void add_dlq(CLI::App& app, Plan& plan) {
  CLI::App* dlq = app.add_subcommand("dlq", "Dead letters: what failed for good, and giving it back");
  dlq->require_subcommand(1, 1);
  auto flags = std::make_shared<DlqFlags>();
  CLI::App* list_app = dlq->add_subcommand("list", "Which groups have dead letters");
  list_app->footer("Example:\n  penstock dlq list");
  list_app->callback([&plan] {
    plan.run = [](const Globals& globals) { return with_bus(globals, [&](Bus& bus) { return list(globals, bus); }); };
  });
  CLI::App* show_app = add(*dlq, flags, plan, "show", "A group's letters, oldest first", "show fulfillment -n 10",
                           [](const Globals& g, Bus& bus, const DlqFlags& f) { return show(g, bus, f, g.json); });
  add_parsed(*show_app, "-n", flags->most, parse_number, "At most N")->type_name("N");
  add_redrive(*dlq, flags, plan);
  CLI::App* purge = add(*dlq, flags, plan, "purge", "Mark letters as done with; the log keeps them",
                        "purge fulfillment --yes", [](const Globals& g, Bus& bus, const DlqFlags& f) {
                          return work_on(g, bus, f, {"purge", "purged", &Bus::purge}, true);
                        });
  add_filter(*purge, *flags);
  flags->consent.add_to(*purge);
  add(*dlq, flags, plan, "export", "A group's letters as JSON, one a line", "export fulfillment > letters.ndjson",
      [](const Globals& g, Bus& bus, const DlqFlags& f) { return show(g, bus, f, true); });
}

}  // namespace penstock::tool
