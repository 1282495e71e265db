/* JSON text: validate it once, then look into it without building anything.
 *
 * tg_json_validate checks grammar (RFC 8259), UTF-8 and depth. Every other reader here takes validated text
 * only and returns spans of it. A string value's span includes its quotes; text behind escapes comes from
 * tg_json_text. Lone surrogates (\ud800 without its half) are valid as escapes and are kept; where text must
 * be decoded they become U+FFFD. */
#ifndef TG_BASE_JSON_H
#define TG_BASE_JSON_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum tg_json_type {
    TG_JSON_NULL,
    TG_JSON_BOOL,
    TG_JSON_NUMBER,
    TG_JSON_STRING,
    TG_JSON_ARRAY,
    TG_JSON_OBJECT
};

enum { TG_JSON_MAX_DEPTH = 128 };

/* One complete value with optional white space around it. On success *value (if not NULL) is the value
 * without that white space. TG_INVALID with a message that names the byte offset; TG_TOOBIG when deeper than
 * max_depth (1023 at the most; a scalar has depth 0, [] has depth 1). A number's size is not looked at: 1e400
 * is valid. */
TG_MUST_CHECK int tg_json_validate(struct tg_str text, unsigned max_depth, struct tg_str *value,
                                   struct tg_err *err);

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

/* Whether a key span (with quotes, perhaps with escapes) is this name. */
bool tg_json_key_is(struct tg_str key, const char *name);

/* Whether the text may have a member of that name, given in its quotes, at any depth: false is certain. Much
 * cheaper than looking for one that is not there. */
bool tg_json_may_have(struct tg_str text, struct tg_str quoted);

/* The last member of that name of an object; an empty span when absent or when `object` is not an object. */
struct tg_str tg_json_get(struct tg_str object, const char *name);

/* By dotted path; numeric steps index arrays from 0 ("properties.products.0.sku"). A member whose key is the
 * whole remaining path wins over descending. An empty path (or step) names the member "". Empty span when
 * nothing is there. */
struct tg_str tg_json_path(struct tg_str value, struct tg_str path);

/* Adds the text of a string value, escapes decoded, as UTF-8. TG_INVALID if value is not a string. */
TG_MUST_CHECK int tg_json_text(struct tg_str string, struct tg_buf *out);
/* The text of a string value without copying when it has no escapes: *out is set and true is returned. */
bool tg_json_plain(struct tg_str string, struct tg_str *out);

/* Adds `text` as a JSON string with quotes. Invalid UTF-8 becomes U+FFFD. Escapes only what must be, and
 * U+007F and U+2028/9 not. */
TG_MUST_CHECK int tg_json_quote(struct tg_buf *out, struct tg_str text);
/* The same, but invalid UTF-8 is TG_INVALID. */
TG_MUST_CHECK int tg_json_quote_exact(struct tg_buf *out, struct tg_str text);

/* Whether text stands for itself between quotes: ASCII without control characters, quotes and backslashes. */
bool tg_json_is_plain(struct tg_str text);
/* How many of n bytes at p are valid UTF-8 from the start: n when all are. */
size_t tg_json_utf8(const char *p, size_t n);

/* Adds the shortest decimal that reads back as the same double, laid out as JavaScript does: without exponent
 * from 1e-6 to below 1e21; integers have no ".0"; minus zero is "-0". Independent of the locale. TG_INVALID
 * for NaN and infinities. */
TG_MUST_CHECK int tg_json_number(struct tg_buf *out, double number);
/* The same into out; the length, 0 for NaN and infinities. No NUL is added. */
enum { TG_JSON_NUMBER_MAX = 40 };
size_t tg_json_format(char out[TG_JSON_NUMBER_MAX], double number);
/* A number value as the nearest double. False when it is not a number or overflows to infinity. */
bool tg_json_double(struct tg_str value, double *number);
/* The same, but only for a text that is a print of that double: rounding the double to as many digits as the
 * text has gives the text back. 0.1, 0.10000000000000001 and 12345678901234568 are; 12345678901234567, 1e400
 * and a pi of 20 digits are not: a double would lose something of them. */
bool tg_json_exact(struct tg_str value, double *number);
/* A number value that is an integer (1.0 and 1e3 are) and fits. */
bool tg_json_int(struct tg_str value, int64_t *number);

#endif
