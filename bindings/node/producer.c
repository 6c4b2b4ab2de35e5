/* Publishing, and waiting for the disk. */
#include "bindings/node/addon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A producer is closed when nobody waits with it, and freed when it was collected too. */
static void producer_close(Producer* closing) {
  closing->dropped = true;
  if (closing->waiting) return;
  if (closing->open != NULL) {
    penstock_producer_close(closing->open);
    bus_release(closing->bus);
    closing->open = NULL;
  }
  if (closing->collected) free(closing);
}

static void collected(napi_env env, void* data, void* hint) {
  (void)env, (void)hint;
  ((Producer*)data)->collected = true;
  producer_close(data);
}

static napi_value producer_open(Call* with) {
  Arena text = {0};
  const char* topic = NULL;
  int64_t given[2];
  napi_value out = NULL;
  Bus* on = handle_of(with, with->arguments[0], BUS);
  Producer* made = calloc(1, sizeof *made);
  if (made != NULL && on != NULL && TEXT(with, 1, &text, &topic) &&
      integers_of(with->env, with->arguments[2], given, 2)) {
    /* Waiting for a full ring is index.js's: not here. */
    const penstock_producer_options options = {
        .struct_size = sizeof options, .must_exist = given[0] != 0, .block_ms = -1, .precise_clock = given[1] != 0};
    const int code = penstock_producer_open(on->open, topic, &options, &made->open);
    made->kind = PRODUCER;
    made->bus = on;
    if (code == 0) ++on->users;
    out = code != 0 ? failed(with, code) : external_of(with, made, collected);
    if (code == 0) made = NULL;
  }
  free(made);
  arena_free(&text);
  return out;
}

static Producer* producer_of(Call* with) {
  Producer* on = handle_of(with, with->arguments[0], PRODUCER);
  if (on == NULL || !on->dropped) return on;
  napi_value error = error_of(with->addon, -EBADF, "the producer is closed");
  if (error != NULL) napi_throw(with->env, error);
  return NULL;
}

static napi_value close_producer(Call* with) {
  Producer* on = handle_of(with, with->arguments[0], PRODUCER);
  if (on != NULL && !on->dropped) producer_close(on);
  return NULL;
}

static bool headers_of(napi_env env, napi_value array, Arena* from, penstock_event_options* options) {
  uint32_t length = 0;
  if (is_absent(env, array)) return true;
  napi_get_array_length(env, array, &length);
  penstock_header* headers = arena_take(from, (length / 2 + 1) * sizeof *headers);
  for (uint32_t i = 0; i < length / 2; ++i) {
    const char* value = NULL;
    if (!text_of(env, element(env, array, 2 * i), from, &headers[i].name, NULL) ||
        !text_of(env, element(env, array, 2 * i + 1), from, &value, &headers[i].size))
      return false;
    headers[i].value = value;
  }
  options->headers = headers;
  options->header_count = length / 2;
  return true;
}

/* The array that index.js makes of an event's options; absent: none. */
static bool options_of(napi_env env, napi_value given, Arena* from, const penstock_event_options** out) {
  *out = NULL;
  if (is_absent(env, given)) return true;
  penstock_event_options* options = arena_take(from, sizeof *options);
  memset(options, 0, sizeof *options);
  options->struct_size = sizeof *options;
  *out = options;
  return text_of(env, element(env, given, 0), from, &options->key, &options->key_size) &&
         text_of(env, element(env, given, 1), from, &options->id, NULL) &&
         text_of(env, element(env, given, 2), from, &options->content_type, NULL) &&
         text_of(env, element(env, given, 3), from, &options->schema, NULL) &&
         headers_of(env, element(env, given, 4), from, options) &&
         integer_of(env, element(env, given, 5), &options->deliver_at_ns) &&
         integer_of(env, element(env, given, 6), &options->ttl_ms);
}

/* (producer, bytes, options) => offset */
static napi_value publish(Call* with) {
  Arena text = {0};
  napi_value out = NULL;
  const void* payload = NULL;
  size_t size = 0;
  uint64_t offset = 0;
  const penstock_event_options* options = NULL;
  const Producer* on = producer_of(with);
  if (on != NULL && bytes_of(with->env, with->arguments[1], &payload, &size) &&
      options_of(with->env, with->arguments[2], &text, &options)) {
    const int code = penstock_publish(on->open, payload, size, options, &offset);
    out = code != 0 ? failed(with, code) : offset_value(with->env, offset);
  }
  arena_free(&text);
  return out;
}

