/* The module, and how a call comes in and fails. */
#include "bindings/node/addon.h"

#include <errno.h>
#include <stdlib.h>

napi_value error_of(Addon* addon, int code, const char* message) {
  napi_env env = addon->env;
  napi_value make = NULL, error = NULL, global = NULL;
  napi_get_reference_value(env, addon->make_error, &make);
  napi_get_global(env, &global);
  napi_call_function(env, global, make, 2,
                     (napi_value[]){number_value(env, code), bytes_text(env, message, NAPI_AUTO_LENGTH)}, &error);
  return error;
}

napi_value failed(const Call* with, int code) {
  napi_value error = error_of(with->addon, code, penstock_last_error());
  if (error != NULL) napi_throw(with->env, error);
  return NULL;
}

napi_value done(const Call* with, int code) { return code < 0 ? failed(with, code) : undefined_of(with->env); }

void call_back(Addon* addon, napi_ref function, napi_value argument) {
  napi_env env = addon->env;
  napi_handle_scope scope;
  napi_value callback = NULL, global = NULL, thrown = NULL;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  napi_get_reference_value(env, function, &callback);
  napi_get_global(env, &global);
  const size_t count = argument != NULL ? 1 : 0;
  if (callback != NULL && napi_make_callback(env, NULL, global, callback, count, &argument, NULL) != napi_ok &&
      napi_get_and_clear_last_exception(env, &thrown) == napi_ok)
    napi_fatal_exception(env, thrown);
  napi_close_handle_scope(env, scope);
}

void* handle_of(const Call* with, napi_value external, enum Kind kind) {
  enum Kind* handle = NULL;
  napi_valuetype type = napi_undefined;
  napi_typeof(with->env, external, &type);
  if (type == napi_external) napi_get_value_external(with->env, external, (void**)&handle);
  if (handle == NULL || *handle != kind) {
    napi_throw_type_error(with->env, "ERR_INVALID_ARG_TYPE", "not a handle of this kind");
    return NULL;
  }
  return handle;
}

napi_value external_of(const Call* with, void* handle, napi_finalize finalize) {
  napi_value out = NULL;
  if (napi_create_external(with->env, handle, finalize, NULL, &out) == napi_ok) return out;
  finalize(with->env, handle, NULL);
  return NULL;
}

static napi_value enter(napi_env env, napi_callback_info info) {
  Call with = {.env = env};
  size_t count = MAX_ARGUMENTS;
  const Method* method = NULL;
  napi_get_cb_info(env, info, &count, with.arguments, NULL, (void**)&method);
  napi_get_instance_data(env, (void**)&with.addon);
  return method->body(&with);
}

static napi_value set_make_error(Call* with) {
  napi_create_reference(with->env, with->arguments[0], 1, &with->addon->make_error);
  return NULL;
}
static napi_value version(Call* with) { return bytes_text(with->env, penstock_version(), NAPI_AUTO_LENGTH); }

static const Method module_methods[] = {{"setMakeError", set_make_error}, {"version", version}, {NULL, NULL}};

static void forget(napi_env env, void* data, void* hint) {
  (void)env, (void)hint;
  free(data);
}

NAPI_MODULE_INIT() {
  Addon* made = calloc(1, sizeof *made);
  if (made == NULL) return NULL;
  made->env = env;
  napi_set_instance_data(env, made, forget, NULL);
  const Method* const all[] = {module_methods,   bus_methods,    group_methods,
                               producer_methods, stream_methods, settle_methods};
  for (size_t i = 0; i < sizeof all / sizeof *all; ++i) {
    for (const Method* each = all[i]; each->name != NULL; ++each) {
      napi_value function = NULL;
      napi_create_function(env, each->name, NAPI_AUTO_LENGTH, enter, (void*)each, &function);
      napi_set_named_property(env, exports, each->name, function);
    }
  }
  return exports;
}
