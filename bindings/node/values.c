/* Values from JavaScript and to it. */
#include <stdlib.h>
#include <string.h>

#include "bindings/node/addon.h"

static void wrong_type(napi_env env, const char* text) { napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", text); }

struct Block {
  struct Block* next;
};

void* arena_take(Arena* from, size_t size) {
  struct Block* block = malloc(sizeof *block + size);
  if (block == NULL) abort(); /* as V8 does */
  block->next = from->blocks;
  from->blocks = block;
  return block + 1;
}

void arena_free(Arena* from) {
  while (from->blocks != NULL) {
    struct Block* block = from->blocks;
    from->blocks = block->next;
    free(block);
  }
}

napi_value element(napi_env env, napi_value array, uint32_t index) {
  napi_value out = NULL;
  if (napi_get_element(env, array, index, &out) != napi_ok) return undefined_of(env);
  return out;
}

bool is_absent(napi_env env, napi_value value) {
  napi_valuetype type = napi_undefined;
  napi_typeof(env, value, &type);
  return type == napi_undefined || type == napi_null;
}

bool text_of(napi_env env, napi_value value, Arena* from, const char** text, size_t* size) {
  size_t length = 0;
  *text = NULL;
  if (size != NULL) *size = 0;
  if (is_absent(env, value)) return true;
  if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok) {
    wrong_type(env, "text is a string");
    return false;
  }
  char* copy = arena_take(from, length + 1);
  napi_get_value_string_utf8(env, value, copy, length + 1, NULL);
  if (size == NULL && strlen(copy) != length) {
    wrong_type(env, "only keys and headers' values may have a NUL in them");
    return false;
  }
  if (size != NULL) *size = length;
  *text = copy;
  return true;
}

bool integer_of(napi_env env, napi_value value, int64_t* out) {
  napi_valuetype type = napi_undefined;
  bool lossless = true;
  *out = 0;
  napi_typeof(env, value, &type);
  if (type == napi_undefined || type == napi_null) return true;
  if (type == napi_bigint && napi_get_value_bigint_int64(env, value, out, &lossless) == napi_ok && lossless)
    return true;
  if (type == napi_number && napi_get_value_int64(env, value, out) == napi_ok) return true;
  wrong_type(env, "a whole number is a number or a bigint below 2n ** 63n");
  return false;
}

bool integers_of(napi_env env, napi_value array, int64_t* out, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i)
    if (!integer_of(env, element(env, array, i), &out[i])) return false;
  return true;
}

bool bytes_of(napi_env env, napi_value value, const void** bytes, size_t* size) {
  bool is = false;
  void* data = NULL;
  if (napi_is_buffer(env, value, &is) == napi_ok && is) { /* any view but a DataView */
    napi_get_buffer_info(env, value, &data, size);
  } else if (napi_is_dataview(env, value, &is) == napi_ok && is) {
    napi_get_dataview_info(env, value, size, &data, NULL, NULL);
  } else if (napi_is_arraybuffer(env, value, &is) == napi_ok && is) {
    napi_get_arraybuffer_info(env, value, &data, size);
  } else {
    wrong_type(env, "a payload is a string, a Buffer, a typed array, a DataView or an ArrayBuffer");
    return false;
  }
  *bytes = data;
  return true;
}

bool names_of(napi_env env, napi_value array, Arena* from, const char*** names, size_t* count) {
  uint32_t length = 0;
  if (napi_get_array_length(env, array, &length) != napi_ok) {
    wrong_type(env, "names are an array");
    return false;
  }
  *count = length;
  *names = arena_take(from, (length + 1) * sizeof **names);
  for (uint32_t i = 0; i < length; ++i)
    if (!text_of(env, element(env, array, i), from, &(*names)[i], NULL)) return false;
  return true;
}

napi_value undefined_of(napi_env env) {
  napi_value out = NULL;
  napi_get_undefined(env, &out);
  return out;
}

napi_value number_value(napi_env env, double number) {
  napi_value out = NULL;
  napi_create_double(env, number, &out);
  return out;
}

napi_value offset_value(napi_env env, uint64_t offset) {
  napi_value out = NULL;
  napi_create_bigint_uint64(env, offset, &out);
  return out;
}

napi_value bytes_text(napi_env env, const char* text, size_t size) {
  napi_value out = NULL;
  if (text == NULL) return undefined_of(env);
  napi_create_string_utf8(env, text, size, &out);
  return out;
}

