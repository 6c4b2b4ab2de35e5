/* What the files of the addon share: handles as JavaScript holds them, values in both directions, errors.
 *
 * The addon is thin: each function does one call of penstock.h and never waits. index.js makes of them what people use;
 * nobody else calls them, so arguments are checked for their types, and counts are as index.js gives them. All runs in
 * the thread of its JavaScript environment, but for the waits for the disk, which libuv's threads take. */
#ifndef PENSTOCK_BINDINGS_NODE_ADDON_H
#define PENSTOCK_BINDINGS_NODE_ADDON_H

#define NAPI_VERSION 8
#include <node_api.h>
#include <penstock/penstock.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* One in each environment: the main thread's, and each worker's. */
typedef struct Addon {
  napi_env env;
  napi_ref make_error; /* (errno, message) => Error; index.js gave it */
  struct Watch* watches;
  napi_async_cleanup_hook_handle cleanup; /* there from the first watch on; it keeps this until libuv closed them */
  bool ending;
} Addon;

/* ---- Handles. A JavaScript value that holds one is an external; closing it leaves the external, with nothing in it.
 * ---- */

enum Kind { BUS = 0x70656e01, PRODUCER, READER, CONSUMER, DELIVERY };

typedef struct Bus {
  enum Kind kind; /* first in each of them */
  penstock_bus* open;
  size_t users;   /* the program until it closes it, and what was opened from it: the last one closes it */
  bool closed;    /* by the program */
  bool collected; /* freed when it is closed */
} Bus;

typedef struct Producer {
  enum Kind kind;
  penstock_producer* open;
  Bus* bus;
  bool waiting;   /* a thread of libuv's waits with it */
  bool dropped;   /* close when that returns */
  bool collected; /* and free this */
} Producer;

typedef struct Stream {
  enum Kind kind; /* READER or CONSUMER */
  penstock_reader* reader;
  penstock_consumer* consumer;
  Bus* bus;
  struct Watch* watch;
  struct Delivery* deliveries; /* that live; freed before the consumer is closed */
} Stream;

typedef struct Delivery {
  enum Kind kind;
  penstock_delivery* open; /* NULL: settled, or its consumer is closed */
  Stream* consumer;
  struct Delivery *previous, *next;
} Delivery;

void bus_release(Bus* used);

/* ---- Calls ---- */

enum { MAX_ARGUMENTS = 6 };
typedef struct Call {
  Addon* addon;
  napi_env env;
  napi_value arguments[MAX_ARGUMENTS]; /* what was not given is undefined */
} Call;

typedef napi_value (*Body)(Call*);
/* What each file has: name and body, ended by a NULL. */
typedef struct Method {
  const char* name;
  Body body;
} Method;
extern const Method bus_methods[], group_methods[], producer_methods[], stream_methods[], settle_methods[];

/* ---- From JavaScript. What is not as it should be throws and answers false, or NULL. ---- */

/* The handle in an argument; NULL after throwing, also when it was closed. */
void* handle_of(const Call* with, napi_value external, enum Kind kind);
napi_value external_of(const Call* with, void* handle, napi_finalize finalize);

/* Memory for the length of a call: text and arrays. */
typedef struct Arena {
  struct Block* blocks;
} Arena;
void* arena_take(Arena* from, size_t size);
void arena_free(Arena* from);

bool is_absent(napi_env env, napi_value value); /* undefined or null */
napi_value element(napi_env env, napi_value array, uint32_t index);
/* A string's bytes, and a NUL behind them; `size` may be NULL, and then a NUL inside is refused. Absent: NULL. */
bool text_of(napi_env env, napi_value value, Arena* from, const char** text, size_t* size);
/* A number or a bigint; absent: 0. */
bool integer_of(napi_env env, napi_value value, int64_t* out);
bool integers_of(napi_env env, napi_value array, int64_t* out, uint32_t count);
/* A Buffer, typed array, DataView or ArrayBuffer: its own bytes. */
bool bytes_of(napi_env env, napi_value value, const void** bytes, size_t* size);
bool names_of(napi_env env, napi_value array, Arena* from, const char*** names, size_t* count);
/* What a call on a bus and a name does: (bus, name, ...). */
typedef napi_value (*NamedCall)(Call*, penstock_bus*, const char* name);
napi_value named(Call* with, NamedCall body);
/* A string, or a null-like: NULL. */
#define TEXT(with, index, from, place) text_of((with)->env, (with)->arguments[index], from, place, NULL)

/* ---- To JavaScript ---- */

napi_value undefined_of(napi_env env);
napi_value number_value(napi_env env, double number);
napi_value offset_value(napi_env env, uint64_t offset); /* a bigint */
napi_value time_value(napi_env env, int64_t ns);        /* a bigint */
napi_value boolean_value(napi_env env, int given);
napi_value bytes_text(napi_env env, const char* text, size_t size); /* NULL: undefined */
napi_value text_value(napi_env env, const char* text);              /* NULL: undefined */
napi_value id_value(napi_env env, const uint8_t id[16]);            /* as hexadecimal digits */
typedef struct Property {
  const char* name;
  napi_value value;
} Property;
napi_value object_of(napi_env env, const Property* properties, size_t count);
/* An event in the order that Event in index.js reads. */
napi_value event_value(napi_env env, const penstock_event* event);
napi_value letter_value(napi_env env, const penstock_event* event); /* undefined when it is no dead letter */

/* Throws what a call of penstock.h failed with, and answers NULL. */
napi_value failed(const Call* with, int code);
napi_value error_of(Addon* addon, int code, const char* message);
/* Undefined, or what failed. */
napi_value done(const Call* with, int code);
/* Calls back from the event loop; what that throws is uncaught, as from any callback. */
void call_back(Addon* addon, napi_ref function, napi_value argument);

/* ---- Watches: an event descriptor on the event loop (watch.c) ---- */

/* Calls back once when the descriptor is readable; keeps the process running until then, or until watch_stop. */
struct Watch* watch_start(const Call* with, struct Watch* known, int descriptor, napi_value callback);
void watch_stop(struct Watch* watch);
void watch_close(struct Watch* watch); /* NULL is fine. Before the descriptor is closed. */
void watch_end_all(napi_async_cleanup_hook_handle handle, void* addon);

#endif
