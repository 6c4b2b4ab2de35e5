/* Readers, and members of groups: what comes, how to hear of it, and how it is settled. */
#include "bindings/node/addon.h"

#include <errno.h>
#include <stdlib.h>

static bool is_open(const Stream* on) { return on->reader != NULL || on->consumer != NULL; }

/* Deliveries that nobody settled count as failed attempts, and come back to the group. */
static void let_go(Delivery* leaving) {
  if (leaving->open == NULL) return;
  penstock_delivery_free(leaving->open);
  leaving->open = NULL;
  if (leaving->previous != NULL)
    leaving->previous->next = leaving->next;
  else
    leaving->consumer->deliveries = leaving->next;
  if (leaving->next != NULL) leaving->next->previous = leaving->previous;
}

static void stream_close(Stream* closing) {
  if (!is_open(closing)) return;
  watch_close(closing->watch); /* the descriptor is the handle's */
  while (closing->deliveries != NULL) let_go(closing->deliveries);
  penstock_reader_close(closing->reader);
  penstock_consumer_close(closing->consumer);
  closing->reader = NULL;
  closing->consumer = NULL;
  bus_release(closing->bus);
}

static void stream_collected(napi_env env, void* data, void* hint) {
  (void)env, (void)hint;
  stream_close(data);
  free(data);
}

static void delivery_collected(napi_env env, void* data, void* hint) {
  (void)env, (void)hint;
  let_go(data);
  free(data);
}

/* An argument's stream, of whichever kind; NULL after throwing. */
static Stream* stream_of(Call* with) {
  Stream* on = NULL;
  napi_valuetype type = napi_undefined;
  napi_typeof(with->env, with->arguments[0], &type);
  if (type == napi_external) napi_get_value_external(with->env, with->arguments[0], (void**)&on);
  if (on == NULL || (on->kind != READER && on->kind != CONSUMER)) return handle_of(with, with->arguments[0], CONSUMER);
  if (is_open(on)) return on;
  napi_value error =
      error_of(with->addon, -EBADF, on->kind == READER ? "the reader is closed" : "the consumer is closed");
  if (error != NULL) napi_throw(with->env, error);
  return NULL;
}

static napi_value close_stream(Call* with) {
  Stream* on = NULL;
  if (napi_get_value_external(with->env, with->arguments[0], (void**)&on) == napi_ok) stream_close(on);
  return NULL;
}

enum { READER_OPTIONS = 4, CONSUMER_OPTIONS = 10, MAX_BACKOFFS = 64 };

/* What was read of the arguments (bus, group or undefined, names, options, backoff). */
typedef struct Opening {
  Bus* bus;
  const char* group;
  const char** names;
  size_t count;
  int64_t options[CONSUMER_OPTIONS];
  int64_t backoff[MAX_BACKOFFS];
  uint32_t backoffs;
} Opening;

static bool opening_of(Call* with, enum Kind kind, Arena* text, Opening* out) {
  napi_env env = with->env;
  *out = (Opening){.bus = handle_of(with, with->arguments[0], BUS)};
  if (kind == CONSUMER) napi_get_array_length(env, with->arguments[4], &out->backoffs);
  if (out->backoffs > MAX_BACKOFFS) out->backoffs = MAX_BACKOFFS;
  return out->bus != NULL && TEXT(with, 1, text, &out->group) &&
         names_of(env, with->arguments[2], text, &out->names, &out->count) &&
         integers_of(env, with->arguments[3], out->options, kind == READER ? READER_OPTIONS : CONSUMER_OPTIONS) &&
         integers_of(env, with->arguments[4], out->backoff, out->backoffs);
}

static int open_reader(const Opening* with, Stream* out) {
  const int64_t* given = with->options;
  const penstock_reader_options options = {
      .struct_size = sizeof options,
      .start = {(int)given[0], given[1]},
      .lossy = given[2] != 0,
      .durable_only = given[3] != 0,
  };
  return penstock_reader_open(with->bus->open, with->names, with->count, &options, &out->reader);
}

