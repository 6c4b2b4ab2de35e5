// penstock pub: events from a word or from stdin. What one read() brought is published before the next one blocks.
#include "tools/penstock/publisher.hpp"

namespace penstock::tool {
namespace {

using std::chrono::nanoseconds;

int pub(const Globals& globals, const PubOptions& options) {
  if (!valid_name(options.topic)) {
    return complain(kUsage,
                    "'" + options.topic + "' is no topic's name; names are words of [A-Za-z0-9_-] joined by dots");
  }
  int code = kDone;
  auto bus = open_bus(globals, code, true);
  if (!bus) return code;
  auto producer = bus->producer(options.topic, {.block = std::min<nanoseconds>(options.wait, kPublishSlice)});
  if (!producer) return complain(producer.error(), options.topic);
  const auto info = bus->describe_topic(options.topic);
  if (!info) return complain(info.error(), options.topic);
  if (options.await_disk && info->options.durability == Durability::memory) {
    return complain(kUsage, "pub " + options.topic +
                                ": the topic lives in memory and is never on disk; leave --await disk out, or make "
                                "the topic with --durability disk");
  }
  return Publisher(globals, options, std::move(*producer), info->options).run();
}

void check_header(PubOptions& options, const std::vector<std::string>& given) {
  for (const std::string& text : given) {
    const std::size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos)
      throw CLI::ValidationError("-H", "'" + text + "' is no header; give name=value");
    options.headers.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
}

}  // namespace

void add_pub(CLI::App& app, Plan& plan) {
  CLI::App* sub = app.add_subcommand("pub", "Publish events: a word, or one a line of stdin");
  auto options = std::make_shared<PubOptions>();
  sub->add_option("TOPIC", options->topic, "The topic; made with the bus's defaults when missing")->required();
  CLI::Option* payload = sub->add_option("PAYLOAD", options->payload, "One event; without it stdin is read");
  CLI::Option* whole = sub->add_flag("--whole", options->whole, "All of stdin is one event");
  sub->add_flag("--null", options->null, "NUL ends an event, not a newline")->excludes(whole);
  CLI::Option* key = sub->add_option("--key", options->key, "The key of every event");
  add_parsed(*sub, "--key-delim", options->key_delimiter, parse_delimiter, "The text before the first C is the key")
      ->type_name("C")
      ->excludes(key);
  CLI::Option* id = sub->add_option("--id", options->id, "The event's id, which deduplicates");
  add_choice<IdFrom>(*sub, "--id-from", options->id_from, {{"payload", IdFrom::payload}, {"key", IdFrom::key}},
                     "payload or key: what tells events apart (of payloads over 1 KiB their hash)")
      ->excludes(id);
  sub->add_option_function<std::vector<std::string>>(
         "-H,--header", [options](const std::vector<std::string>& given) { check_header(*options, given); },
         "A header, name=value; repeatable")
      ->allow_extra_args(false);
  sub->add_option("--deliver-at", options->deliver_at, "Consumers see it from then on: a time, or +30s")
      ->check([](const std::string& text) {
        const auto time = parse_time(text, current_time());
        return time ? std::string() : time.error();
      });
  add_parsed(*sub, "--ttl", options->ttl, parse_duration, "After this it expires")->type_name("DUR");
  sub->add_flag("--cloudevents", options->cloudevents, "Each event is a CloudEvent in JSON");
  sub->add_option_function<std::string>(
         "--await",
         [options](const std::string& text) {
           if (text != "disk") throw CLI::ValidationError("--await", "'" + text + "' cannot be awaited; give disk");
           options->await_disk = true;
         },
         "disk: success only once the events are on disk")
      ->type_name("disk");
  add_parsed(*sub, "--wait", options->wait, parse_duration, "How long to wait for a full ring [10s]")->type_name("DUR");
  sub->footer(
      "Example:\n  penstock pub payment.confirmed '{\"order\":17}' --id pay-91 --key order-17 --await disk\n"
      "  seq 1000000 | penstock pub numbers");
  sub->callback([options, payload, key, id, &plan] {
    options->has_payload = payload->count() > 0;
    options->has_key = key->count() > 0;
    options->has_id = id->count() > 0;
    if (options->has_id && options->id.empty())
      throw CLI::ValidationError("--id", "an id cannot be empty; leave it out");
    if (options->has_payload && (options->whole || options->null)) {
      throw CLI::ValidationError("PAYLOAD", "--whole and --null are for stdin; leave them or PAYLOAD out");
    }
    plan.run = [options](const Globals& globals) { return pub(globals, *options); };
  });
}

}  // namespace penstock::tool
