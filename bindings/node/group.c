/* Groups and their dead letters. */
#include "bindings/node/addon.h"

#include <stdlib.h>

static napi_value info_value(napi_env env, const penstock_group_info* info) {
  const Property told[] = {
      {"topic", text_value(env, info->topic)},
      {"committed", offset_value(env, info->committed)},
      {"nextOffset", offset_value(env, info->next_offset)},
      {"lag", number_value(env, (double)info->lag)},
      {"inFlight", number_value(env, (double)info->in_flight)},
      {"retrying", number_value(env, (double)info->retrying)},
      {"queued", number_value(env, (double)info->queued)},
      {"full", number_value(env, (double)info->full)},
      {"oldestPending", number_value(env, (double)info->oldest_pending_ms)},
      {"delivered", number_value(env, (double)info->delivered)},
      {"acked", number_value(env, (double)info->acked)},
      {"redelivered", number_value(env, (double)info->redelivered)},
      {"duplicatesSkipped", number_value(env, (double)info->duplicates_skipped)},
      {"deadLettered", number_value(env, (double)info->dead_lettered)},
      {"missed", number_value(env, (double)info->missed)},
      {"damaged", number_value(env, (double)info->damaged)},
      {"members", number_value(env, info->members)},
      {"shmBytes", number_value(env, (double)info->shm_bytes)},
      {"deadLettersWait", text_value(env, info->dead_letters_wait)},
  };
  return object_of(env, told, sizeof told / sizeof *told);
}

static napi_value describe_group(Call* with, penstock_bus* on, const char* group) {
  Arena text = {0};
  const char* topic = NULL;
  penstock_group_info info = {.struct_size = sizeof info};
  const bool given = TEXT(with, 2, &text, &topic);
  const int code = given ? penstock_group_describe(on, group, topic, &info) : 0;
  arena_free(&text);
  if (!given) return NULL;
  return code != 0 ? failed(with, code) : info_value(with->env, &info);
}
static napi_value group_describe(Call* with) { return named(with, describe_group); }

/* What a visitor is shown, in an array. */
struct List {
  napi_env env;
  napi_value found;
  uint32_t count;
};
static int add(void* context, napi_value shown) {
  struct List* to = context;
  napi_set_element(to->env, to->found, to->count++, shown);
  return 0;
}
static struct List list_in(Call* with) {
  struct List out = {.env = with->env};
  napi_create_array(with->env, &out.found);
  return out;
}

static int take_topic(void* list, const penstock_group_info* info) {
  return add(list, info_value(((struct List*)list)->env, info));
}
static napi_value list_topics(Call* with, penstock_bus* on, const char* group) {
  struct List topics = list_in(with);
  const int code = penstock_group_topics(on, group, take_topic, &topics);
  return code != 0 ? failed(with, code) : topics.found;
}
static napi_value group_topics(Call* with) { return named(with, list_topics); }

static int take_pending(void* list, const penstock_pending_info* info) {
  napi_env env = ((struct List*)list)->env;
  const Property told[] = {
      {"topic", text_value(env, info->topic)},         {"offset", offset_value(env, info->offset)},
      {"state", text_value(env, info->state)},         {"member", text_value(env, info->member)},
      {"attempts", number_value(env, info->attempts)}, {"delivered", number_value(env, info->delivered)},
      {"due", time_value(env, info->due_ns)},          {"errorClass", text_value(env, info->error_class)},
      {"reason", text_value(env, info->reason)},
  };
  return add(list, object_of(env, told, sizeof told / sizeof *told));
}
static napi_value list_pending(Call* with, penstock_bus* on, const char* group) {
  struct List events = list_in(with);
  const int code = penstock_group_pending(on, group, take_pending, &events);
  return code != 0 ? failed(with, code) : events.found;
}
static napi_value group_pending(Call* with) { return named(with, list_pending); }

static int take_key(void* list, const penstock_key_info* info) {
  napi_env env = ((struct List*)list)->env;
  const Property told[] = {
      {"topic", text_value(env, info->topic)},       {"key", bytes_text(env, info->key, info->key_size)},
      {"offset", offset_value(env, info->offset)},   {"state", text_value(env, info->state)},
      {"attempt", number_value(env, info->attempt)}, {"behind", number_value(env, (double)info->behind)},
      {"since", time_value(env, info->since_ns)},
  };
  return add(list, object_of(env, told, sizeof told / sizeof *told));
}
static napi_value list_keys(Call* with, penstock_bus* on, const char* group) {
  struct List keys = list_in(with);
  const int code = penstock_group_keys(on, group, take_key, &keys);
  return code != 0 ? failed(with, code) : keys.found;
}
static napi_value group_keys(Call* with) { return named(with, list_keys); }

static napi_value get_settings(Call* with, penstock_bus* on, const char* group) {
  napi_env env = with->env;
  penstock_group_settings settings = {.struct_size = sizeof settings};
  const int code = penstock_group_get(on, group, &settings);
  if (code != 0) return failed(with, code);
  struct List topics = list_in(with), backoff = list_in(with);
  for (size_t i = 0; i < settings.topic_count; ++i) add(&topics, text_value(env, settings.topics[i]));
  for (size_t i = 0; i < settings.backoff_count; ++i) add(&backoff, number_value(env, (double)settings.backoff_ms[i]));
  const Property told[] = {
      {"topics", topics.found},
      {"paused", boolean_value(env, settings.paused)},
      {"members", number_value(env, settings.members)},
      {"redriven", number_value(env, (double)settings.redriven)},
      {"maxAttempts", number_value(env, settings.max_attempts)},
      {"maxInFlight", number_value(env, settings.max_in_flight)},
      {"backoff", backoff.found},
      {"lease", number_value(env, (double)settings.lease_ms)},
      {"dedupe", number_value(env, settings.dedupe)},
      {"dedupeAge", number_value(env, (double)settings.dedupe_age_ms)},
      {"ordering", number_value(env, settings.ordering)},
      {"expired", number_value(env, settings.expired)},
  };
  return object_of(env, told, sizeof told / sizeof *told);
}
static napi_value group_get(Call* with) { return named(with, get_settings); }

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
                                {"groupTopics", group_topics},
                                {"groupPending", group_pending},
                                {"groupKeys", group_keys},
                                {"groupGet", group_get},
                                {"groupSeek", group_seek},
                                {"groupPause", group_pause},
                                {"groupDelete", group_delete},
                                {"deadLetters", dead_letters},
                                {"redrive", redrive},
                                {"purge", purge},
                                {NULL, NULL}};