static penstock_consumer_options consumer_options(const Opening* with) {
  const int64_t* given = with->options;
  return (penstock_consumer_options){
      .struct_size = sizeof(penstock_consumer_options),
      .start = {(int)given[0], given[1]},
      .max_attempts = (uint32_t)given[2],
      .max_in_flight = (uint32_t)given[3],
      .backoff_ms = with->backoff,
      .backoff_count = with->backoffs,
      .lease_ms = given[4],
      .dedupe = given[5],
      .dedupe_age_ms = given[6],
      .ordering = (int)given[7],
      .expired = (int)given[8],
      .durable_only = given[9] != 0,
  };
}
static int open_consumer(const Opening* with, Stream* out) {
  const penstock_consumer_options options = consumer_options(with);
  return penstock_consumer_open(with->bus->open, with->group, with->names, with->count, &options, &out->consumer);
}

static napi_value open_stream(Call* with, enum Kind kind) {
  Arena text = {0};
  napi_value out = NULL;
  Opening wanted;
  Stream* made = calloc(1, sizeof *made);
  if (made != NULL && opening_of(with, kind, &text, &wanted)) {
    made->kind = kind;
    made->bus = wanted.bus;
    const int code = kind == READER ? open_reader(&wanted, made) : open_consumer(&wanted, made);
    if (code == 0) ++made->bus->users;
    out = code != 0 ? failed(with, code) : external_of(with, made, stream_collected);
    if (code == 0) made = NULL;
  }
  free(made);
  arena_free(&text);
  return out;
}
static napi_value reader_open(Call* with) { return open_stream(with, READER); }
static napi_value consumer_open(Call* with) { return open_stream(with, CONSUMER); }

/* The same arguments as consumer_open, of a group that is there. */
static napi_value group_set(Call* with) {
  Arena text = {0};
  napi_value out = NULL;
  Opening wanted;
  if (opening_of(with, CONSUMER, &text, &wanted)) {
    const penstock_consumer_options options = consumer_options(&wanted);
    out = done(with, penstock_group_set(wanted.bus->open, wanted.group, wanted.names, wanted.count, &options));
  }
  arena_free(&text);
  return out;
}

/* Events that a reader's poll hands over, copied into one array: [event, letter, ...]. */
struct Visit {
  napi_env env;
  napi_value found;
  uint32_t count;
};
static void visit(void* context, const penstock_event* event) {
  struct Visit* to = context;
  napi_set_element(to->env, to->found, 2 * to->count, event_value(to->env, event));
  napi_set_element(to->env, to->found, 2 * to->count + 1, letter_value(to->env, event));
  ++to->count;
}

/* (reader, most) => what is there by now */
static napi_value reader_poll(Call* with) {
  struct Visit to = {.env = with->env};
  int64_t most = 0;
  const Stream* on = stream_of(with);
  if (on == NULL || !integer_of(with->env, with->arguments[1], &most)) return NULL;
  napi_create_array(with->env, &to.found);
  const int code = penstock_reader_poll(on->reader, visit, &to, (size_t)most);
  return code < 0 ? failed(with, code) : to.found;
}

/* (reader) => [topic, offset, ...] */
static int take_place(void* context, const penstock_place* place) {
  struct Visit* to = context;
  napi_set_element(to->env, to->found, 2 * to->count, text_value(to->env, place->topic));
  napi_set_element(to->env, to->found, 2 * to->count + 1, offset_value(to->env, place->offset));
  ++to->count;
  return 0;
}
static napi_value reader_places(Call* with) {
  struct Visit to = {.env = with->env};
  const Stream* on = stream_of(with);
  if (on == NULL) return NULL;
  napi_create_array(with->env, &to.found);
  const int code = penstock_reader_places(on->reader, take_place, &to);
  return code != 0 ? failed(with, code) : to.found;
}

