// penstock topic: create, list, describe, set, delete.
#include "tools/penstock/json.hpp"
#include "tools/penstock/output.hpp"
#include "tools/penstock/session.hpp"

namespace penstock::tool {
namespace {

using std::chrono::nanoseconds;

// What was given; the rest is the bus's defaults, or stays as it is.
struct TopicFlags {
  std::string name;
  std::optional<Durability> durability;
  std::optional<std::uint64_t> ring, max_payload, retention_bytes;
  std::optional<Full> full;
  std::optional<nanoseconds> retention_time;
  std::optional<std::uint64_t> publish_dedupe;
  std::optional<bool> retain_unacked;
  std::optional<bool> compact;
  bool single_producer = false;
};

TopicOptions over(TopicOptions options, const TopicFlags& flags) {
  options.durability = flags.durability.value_or(options.durability);
  options.ring_bytes = flags.ring.value_or(options.ring_bytes);
  options.max_payload = flags.max_payload.value_or(options.max_payload);
  options.full = flags.full.value_or(options.full);
  options.retention_bytes = flags.retention_bytes.value_or(options.retention_bytes);
  options.retention_time = flags.retention_time.value_or(options.retention_time);
  if (flags.publish_dedupe) options.publish_dedupe = static_cast<std::uint32_t>(*flags.publish_dedupe);
  options.single_producer = options.single_producer || flags.single_producer;
  options.retain_unacked = flags.retain_unacked.value_or(options.retain_unacked);
  options.compact = flags.compact.value_or(options.compact);
  return options;
}

int print(const Globals& globals, const std::vector<TopicInfo>& topics) {
  Out out;
  Table table({"TOPIC", "DURABILITY", "FIRST", "NEXT", "DURABLE", "RING", "DISK", "PRODUCERS"});
  for (const TopicInfo& t : topics) {
    if (globals.json) out << line(topic_json(t));
    const bool disk = t.options.durability == Durability::disk;
    table.add({t.name, name_of(t.options.durability), std::to_string(t.first_offset), std::to_string(t.next_offset),
               disk ? std::to_string(t.durable_offset) : "-", size_text(t.ring_bytes),
               disk ? size_text(t.disk_bytes) : "-", std::to_string(t.producers)});
  }
  if (!globals.json) table.print(out, globals.colored(1));
  return out.finish(kDone);
}

int describe(const Globals& globals, Bus& bus, const std::string& name) {
  const auto info = bus.describe_topic(name);
  if (!info) return complain(info.error(), name);
  Out out;
  const Json object = topic_json(*info);
  if (globals.json) return (out << line(object)).finish(kDone);
  for (const auto& [key, value] : object.items()) {
    out << key << ": " << (value.is_string() ? value.get<std::string>() : value.is_null() ? "-" : value.dump()) << "\n";
  }
  return out.finish(kDone);
}

int list(const Globals& globals, Bus& bus) {
  const auto names = bus.topics();
  if (!names) return complain(names.error());
  std::vector<TopicInfo> topics;
  for (const std::string& name : *names) {
    auto info = bus.describe_topic(name);
    if (!info && info.error().code() == Errc::not_found) continue;  // deleted meanwhile
    if (!info) return complain(info.error(), name);
    topics.push_back(std::move(*info));
  }
  return print(globals, topics);
}

int create(const Globals& globals, const TopicFlags& flags) {
  if (!valid_name(flags.name)) {  // before a bus is made for it
    return complain(kUsage, "'" + flags.name + "' is no topic's name; names are words of [A-Za-z0-9_-] joined by dots");
  }
  int code = kDone;
  auto bus = open_bus(globals, code, true);
  if (!bus) return code;
  if (const auto made = bus->create_topic(flags.name, over(bus->topic_defaults(), flags)); !made) {
    return complain(made.error(), flags.name);
  }
  return globals.json ? describe(globals, *bus, flags.name) : kDone;
}

int set(const Globals& globals, Bus& bus, const TopicFlags& flags) {
  const auto info = bus.describe_topic(flags.name);
  if (!info) return complain(info.error(), flags.name);
  const TopicOptions wanted = over(info->options, flags);
  if (flags.retention_bytes || flags.retention_time) {
    const auto done = bus.set_retention(flags.name, wanted.retention_bytes, wanted.retention_time);
    if (!done) return complain(done.error(), flags.name);
  }
  if (flags.retain_unacked) {
    const auto done = bus.set_retain_unacked(flags.name, wanted.retain_unacked);
    if (!done) return complain(done.error(), flags.name);
  }
  if (flags.compact) {
    const auto done = bus.set_compaction(flags.name, wanted.compact);
    if (!done) return complain(done.error(), flags.name);
  }
  return globals.json ? describe(globals, bus, flags.name) : kDone;
}

int remove(const Globals& globals, Bus& bus, const std::string& name, const Consent& consent) {
  const auto info = bus.describe_topic(name);
  if (!info) return complain(info.error(), name);
  Out out;
  const std::uint64_t events = info->next_offset - std::min(info->next_offset, info->first_offset);
  if (!consent.yes || consent.dry_run) {
    if (globals.json) {
      out << line({{"topic", name}, {"events", events}, {"disk_bytes", info->disk_bytes}, {"removed", false}});
    } else {
      out << "would remove topic " << name << " with about " << std::to_string(events) << " events, "
          << size_text(info->disk_bytes) << " on disk\n";
    }
    out.flush();
  }
  if (const auto refused = consent.refusal("remove topic " + name)) return out.finish(*refused);
  const auto done = bus.delete_topic(name);
  if (!done) return complain(done.error(), name);
  if (globals.json) {
    out << line({{"topic", name}, {"events", events}, {"disk_bytes", info->disk_bytes}, {"removed", true}});
  }
  return out.finish(kDone);
}

CLI::Option* add_retention(CLI::App& app, TopicFlags& flags) {
  add_parsed(app, "--retention-bytes", flags.retention_bytes, parse_size, "Disk to keep; 0 is no bound")
      ->type_name("SIZE");
  add_parsed(app, "--retention-time", flags.retention_time, parse_duration, "How long to keep events; 0 is no bound")
      ->type_name("DUR");
  return app.add_flag_callback(
      "--retain-unacked", [&flags] { flags.retain_unacked = true; }, "Keep what a group has not acked");
}

CLI::App* add_create(CLI::App& topic, const std::shared_ptr<TopicFlags>& flags, Plan& plan) {
  CLI::App* create_app = topic.add_subcommand("create", "Make a topic, and the bus when it is missing");
  create_app->add_option("NAME", flags->name, "Words of [A-Za-z0-9_-] joined by dots")->required();
  add_choice<Durability>(*create_app, "--durability", flags->durability,
                         {{"memory", Durability::memory}, {"disk", Durability::disk}}, "memory or disk [disk]");
  add_parsed(*create_app, "--ring", flags->ring, parse_size, "64KiB to 16GiB [16MiB]")->type_name("SIZE");
  add_choice<Full>(*create_app, "--full", flags->full,
                   {{"block", Full::block}, {"fail", Full::fail}, {"drop_oldest", Full::drop_oldest}},
                   "When the ring is full: block, fail or drop_oldest [block]");
  create_app->add_flag("--single-producer", flags->single_producer, "One producer at a time, which is faster");
  add_retention(*create_app, *flags);
  add_parsed(
      *create_app, "--publish-dedupe", flags->publish_dedupe,
      [](const std::string& text) -> Parsed<std::uint64_t> {
        auto count = parse_number(text);
        if (count && *count > 0xffffffffu) return tl::unexpected("'" + text + "' is too large");
        return count;
      },
      "Refuse ids among the last N [0: off]")
      ->type_name("N");
  add_parsed(*create_app, "--max-payload", flags->max_payload, parse_size,
             "The largest payload [a quarter of the ring]")
      ->type_name("SIZE");
  create_app->add_flag_callback(
      "--compact", [flags] { flags->compact = true; }, "Keep the last event of each key");
  create_app->footer("Example:\n  penstock topic create ticks --durability memory --ring 64MiB --full drop_oldest");
  create_app->callback(
      [flags, &plan] { plan.run = [flags](const Globals& globals) { return create(globals, *flags); }; });
  return create_app;
}

void add_set(CLI::App& topic, const std::shared_ptr<TopicFlags>& flags, Plan& plan) {
  CLI::App* set_app = topic.add_subcommand("set", "Change what a topic keeps");
  set_app->add_option("NAME", flags->name, "The topic")->required();
  CLI::Option* unacked = add_retention(*set_app, *flags);
  set_app
      ->add_flag_callback(
          "--no-retain-unacked", [flags] { flags->retain_unacked = false; }, "Keep no more than what groups have taken")
      ->excludes(unacked);
  CLI::Option* compact = set_app->add_flag_callback(
      "--compact", [flags] { flags->compact = true; }, "Keep the last event of each key");
  set_app
      ->add_flag_callback(
          "--no-compact", [flags] { flags->compact = false; }, "Keep all from now on")
      ->excludes(compact);
  set_app->footer(
      "Example:\n  penstock topic set orders --retention-time 7d --retention-bytes 10GiB\n"
      "What else a topic was made with stays as it is: delete it and create it anew to change that.");
  set_app->callback([flags, &plan] {
    if (!flags->retention_bytes && !flags->retention_time && !flags->retain_unacked && !flags->compact) {
      throw CLI::ValidationError(
          "topic set", "give --retention-bytes, --retention-time, --[no-]retain-unacked, --compact or --no-compact");
    }
    plan.run = [flags](const Globals& globals) {
      return with_bus(globals, [&](Bus& bus) { return set(globals, bus, *flags); });
    };
  });
}

}  // namespace

void add_topic(CLI::App& app, Plan& plan) {
  CLI::App* topic = app.add_subcommand("topic", "Make, look at, change and remove topics");
  topic->require_subcommand(1, 1);
  auto flags = std::make_shared<TopicFlags>();
  auto consent = std::make_shared<Consent>();
  add_create(*topic, flags, plan);
  add_set(*topic, flags, plan);

  CLI::App* list_app = topic->add_subcommand("list", "All topics");
  list_app->footer("Example:\n  penstock topic list --json");
  list_app->callback([&plan] {
    plan.run = [](const Globals& globals) { return with_bus(globals, [&](Bus& bus) { return list(globals, bus); }); };
  });

  CLI::App* describe_app = topic->add_subcommand("describe", "One topic");
  describe_app->add_option("NAME", flags->name, "The topic")->required();
  describe_app->footer("Example:\n  penstock topic describe payment.confirmed --json");
  describe_app->callback([flags, &plan] {
    plan.run = [flags](const Globals& globals) {
      return with_bus(globals, [&](Bus& bus) { return describe(globals, bus, flags->name); });
    };
  });

  CLI::App* delete_app = topic->add_subcommand("delete", "Remove a topic with its events");
  delete_app->add_option("NAME", flags->name, "The topic")->required();
  consent->add_to(*delete_app);
  delete_app->footer("Example:\n  penstock topic delete scratch --yes");
  delete_app->callback([flags, consent, &plan] {
    plan.run = [flags, consent](const Globals& globals) {
      return with_bus(globals, [&](Bus& bus) { return remove(globals, bus, flags->name, *consent); });
    };
  });
}

}  // namespace penstock::tool
