/* An event descriptor on libuv's loop. A watch outlives the handle it is for: libuv frees what it closes later. */
#include <stdlib.h>

#include "bindings/node/addon.h"

struct Watch {
  uv_poll_t poll; /* first: libuv's pointer is ours */
  Addon* addon;
  napi_ref callback; /* while it waits */
  struct Watch *previous, *next;
};

static void forget(struct Watch* watch) {
  if (watch->callback != NULL) napi_delete_reference(watch->addon->env, watch->callback);
  watch->callback = NULL;
}

static void readable(uv_poll_t* poll, int status, int events) {
  struct Watch* watch = (struct Watch*)poll;
  Addon* addon = watch->addon;
  napi_ref callback = watch->callback;
  (void)status, (void)events; /* whatever it is: the next look tells */
  uv_poll_stop(poll);
  watch->callback = NULL;
  if (callback == NULL) return;
  call_back(addon, callback, NULL);
  napi_delete_reference(addon->env, callback);
}

static struct Watch* watch_new(const Call* with, int descriptor) {
  Addon* addon = with->addon;
  uv_loop_t* loop = NULL;
  struct Watch* watch = calloc(1, sizeof *watch);
  if (watch == NULL || napi_get_uv_event_loop(with->env, &loop) != napi_ok ||
      uv_poll_init(loop, &watch->poll, descriptor) != 0) {
    free(watch);
    napi_throw_error(with->env, NULL, "the event loop takes no further descriptor");
    return NULL;
  }
  if (addon->cleanup == NULL) napi_add_async_cleanup_hook(with->env, watch_end_all, addon, &addon->cleanup);
  watch->addon = addon;
  watch->next = addon->watches;
  if (watch->next != NULL) watch->next->previous = watch;
  addon->watches = watch;
  return watch;
}

struct Watch* watch_start(const Call* with, struct Watch* known, int descriptor, napi_value callback) {
  struct Watch* watch = known != NULL ? known : watch_new(with, descriptor);
  if (watch == NULL) return NULL;
  forget(watch);
  if (napi_create_reference(with->env, callback, 1, &watch->callback) != napi_ok) return watch;
  uv_poll_start(&watch->poll, UV_READABLE, readable);
  return watch;
}

void watch_stop(struct Watch* watch) {
  if (watch == NULL) return;
  uv_poll_stop(&watch->poll);
  forget(watch);
}

static void closed(uv_handle_t* handle) {
  struct Watch* watch = (struct Watch*)handle;
  Addon* addon = watch->addon;
  if (watch->previous != NULL)
    watch->previous->next = watch->next;
  else
    addon->watches = watch->next;
  if (watch->next != NULL) watch->next->previous = watch->previous;
  free(watch);
  if (addon->ending && addon->watches == NULL) napi_remove_async_cleanup_hook(addon->cleanup);
}

void watch_close(struct Watch* watch) {
  if (watch == NULL || uv_is_closing((uv_handle_t*)watch)) return;
  watch_stop(watch);
  uv_close((uv_handle_t*)watch, closed);
}

/* The environment ends: its loop must have no handle of ours. */
void watch_end_all(napi_async_cleanup_hook_handle handle, void* data) {
  Addon* addon = data;
  addon->ending = true;
  if (addon->watches == NULL) napi_remove_async_cleanup_hook(handle);
  for (struct Watch *watch = addon->watches, *next; watch != NULL; watch = next) {
    next = watch->next;
    watch_close(watch);
  }
}
