// penstock group: list, describe, set, pending, seek, pause, resume, delete.
#include <algorithm>

#include "tools/penstock/group_options.hpp"
#include "tools/penstock/json.hpp"
#include "tools/penstock/output.hpp"
#include "tools/penstock/session.hpp"

namespace penstock::tool {
namespace {

struct GroupFlags {
  std::string name, to;
  std::vector<std::string> patterns;
  ConsumerOptions options;
  bool keys = false;
  Consent consent;
};

std::string joined(const std::vector<std::string>& words) {
  std::string result;
  for (const std::string& word : words) result += (result.empty() ? "" : " ") + word;
  return result.empty() ? "-" : result;
}

int list(const Globals& globals, Bus& bus) {
  const auto names = bus.groups();
  if (!names) return complain(names.error());
  Out out;
  int code = kDone;
  Table table({"GROUP", "SUBSCRIPTIONS", "MEMBERS", "ORDERING", "STATE"});
  for (const std::string& name : *names) {
    const auto info = bus.describe_group(name);
    if (!info && info.error().code() == Errc::not_found) continue;   // deleted meanwhile
    if (!info) code = std::max(code, complain(info.error(), name));  // the others are listed all the same
    if (!info) continue;
    if (globals.json) out << line(group_json(*info));
    table.add({name, joined(info->patterns), std::to_string(info->members),
               name_of(info->options.ordering.value_or(Ordering::parallel)), info->paused ? "paused" : "active"});
  }
  if (!globals.json) table.print(out, globals.colored(1));
  return out.finish(code);
}

void print_options(Out& out, const GroupInfo& info) {
  const Json object = group_json(info);
  out << info.group << (info.paused ? " (paused)" : "") << ": " << joined(info.patterns) << "\n";
  for (const char* key :
       {"max_attempts", "backoff", "lease", "ordering", "max_in_flight", "dedupe", "dedupe_age", "expired"}) {
    const Json& value = object[key];
    std::string text = value.is_string() ? value.get<std::string>() : value.is_null() ? "-" : value.dump();
    if (value.is_array()) text = joined(value.get<std::vector<std::string>>());
    out << "  " << key << ": " << text << "\n";
  }
}

int describe(const Globals& globals, Bus& bus, const std::string& name) {
  const auto info = bus.describe_group(name);
  if (!info) return complain(info.error(), name);
  const auto topics = bus.group_topics(name);
  if (!topics) return complain(topics.error(), name);
  Out out;
  if (!globals.json) print_options(out, *info);
  Table table({"TOPIC", "COMMITTED", "NEXT", "LAG", "IN-FLIGHT", "RETRYING", "QUEUED", "OLDEST-MS", "DELIVERED",
               "ACKED", "REDELIVERED", "DUPLICATES", "DEAD", "MEMBERS"});
  for (const GroupTopicInfo& t : *topics) {
    if (globals.json) out << line(group_topic_json(t));
    table.add({t.topic, std::to_string(t.committed), std::to_string(t.next_offset), std::to_string(t.lag),
               std::to_string(t.in_flight), std::to_string(t.retrying), std::to_string(t.queued),
               std::to_string(t.oldest_pending_ms), std::to_string(t.delivered), std::to_string(t.acked),
               std::to_string(t.redelivered), std::to_string(t.duplicates_skipped), std::to_string(t.dead_lettered),
               std::to_string(t.members)});
  }
  if (!globals.json) table.print(out, globals.colored(1));
  if (!globals.json) {
    for (const GroupTopicInfo& t : *topics) {
      if (t.full != 0)
        out << t.topic << ": " << std::to_string(t.full)
            << " times no more events could be unsettled at once; those behind them wait in the log\n";
      if (t.dead_letters_wait) out << t.topic << ": dead letters wait: " << *t.dead_letters_wait << "\n";
    }
  }
  return out.finish(kDone);
}

// The key of one event, from the log; nothing when it has none or is gone.
std::optional<std::string> key_of(const std::string& directory, const std::string& topic, Offset offset) {
  const auto log = Log::open(directory, topic);
  std::optional<std::string> key;
  if (!log) return key;
  LogVisitor visitor;
  visitor.event = [&](const EventView& event) {
    if (event.offset() == offset && event.key()) key = std::string(*event.key());
    return false;
  };
  visitor.aborted = [](Offset, std::uint64_t) { return false; };
  visitor.damage = [](const Damage&) { return false; };
  (void)log->scan({.from = StartAt::offset(offset), .to_offset = offset + 1}, visitor);
  return key;
}

// In a group ordered by key: one row a key that has an unsettled event.
int pending_keys(const Globals& globals, Bus& bus, const std::string& name) {
  const auto all = bus.group_keys(name);
  if (!all) return complain(all.error(), name);
  Out out;
  Table table({"TOPIC", "KEY", "OFFSET", "STATE", "ATTEMPT", "BEHIND", "SINCE"});
  for (const KeyInfo& k : *all) {
    if (globals.json) out << line(key_json(name, k));
    table.add({k.topic, k.key ? escaped(*k.key) : "-", std::to_string(k.offset), k.state, std::to_string(k.attempt),
               std::to_string(k.behind), time_text(k.since)});
  }
  if (!globals.json) table.print(out, globals.colored(1));
  return out.finish(kDone);
}

int pending(const Globals& globals, Bus& bus, const GroupFlags& flags) {
  if (flags.keys) {
    const auto info = bus.describe_group(flags.name);
    if (!info) return complain(info.error(), flags.name);
    if (info->options.ordering == Ordering::key) return pending_keys(globals, bus, flags.name);
  }
  const auto all = bus.group_pending(flags.name);
  if (!all) return complain(all.error(), flags.name);
  Out out;
  std::vector<std::string> header{"TOPIC", "OFFSET", "STATE", "ATTEMPTS", "DUE", "MEMBER", "REASON"};
  if (flags.keys) header.insert(header.begin() + 2, "KEY");
  Table table(header);
  for (const PendingInfo& p : *all) {
    const auto key = flags.keys ? key_of(globals.directory(), p.topic, p.offset) : std::nullopt;
    if (globals.json) {
      Json object = pending_json(flags.name, p);
      if (flags.keys) object["key"] = key ? Json(*key) : Json(nullptr);
      out << line(object);
    }
    const std::string why = p.error_class.empty() ? p.reason : p.error_class + ": " + p.reason;
    std::vector<std::string> row{p.topic,
                                 std::to_string(p.offset),
                                 p.state,
                                 std::to_string(p.attempts),
                                 p.due == Timestamp{} ? "-" : time_text(p.due),
                                 p.member.empty() ? "-" : p.member,
                                 escaped(why)};
    if (flags.keys) row.insert(row.begin() + 2, key ? escaped(*key) : "-");
    table.add(std::move(row));
  }
  if (!globals.json) table.print(out, globals.colored(1));
  return out.finish(kDone);
}

int seek(Bus& bus, const GroupFlags& flags) {
  const auto to = parse_start(flags.to, current_time());
  if (!to) return complain(kUsage, "--to: " + to.error());
  const auto done = bus.seek_group(flags.name, *to);
  return done ? kDone : complain(done.error(), flags.name);
}

int set(Bus& bus, const GroupFlags& flags) {
  const auto done = bus.set_group(flags.name, flags.patterns, flags.options);
  return done ? kDone : complain(done.error(), flags.name);
}

int remove(const Globals& globals, Bus& bus, const GroupFlags& flags) {
  const auto topics = bus.group_topics(flags.name);
  if (!topics) return complain(topics.error(), flags.name);
  Out out;
  std::uint64_t lag = 0;
  for (const GroupTopicInfo& t : *topics) lag += t.lag;
  const bool show = !flags.consent.yes || flags.consent.dry_run;
  if (show && globals.json) out << line({{"group", flags.name}, {"lag", lag}, {"removed", false}});
  if (show && !globals.json) {
    out << "would remove group " << flags.name << " and its progress; " << std::to_string(lag)
        << " events are unsettled\n";
  }
  out.flush();
  if (const auto refused = flags.consent.refusal("remove group " + flags.name)) return out.finish(*refused);
  const auto done = bus.delete_group(flags.name);
  if (!done) return complain(done.error(), flags.name);
  if (globals.json) out << line({{"group", flags.name}, {"lag", lag}, {"removed", true}});
  return out.finish(kDone);
}

using Use = int (*)(const Globals&, Bus&, const GroupFlags&);

// A subcommand of one group that runs `use` on the bus.
CLI::App* add(CLI::App& group, const std::shared_ptr<GroupFlags>& flags, Plan& plan, const char* name, const char* help,
              const char* example, Use use) {
  CLI::App* sub = group.add_subcommand(name, help);
  sub->add_option("GROUP", flags->name, "The group")->required();
  sub->footer(std::string("Example:\n  penstock group ") + example);
  sub->callback([flags, use, &plan] {
    plan.run = [flags, use](const Globals& globals) {
      return with_bus(globals, [&](Bus& bus) { return use(globals, bus, *flags); });
    };
  });
  return sub;
}

int pause(Bus& bus, const GroupFlags& flags, bool paused) {
  const auto done = bus.pause_group(flags.name, paused);
  return done ? kDone : complain(done.error(), flags.name);
}

void add_set(CLI::App& group, const std::shared_ptr<GroupFlags>& flags, Plan& plan) {
  CLI::App* sub = add(group, flags, plan, "set", "Change a group's options and subscriptions",
                      "set fulfillment 'payment.*' --max-attempts 8 --backoff 1s,10s,1m",
                      [](const Globals&, Bus& bus, const GroupFlags& f) { return set(bus, f); });
  sub->add_option("PATTERN", flags->patterns, "Its subscriptions from now on; none: as they are");
  add_group_options(*sub, flags->options);
  const auto run = [flags, &plan] {
    if (flags->patterns.empty() && !any_given(flags->options)) {
      throw CLI::ValidationError("group set: give what to change, an option or a subscription");
    }
    plan.run = [flags](const Globals& globals) {
      return with_bus(globals, [&](Bus& bus) { return set(bus, *flags); });
    };
  };
  sub->callback(run);
}

}  // namespace

void add_group(CLI::App& app, Plan& plan) {
  CLI::App* group = app.add_subcommand("group", "Look at and steer consumer groups");
  group->require_subcommand(1, 1);
  auto flags = std::make_shared<GroupFlags>();
  CLI::App* list_app = group->add_subcommand("list", "All groups");
  list_app->footer("Example:\n  penstock group list");
  list_app->callback([&plan] {
    plan.run = [](const Globals& globals) { return with_bus(globals, [&](Bus& bus) { return list(globals, bus); }); };
  });
  add(*group, flags, plan, "describe", "A group's options, and where it is in each topic",
      "describe fulfillment --json",
      [](const Globals& g, Bus& bus, const GroupFlags& f) { return describe(g, bus, f.name); });
  add_set(*group, flags, plan);
  add(*group, flags, plan, "pending", "Events that are leased, wait for a retry, or for the DLQ",
      "pending fulfillment --keys", [](const Globals& g, Bus& bus, const GroupFlags& f) { return pending(g, bus, f); })
      ->add_flag("--keys", flags->keys,
                 "Ordered by key: the keys that hold back later events, by which event; else with the events' keys");
  add(*group, flags, plan, "seek", "Go on elsewhere", "seek analytics --to -1h",
      [](const Globals&, Bus& bus, const GroupFlags& f) { return seek(bus, f); })
      ->add_option("--to", flags->to, "beginning, end, an offset or a time")
      ->required()
      ->check([](const std::string& text) {
        const auto to = parse_start(text, current_time());
        if (to && to->kind() == StartAt::Kind::last)
          return std::string("'" + text + "' is for one topic; give an offset or a time");
        return to ? std::string() : to.error();
      });
  add(*group, flags, plan, "pause", "Give its members nothing until it is resumed", "pause fulfillment",
      [](const Globals&, Bus& bus, const GroupFlags& f) { return pause(bus, f, true); });
  add(*group, flags, plan, "resume", "Go on after a pause", "resume fulfillment",
      [](const Globals&, Bus& bus, const GroupFlags& f) { return pause(bus, f, false); });
  flags->consent.add_to(*add(*group, flags, plan, "delete", "Remove a group and its progress", "delete scratch --yes",
                             [](const Globals& g, Bus& bus, const GroupFlags& f) { return remove(g, bus, f); }));
}

}  // namespace penstock::tool
