/* Walking over validated JSON, value by value. */
#ifndef TG_BASE_JSON_WALK_H
#define TG_BASE_JSON_WALK_H

#include "base/str.h"

#include <stdbool.h>

enum tg_json_type {
    TG_JSON_NULL,
    TG_JSON_BOOL,
    TG_JSON_NUMBER,
    TG_JSON_STRING,
    TG_JSON_ARRAY,
    TG_JSON_OBJECT
};

/* The type, from the first byte of a validated value. */
enum tg_json_type tg_json_type(struct tg_str value);

/* Walks members of an object or items of an array:
 *     struct tg_json_walk w = tg_json_walk(object);
 *     while (tg_json_next(&w)) use(w.key, w.value);            key: with quotes; empty in arrays */
struct tg_json_walk {
    const char *at, *end;
    struct tg_str key, value;
    struct tg_str whole; /* from the key's (or the item's) first byte to the value's last */
};
struct tg_json_walk tg_json_walk(struct tg_str object_or_array);
bool tg_json_next(struct tg_json_walk *w);
/* Behind the value that begins at p (p < end). Like the next: for readers that walk by themselves. */
const char *tg_json_value_end(const char *p, const char *end);
/* Behind the string whose opening quote is at p; *escaped says whether it has escapes. */
const char *tg_json_string_end(const char *p, const char *end, bool *escaped);

#endif
