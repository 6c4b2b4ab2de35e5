/* The bus, its topics and groups. */
#include "bindings/node/addon.h"

#include <stdlib.h>

void bus_release(Bus* used) {
  if (--used->users != 0) return;
  penstock_bus_close(used->open);
  used->open = NULL;
  if (used->collected) free(used);
}

static void collected(napi_env env, void* data, void* hint) {
  Bus* used = data;
  (void)env, (void)hint;
  used->collected = true;
  if (!used->closed)
    bus_release(used);
  else if (used->open == NULL)
    free(used);
}

static napi_value bus_close(Call* with) {
  Bus* on = handle_of(with, with->arguments[0], BUS);
  if (on == NULL || on->closed) return NULL;
  on->closed = true;
  bus_release(on);
  return NULL;
}

static napi_value bus_open(Call* with) {
  Arena text = {0};
  const char* directory = NULL;
  int64_t must_exist = 0;
  napi_value out = NULL;
  Bus* made = calloc(1, sizeof *made);
  if (made != NULL && TEXT(with, 0, &text, &directory) && integer_of(with->env, with->arguments[1], &must_exist)) {
    const penstock_bus_options options = {.struct_size = sizeof options, .must_exist = must_exist != 0};
    const int code = penstock_bus_open(directory, &options, &made->open);
    made->kind = BUS;
    made->users = 1;
    out = code != 0 ? failed(with, code) : external_of(with, made, collected);
    if (code == 0) made = NULL; /* the external's */
  }
  free(made);
  arena_free(&text);
  return out;
}

/* A call on a bus and a name: (bus, name, ...). */
typedef napi_value (*NamedCall)(Call*, penstock_bus*, const char* name);
static napi_value named(Call* with, NamedCall body) {
  Arena text = {0};
  const char* name = NULL;
  napi_value out = NULL;
  const Bus* on = handle_of(with, with->arguments[0], BUS);
  if (on != NULL && TEXT(with, 1, &text, &name)) out = body(with, on->open, name);
  arena_free(&text);
  return out;
}

static napi_value create(Call* with, penstock_bus* on, const char* topic) {
  int64_t given[9];
  if (!integers_of(with->env, with->arguments[2], given, 9)) return NULL;
  const penstock_topic_options options = {
      .struct_size = sizeof options,
      .durability = (int)given[0],
      .full = (int)given[1],
      .ring_bytes = (uint64_t)given[2],
      .max_payload = (uint64_t)given[3],
      .retention_bytes = (uint64_t)given[4],
      .retention_ms = given[5],
      .publish_dedupe = (uint32_t)given[6],
      .single_producer = given[7] != 0,
      .compact = given[8] != 0,
  };
  return done(with, penstock_topic_create(on, topic, &options));
}
static napi_value topic_create(Call* with) { return named(with, create); }

static napi_value delete_topic(Call* with, penstock_bus* on, const char* topic) {
  return done(with, penstock_topic_delete(on, topic));
}
static napi_value topic_delete(Call* with) { return named(with, delete_topic); }

typedef struct Property {
  const char* name;
  napi_value value;
} Property;
static napi_value object_of(napi_env env, const Property* properties, size_t count) {
  napi_value out = NULL;
  napi_create_object(env, &out);
  for (size_t i = 0; i < count; ++i) napi_set_named_property(env, out, properties[i].name, properties[i].value);
  return out;
}

static napi_value describe_topic(Call* with, penstock_bus* on, const char* topic) {
  napi_env env = with->env;
  penstock_topic_info info = {.struct_size = sizeof info};
  const int code = penstock_topic_describe(on, topic, &info);
  if (code != 0) return failed(with, code);
  const Property told[] = {
      {"firstOffset", offset_value(env, info.first_offset)},
      {"nextOffset", offset_value(env, info.next_offset)},
      {"durableOffset", offset_value(env, info.durable_offset)},
      {"ringBytes", number_value(env, (double)info.ring_bytes)},
      {"diskBytes", number_value(env, (double)info.disk_bytes)},
      {"producers", number_value(env, info.producers)},
      {"readers", number_value(env, info.readers)},
      {"durableError", number_value(env, info.durable_error)},
  };
  return object_of(env, told, sizeof told / sizeof *told);
}
static napi_value topic_describe(Call* with) { return named(with, describe_topic); }