/* (consumer) => [event, letter, attempt, delivery], or undefined when nothing is there by now */
static napi_value consumer_next(Call* with) {
  napi_env env = with->env;
  Stream* on = stream_of(with);
  penstock_delivery* came = NULL;
  napi_value out = NULL;
  if (on == NULL) return NULL;
  const int code = penstock_consumer_next(on->consumer, 0, &came);
  if (code == -EAGAIN) return undefined_of(env);
  if (code != 0) return failed(with, code);
  Delivery* held = calloc(1, sizeof *held);
  if (held == NULL) abort();
  *held = (Delivery){.kind = DELIVERY, .open = came, .consumer = on, .next = on->deliveries};
  if (held->next != NULL) held->next->previous = held;
  on->deliveries = held;
  const penstock_event* event = penstock_delivery_event(came);
  napi_create_array_with_length(env, 4, &out);
  napi_set_element(env, out, 0, event_value(env, event));
  napi_set_element(env, out, 1, letter_value(env, event));
  napi_set_element(env, out, 2, number_value(env, penstock_delivery_attempt(came)));
  napi_set_element(env, out, 3, external_of(with, held, delivery_collected));
  return out;
}

/* (stream, callback): calls back once when the next look may find something. */
static napi_value listen_once(Call* with) {
  Stream* on = stream_of(with);
  if (on == NULL) return NULL;
  const int descriptor =
      on->kind == READER ? penstock_reader_event_fd(on->reader) : penstock_consumer_event_fd(on->consumer);
  if (descriptor < 0) return failed(with, descriptor);
  struct Watch* started = watch_start(with, on->watch, descriptor, with->arguments[1]);
  if (started != NULL) on->watch = started;
  return NULL;
}

static napi_value unlisten(Call* with) {
  const Stream* on = stream_of(with);
  if (on != NULL) watch_stop(on->watch);
  return NULL;
}

/* [missed, damaged] */
static napi_value counts(Call* with) {
  const Stream* on = stream_of(with);
  napi_value out = NULL;
  if (on == NULL) return NULL;
  const bool reads = on->kind == READER;
  napi_create_array_with_length(with->env, 2, &out);
  napi_set_element(with->env, out, 0,
                   number_value(with->env, (double)(reads ? penstock_reader_missed(on->reader)
                                                          : penstock_consumer_missed(on->consumer))));
  napi_set_element(with->env, out, 1,
                   number_value(with->env, (double)(reads ? penstock_reader_damaged(on->reader)
                                                          : penstock_consumer_damaged(on->consumer))));
  return out;
}

const Method stream_methods[] = {{"readerOpen", reader_open},
                                 {"consumerOpen", consumer_open},
                                 {"streamClose", close_stream},
                                 {"groupSet", group_set},
                                 {"readerPoll", reader_poll},
                                 {"readerPlaces", reader_places},
                                 {"consumerNext", consumer_next},
                                 {"listen", listen_once},
                                 {"unlisten", unlisten},
                                 {"counts", counts},
                                 {NULL, NULL}};

/* ---- Settling: (delivery, ...). What was settled, also by a lease that ran out, is let go of. ---- */

static Delivery* delivery_of(Call* with) {
  Delivery* on = handle_of(with, with->arguments[0], DELIVERY);
  if (on == NULL || on->open != NULL) return on;
  napi_value error = error_of(with->addon, -ESTALE, "this delivery was settled, or its consumer is closed");
  if (error != NULL) napi_throw(with->env, error);
  return NULL;
}

static napi_value settled(Call* with, Delivery* on, int code) {
  napi_value out = done(with, code);
  if (code == 0 || code == -ESTALE) let_go(on);
  return out;
}

