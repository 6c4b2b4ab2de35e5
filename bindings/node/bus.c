/* The bus and its topics. */
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

napi_value named(Call* with, NamedCall body) {
  Arena text = {0};
  const char* name = NULL;
  napi_value out = NULL;
  const Bus* on = handle_of(with, with->arguments[0], BUS);
  if (on != NULL && TEXT(with, 1, &text, &name)) out = body(with, on->open, name);
  arena_free(&text);
  return out;
}

static napi_value create(Call* with, penstock_bus* on, const char* topic) {
  int64_t given[10];
  if (!integers_of(with->env, with->arguments[2], given, 10)) return NULL;
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
      .retain_unacked = given[9] != 0,
  };
  return done(with, penstock_topic_create(on, topic, &options));
}
static napi_value topic_create(Call* with) { return named(with, create); }

static napi_value delete_topic(Call* with, penstock_bus* on, const char* topic) {
  return done(with, penstock_topic_delete(on, topic));
}
static napi_value topic_delete(Call* with) { return named(with, delete_topic); }

static napi_value retain(Call* with, penstock_bus* on, const char* topic) {
  int64_t wanted = 0;
  if (!integer_of(with->env, with->arguments[2], &wanted)) return NULL;
  return done(with, penstock_topic_retain_unacked(on, topic, wanted != 0));
}
static napi_value topic_retain_unacked(Call* with) { return named(with, retain); }

static napi_value compact(Call* with, penstock_bus* on, const char* topic) {
  int64_t wanted = 0;
  if (!integer_of(with->env, with->arguments[2], &wanted)) return NULL;
  return done(with, penstock_topic_compact(on, topic, wanted != 0));
}
static napi_value topic_compact(Call* with) { return named(with, compact); }

/* (bus, topic, [bytes, milliseconds]) */
static napi_value keep(Call* with, penstock_bus* on, const char* topic) {
  int64_t limits[2];
  if (!integers_of(with->env, with->arguments[2], limits, 2)) return NULL;
  return done(with, penstock_topic_retention(on, topic, (uint64_t)limits[0], limits[1]));
}
static napi_value topic_retention(Call* with) { return named(with, keep); }

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
      {"shmBytes", number_value(env, (double)info.shm_bytes)},
      {"blockedBy", text_value(env, info.blocked_by)},
      {"compactionWaitsFor", text_value(env, info.compaction_waits_for)},
      {"retentionWaitsFor", text_value(env, info.retention_waits_for)},
      {"durability", number_value(env, info.durability)},
      {"full", number_value(env, info.full)},
      {"singleProducer", boolean_value(env, info.single_producer)},
      {"compact", boolean_value(env, info.compact)},
      {"retainUnacked", boolean_value(env, info.retain_unacked)},
      {"publishDedupe", number_value(env, info.publish_dedupe)},
      {"maxPayload", number_value(env, (double)info.max_payload)},
      {"retentionBytes", number_value(env, (double)info.retention_bytes)},
      {"retentionTime", number_value(env, (double)info.retention_ms)},
  };
  return object_of(env, told, sizeof told / sizeof *told);
}
static napi_value topic_describe(Call* with) { return named(with, describe_topic); }

/* Names in an array. */
struct Names {
  napi_env env;
  napi_value found;
  uint32_t count;
};
static int take_name(void* context, const char* name) {
  struct Names* names = context;
  napi_set_element(names->env, names->found, names->count++, text_value(names->env, name));
  return 0;
}
static napi_value names_of_all(Call* with, int (*list)(penstock_bus*, penstock_name_visitor, void*)) {
  struct Names names = {.env = with->env};
  const Bus* on = handle_of(with, with->arguments[0], BUS);
  if (on == NULL) return NULL;
  napi_create_array(with->env, &names.found);
  const int code = list(on->open, take_name, &names);
  return code != 0 ? failed(with, code) : names.found;
}
static napi_value topic_list(Call* with) { return names_of_all(with, penstock_topic_list); }
static napi_value group_list(Call* with) { return names_of_all(with, penstock_group_list); }

static napi_value bus_describe(Call* with) {
  napi_env env = with->env;
  penstock_bus_info info = {.struct_size = sizeof info};
  const Bus* on = handle_of(with, with->arguments[0], BUS);
  if (on == NULL) return NULL;
  const int code = penstock_bus_describe(on->open, &info);
  if (code != 0) return failed(with, code);
  const bool runs = info.daemon_pid != 0;
  const Property told[] = {
      {"livePath", text_value(env, info.live_path)},
      {"shmBytes", number_value(env, (double)info.shm_bytes)},
      {"diskBytes", number_value(env, (double)info.disk_bytes)},
      {"topics", number_value(env, info.topics)},
      {"groups", number_value(env, info.groups)},
      {"handles", number_value(env, info.handles)},
      {"daemonPid", runs ? number_value(env, info.daemon_pid) : undefined_of(env)},
      {"backend", text_value(env, runs ? info.backend : NULL)},
      {"uringError", number_value(env, info.uring_error)},
  };
  return object_of(env, told, sizeof told / sizeof *told);
}

/* A call on a directory: (directory). */
static napi_value of_directory(Call* with, int (*act)(const char*)) {
  Arena text = {0};
  const char* directory = NULL;
  napi_value out = NULL;
  if (TEXT(with, 0, &text, &directory)) out = done(with, act(directory));
  arena_free(&text);
  return out;
}
static napi_value bus_unload(Call* with) { return of_directory(with, penstock_bus_unload); }
static napi_value bus_remove(Call* with) { return of_directory(with, penstock_bus_remove); }

const Method bus_methods[] = {{"busOpen", bus_open},
                              {"busClose", bus_close},
                              {"busDescribe", bus_describe},
                              {"busUnload", bus_unload},
                              {"busRemove", bus_remove},
                              {"topicList", topic_list},
                              {"topicCreate", topic_create},
                              {"topicDelete", topic_delete},
                              {"topicDescribe", topic_describe},
                              {"topicRetention", topic_retention},
                              {"topicCompact", topic_compact},
                              {"topicRetainUnacked", topic_retain_unacked},
                              {"groupList", group_list},
                              {NULL, NULL}};