const Method bus_methods[] = {
    {"busOpen", bus_open},         {"busClose", bus_close},           {"topicCreate", topic_create},
    {"topicDelete", topic_delete}, {"topicDescribe", topic_describe}, {NULL, NULL}};

static napi_value describe_group(Call* with, penstock_bus* on, const char* group) {
  napi_env env = with->env;
  Arena text = {0};
  const char* topic = NULL;
  penstock_group_info info = {.struct_size = sizeof info};
  const bool given = TEXT(with, 2, &text, &topic);
  const int code = given ? penstock_group_describe(on, group, topic, &info) : 0;
  arena_free(&text);
  if (!given) return NULL;
  if (code != 0) return failed(with, code);
  const Property told[] = {
      {"committed", offset_value(env, info.committed)},
      {"nextOffset", offset_value(env, info.next_offset)},
      {"lag", number_value(env, (double)info.lag)},
      {"inFlight", number_value(env, (double)info.in_flight)},
      {"retrying", number_value(env, (double)info.retrying)},
      {"delivered", number_value(env, (double)info.delivered)},
      {"acked", number_value(env, (double)info.acked)},
      {"redelivered", number_value(env, (double)info.redelivered)},
      {"duplicatesSkipped", number_value(env, (double)info.duplicates_skipped)},
      {"deadLettered", number_value(env, (double)info.dead_lettered)},
      {"members", number_value(env, info.members)},
  };
  return object_of(env, told, sizeof told / sizeof *told);
}
static napi_value group_describe(Call* with) { return named(with, describe_group); }

static napi_value seek_group(Call* with, penstock_bus* on, const char* group) {
  int64_t start[2];
  if (!integers_of(with->env, with->arguments[2], start, 2)) return NULL;
  return done(with, penstock_group_seek(on, group, (penstock_start){(int)start[0], start[1]}));
}
static napi_value group_seek(Call* with) { return named(with, seek_group); }

static napi_value pause_group(Call* with, penstock_bus* on, const char* group) {
  int64_t paused = 0;
  if (!integer_of(with->env, with->arguments[2], &paused)) return NULL;
  return done(with, penstock_group_pause(on, group, (int)paused));
}
static napi_value group_pause(Call* with) { return named(with, pause_group); }

static napi_value delete_group(Call* with, penstock_bus* on, const char* group) {
  return done(with, penstock_group_delete(on, group));
}
static napi_value group_delete(Call* with) { return named(with, delete_group); }

/* Events and letters in turns, at most so many letters. */
struct Letters {
  napi_env env;
  napi_value found;
  int64_t most;
  uint32_t count;
};
static int take_letter(void* context, const penstock_event* event) {
  struct Letters* letters = context;
  if (letters->count >= letters->most) return 1;
  napi_set_element(letters->env, letters->found, 2 * letters->count, event_value(letters->env, event));
  napi_set_element(letters->env, letters->found, 2 * letters->count + 1, letter_value(letters->env, event));
  ++letters->count;
  return 0;
}
static napi_value list_letters(Call* with, penstock_bus* on, const char* group) {
  struct Letters letters = {.env = with->env};
  if (!integer_of(with->env, with->arguments[2], &letters.most)) return NULL;
  napi_create_array(with->env, &letters.found);
  const int code = penstock_dead_letters(on, group, take_letter, &letters);
  return code != 0 ? failed(with, code) : letters.found;
}
static napi_value dead_letters(Call* with) { return named(with, list_letters); }

static napi_value of_letter(Call* with, const char* group, int (*act)(penstock_bus*, const char*, uint64_t),
                            penstock_bus* on) {
  int64_t letter = 0;
  if (!integer_of(with->env, with->arguments[2], &letter)) return NULL;
  return done(with, act(on, group, (uint64_t)letter));
}
static napi_value redrive_letter(Call* with, penstock_bus* on, const char* group) {
  return of_letter(with, group, penstock_redrive, on);
}
static napi_value redrive(Call* with) { return named(with, redrive_letter); }
static napi_value purge_letter(Call* with, penstock_bus* on, const char* group) {
  return of_letter(with, group, penstock_purge, on);
}
static napi_value purge(Call* with) { return named(with, purge_letter); }

const Method group_methods[] = {{"groupDescribe", group_describe},
                                {"groupSeek", group_seek},
                                {"groupPause", group_pause},
                                {"groupDelete", group_delete},
                                {"deadLetters", dead_letters},
                                {"redrive", redrive},
                                {"purge", purge},
                                {NULL, NULL}};