static napi_value ack(Call* with) {
  Delivery* on = delivery_of(with);
  return on == NULL ? NULL : settled(with, on, penstock_delivery_ack(on->open));
}
static napi_value release(Call* with) {
  Delivery* on = delivery_of(with);
  return on == NULL ? NULL : settled(with, on, penstock_delivery_release(on->open));
}

/* (delivery, error class, reason, delay or undefined) */
static napi_value fail(Call* with, bool for_good) {
  Arena text = {0};
  const char *error_class = NULL, *reason = NULL;
  int64_t delay_ms = 0;
  napi_value out = NULL;
  Delivery* on = delivery_of(with);
  if (on != NULL && TEXT(with, 1, &text, &error_class) && TEXT(with, 2, &text, &reason) &&
      integer_of(with->env, with->arguments[3], &delay_ms)) {
    if (for_good)
      out = settled(with, on, penstock_delivery_reject(on->open, error_class, reason));
    else if (is_absent(with->env, with->arguments[3]))
      out = settled(with, on, penstock_delivery_nak(on->open, error_class, reason));
    else
      out = settled(with, on, penstock_delivery_nak_after(on->open, delay_ms, error_class, reason));
  }
  arena_free(&text);
  return out;
}
static napi_value nak(Call* with) { return fail(with, false); }
static napi_value reject(Call* with) { return fail(with, true); }

static napi_value extend(Call* with) {
  int64_t duration_ms = 0;
  const Delivery* on = delivery_of(with);
  if (on == NULL || !integer_of(with->env, with->arguments[1], &duration_ms)) return NULL;
  return done(with, penstock_delivery_extend(on->open, duration_ms));
}

/* (consumer, topic, offset) => how many */
static napi_value ack_through(Call* with) {
  Arena text = {0};
  const char* topic = NULL;
  int64_t offset = 0;
  uint64_t acked = 0;
  napi_value out = NULL;
  const Stream* on = stream_of(with);
  if (on != NULL && TEXT(with, 1, &text, &topic) && integer_of(with->env, with->arguments[2], &offset)) {
    const int code = penstock_consumer_ack_through(on->consumer, topic, (uint64_t)offset, &acked);
    out = code != 0 ? failed(with, code) : number_value(with->env, (double)acked);
  }
  arena_free(&text);
  return out;
}

/* (consumer, names, offsets): is every event before those ends settled? */
static napi_value settled_through(Call* with) {
  Arena text = {0};
  const char** names = NULL;
  size_t count = 0;
  napi_value out = NULL;
  const Stream* on = stream_of(with);
  if (on != NULL && names_of(with->env, with->arguments[1], &text, &names, &count)) {
    int64_t* offsets = arena_take(&text, (count + 1) * sizeof *offsets);
    penstock_place* ends = arena_take(&text, (count + 1) * sizeof *ends);
    if (integers_of(with->env, with->arguments[2], offsets, (uint32_t)count)) {
      for (size_t i = 0; i < count; ++i) ends[i] = (penstock_place){names[i], (uint64_t)offsets[i]};
      const int code = penstock_consumer_settled_through(on->consumer, ends, count);
      out = code < 0 ? failed(with, code) : boolean_value(with->env, code);
    }
  }
  arena_free(&text);
  return out;
}

/* Does all that this member settled survive a power cut? (consumer) => as isDurable */
static napi_value is_settled(Call* with) {
  const Stream* on = stream_of(with);
  if (on == NULL) return NULL;
  const int code = penstock_consumer_await_settled(on->consumer, 0);
  if (code == 0 || code == -ETIMEDOUT || code == -ENETDOWN) return number_value(with->env, code);
  return failed(with, code);
}

const Method settle_methods[] = {{"ack", ack},
                                 {"nak", nak},
                                 {"reject", reject},
                                 {"release", release},
                                 {"extend", extend},
                                 {"ackThrough", ack_through},
                                 {"settledThrough", settled_through},
                                 {"isSettled", is_settled},
                                 {NULL, NULL}};