/* (producer, [bytes, options, ...]) => the first one's offset */
static napi_value publish_batch(Call* with) {
  Arena text = {0};
  uint32_t length = 0;
  uint64_t first = 0;
  napi_env env = with->env;
  napi_value out = NULL, events = with->arguments[1];
  const Producer* on = producer_of(with);
  if (on == NULL) return NULL;
  napi_get_array_length(env, events, &length);
  const uint32_t count = length / 2;
  penstock_message* messages = arena_take(&text, (count + 1) * sizeof *messages);
  uint32_t i = 0;
  while (i < count && bytes_of(env, element(env, events, 2 * i), &messages[i].payload, &messages[i].size) &&
         options_of(env, element(env, events, 2 * i + 1), &text, &messages[i].options))
    ++i;
  if (i == count) {
    const int code = penstock_publish_batch(on->open, messages, count, &first);
    out = code != 0 ? failed(with, code) : offset_value(env, first);
  }
  arena_free(&text);
  return out;
}

static napi_value last_duplicate(Call* with) {
  const Producer* on = producer_of(with);
  return on == NULL ? NULL : boolean_value(with->env, penstock_producer_last_duplicate(on->open));
}

/* (producer, back) => as Event.id */
static napi_value last_id(Call* with) {
  int64_t back = 0;
  uint8_t id[16];
  const Producer* on = producer_of(with);
  if (on == NULL || !integer_of(with->env, with->arguments[1], &back)) return NULL;
  penstock_producer_last_id(on->open, (size_t)back, id);
  return id_value(with->env, id);
}

static napi_value max_payload(Call* with) {
  const Producer* on = producer_of(with);
  return on == NULL ? NULL : number_value(with->env, (double)penstock_producer_max_payload(on->open));
}

/* Is this offset on disk? (producer, offset) => 0, or the errno of a wait that is still to come: a time-out, or no
 * daemon; anything else throws. */
static napi_value is_durable(Call* with) {
  int64_t offset = 0;
  const Producer* on = producer_of(with);
  if (on == NULL || !integer_of(with->env, with->arguments[1], &offset)) return NULL;
  const int code = penstock_await_durable(on->open, (uint64_t)offset, 0);
  if (code == 0 || code == -ETIMEDOUT || code == -ENETDOWN) return number_value(with->env, code);
  return failed(with, code);
}

/* One wait in one of libuv's threads; a producer has one at a time. */
typedef struct Wait {
  Addon* addon;
  Producer* producer;
  uint64_t offset;
  int64_t timeout_ms;
  napi_ref callback;
  napi_async_work work;
} Wait;

static void wait_in_thread(napi_env env, void* data) {
  const Wait* waiting = data;
  (void)env; /* index.js looks again, and is told then of what failed */
  penstock_await_durable(waiting->producer->open, waiting->offset, waiting->timeout_ms);
}

static void wait_over(napi_env env, napi_status status, void* data) {
  Wait* waiting = data;
  Producer* on = waiting->producer;
  (void)status;
  on->waiting = false;
  if (on->dropped)
    producer_close(on);
  else
    call_back(waiting->addon, waiting->callback, NULL);
  napi_delete_reference(env, waiting->callback);
  napi_delete_async_work(env, waiting->work);
  free(waiting);
}

/* (producer, offset, milliseconds, callback): calls back when the offset may be on disk, and at the latest after that
 * time. */
static napi_value await_durable(Call* with) {
  napi_env env = with->env;
  int64_t offset = 0, timeout_ms = 0;
  napi_value name = bytes_text(env, "penstock.awaitDurable", NAPI_AUTO_LENGTH);
  Producer* on = producer_of(with);
  if (on == NULL || !integer_of(env, with->arguments[1], &offset) || !integer_of(env, with->arguments[2], &timeout_ms))
    return NULL;
  Wait* waiting = calloc(1, sizeof *waiting);
  if (waiting == NULL) abort();
  *waiting = (Wait){.addon = with->addon, .producer = on, .offset = (uint64_t)offset, .timeout_ms = timeout_ms};
  napi_create_reference(env, with->arguments[3], 1, &waiting->callback);
  napi_create_async_work(env, NULL, name, wait_in_thread, wait_over, waiting, &waiting->work);
  on->waiting = true;
  napi_queue_async_work(env, waiting->work);
  return NULL;
}

const Method producer_methods[] = {{"producerOpen", producer_open},
                                   {"producerClose", close_producer},
                                   {"publish", publish},
                                   {"publishBatch", publish_batch},
                                   {"lastDuplicate", last_duplicate},
                                   {"lastId", last_id},
                                   {"maxPayload", max_payload},
                                   {"isDurable", is_durable},
                                   {"awaitDurable", await_durable},
                                   {NULL, NULL}};