napi_value text_value(napi_env env, const char* text) { return bytes_text(env, text, NAPI_AUTO_LENGTH); }

napi_value boolean_value(napi_env env, int given) {
  napi_value out = NULL;
  napi_get_boolean(env, given != 0, &out);
  return out;
}

napi_value object_of(napi_env env, const Property* properties, size_t count) {
  napi_value out = NULL;
  napi_create_object(env, &out);
  for (size_t i = 0; i < count; ++i) napi_set_named_property(env, out, properties[i].name, properties[i].value);
  return out;
}

napi_value time_value(napi_env env, int64_t ns) {
  napi_value out = NULL;
  napi_create_bigint_int64(env, ns, &out);
  return out;
}

static napi_value array_of(napi_env env, const napi_value* values, uint32_t count) {
  napi_value out = NULL;
  napi_create_array_with_length(env, count, &out);
  for (uint32_t i = 0; i < count; ++i) napi_set_element(env, out, i, values[i]);
  return out;
}

napi_value id_value(napi_env env, const uint8_t id[16]) {
  static const char digits[] = "0123456789abcdef";
  char text[32];
  for (int i = 0; i < 16; ++i) {
    text[2 * i] = digits[id[i] >> 4];
    text[2 * i + 1] = digits[id[i] & 15];
  }
  return bytes_text(env, text, sizeof text);
}

/* Names and values in turns; undefined when there are none. */
static napi_value headers_value(napi_env env, const penstock_event* event) {
  napi_value out = NULL;
  const char* name;
  const void* value = NULL;
  size_t name_size = 0, size = 0;
  for (uint32_t i = 0; (name = penstock_event_header_at(event, i, &name_size, &value, &size)) != NULL; ++i) {
    if (out == NULL) napi_create_array(env, &out);
    napi_set_element(env, out, 2 * i, bytes_text(env, name, name_size));
    napi_set_element(env, out, 2 * i + 1, bytes_text(env, value, size));
  }
  return out != NULL ? out : undefined_of(env);
}

napi_value event_value(napi_env env, const penstock_event* event) {
  size_t size = 0;
  uint8_t id[16];
  const void* payload = penstock_event_payload(event, &size);
  penstock_event_id(event, id);
  napi_value copy = NULL;
  napi_create_buffer_copy(env, size, size != 0 ? payload : "", NULL, &copy);
  napi_value values[9] = {
      text_value(env, penstock_event_topic(event)),
      offset_value(env, penstock_event_offset(event)),
      time_value(env, penstock_event_time_ns(event)),
      copy,
      id_value(env, id),
  };
  const char* text = penstock_event_id_text(event, &size);
  values[5] = bytes_text(env, text, size);
  text = penstock_event_key(event, &size);
  values[6] = bytes_text(env, text, size);
  values[7] = headers_value(env, event);
  /* Rare, and together. */
  size_t schema_size = 0;
  const char* schema = penstock_event_schema(event, &schema_size);
  text = penstock_event_content_type(event, &size);
  const int64_t deliver_at = penstock_event_deliver_at_ns(event), expires_at = penstock_event_expires_at_ns(event);
  values[8] = undefined_of(env);
  if (text != NULL || schema != NULL || deliver_at != 0 || expires_at != 0)
    values[8] = array_of(env,
                         (napi_value[]){bytes_text(env, text, size), bytes_text(env, schema, schema_size),
                                        time_value(env, deliver_at), time_value(env, expires_at)},
                         4);
  return array_of(env, values, 9);
}

napi_value letter_value(napi_env env, const penstock_event* event) {
  penstock_dead_letter letter = {.struct_size = sizeof letter};
  if (penstock_event_dead_letter(event, &letter) != 0) return undefined_of(env);
  const napi_value values[] = {
      text_value(env, letter.topic),
      offset_value(env, letter.offset),
      text_value(env, letter.group),
      text_value(env, letter.member),
      number_value(env, letter.attempts),
      number_value(env, letter.redrives),
      time_value(env, letter.first_failure_ns),
      time_value(env, letter.last_failure_ns),
      text_value(env, letter.disposition),
      text_value(env, letter.error_class),
      text_value(env, letter.reason),
  };
  return array_of(env, values, sizeof values / sizeof *values);
}
